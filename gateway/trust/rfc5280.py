"""RFC 5280 6.1 along a path that is found already, decided by pyhanko-certvalidator, which is given no revocation data and no way
to fetch any.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, ClassVar

from asn1crypto import x509 as asn1
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import DisallowedAlgorithmError, ExpiredError, NotYetValidError, PathValidationError
from pyhanko_certvalidator.name_trees import default_excluded_subtrees, default_permitted_subtrees, process_general_subtrees
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy, PKIXValidationParams
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.validate import async_validate_path

from gateway.outcome import Reason
from gateway.trust.certificate import facts
from gateway.trust.judgement import Distrusted
from gateway.trust.moment import TOLERANCE, as_datetime
from gateway.trust.rules import Policies


def invalid(path: tuple[bytes, ...], policies: Policies, at: int) -> Distrusted | None:
    """Why ``path`` (DER, anchor first) does not hold at ``at`` (microseconds UTC); None where it does. Whatever the library
    stumbles over is a path we do not believe.
    """
    try:
        # Read anew each time: asn1crypto changes what it holds when it is looked at, and a second look may find another certificate
        # (unique identifiers, RFC 5280 4.1.2.8, are written back with other bits).
        anchor, *between, leaf = (_Certificate.load(der, strict=True) for der in path)
        context = ValidationContext(
            trust_manager=SimpleTrustManager(),  # type: ignore[no-untyped-call] # empty: the path is found already
            moment=as_datetime(at),
            time_tolerance=dt.timedelta(microseconds=TOLERANCE),
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            allow_fetching=False,
        )
        trusted = CertTrustAnchor(anchor, quals=_qualifiers(path[0], policies))
        _run(async_validate_path(context, ValidationPath(trusted, between, leaf)))
    except DisallowedAlgorithmError as error:
        return Distrusted(Reason.WEAK_ALGORITHM, error.failure_msg)
    except ExpiredError as error:
        return Distrusted(Reason.EXPIRED, error.failure_msg)
    except NotYetValidError as error:
        return Distrusted(Reason.NOT_YET_VALID, error.failure_msg)
    except PathValidationError as error:
        return Distrusted(Reason.CHAIN, error.failure_msg)
    except Exception as error:  # a certificate made to break the library must not break the mail
        return Distrusted(Reason.CHAIN, f"{facts(path[-1]).subject}: path validation failed ({type(error).__name__})")
    return None


class _Name(asn1.Name):  # type: ignore[misc] # noqa: PLW1641 - asn1crypto has no types, and its names no hash either
    """Names of the same bytes are one name (RFC 5280 7.1); the library would prepare every string of both first, which is a fifth
    of all that it does.
    """

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, asn1.Name) and self.dump() == other.dump()) or bool(super().__eq__(other))


class _TbsCertificate(asn1.TbsCertificate):  # type: ignore[misc]
    _fields: ClassVar = [(name, _Name if kind is asn1.Name else kind, *more) for name, kind, *more in asn1.TbsCertificate._fields]


class _Certificate(asn1.Certificate):  # type: ignore[misc]
    _fields: ClassVar = [("tbs_certificate", _TbsCertificate), *asn1.Certificate._fields[1:]]


@lru_cache(maxsize=256)
def _qualifiers(der: bytes, policies: Policies) -> TrustQualifiers:
    """What the rules and the anchor's own certificate limit (RFC 5937 3.2): policies, names below it, the path's length."""
    anchor = asn1.Certificate.load(der, strict=True)
    names = anchor.name_constraints_value
    allowed, excluded = (None, None) if names is None else (names["permitted_subtrees"], names["excluded_subtrees"])
    parameters = PKIXValidationParams(
        user_initial_policy_set=policies.names,
        initial_policy_mapping_inhibit=policies.inhibit_mapping,
        initial_explicit_policy=policies.explicit,
        initial_any_policy_inhibit=policies.inhibit_any,
        # Each kind of name starts from "all" and "none"; what the anchor limits is laid over that.
        initial_permitted_subtrees=default_permitted_subtrees() | process_general_subtrees(allowed or ()),
        initial_excluded_subtrees=default_excluded_subtrees() | process_general_subtrees(excluded or ()),
    )
    return TrustQualifiers(standard_parameters=parameters, max_path_length=anchor.max_path_length)


def _run(validation: Coroutine[Any, Any, object]) -> None:
    """Steps a coroutine that has nothing to wait for to its end. No event loop takes part, so none is needed or disturbed."""
    try:
        validation.send(None)
    except StopIteration:
        return
    validation.close()
    raise RuntimeError("offline validation wanted to wait")
