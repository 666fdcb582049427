"""CRLs (RFC 5280 5), parsed once into an index of serials, and what they say about one certificate."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from gateway.outcome import GatewayError, Reason
from gateway.trust.certificate import CertificateFacts, facts
from gateway.trust.name import NormalName, normal_name

MAX_CRL: Final = 64 * 1024 * 1024
TOLERANCE: Final = 5 * 60 * 1_000_000
"""How far two clocks may differ, in microseconds."""
WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNDERSTOOD: Final = frozenset(
    {ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.ISSUING_DISTRIBUTION_POINT}
)


class CrlError(GatewayError):
    """Bytes that are no CRL we can use."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.REVOCATION_UNKNOWN, detail)


class Crl:
    """One CRL. Times in microseconds UTC; ``next_update`` None where it promises no next one, and then it is never current."""

    __slots__ = ("_parsed", "_revoked", "_scope", "_signed_by", "issuer", "next_update", "sha256", "this_update")

    def __init__(self, der: bytes) -> None:
        """Parses ``der``. Raises :class:`CrlError` for what is no CRL, or one with a critical extension unknown to us."""
        if len(der) > MAX_CRL:
            raise CrlError(f"a CRL of {len(der)} bytes")
        try:
            parsed = x509.load_der_x509_crl(der)
            self.issuer: NormalName = normal_name(parsed.issuer)
            self.this_update: int = _us(parsed.last_update_utc)
            following = parsed.next_update_utc
            self._scope = _scope(parsed)
            self._revoked = {entry.serial_number: _us(entry.revocation_date_utc) for entry in parsed}
        except CrlError:
            raise
        except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
            raise CrlError(f"not a CRL ({type(error).__name__})") from error
        self.next_update: int | None = None if following is None else _us(following)
        self.sha256: bytes = hashlib.sha256(der).digest()
        self._parsed = parsed
        self._signed_by: dict[bytes, bool] = {}

    def current(self, at: int) -> bool:
        """Whether ``at`` lies between this CRL and the next."""
        return self.next_update is not None and self.this_update - TOLERANCE <= at <= self.next_update

    def revoked_since(self, serial: int) -> int | None:
        """When the certificate with this serial number was revoked, or None."""
        return self._revoked.get(serial)

    def signed_by(self, issuer: bytes) -> bool:
        """Whether the authority ``issuer`` (DER) made this CRL: its name, its right to sign CRLs, its signature. Remembered."""
        authority = facts(issuer)
        known = self._signed_by.get(authority.sha256)
        if known is None:
            known = self._signed_by[authority.sha256] = self._verify(issuer, authority)
        return known

    def _verify(self, issuer: bytes, authority: CertificateFacts) -> bool:
        if authority.subject_name != self.issuer or (authority.ku is not None and "crl_sign" not in authority.ku):
            return False
        try:
            digest = self._parsed.signature_hash_algorithm
            if digest is not None and digest.name in WEAK_HASHES:
                return False
            key = x509.load_der_x509_certificate(issuer).public_key()
            return self._parsed.is_signature_valid(key)  # type: ignore[arg-type] # it refuses other kinds itself
        except (UnsupportedAlgorithm, ValueError, TypeError):
            return False

    def covers(self, certificate: CertificateFacts) -> bool:
        """Whether this CRL speaks for every reason of this certificate (RFC 5280 5.2.5, 6.3.3 b)."""
        scope = self._scope
        if scope is None:
            return True
        if scope.indirect_crl or scope.only_some_reasons or scope.only_contains_attribute_certs:
            return False
        if (scope.only_contains_user_certs and certificate.is_ca) or (scope.only_contains_ca_certs and not certificate.is_ca):
            return False
        places = [name.value for name in scope.full_name or () if isinstance(name, x509.UniformResourceIdentifier)]
        return (scope.full_name is None and scope.relative_name is None) or any(url in certificate.crl_urls for url in places)


def _us(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _scope(parsed: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    scope = None
    for extension in parsed.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            # A delta CRL (5.2.4) is one of these: alone it says nothing.
            raise CrlError(f"critical extension {extension.oid.dotted_string} unknown")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = extension.value
    return scope


@dataclass(frozen=True, slots=True)
class CrlFailed:
    """A CRL could not be had. ``detail`` is for the administrator."""

    detail: str


@dataclass(frozen=True, slots=True)
class CrlEvidence:
    """What is known about CRLs: by their place (None: not asked yet), and those given by hand, wherever they came from."""

    by_url: Callable[[str], Crl | CrlFailed | None]
    given: tuple[Crl, ...] = ()


def _nothing(_: str) -> None:
    return None


NO_EVIDENCE: Final = CrlEvidence(_nothing)


@dataclass(frozen=True, slots=True)
class Good:
    """A current CRL of the issuer does not list the certificate."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The issuer revoked the certificate, at ``since`` (microseconds UTC)."""

    since: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """No CRL says anything that counts. ``detail`` says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """To be fetched, then asked again."""

    url: str


Status = Good | Revoked | Unknown | Wanted


def status(certificate: CertificateFacts, issuer: bytes, evidence: CrlEvidence, at: int) -> Status:
    """What the CRLs of ``issuer`` (DER) say about ``certificate`` at ``at``.

    The places in a certificate are tried in their order, the next one only when those before it said nothing that counts. A
    revocation counts even from a CRL that is out of date: authorities do not take it back. A certificate that names no
    place is unknown, unless a CRL of its issuer was given by hand.
    """
    details = []
    for crl in _candidates(certificate, evidence):
        if isinstance(crl, Wanted):
            return crl
        if isinstance(crl, CrlFailed):
            details.append(crl.detail)
            continue
        answer = _ask(crl, certificate, issuer, at)
        if not isinstance(answer, Unknown):
            return answer
        details.append(answer.detail)
    return Unknown("; ".join(details) or f"{certificate.subject}: names no place of a CRL")


def _candidates(certificate: CertificateFacts, evidence: CrlEvidence) -> Iterator[Crl | CrlFailed | Wanted]:
    yield from (crl for crl in evidence.given if crl.issuer == certificate.issuer_name)
    for url in certificate.crl_urls:
        crl = evidence.by_url(url)
        yield Wanted(url) if crl is None else crl


def _ask(crl: Crl, certificate: CertificateFacts, issuer: bytes, at: int) -> Good | Revoked | Unknown:
    if not crl.signed_by(issuer):
        return Unknown(f"CRL for {certificate.subject}: not signed by the certificate's issuer")
    since = crl.revoked_since(certificate.serial)
    if not crl.covers(certificate):
        return Unknown(f"CRL for {certificate.subject}: made for other certificates or for some reasons alone")
    if since is not None and since <= at + TOLERANCE:
        return Revoked(since)
    if not crl.current(at):
        return Unknown(f"CRL for {certificate.subject}: out of date")
    return Good()
