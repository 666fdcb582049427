"""What stands in a certificate, read once: plain facts, and the question whether they bind it to an address."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID, NameOID

from gateway.mail.address import Address, AddressError, normal_domain, parse_address
from gateway.outcome import GatewayError, Reason
from gateway.trust.moment import microseconds
from gateway.trust.name import NormalName, normal_name
from gateway.trust.places import Point, issuer_urls, ocsp_urls, points
from gateway.trust.publickey import PublicKey, public_key, public_key_bytes

MAX_CERTIFICATE: Final = 64 * 1024
MAX_NAMES: Final = 1000
MAX_SERIAL: Final = 20  # bytes (RFC 5280 4.1.2.2)
_REMEMBERED: Final = 4096

ORGANISATION_NAMES: Final = frozenset({"domain-confidentiality-authority", "domain-signing-authority"})  # RFC 3183 2.1.1

_SMTP_UTF8_MAILBOX: Final = "1.3.6.1.5.5.7.8.9"  # RFC 9598
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
    }
)
_KEY_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


class CertificateError(GatewayError):
    """Bytes that are no certificate we can read."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.MALFORMED, detail)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The facts of one certificate. Times in microseconds UTC; ``ku`` and ``eku`` (OIDs) None where the extension is absent.
    ``policies`` are the OIDs it was issued under.

    ``emails`` are the rfc822Names and SmtpUTF8Mailboxes, or the subject's emailAddress where there is neither (RFC 8550 3);
    names that are no plain address or no host name are left out. ``signature_hash`` is "" where the algorithm has none.
    ``points`` and ``freshest`` are where its CRLs and their deltas are, ``ocsp_urls`` its responders, ``issuer_urls`` the
    certificates of its issuer; ``ocsp_no_check``: a responder whose own revocation is not asked.
    """

    sha256: bytes
    subject: str
    issuer: str
    subject_name: NormalName
    issuer_name: NormalName
    serial: int
    not_before: int
    not_after: int
    emails: tuple[Address, ...]
    dns_names: tuple[str, ...]
    key: PublicKey
    signature_hash: str
    signature_known: bool
    ku: frozenset[str] | None
    eku: frozenset[str] | None
    policies: frozenset[str]
    is_ca: bool
    points: tuple[Point, ...]
    freshest: tuple[Point, ...]
    ocsp_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]
    ocsp_no_check: bool
    key_id: bytes | None
    authority_key_id: bytes | None
    critical_unknown: tuple[str, ...]

    @property
    def self_issued(self) -> bool:
        """Whether issuer and subject are one name."""
        return self.subject_name == self.issuer_name

    @property
    def domains(self) -> frozenset[str]:
        """Every domain an address or a DNS name of the certificate is in."""
        return frozenset(address.domain for address in self.emails).union(self.dns_names)


class Binding(StrEnum):
    """How a certificate is bound to an address."""

    MAILBOX = "mailbox"
    ORGANISATION = "organisation"


def binds(facts: CertificateFacts, address: Address, bound_domains: Collection[str] = ()) -> Binding | None:
    """How the certificate speaks for ``address``, or None.

    MAILBOX: it names the address. ORGANISATION: it names the whole domain, by DNS name or as one of the two authorities of
    RFC 3183, *and* an administrator bound that domain (``bound_domains``): anyone may obtain a mailbox of such a name at a
    domain that gives mailboxes away.
    """
    if any(email.key == address.key for email in facts.emails):
        return Binding.MAILBOX
    if address.domain in bound_domains and address.domain in organisation_domains(facts):
        return Binding.ORGANISATION
    return None


def organisation_domains(facts: CertificateFacts) -> frozenset[str]:
    """The domains the certificate names as a whole. It speaks for them only where they are bound; see :func:`binds`."""
    authorities = frozenset(email.domain for email in facts.emails if email.local.lower() in ORGANISATION_NAMES)
    return authorities.union(facts.dns_names)


_facts: dict[bytes, CertificateFacts] = {}


@lru_cache(maxsize=64)  # by their bytes, those of the mails in hand, each of which asks nine times
def facts(certificate: bytes) -> CertificateFacts:
    """The facts of ``certificate`` (DER), remembered by its SHA-256. Raises :class:`CertificateError`."""
    if len(certificate) > MAX_CERTIFICATE:
        raise CertificateError(f"a certificate of {len(certificate)} bytes")
    digest = hashlib.sha256(certificate).digest()
    known = _facts.get(digest)
    if known is None:
        known = _read(certificate, digest)
        if len(_facts) >= _REMEMBERED:
            _facts.pop(next(iter(_facts)), None)
        _facts[digest] = known
    return known


@lru_cache(maxsize=4096)
def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate of which :func:`facts` are known already.

    Raises :class:`CertificateError` where the library does not know such keys.
    """
    try:
        return public_key_bytes(x509.load_der_x509_certificate(certificate))
    except (UnsupportedAlgorithm, ValueError) as error:
        raise CertificateError(f"not a key we know ({type(error).__name__})") from error


def _read(certificate: bytes, digest: bytes) -> CertificateFacts:
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        return _facts_of(parsed, digest)
    except CertificateError:
        raise
    except Exception as error:  # a dozen kinds, and hostile bytes find each of them; its text may quote the certificate
        raise CertificateError(f"not a certificate ({type(error).__name__})") from error


def _facts_of(parsed: x509.Certificate, digest: bytes) -> CertificateFacts:
    extensions = {extension.oid: extension for extension in parsed.extensions}
    values = {oid: extension.value for oid, extension in extensions.items()}
    basic = values.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = values.get(ExtensionOID.KEY_USAGE)
    extended = values.get(ExtensionOID.EXTENDED_KEY_USAGE)
    key_id = values.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    authority = values.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    names, policies = values.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME), values.get(ExtensionOID.CERTIFICATE_POLICIES)
    alternatives = list(names) if isinstance(names, x509.SubjectAlternativeName) else []
    if len(alternatives) > MAX_NAMES:
        raise CertificateError(f"more than {MAX_NAMES} names")
    places, fresh = values.get(ExtensionOID.CRL_DISTRIBUTION_POINTS), values.get(ExtensionOID.FRESHEST_CRL)
    access, issuer = values.get(ExtensionOID.AUTHORITY_INFORMATION_ACCESS), normal_name(parsed.issuer)
    digest_name, known = _signature(parsed)
    if parsed.serial_number.bit_length() > MAX_SERIAL * 8:
        raise CertificateError(f"a serial number of more than {MAX_SERIAL} bytes")
    return CertificateFacts(
        sha256=digest,
        subject=parsed.subject.rfc4514_string(),
        issuer=parsed.issuer.rfc4514_string(),
        subject_name=normal_name(parsed.subject),
        issuer_name=issuer,
        serial=parsed.serial_number,
        not_before=microseconds(parsed.not_valid_before_utc),
        not_after=microseconds(parsed.not_valid_after_utc),
        emails=tuple(dict.fromkeys(_emails(parsed, alternatives))),
        dns_names=tuple(dict.fromkeys(_dns_names(alternatives))),
        key=public_key(parsed),
        signature_hash=digest_name,
        signature_known=known,
        ku=frozenset(name for name in _KEY_USAGES if getattr(usage, name)) if isinstance(usage, x509.KeyUsage) else None,
        eku=frozenset(oid.dotted_string for oid in extended) if isinstance(extended, x509.ExtendedKeyUsage) else None,
        policies=frozenset(each.policy_identifier.dotted_string for each in policies)
        if isinstance(policies, x509.CertificatePolicies)
        else frozenset(),
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        points=points(places, issuer) if isinstance(places, x509.CRLDistributionPoints) else (),
        freshest=points(fresh, issuer) if isinstance(fresh, x509.FreshestCRL) else (),
        ocsp_urls=ocsp_urls(access) if isinstance(access, x509.AuthorityInformationAccess) else (),
        issuer_urls=issuer_urls(access) if isinstance(access, x509.AuthorityInformationAccess) else (),
        ocsp_no_check=ExtensionOID.OCSP_NO_CHECK in values,
        key_id=key_id.digest if isinstance(key_id, x509.SubjectKeyIdentifier) else None,
        authority_key_id=authority.key_identifier if isinstance(authority, x509.AuthorityKeyIdentifier) else None,
        critical_unknown=tuple(
            oid.dotted_string for oid, extension in extensions.items() if extension.critical and oid not in _UNDERSTOOD
        ),
    )


def _emails(parsed: x509.Certificate, alternatives: list[x509.GeneralName]) -> Iterator[Address]:
    found = [name.value for name in alternatives if isinstance(name, x509.RFC822Name)]
    found += [
        _utf8_string(name.value)
        for name in alternatives
        if isinstance(name, x509.OtherName) and name.type_id.dotted_string == _SMTP_UTF8_MAILBOX
    ]
    if not found:
        subject = parsed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        found = [pair.value for pair in subject if isinstance(pair.value, str)]
    for text in found:
        try:
            yield parse_address(text)
        except AddressError:
            continue  # a name we cannot compare binds nothing


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String of at most 255 bytes, more than an address may have; "" for anything else."""
    head = 3 if der[1:2] == b"\x81" else 2
    text = der[head:]
    if not text or der[:head] != (bytes((0x0C, 0x81, len(text) & 255)) if len(text) > 127 else bytes((0x0C, len(text)))):
        return ""
    return text.decode("utf-8", "replace") if len(text) < 256 else ""


def _dns_names(alternatives: list[x509.GeneralName]) -> Iterator[str]:
    for name in alternatives:
        if isinstance(name, x509.DNSName):
            try:
                yield normal_domain(name.value)
            except AddressError:
                continue  # a wildcard or a broken name names no host of ours


def _signature(parsed: x509.Certificate) -> tuple[str, bool]:
    """The digest the issuer signed over ("" for EdDSA), and whether we know the algorithm at all."""
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "", False
    return ("" if algorithm is None else algorithm.name), True
