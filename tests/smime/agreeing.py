"""Messages whose key was agreed on, put together step by step from RFC 5753 and RFC 8418, for what no program at hand writes."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.smime import der
from gateway.smime.keys import Digest, Ecdh, Kdf
from tests.smime import ber

WRAPS: Final = {16: "2.16.840.1.101.3.4.1.5", 24: "2.16.840.1.101.3.4.1.25", 32: "2.16.840.1.101.3.4.1.45"}
X963: Final = {
    "sha1": "1.3.133.16.840.63.0.2",
    "sha224": "1.3.132.1.11.0",
    "sha256": "1.3.132.1.11.1",
    "sha384": "1.3.132.1.11.2",
    "sha512": "1.3.132.1.11.3",
}
HKDF: Final = {
    "sha256": "1.2.840.113549.1.9.16.3.19",
    "sha384": "1.2.840.113549.1.9.16.3.20",
    "sha512": "1.2.840.113549.1.9.16.3.21",
}

# Points of small order: each agrees on zero with every private key (RFC 7748 6.1)
SMALL_ORDER: Final = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]
CEK: Final = bytes(range(32))


def x963(digest: str, secret: bytes, info: bytes, length: int) -> bytes:
    """SEC 1 3.6.1."""
    blocks = (hashlib.new(digest, secret + count.to_bytes(4) + info).digest() for count in range(1, 4))
    return b"".join(blocks)[:length]


def hkdf(digest: str, secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 2.2 and 2.3, for no more than one block."""
    key = hmac.digest(salt or bytes(hashlib.new(digest).digest_size), secret, digest)
    return hmac.digest(key, info + b"\1", digest)[:length]


def shared_info(wrap: int, material: bytes | None) -> bytes:
    """ECC-CMS-SharedInfo (RFC 5753 7.2)."""
    entity = b"" if material is None else der.element(0xA0, der.octet_string(material))
    return der.sequence(_wrap(wrap), entity, der.element(0xA2, der.octet_string((wrap * 8).to_bytes(4))))


def message(
    certificate: x509.Certificate,
    content: bytes,
    scheme: str,
    *,
    digest: str = "sha256",
    wrap: int = 16,
    material: bytes | None = None,
    point: bytes | None = None,
) -> bytes:
    """EnvelopedData for the key of ``certificate``: ``scheme`` is the object identifier, HKDF where it is one of RFC 8418.

    ``point`` stands where the sender's public key belongs, in place of it.
    """
    public = certificate.public_key()
    secret, sent = _agree(public)
    info = shared_info(wrap, material)
    salt = material or b""  # RFC 8418 2.2: the ukm is the salt as well
    kek = hkdf(digest, secret, salt, info, wrap) if scheme in HKDF.values() else x963(digest, secret, info, wrap)
    return enveloped(certificate, content, scheme, kek, material=material, point=point or sent)


def enveloped(
    certificate: x509.Certificate, content: bytes, scheme: str, kek: bytes, *, material: bytes | None = None, point: bytes
) -> bytes:
    """EnvelopedData whose key is wrapped with ``kek``."""
    key, vector = os.urandom(32), os.urandom(16)
    padder, cipher = PKCS7(128).padder(), Cipher(AES(key), CBC(vector)).encryptor()
    ciphertext = cipher.update(padder.update(content) + padder.finalize()) + cipher.finalize()
    name = der.sequence(certificate.issuer.public_bytes(), der.integer(certificate.serial_number))
    algorithm = next(iter(der.read(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))).raw
    originator = der.element(0xA1, algorithm, der.element(0x03, b"\0" + point))
    recipient = der.element(
        0xA1,
        der.integer(3),
        der.element(0xA0, originator),
        b"" if material is None else der.element(0xA1, der.octet_string(material)),
        der.sequence(der.oid(scheme), _wrap(len(kek))),
        der.sequence(der.sequence(name, der.octet_string(aes_key_wrap(kek, key)))),
    )
    encryption = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octet_string(vector))
    encrypted = der.sequence(ber.DATA, encryption, der.element(0x80, ciphertext))
    inside = der.sequence(der.integer(2), der.set_of(recipient), encrypted)
    return der.sequence(ber.ENVELOPED, der.element(0xA0, inside))


def agreed_x25519(public: x25519.X25519PublicKey, kdf: Kdf, salt: bytes) -> Ecdh:
    """What a sender does (RFC 8418 2), with a key of 32 bytes."""
    ephemeral = x25519.X25519PrivateKey.generate()
    shared = ephemeral.exchange(public)
    derived = {Kdf.X963: x963("sha256", shared, b"info", 16), Kdf.HKDF: hkdf("sha256", shared, salt, b"info", 16)}
    info = ephemeral.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Ecdh(aes_key_wrap(derived[kdf], CEK), 32, info, Digest.SHA256, b"info", 16, kdf, salt=salt)


def _agree(public: object) -> tuple[bytes, bytes]:
    """The shared secret with a fresh key of the sender, and its public half as it is sent."""
    if isinstance(public, x25519.X25519PublicKey):
        ephemeral = x25519.X25519PrivateKey.generate()
        return ephemeral.exchange(public), ephemeral.public_key().public_bytes_raw()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    on_curve = ec.generate_private_key(public.curve)
    sent = on_curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return on_curve.exchange(ec.ECDH(), public), sent


def _wrap(length: int) -> bytes:
    return der.sequence(der.oid(WRAPS[length]))
