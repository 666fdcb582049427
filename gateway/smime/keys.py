"""Private keys are two methods. A token behind a key agent, a key file and a test double are interchangeable."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol


class Digest(StrEnum):
    """Digest algorithms, by the name ``hashlib`` knows."""

    MD5 = "md5"
    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Mechanism(StrEnum):
    """How a signature is made. The salt of PSS is as long as its digest, its MGF1 uses the same digest (RFC 4056)."""

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    ECDSA_SHA512 = "ecdsa-sha512"
    ED25519 = "ed25519"


@lru_cache
def digest_of(mechanism: Mechanism) -> Digest:
    """The digest of a mechanism, by which the content is digested too (RFC 5652 5.3). Ed25519 leaves no choice (RFC 8419 3.1)."""
    return Digest.SHA512 if mechanism is Mechanism.ED25519 else Digest(mechanism.rpartition("-")[2])


def signed_input(to_be_signed: bytes, mechanism: Mechanism) -> bytes:
    """What the private key works on: the digest of ``to_be_signed``; all of it for Ed25519, which digests itself (RFC 8419 2.3)."""
    return to_be_signed if mechanism is Mechanism.ED25519 else hashlib.new(digest_of(mechanism), to_be_signed).digest()


@dataclass(frozen=True, slots=True)
class Pkcs1:
    """RSAES-PKCS1-v1_5 (RFC 8017 7.2). ``length`` is the size of the key inside, in bytes."""

    wrapped: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Oaep:
    """RSAES-OAEP (RFC 8017 7.1). ``length`` is the size of the key inside, in bytes."""

    wrapped: bytes
    length: int
    digest: Digest
    mgf: Digest
    label: bytes = b""


class Kdf(StrEnum):
    """How a key-wrap key is derived from what both sides agreed on."""

    X963 = "x963"  # RFC 5753 7
    HKDF = "hkdf"  # RFC 8418 2.2


class Wrap(StrEnum):
    """How the content-encryption key is wrapped by it."""

    AES = "aes"  # RFC 3394
    TRIPLE_DES = "des-ede3"  # RFC 3217 3


@dataclass(frozen=True, slots=True)
class Ecdh:
    """Ephemeral-static ECDH, KDF, key wrap (RFC 5753, 8418). ``originator`` is the DER SubjectPublicKeyInfo of the ephemeral key,
    on the recipient's curve; ``shared_info`` the DER ECC-CMS-SharedInfo; ``wrap_length`` the key-wrap key's size in bytes;
    ``salt`` is that of HKDF, empty where there is none.
    """

    wrapped: bytes
    length: int
    originator: bytes
    digest: Digest
    shared_info: bytes
    wrap_length: int
    kdf: Kdf = Kdf.X963
    wrap: Wrap = Wrap.AES
    salt: bytes = b""


WrappedKey = Pkcs1 | Oaep | Ecdh


class Signer(Protocol):
    """Signs."""

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        """The signature by the key named ``key`` over ``to_be_signed``, the DER of CMS SignedAttributes as a SET (RFC 5652 5.4).

        ECDSA answers in DER (Ecdsa-Sig-Value). Raises :class:`gateway.outcome.GatewayError` (KEY_UNAVAILABLE).
        """


class Unwrapper(Protocol):
    """Unwraps content-encryption keys."""

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        """The content-encryption key, ``wrapped.length`` bytes, by the private key named ``key``.

        Where padding, integrity or length is wrong the answer is a *random* key of that length, in the same time: the
        content then fails to open, and nobody outside learns which of the two it was (RFC 3218). Raises
        :class:`gateway.outcome.GatewayError` (KEY_UNAVAILABLE) when the key cannot be used at all.
        """
