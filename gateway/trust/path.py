"""``judge``: whether a certificate is to be believed for a purpose. It fetches nothing; what it lacks it asks for.

Ours are the rules of purpose, the strength of algorithms, the bounded search for a path, and revocation. RFC 5280 section 6
along the path found is decided by pyhanko-certvalidator, which is given no revocation data and no way to fetch any.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final

from asn1crypto import x509 as asn1
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import DisallowedAlgorithmError, ExpiredError, NotYetValidError, PathValidationError
from pyhanko_certvalidator.name_trees import process_general_subtrees
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy, PKIXValidationParams
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.validate import async_validate_path

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors, Chain
from gateway.trust.certificate import CertificateError, CertificateFacts, facts
from gateway.trust.constraints import forbidden
from gateway.trust.judgement import Distrusted, Judgement, Need, Needs, Purpose, Revocation, Trusted
from gateway.trust.moment import TOLERANCE, as_datetime, as_text
from gateway.trust.revocation import Revoked, Unknown, Wanted, status
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from gateway.trust.suitability import unsuitable, unsuitable_authority

MAX_OTHERS: Final = 64
MAX_DEPTH: Final = 8
MAX_VISITS: Final = 64
MAX_PATHS: Final = 8


def judge(certificate: bytes, at_hand: AtHand, at: int, rules: Rules) -> Judgement:
    """Whether ``certificate`` (DER) is to be believed under ``rules`` at ``at`` (microseconds UTC).

    Under ``HARD`` every certificate of the path but the anchor needs a current CRL of its issuer (one that names no place of a
    CRL has none, unless one was given); under ``SOFT`` a missing one is a mark; under ``UNSAFE_OFF`` nobody asks. A path once
    found is remembered in the anchors; revocation is looked up each time.
    """
    anchors, purpose = rules.anchors, rules.purpose
    try:
        leaf = facts(certificate)
    except CertificateError as error:
        return Distrusted(error.reason, error.detail)
    chain = anchors.remembered(leaf, purpose, at)
    if chain is None:
        found = _find(certificate, leaf, at_hand.others, anchors, purpose, at)
        if isinstance(found, Distrusted):
            return found
        chain = found
        anchors.remember(chain, purpose)
    if rules.revocation is Revocation.UNSAFE_OFF:
        return Trusted(chain.path)
    return _revocation(chain, at_hand, rules, at)


def _revocation(chain: Chain, at_hand: AtHand, rules: Rules, at: int) -> Judgement:
    wanted: dict[Need, None] = {}
    unknown: list[str] = []
    for issuer, certificate in zip(chain.path, chain.facts[1:], strict=False):
        answer = status(certificate, issuer, at_hand, at)
        if isinstance(answer, Revoked):
            return Distrusted(Reason.REVOKED, f"{certificate.subject}: revoked since {as_text(answer.since)}")
        if isinstance(answer, Wanted):
            wanted[answer.need] = None
        elif isinstance(answer, Unknown):
            unknown.append(answer.detail)
    if wanted:
        return Needs(tuple(wanted))
    if not unknown:
        return Trusted(chain.path)
    if rules.revocation is Revocation.HARD:
        return Distrusted(Reason.REVOCATION_UNKNOWN, "; ".join(unknown))
    return Trusted(chain.path, (Reason.REVOCATION_UNKNOWN,))


def _find(
    certificate: bytes, leaf: CertificateFacts, others: Sequence[bytes], anchors: Anchors, purpose: Purpose, at: int
) -> Chain | Distrusted:
    """The first good path, or why there is none: of several failures, the first that says more than CHAIN."""
    unfit = unusable(leaf, purpose, at)
    if unfit is not None:
        return unfit
    if leaf.sha256 in anchors:
        return Chain((certificate,), (leaf,))
    failures: list[Distrusted] = []
    search = _Search(anchors, others)
    for path in search.paths((certificate,)):
        failure = _check(path, purpose, at)
        if failure is None:
            return Chain(path, tuple(facts(der) for der in path))
        failures.append(failure)
        if len(failures) == MAX_PATHS:
            break
    if not failures:
        return Distrusted(Reason.CHAIN, f"{leaf.subject}: no path to an anchor from issuer {leaf.issuer}")
    return next((failure for failure in failures if failure.reason is not Reason.CHAIN), failures[0])


class _Search:
    """Depth first, anchors before others; bounded in depth, and in certificates looked at, which an adversary chose."""

    def __init__(self, anchors: Anchors, others: Sequence[bytes]) -> None:
        self._anchors = anchors
        self._visits = 0
        self._pool: dict[object, list[bytes]] = {}
        for der in (*others[:MAX_OTHERS], *anchors.intermediates):
            try:
                between = facts(der)
            except CertificateError:
                continue
            if between.is_ca and der not in self._pool.setdefault(between.subject_name, []):
                self._pool[between.subject_name].append(der)

    def paths(self, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
        """Every way from an anchor to the last of ``path``, whose first is the certificate to be continued upwards."""
        child = facts(path[0])
        for anchor in self._anchors.named(child.issuer_name):
            if _may_issue(facts(anchor), child):
                yield (anchor, *path)
        if len(path) >= MAX_DEPTH:
            return
        for issuer in self._pool.get(child.issuer_name, ()):
            self._visits += 1
            if self._visits > MAX_VISITS:
                return
            if issuer not in path and _may_issue(facts(issuer), child):
                yield from self.paths((issuer, *path))


def _may_issue(issuer: CertificateFacts, child: CertificateFacts) -> bool:
    """Whether the key identifiers do not speak against it (RFC 5280 4.2.1.1); the names are equal already."""
    return issuer.is_ca and (issuer.key_id is None or child.authority_key_id in {None, issuer.key_id})


def _check(path: tuple[bytes, ...], purpose: Purpose, at: int) -> Distrusted | None:
    for der in path[:-1]:
        authority = facts(der)
        unfit = unsuitable_authority(authority, purpose, signed=der != path[0]) or outside(authority, at)
        if unfit is not None:
            return unfit
    return _rfc5280(path, at) or (None if purpose is Purpose.GATEWAY_PEER else _constrained(path))


def _constrained(path: tuple[bytes, ...]) -> Distrusted | None:
    leaf = facts(path[-1])
    try:
        name = forbidden(path[:-1], leaf)
    except Exception as error:  # as below
        return Distrusted(Reason.CHAIN, f"{leaf.subject}: name constraints cannot be read ({type(error).__name__})")
    return None if name is None else Distrusted(Reason.CHAIN, f"{leaf.subject}: an authority may not issue for {name}")


def _outside(certificate: CertificateFacts, at: int) -> Distrusted | None:
    if at > certificate.not_after + TOLERANCE:
        return Distrusted(Reason.EXPIRED, f"{certificate.subject}: expired {as_text(certificate.not_after)}")
    if at < certificate.not_before - TOLERANCE:
        return Distrusted(Reason.NOT_YET_VALID, f"{certificate.subject}: not valid before {as_text(certificate.not_before)}")
    return None


def _rfc5280(path: tuple[bytes, ...], at: int) -> Distrusted | None:
    """RFC 5280 6.1 along ``path``. Whatever the library stumbles over is a path we do not believe."""
    try:
        anchor, *between, leaf = (asn1.Certificate.load(der, strict=True) for der in path)
        context = ValidationContext(
            trust_manager=SimpleTrustManager(),  # type: ignore[no-untyped-call] # empty: the path is found already
            moment=as_datetime(at),
            time_tolerance=dt.timedelta(microseconds=TOLERANCE),
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            allow_fetching=False,
        )
        trusted = CertTrustAnchor(anchor, quals=_qualifiers(anchor))
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


def _qualifiers(anchor: asn1.Certificate) -> TrustQualifiers:
    """What the anchor's own certificate limits (RFC 5937 3.2): names below it, and the length of the path."""
    parameters = None
    names = anchor.name_constraints_value
    if names is not None:
        allowed, excluded = names["permitted_subtrees"], names["excluded_subtrees"]
        parameters = PKIXValidationParams(
            initial_permitted_subtrees=process_general_subtrees(allowed) if allowed else None,
            initial_excluded_subtrees=process_general_subtrees(excluded) if excluded else None,
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
