"""Where a certificate or a CRL says that revocations and issuers are to be found (RFC 5280 4.2.1.13, 4.2.2.1, 5.2.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from gateway.trust.name import NormalName, normal_name

MAX_URLS: Final = 8
"""How many places of each kind are looked at in one certificate."""

Reasons = int
"""A set of reasons for revoking, a bit for each."""
_REASONS: Final = tuple(set(x509.ReasonFlags) - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl})
ALL_REASONS: Final[Reasons] = (1 << len(_REASONS)) - 1

PlaceName = tuple[str, object]
"""A GeneralName made comparable: its kind, and a directory name prepared, or the value as it stands."""

_SCHEMES: Final = ("http://", "https://", "ldap://", "ldaps://")
_NO_HOST: Final = ("ldap:///", "ldaps:///")


@dataclass(frozen=True, slots=True)
class Point:
    """A distribution point. ``names`` is empty where it has none but its issuers'; ``issuers`` where the issuer of the certificate
    makes the CRL itself. Of ``urls`` each leads to the same CRL.
    """

    names: frozenset[PlaceName]
    urls: tuple[str, ...]
    reasons: Reasons
    issuers: tuple[NormalName, ...]


def points(value: x509.CRLDistributionPoints | x509.FreshestCRL, issuer: NormalName) -> tuple[Point, ...]:
    """The distribution points of a certificate or CRL of ``issuer``."""
    return tuple(_point(point, issuer) for point in list(value)[:MAX_URLS])


def _point(point: x509.DistributionPoint, issuer: NormalName) -> Point:
    issuers = tuple(normal_name(name.value) for name in point.crl_issuer or () if isinstance(name, x509.DirectoryName))
    above = issuers[0] if issuers else issuer
    names = place_names(point.full_name, point.relative_name, above)
    return Point(names, tuple(_urls(point.full_name or ()))[:MAX_URLS], reasons(point.reasons), issuers)


def reasons(flags: frozenset[x509.ReasonFlags] | None) -> Reasons:
    """These reasons; all where none is named."""
    return sum(1 << bit for bit, reason in enumerate(_REASONS) if reason in flags) if flags else ALL_REASONS


def place_names(
    full: Iterable[x509.GeneralName] | None, relative: x509.RelativeDistinguishedName | None, issuer: NormalName
) -> frozenset[PlaceName]:
    """The names of a distribution point; one that is relative stands below the name of the CRL's ``issuer``."""
    if relative is not None:
        return frozenset({("dn", issuer + normal_name(x509.Name([relative])))})
    return frozenset(_place_name(name) for name in full or ())


def _place_name(name: x509.GeneralName) -> PlaceName:
    if isinstance(name, x509.DirectoryName):
        return "dn", normal_name(name.value)
    return type(name).__name__, str(name.value)


def issuer_urls(value: x509.AuthorityInformationAccess) -> tuple[str, ...]:
    """Where certificates of the issuer are kept (caIssuers)."""
    return _accesses(value, AuthorityInformationAccessOID.CA_ISSUERS)


def ocsp_urls(value: x509.AuthorityInformationAccess) -> tuple[str, ...]:
    """Where responders of the issuer are; OCSP is asked over HTTP alone (RFC 6960 appendix A)."""
    return tuple(url for url in _accesses(value, AuthorityInformationAccessOID.OCSP) if not url.lower().startswith("ldap"))


def _accesses(value: x509.AuthorityInformationAccess, method: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(_urls(each.access_location for each in value if each.access_method == method))[:MAX_URLS]


def _urls(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    """Places we can ask, in their order. A host-less ``ldap:///`` leads nowhere: which directory is meant, nobody says."""
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier):
            url = name.value
            if url.lower().startswith(_SCHEMES) and not url.lower().startswith(_NO_HOST):
                yield url
