"""Checks signatures over content whose digest is known (RFC 5652 5.6). Whether to believe the signer is not asked here.

``needed`` says which digests of the content to compute; ``check`` then gives one answer for each signer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import CONTENT_TYPE, DATA, HASHES, MESSAGE_DIGEST, SIGNING_TIME
from gateway.smime.certificate import identified
from gateway.smime.cms import CertificateId, SignedData, SignerInfo, read_attributes
from gateway.smime.decrypt import names_of
from gateway.smime.keys import Digest
from gateway.smime.known import Family, Scheme, digest_of, scheme_of

LATE: Final = 24 * 3600 * 1_000_000  # microseconds a signing time may lie in the future: clocks, not calendars, may be wrong

_ALWAYS_SIGNED: Final = (CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME)  # RFC 5652 11

Attributes = Mapping[bytes, tuple[tuple[bytes, ...], ...]]


class Signature(StrEnum):
    """What a signature is by itself."""

    GOOD = "good"
    BAD = "bad"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Checked:
    """One signer. ``certificate`` is DER, None where the message holds none; ``time`` is the signing time, microseconds UTC.

    ``reason`` is None exactly where ``signature`` is GOOD.
    """

    signature: Signature
    certificate: bytes | None
    reason: Reason | None = None
    scheme: str = ""
    time: int | None = None


class _BadError(Exception):
    """The signature is bad for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def needed(signed: SignedData) -> frozenset[Digest]:
    """The digests by which the signers digested the content; those we do not use are left out."""
    found = set()
    for signer in signed.signers:
        try:
            found.add(digest_of(signer.digest))
        except GatewayError:
            continue
    return frozenset(found)


def check(signed: SignedData, digests: Mapping[Digest, bytes], first: bytes, at: int) -> tuple[Checked, ...]:
    """One answer for each signer, in order. ``digests`` are those of :func:`needed`; ``first`` is how the content begins (at
    least one byte, if there is one); ``at`` is now, in microseconds UTC.
    """
    return tuple(_check(signed, signer, digests, first, at) for signer in signed.signers)


def _check(signed: SignedData, signer: SignerInfo, digests: Mapping[Digest, bytes], first: bytes, at: int) -> Checked:
    candidates = [certificate for certificate in signed.certificates if _is(certificate, signer.signer)]
    certificate, scheme, time = candidates[0] if candidates else None, "", None
    try:
        known = scheme_of(signer.digest, signer.algorithm)
        scheme = known.name
        digest = digests[known.digest]
        time = _check_content(signed, signer, digest, first, at)
        certificate = _signer_of(candidates, signer, known, digest)
    except _BadError as error:
        return Checked(Signature.BAD, certificate, error.reason, scheme, time)
    except GatewayError as error:
        if error.reason is Reason.MALFORMED:
            return Checked(Signature.BAD, certificate, Reason.BAD_SIGNATURE, scheme, time)
        return Checked(Signature.UNSUPPORTED, certificate, error.reason, scheme, time)
    return Checked(Signature.GOOD, certificate, None, scheme, time)


def _signer_of(candidates: list[bytes], signer: SignerInfo, scheme: Scheme, digest: bytes) -> bytes:
    """The certificate whose key made the signature. Two may bear one name; it is the key that tells which is the signer's."""
    if not candidates:
        raise GatewayError(Reason.NO_SIGNER_CERTIFICATE)
    found = next((item for item in candidates if _verifies(item, signer, scheme, digest)), None)
    if found is None:
        raise _BadError(Reason.BAD_SIGNATURE)
    return found


def _is(certificate: bytes, wanted: CertificateId) -> bool:
    try:
        return wanted in names_of(certificate)
    except GatewayError:
        return wanted.issuer_and_serial is not None and _bare_name(certificate) == wanted.issuer_and_serial


def _bare_name(certificate: bytes) -> bytes | None:
    """Issuer and serial number of a certificate whose key we do not accept, so that it can be shown all the same."""
    try:
        fields = [field for field in next(iter(der.read(certificate))) if field.tag != der.CONTEXT_CONSTRUCTED]
        return der.sequence(fields[2].raw, fields[0].raw)
    except (GatewayError, StopIteration, IndexError):
        return None


def _check_content(signed: SignedData, signer: SignerInfo, digest: bytes, first: bytes, at: int) -> int | None:
    """The signed attributes speak of this content (RFC 5652 5.3, 11.1, 11.2); the signing time, if they have one."""
    if signer.unsigned is not None and any(der.oid(kind) in read_attributes(signer.unsigned) for kind in _ALWAYS_SIGNED):
        raise _BadError(Reason.BAD_SIGNATURE)
    if signer.attributes is None:
        # Without attributes the signature is over the content itself. Content that begins like a SET could be the
        # attributes of another message, signed for something else; no MIME entity begins so.
        if signed.content_type != der.oid(DATA) or first[:1] == b"\x31":
            raise _BadError(Reason.BAD_SIGNATURE)
        return None
    attributes = read_attributes(signer.attributes)
    if _single(attributes, CONTENT_TYPE) != signed.content_type:
        raise _BadError(Reason.BAD_SIGNATURE)
    claimed = der.read(_single(attributes, MESSAGE_DIGEST))
    if claimed.tag != der.OCTET_STRING or claimed.content != digest:
        raise _BadError(Reason.BAD_DIGEST)
    if der.oid(SIGNING_TIME) not in attributes:
        return None
    time = read_time(_single(attributes, SIGNING_TIME, Reason.SIGNING_TIME))
    if time is None or time > at + LATE:
        raise _BadError(Reason.SIGNING_TIME)
    return time


def _single(attributes: Attributes, kind: str, reason: Reason = Reason.BAD_SIGNATURE) -> bytes:
    """The one value of the one attribute of this type."""
    found = attributes.get(der.oid(kind), ())
    if len(found) != 1 or len(found[0]) != 1:
        raise _BadError(reason)
    return found[0][0]


def read_time(data: bytes) -> int | None:
    """Microseconds UTC of the CMS ``Time`` (RFC 5652 11.3) that is the DER ``data``; None where it is none."""
    item = der.read(data)
    text = item.content.decode("ascii", "replace")
    if item.tag == der.UTC_TIME and len(text) == 13:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif item.tag != der.GENERALIZED_TIME or len(text) != 15:
        return None
    if not (text.isascii() and text[:14].isdigit() and text[14] == "Z"):
        return None
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000


def _verifies(certificate: bytes, signer: SignerInfo, scheme: Scheme, digest: bytes) -> bool:
    """Whether the signature is by the key of ``certificate``. Raises :class:`GatewayError` for a key we do not accept."""
    key = identified(certificate).key
    algorithm: hashes.HashAlgorithm | Prehashed = HASHES[scheme.digest]
    data = signer.attributes
    if data is None:
        data, algorithm = digest, Prehashed(HASHES[scheme.digest])
    try:
        if scheme.family is Family.ECDSA:
            if not isinstance(key, ec.EllipticCurvePublicKey):
                return False
            key.verify(signer.signature, data, ec.ECDSA(algorithm))
        else:
            if not isinstance(key, rsa.RSAPublicKey):
                return False
            key.verify(signer.signature, data, _padding(scheme), algorithm)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _padding(scheme: Scheme) -> padding.PKCS1v15 | padding.PSS:
    if scheme.mask is None:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(HASHES[scheme.mask]), scheme.salt)
