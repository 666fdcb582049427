"""Writes RecipientInfos (RFC 5652 6.2): one content-encryption key wrapped for each reader, by the kind of the reader's key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import (
    AES256_WRAP,
    CURVES,
    ECDH_HKDF_SHA256,
    ECDH_OF_CURVE,
    HASHES,
    RSA_ENCRYPTION,
    KeyTransport,
    oaep_identifier,
)
from gateway.smime.certificate import Identified, encryption_key, identified
from gateway.smime.keys import Digest

WRAP_LENGTH: Final = 32
KEY_AGREEMENT: Final = der.CONTEXT_CONSTRUCTED + 1
_WRAP: Final = der.sequence(der.oid(AES256_WRAP))
_RSA: Final = der.sequence(der.oid(RSA_ENCRYPTION), der.NULL)
_PADDINGS: Final = {
    KeyTransport.PKCS1: padding.PKCS1v15(),
    KeyTransport.OAEP_SHA256: padding.OAEP(padding.MGF1(HASHES[Digest.SHA256]), HASHES[Digest.SHA256], None),
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody to encrypt to. ``certificate`` is DER and was judged usable; ``transport`` counts for RSA keys."""

    certificate: bytes
    transport: KeyTransport = KeyTransport.PKCS1


def recipient_infos(readers: Sequence[Reader], key: bytes) -> bytes:
    """RecipientInfos: the SET OF them, for ``key``. Raises :class:`GatewayError` for no readers or a key we do not encrypt to.

    The randomness of paddings and ephemeral keys is the cryptographic library's own.
    """
    if not readers:
        raise GatewayError(Reason.NO_CERTIFICATE, "encryption to nobody")
    return der.set_of(*(_recipient_info(reader, key) for reader in readers))


def version(readers: Sequence[Reader]) -> int:
    """The CMSVersion of EnvelopedData (RFC 5652 6.1): 2 as soon as a key is agreed on."""
    return 0 if all(isinstance(encryption_key(reader.certificate), rsa.RSAPublicKey) for reader in readers) else 2


def read_readers(infos: bytes) -> list[bytes]:
    """The IssuerAndSerialNumber of each RecipientInfo in the DER of RecipientInfos, in its order.

    Reads the two forms we write. Raises :class:`GatewayError` (MALFORMED) for any other.
    """
    found: list[bytes] = []
    for info in der.read(infos).parts():
        fields = info.items()
        if info.tag == der.SEQUENCE and len(fields) == 4:
            found.append(fields[1])
        elif info.tag == KEY_AGREEMENT and len(fields) == 4:
            found.extend(encrypted.items()[0] for encrypted in der.read(fields[3]))
        else:
            raise GatewayError(Reason.MALFORMED, "unexpected form of RecipientInfo")
    return found


def _recipient_info(reader: Reader, key: bytes) -> bytes:
    public = encryption_key(reader.certificate)
    if isinstance(public, rsa.RSAPublicKey):
        return _transported(reader, public, key)
    return _agreed(identified(reader.certificate), public, key)


def _transported(reader: Reader, public: rsa.RSAPublicKey, key: bytes) -> bytes:
    """KeyTransRecipientInfo (RFC 5652 6.2.1)."""
    wrapped = public.encrypt(key, _PADDINGS[reader.transport])
    return der.sequence(_before_wrapped(reader.certificate, reader.transport), der.octet_string(wrapped))


@lru_cache(maxsize=4096)
def _before_wrapped(certificate: bytes, transport: KeyTransport) -> bytes:
    """What of a KeyTransRecipientInfo is the same in every mail: version, who, by which algorithm."""
    algorithm = oaep_identifier(Digest.SHA256) if transport is KeyTransport.OAEP_SHA256 else _RSA
    return der.integer(0) + identified(certificate).issuer_and_serial + algorithm


def _agreed(person: Identified, public: ec.EllipticCurvePublicKey | x25519.X25519PublicKey, key: bytes) -> bytes:
    """KeyAgreeRecipientInfo with an ephemeral key of ours (RFC 5753 3.1, RFC 8418 3)."""
    agreed = _agreed_x25519(public) if isinstance(public, x25519.X25519PublicKey) else _agreed_on_curve(public)
    originator = der.read(agreed.ephemeral.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    encrypted = der.sequence(person.issuer_and_serial, der.octet_string(aes_key_wrap(agreed.wrapping, key)))
    return der.element(
        KEY_AGREEMENT,
        der.integer(3),
        # OriginatorPublicKey is a SubjectPublicKeyInfo under the tag [1]; its curve is named (RFC 5753 3.1.1)
        der.element(der.CONTEXT_CONSTRUCTED + 0, der.element(der.CONTEXT_CONSTRUCTED + 1, originator.content)),
        der.sequence(der.oid(agreed.scheme), _WRAP),
        der.sequence(encrypted),
    )


@dataclass(frozen=True, slots=True)
class _Agreed:
    """Our ephemeral public key, the key-wrap key that both sides come to, and the object identifier of how."""

    ephemeral: ec.EllipticCurvePublicKey | x25519.X25519PublicKey
    wrapping: bytes
    scheme: str


def _agreed_on_curve(public: ec.EllipticCurvePublicKey) -> _Agreed:
    ephemeral, curve = ec.generate_private_key(public.curve), public.curve.name
    wrapping = X963KDF(HASHES[CURVES[curve]], WRAP_LENGTH, shared_info()).derive(ephemeral.exchange(ec.ECDH(), public))
    return _Agreed(ephemeral.public_key(), wrapping, ECDH_OF_CURVE[curve])


def _agreed_x25519(public: x25519.X25519PublicKey) -> _Agreed:
    """By HKDF, which without ukm has no salt (RFC 8418 2.2)."""
    ephemeral = x25519.X25519PrivateKey.generate()
    wrapping = HKDF(HASHES[Digest.SHA256], WRAP_LENGTH, None, shared_info()).derive(ephemeral.exchange(public))
    return _Agreed(ephemeral.public_key(), wrapping, ECDH_HKDF_SHA256)


def shared_info() -> bytes:
    """ECC-CMS-SharedInfo (RFC 5753 7.2) for an AES-256 key-wrap key and no ukm."""
    length = der.element(der.CONTEXT_CONSTRUCTED + 2, der.octet_string((WRAP_LENGTH * 8).to_bytes(4)))
    return der.sequence(_WRAP, length)
