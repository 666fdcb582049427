"""CRLs (RFC 5280 5), parsed once into an index of serials."""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from gateway.outcome import GatewayError, Reason
from gateway.trust.certificate import CertificateFacts, facts
from gateway.trust.moment import TOLERANCE, microseconds
from gateway.trust.name import NormalName, normal_name

MAX_CRL: Final = 64 * 1024 * 1024
WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})

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
            self.this_update: int = microseconds(parsed.last_update_utc)
            following = parsed.next_update_utc
            self._scope = _scope(parsed)
            self._revoked = {entry.serial_number: microseconds(entry.revocation_date_utc) for entry in parsed}
        except CrlError:
            raise
        except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
            raise CrlError(f"not a CRL ({type(error).__name__})") from error
        self.next_update: int | None = None if following is None else microseconds(following)
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


def _scope(parsed: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    scope = None
    for extension in parsed.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            # A delta CRL (5.2.4) is one of these: alone it says nothing.
            raise CrlError(f"critical extension {extension.oid.dotted_string} unknown")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            scope = extension.value
    return scope
