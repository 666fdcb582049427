"""Checks signatures over content whose digest is known (RFC 5652 5.6). Whether to believe the signer is not asked here.

``needed`` says which digests of the content to compute, ``beginning`` how much of it to keep; ``check`` then gives one answer for
each signer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import (
    CONTENT_TYPE,
    DATA,
    ED25519,
    ENCRYPTION_KEY_PREFERENCE,
    HASHES,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    SMIME_CAPABILITIES,
)
from gateway.smime.attributes import (
    ALGORITHM_PROTECTION,
    SIGNING_CERTIFICATE,
    Attributes,
    Named,
    RepeatedError,
    algorithms_agree,
    named_certificates,
    single,
)
from gateway.smime.certificate import ReadableKey, identified, is_weak, readable_key
from gateway.smime.cms import CertificateId, SignedData, SignerInfo, read_attributes
from gateway.smime.decrypt import names_of
from gateway.smime.keys import Digest
from gateway.smime.known import Strength
from gateway.smime.limits import MAX_NAMESAKES
from gateway.smime.schemes import Family, Scheme, digest_of, permits, scheme_of

# Bytes of content that is held in memory, because a signature is over it and no digest of it. Each such signature reads all of it,
# for each certificate that may be the signer's: as many of both as are allowed, in eight layers, take a second.
MAX_PURE: Final = 1024 * 1024
LATE: Final = 24 * 3600 * 1_000_000  # microseconds a signing time may lie in the future: clocks, not calendars, may be wrong

# RFC 5652 11, RFC 2634 5.4, RFC 5035 3, RFC 6211 2
_ALWAYS_SIGNED: Final = frozenset(
    map(der.oid, (CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME, SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2, ALGORITHM_PROTECTION))
)


class Signature(StrEnum):
    """What a signature is by itself."""

    GOOD = "good"
    BAD = "bad"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Checked:
    """One signer. ``certificate`` is DER, None where the message holds none; ``time`` is the signing time, microseconds UTC.

    ``reason`` is None exactly where ``signature`` is GOOD and proves something: a good one by weak means has WEAK_ALGORITHM,
    and one over content that is no MIME entity UNSUPPORTED. ``capabilities`` and ``preference`` are the DER of SMIMECapabilities
    and of SMIMEEncryptionKeyPreference as they came, of a GOOD one that has them once.
    """

    signature: Signature
    certificate: bytes | None
    reason: Reason | None = None
    scheme: str = ""
    time: int | None = None
    capabilities: bytes | None = None
    preference: bytes | None = None


Over = tuple[bytes, hashes.HashAlgorithm | Prehashed]
"""What a signature is over, or its digest; and by what it is digested."""


class _BadError(Exception):
    """The signature is bad for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def needed(signed: SignedData, strength: Strength = Strength.MODERN) -> frozenset[Digest]:
    """The digests by which the signers digested the content; those we do not use are left out."""
    found = set()
    for signer in signed.signers:
        try:
            found.add(digest_of(signer.digest, strength))
        except GatewayError:
            continue
    return frozenset(found)


def beginning(signed: SignedData) -> int:
    """How many bytes of the content, or all of it where it has less, to keep from its start: one; or, for a signer who signed by
    Ed25519 without attributes, and so the content and no digest of it (RFC 8419 3.2), as many as are ever kept.
    """
    pure = any(signer.attributes is None and signer.algorithm.oid == der.oid(ED25519) for signer in signed.signers)
    return MAX_PURE if pure else 1


def check(
    signed: SignedData, digests: Mapping[Digest, bytes], first: bytes, at: int, strength: Strength = Strength.MODERN
) -> tuple[Checked, ...]:
    """One answer for each signer, in order. ``digests`` are those of :func:`needed`; ``first`` is how the content begins,
    as far as :func:`beginning` says; ``at`` is now, in microseconds UTC; ``strength``: how weak a signature may be to be checked.
    """
    return tuple(_check(signed, signer, digests, first, at, strength) for signer in signed.signers)


def _check(
    signed: SignedData, signer: SignerInfo, digests: Mapping[Digest, bytes], first: bytes, at: int, strength: Strength
) -> Checked:
    candidates = [certificate for certificate in dict.fromkeys(signed.certificates) if _is(certificate, signer.signer)]
    certificate, scheme, time = candidates[0] if candidates else None, "", None
    try:
        known = scheme_of(signer.digest, signer.algorithm, strength)
        scheme = known.name
        digest = digests[known.digest]
        attributes = None if signer.attributes is None else read_attributes(signer.attributes)
        time = _check_content(signed, signer, attributes, digest, first, at)
        named = () if attributes is None else named_certificates(attributes)
        certificate = _signer_of(candidates, named, signer, known, _over(signer, known, digest, first), strength)
    except _BadError as error:
        return Checked(Signature.BAD, certificate, error.reason, scheme, time)
    except GatewayError as error:
        if error.reason is Reason.MALFORMED:
            return Checked(Signature.BAD, certificate, Reason.BAD_SIGNATURE, scheme, time)
        return Checked(Signature.UNSUPPORTED, certificate, error.reason, scheme, time)
    why = _proves_nothing(signed, certificate, known, strength)
    said = [_said(attributes, kind) for kind in (SMIME_CAPABILITIES, ENCRYPTION_KEY_PREFERENCE)]
    return Checked(Signature.GOOD, certificate, why, scheme, time, *said)


def _said(attributes: Attributes | None, kind: str) -> bytes | None:
    """The value of an attribute that is there once, with one value."""
    said = () if attributes is None else attributes.get(der.oid(kind), ())
    return said[0][0] if [len(values) for values in said] == [1] else None


def _proves_nothing(signed: SignedData, certificate: bytes, scheme: Scheme, strength: Strength) -> Reason | None:
    """Why a good signature proves nothing about a mail, if so: it was made for something else, or by weak means."""
    if signed.content_type != der.oid(DATA):
        return Reason.UNSUPPORTED  # a MIME entity is id-data (RFC 8551 2.4.1); a time stamp or a receipt is no mail of its signer's
    return Reason.WEAK_ALGORITHM if scheme.weak or is_weak(readable_key(certificate, strength)) else None


def _signer_of(
    candidates: list[bytes], named: tuple[Named, ...], signer: SignerInfo, scheme: Scheme, over: Over, strength: Strength
) -> bytes:
    """The certificate whose key made the signature. Two may bear one name; it is the key that tells which is the signer's, and
    where the signer ``named`` his certificate, another with the same key is not his.
    """
    if not candidates:
        raise GatewayError(Reason.NO_SIGNER_CERTIFICATE)
    if len(candidates) > MAX_NAMESAKES:
        raise GatewayError(Reason.LIMIT, f"more than {MAX_NAMESAKES} certificates that may be the signer's")
    for item in candidates:
        if not all(each.is_of(item) for each in named):
            continue
        key = readable_key(item, strength)
        if permits(identified(item).spki, scheme) and verifies(key, signer.signature, over[0], scheme, over[1]):
            return item
    raise _BadError(Reason.BAD_SIGNATURE)


def _is(certificate: bytes, wanted: CertificateId) -> bool:
    try:
        return wanted in names_of(certificate)
    except GatewayError:
        return False


def _check_content(
    signed: SignedData, signer: SignerInfo, attributes: Attributes | None, digest: bytes, first: bytes, at: int
) -> int | None:
    """The signed attributes speak of this content (RFC 5652 5.3, 11.1, 11.2); the signing time, if they have one."""
    if signer.unsigned is not None and not _ALWAYS_SIGNED.isdisjoint(read_attributes(signer.unsigned)):
        raise _BadError(Reason.BAD_SIGNATURE)
    if attributes is None:
        # Without attributes the signature is over the content itself. Content that begins like a SET could be the
        # attributes of another message, signed for something else; no MIME entity begins so.
        if signed.content_type != der.oid(DATA) or first[:1] == b"\x31":
            raise _BadError(Reason.BAD_SIGNATURE)
        return None
    if single(attributes, CONTENT_TYPE) != signed.content_type or not algorithms_agree(attributes, signer):
        raise _BadError(Reason.BAD_SIGNATURE)
    claimed = der.read(single(attributes, MESSAGE_DIGEST))
    if claimed.tag != der.OCTET_STRING or claimed.content != digest:
        raise _BadError(Reason.BAD_DIGEST)
    return _signing_time(attributes, at)


def _signing_time(attributes: Attributes, at: int) -> int | None:
    if der.oid(SIGNING_TIME) not in attributes:
        return None
    try:
        time = read_time(single(attributes, SIGNING_TIME))
    except RepeatedError as error:
        raise _BadError(Reason.SIGNING_TIME) from error
    if time is None or time > at + LATE:
        raise _BadError(Reason.SIGNING_TIME)
    return time


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
        moment = datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000


def _over(signer: SignerInfo, scheme: Scheme, digest: bytes, first: bytes) -> Over:
    """What the signature is over. Raises :class:`GatewayError` (LIMIT)."""
    if signer.attributes is not None:
        return signer.attributes, HASHES[scheme.digest]
    if scheme.family is not Family.ED25519:
        return digest, Prehashed(HASHES[scheme.digest])
    if hashlib.new(scheme.digest, first).digest() != digest:  # the content goes on behind what was kept of it
        raise GatewayError(Reason.LIMIT, f"more than {MAX_PURE} bytes signed by Ed25519 without attributes")
    return first, HASHES[scheme.digest]


def verifies(key: ReadableKey, signature: bytes, data: bytes, scheme: Scheme, algorithm: hashes.HashAlgorithm | Prehashed) -> bool:
    """Whether ``signature`` over ``data`` is by ``key``. ``algorithm``: the digest of ``scheme``, also where ``data`` is one."""
    try:
        match scheme.family, key:
            case ((Family.RSA_PKCS1 | Family.RSA_PSS), rsa.RSAPublicKey()):
                key.verify(signature, data, _padding(scheme), algorithm)
            case Family.ECDSA, ec.EllipticCurvePublicKey():
                key.verify(signature, data, ec.ECDSA(algorithm))
            case Family.ED25519, ed25519.Ed25519PublicKey():
                key.verify(signature, data)
            case Family.DSA, dsa.DSAPublicKey():
                key.verify(signature, data, algorithm)
            case _:
                return False
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _padding(scheme: Scheme) -> padding.PKCS1v15 | padding.PSS:
    if scheme.mask is None:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(HASHES[scheme.mask]), scheme.salt)
