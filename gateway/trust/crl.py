"""CRLs (RFC 5280 5), parsed once into an index of serials: complete, delta, indirect, or made for a part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from gateway.outcome import GatewayError, Reason
from gateway.trust.certificate import CertificateFacts, facts
from gateway.trust.moment import TOLERANCE, microseconds
from gateway.trust.name import NormalName, normal_name
from gateway.trust.places import ALL_REASONS, PlaceName, Point, Reasons, place_names, points, reasons
from gateway.trust.strength import strong_hash

MAX_CRL: Final = 64 * 1024 * 1024

_MAY_BE_CRITICAL: Final = frozenset({ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.DELTA_CRL_INDICATOR})
_ENTRY_UNDERSTOOD: Final = frozenset(
    {CRLEntryExtensionOID.CERTIFICATE_ISSUER, CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE}
)
_REMOVED: Final = -1  # in the place of a time
_CRITICAL: Final = b"\x01\x01\xff"  # the BOOLEAN before the value of every critical extension


class CrlError(GatewayError):
    """Bytes that are no CRL we can use."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.REVOCATION_UNKNOWN, detail)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a CRL speaks of (RFC 5280 5.2.5): where it is published, for which certificates, for which reasons."""

    names: frozenset[PlaceName] = frozenset()
    users: bool = True
    authorities: bool = True
    reasons: Reasons = ALL_REASONS
    indirect: bool = False

    def covers(self, certificate: CertificateFacts) -> bool:
        """Whether it speaks of certificates of this kind."""
        return self.authorities if certificate.is_ca else self.users


class Crl:
    """One CRL. Times in microseconds UTC; ``next_update`` None where it promises no next one, and then it is never current.
    ``base`` is the number of the CRL a delta builds on, None in a complete one.
    """

    __slots__ = (
        "_entries",
        "_parsed",
        "_signed_by",
        "base",
        "freshest",
        "issuer",
        "key_id",
        "next_update",
        "number",
        "scope",
        "sha256",
        "this_update",
    )

    def __init__(self, der: bytes) -> None:
        """Parses ``der``. Raises :class:`CrlError` for what is no CRL, or one with a critical extension unknown to us."""
        if len(der) > MAX_CRL:
            raise CrlError(f"a CRL of {len(der)} bytes")
        try:
            parsed = x509.load_der_x509_crl(der)
            self.issuer: NormalName = normal_name(parsed.issuer)
            self.this_update: int = microseconds(parsed.last_update_utc)
            following = parsed.next_update_utc
            self._read_extensions(parsed)
            self._entries = _entries(parsed, self.issuer, indirect=self.scope.indirect, delta=self.base is not None)
        except CrlError:
            raise
        except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
            raise CrlError(f"not a CRL ({type(error).__name__})") from error
        self.next_update: int | None = None if following is None else microseconds(following)
        self.sha256: bytes = hashlib.sha256(der).digest()
        self._parsed = parsed
        self._signed_by: dict[bytes, bool] = {}

    def current(self, at: int, grace: int = 0) -> bool:
        """Whether ``at`` lies between this CRL and the next, or no more than ``grace`` (microseconds) after it."""
        return self.next_update is not None and self.this_update - TOLERANCE <= at <= self.next_update + grace

    def revoked_since(self, certificate: CertificateFacts) -> int | None:
        """When the certificate was revoked (microseconds UTC), or None."""
        since = self._listed(certificate)
        return None if since == _REMOVED else since

    def restores(self, certificate: CertificateFacts) -> bool:
        """Whether this delta takes back that the certificate was revoked (removeFromCRL, RFC 5280 5.3.1)."""
        return self._listed(certificate) == _REMOVED

    def _listed(self, certificate: CertificateFacts) -> int | None:
        return self._entries.get(certificate.issuer_name, {}).get(certificate.serial)

    def strong(self, at: int) -> bool:
        """Whether its signature may prove something at ``at``."""
        try:
            digest = self._parsed.signature_hash_algorithm
        except UnsupportedAlgorithm:
            return False
        return strong_hash("" if digest is None else digest.name, at)

    def builds_on(self, complete: Crl) -> bool:
        """Whether this delta may be laid over ``complete`` (RFC 5280 5.2.4, 6.3.3 c): one issuer and key, one scope, no gap."""
        return (
            self.base is not None
            and complete.base is None
            and complete.number is not None
            and self.number is not None
            and (self.issuer, self.scope, self.key_id) == (complete.issuer, complete.scope, complete.key_id)
            and self.base <= complete.number <= self.number
        )

    def signed_by(self, issuer: bytes) -> bool:
        """Whether the authority ``issuer`` (DER) made this CRL: its name, its right to sign CRLs, its signature. Remembered."""
        known = self._signed_by.get(issuer)
        if known is None:
            known = self._signed_by[issuer] = self._verify(issuer, facts(issuer))
        return known

    def _verify(self, issuer: bytes, authority: CertificateFacts) -> bool:
        if authority.subject_name != self.issuer or (authority.ku is not None and "crl_sign" not in authority.ku):
            return False
        try:
            key = x509.load_der_x509_certificate(issuer).public_key()
            return self._parsed.is_signature_valid(key)  # type: ignore[arg-type] # it refuses other kinds itself
        except (UnsupportedAlgorithm, ValueError, TypeError):
            return False

    def _read_extensions(self, parsed: x509.CertificateRevocationList) -> None:
        self.scope: Scope = Scope()
        self.number: int | None = None
        self.base: int | None = None
        self.key_id: bytes | None = None
        self.freshest: tuple[Point, ...] = ()
        for extension in parsed.extensions:
            value = extension.value
            if extension.critical and extension.oid not in _MAY_BE_CRITICAL:
                raise CrlError(f"critical extension {extension.oid.dotted_string} unknown")
            if isinstance(value, x509.IssuingDistributionPoint):
                self.scope = _scope(value, self.issuer)
            elif isinstance(value, x509.CRLNumber):
                self.number = value.crl_number
            elif isinstance(value, x509.DeltaCRLIndicator):
                self.base = value.crl_number
            elif isinstance(value, x509.AuthorityKeyIdentifier):
                self.key_id = value.key_identifier
            elif isinstance(value, x509.FreshestCRL):
                self.freshest = points(value, self.issuer)


def _scope(value: x509.IssuingDistributionPoint, issuer: NormalName) -> Scope:
    return Scope(
        place_names(value.full_name, value.relative_name, issuer),
        users=not (value.only_contains_ca_certs or value.only_contains_attribute_certs),
        authorities=not (value.only_contains_user_certs or value.only_contains_attribute_certs),
        reasons=reasons(value.only_some_reasons),
        indirect=value.indirect_crl,
    )


def _entries(
    parsed: x509.CertificateRevocationList, issuer: NormalName, *, indirect: bool, delta: bool
) -> dict[NormalName, dict[int, int]]:
    """By the certificates' issuer, then by serial number.

    The extensions of an entry are read where they can matter, or because one may be critical (5.3 forbids using a
    CRL with one we do not know): in a CRL of 50,000 entries reading them all takes longer than everything else.
    """
    critical = sum(extension.critical for extension in parsed.extensions)
    if not indirect and not delta and parsed.tbs_certlist_bytes.count(_CRITICAL) == critical:
        return {issuer: {entry.serial_number: microseconds(entry.revocation_date_utc) for entry in parsed}}
    entries: dict[NormalName, dict[int, int]] = {issuer: {}}
    for entry in parsed:
        removed = False
        for extension in entry.extensions:
            if extension.critical and extension.oid not in _ENTRY_UNDERSTOOD:
                raise CrlError(f"critical extension {extension.oid.dotted_string} of an entry unknown")
            if isinstance(extension.value, x509.CertificateIssuer):
                issuer = _directory_name(extension.value)  # and so for the entries that follow (5.3.3)
            elif isinstance(extension.value, x509.CRLReason):
                removed = delta and extension.value.reason is x509.ReasonFlags.remove_from_crl
        since = _REMOVED if removed else microseconds(entry.revocation_date_utc)
        entries.setdefault(issuer, {})[entry.serial_number] = since
    return entries


def _directory_name(names: x509.CertificateIssuer) -> NormalName:
    for name in names:
        if isinstance(name, x509.DirectoryName):
            return normal_name(name.value)
    raise CrlError("an entry of an issuer without a directory name")
