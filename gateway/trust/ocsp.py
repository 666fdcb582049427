"""OCSP (RFC 6960): the question, and answers with the right of whoever made them to speak for the issuer."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from gateway.outcome import GatewayError, Reason
from gateway.trust.certificate import facts
from gateway.trust.moment import SECOND, TOLERANCE, microseconds
from gateway.trust.name import normal_name
from gateway.trust.ocspdetail import DIGESTS, Signature, signature_of, with_critical_extensions
from gateway.trust.strength import strong_hash

MAX_OCSP: Final = 256 * 1024
MAX_RESPONSES: Final = 64
MAX_DELEGATES: Final = 8
WITHOUT_NEXT: Final = 24 * 3600 * SECOND
"""For how long an answer that names no nextUpdate is current, in microseconds: RFC 6960 4.2.2.1 says newer ones always exist."""

_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"

CertId = tuple[str, bytes, bytes, int]
"""The hash's name, the hash of the issuer's name, of its key, and the serial number (RFC 6960 4.1.1)."""


class OcspError(GatewayError):
    """Bytes that are no OCSP answer we can use."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.REVOCATION_UNKNOWN, detail)


class Word(StrEnum):
    """What is said about a certificate (RFC 6960 2.2)."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Single:
    """What is said about one certificate. Times in microseconds UTC; ``since`` 0 unless it is revoked."""

    word: Word
    since: int
    this_update: int
    next_update: int

    def current(self, at: int, grace: int = 0) -> bool:
        """Whether ``at`` lies between this answer and the next, or no more than ``grace`` (microseconds) after it."""
        return self.this_update - TOLERANCE <= at <= self.next_update + TOLERANCE + grace


class OcspAnswer:
    """One OCSPResponse. ``this_update`` is the latest and ``next_update`` the earliest of those in it, microseconds UTC."""

    __slots__ = ("_delegates", "_makers", "_parsed", "_signature", "_singles", "next_update", "sha256", "this_update")

    def __init__(self, der: bytes) -> None:
        """Parses ``der``. Raises :class:`OcspError` for what is none, and for one that refuses to answer."""
        if len(der) > MAX_OCSP:
            raise OcspError(f"an OCSP answer of {len(der)} bytes")
        try:
            parsed = ocsp.load_der_ocsp_response(der)
            _refuse(parsed)
            self._signature = signature_of(der, parsed)
            self._singles = _singles(parsed, with_critical_extensions(der, parsed))
            self._delegates = tuple(each.public_bytes(Encoding.DER) for each in parsed.certificates[:MAX_DELEGATES])
        except OcspError:
            raise
        except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
            raise OcspError(f"not an OCSP answer ({type(error).__name__})") from error
        self.this_update: int = max(single.this_update for single in self._singles.values())
        self.next_update: int = min(single.next_update for single in self._singles.values())
        self.sha256: bytes = hashlib.sha256(der).digest()
        self._parsed = parsed
        self._makers: dict[bytes, bytes | None] = {}

    def current(self, at: int) -> bool:
        """Whether ``at`` lies between this answer and the next."""
        return all(single.current(at) for single in self._singles.values())

    def about(self, certificate: bytes, issuer: bytes) -> Single | None:
        """What is said about ``certificate`` of ``issuer`` (both DER), or None."""
        if facts(certificate).issuer_name != facts(issuer).subject_name:
            return None
        names = {name for name, *_ in self._singles}
        found = (self._singles.get(_cert_id(certificate, issuer, name)) for name in names)
        return next((single for single in found if single is not None), None)

    def answers(self, request: bytes) -> bool:
        """Whether it says something to ``request``, which is of our making."""
        asked = ocsp.load_der_ocsp_request(request)
        return (asked.hash_algorithm.name, asked.issuer_name_hash, asked.issuer_key_hash, asked.serial_number) in self._singles

    def signed_by(self, issuer: bytes) -> bool:
        """Whether the authority ``issuer`` (DER), or a responder it appointed, made this answer."""
        return self.maker(issuer) is not None

    def maker(self, issuer: bytes) -> bytes | None:
        """Who made this answer for ``issuer``: itself, or the responder it appointed (DER); None for anybody else. Remembered.

        Neither its time of validity nor its own revocation has been looked at.
        """
        authority = facts(issuer).sha256
        if authority not in self._makers:
            self._makers[authority] = self._find(issuer)
        return self._makers[authority]

    def strong(self, at: int) -> bool:
        """Whether its signature may prove something at ``at``."""
        digest = self._signature.digest
        return strong_hash("" if digest is None else digest.name, at)

    def _find(self, issuer: bytes) -> bytes | None:
        for candidate in (issuer, *self._delegates):
            try:
                if (
                    self._is_named(candidate)
                    and (candidate == issuer or _appointed(candidate, issuer))
                    and self._made_by(candidate)
                ):
                    return candidate
            except Exception:  # noqa: S112 - whatever cannot be read or checked has made nothing
                continue
        return None

    def _is_named(self, candidate: bytes) -> bool:
        """Whether ``candidate`` is the ResponderID (RFC 6960 4.2.1): by name, or by the SHA-1 of its key."""
        if self._parsed.responder_name is not None:
            return normal_name(self._parsed.responder_name) == facts(candidate).subject_name
        key = x509.load_der_x509_certificate(candidate).public_key()
        return self._parsed.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(key).digest

    def _made_by(self, candidate: bytes) -> bool:
        key = x509.load_der_x509_certificate(candidate).public_key()
        parsed = self._parsed
        return _signed(key, parsed.signature, parsed.tbs_response_bytes, self._signature)


def request(certificate: bytes, issuer: bytes) -> bytes:
    """The OCSPRequest (DER) about ``certificate`` of ``issuer`` (both DER). No nonce: an answer may be kept and used again."""
    return _request(certificate, issuer, "sha1").public_bytes(Encoding.DER)


def _appointed(candidate: bytes, issuer: bytes) -> bool:
    """RFC 6960 4.2.2.2: issued directly by the authority itself, and for this."""
    delegate = facts(candidate)
    if delegate.eku is None or _OCSP_SIGNING not in delegate.eku:
        return False
    if delegate.ku is not None and not delegate.ku & {"digital_signature", "content_commitment"}:
        return False
    certificate, authority = x509.load_der_x509_certificate(candidate), x509.load_der_x509_certificate(issuer)
    scheme = certificate.signature_algorithm_parameters
    return delegate.issuer_name == facts(issuer).subject_name and _signed(
        authority.public_key(),
        certificate.signature,
        certificate.tbs_certificate_bytes,
        Signature(certificate.signature_hash_algorithm, scheme if isinstance(scheme, padding.PSS) else padding.PKCS1v15()),
    )


def _signed(key: object, signature: bytes, content: bytes, made: Signature) -> bool:
    """Whether ``signature`` over ``content``, made like this, is one of ``key``. How strong it is, is asked elsewhere."""
    digest = made.digest
    try:
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(signature, content, made.scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, content, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, content)
        else:
            return False
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)
def _request(certificate: bytes, issuer: bytes, hash_name: str) -> ocsp.OCSPRequest:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(certificate), x509.load_der_x509_certificate(issuer), DIGESTS[hash_name]
    )
    return builder.build()


def _cert_id(certificate: bytes, issuer: bytes, hash_name: str) -> CertId:
    asked = _request(certificate, issuer, hash_name)
    return hash_name, asked.issuer_name_hash, asked.issuer_key_hash, asked.serial_number


def _singles(parsed: ocsp.OCSPResponse, not_understood: Collection[int]) -> dict[CertId, Single]:
    singles: dict[CertId, Single] = {}
    for place, each in enumerate(parsed.responses):
        if len(singles) == MAX_RESPONSES:
            raise OcspError(f"more than {MAX_RESPONSES} responses")
        if place in not_understood or each.hash_algorithm.name not in DIGESTS:
            continue
        key = (each.hash_algorithm.name, each.issuer_name_hash, each.issuer_key_hash, each.serial_number)
        singles[key] = _single(each)
    if not singles:
        raise OcspError("says nothing about any certificate")
    return singles


def _single(each: ocsp.OCSPSingleResponse) -> Single:
    begin = microseconds(each.this_update_utc)
    end = begin + WITHOUT_NEXT if each.next_update_utc is None else microseconds(each.next_update_utc)
    since = 0 if each.revocation_time_utc is None else microseconds(each.revocation_time_utc)
    return Single(Word[each.certificate_status.name], since, begin, end)


def _refuse(parsed: ocsp.OCSPResponse) -> None:
    if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspError(f"the responder says {parsed.response_status.name}")
    for extension in parsed.extensions:
        if extension.critical and not isinstance(extension.value, x509.OCSPNonce):
            raise OcspError(f"critical extension {extension.oid.dotted_string} unknown")
