"""The algorithms we use and know: object identifiers, what a key may be, how each mechanism is written (RFC 5754, 5753, 8551)."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.keys import Digest, Mechanism, digest_of

# Content types (RFC 5652, 5083)
DATA: Final = "1.2.840.113549.1.7.1"
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
ENVELOPED_DATA: Final = "1.2.840.113549.1.7.3"
AUTH_ENVELOPED_DATA: Final = "1.2.840.113549.1.9.16.1.23"

# Signed attributes (RFC 5652 11, 5035, 8551 2.5)
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
SMIME_CAPABILITIES: Final = "1.2.840.113549.1.9.15"
ENCRYPTION_KEY_PREFERENCE: Final = "1.2.840.113549.1.9.16.2.11"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"

# Digests (RFC 5754 2)
SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
DIGESTS: Final = {Digest.SHA256: SHA256, Digest.SHA384: SHA384, Digest.SHA512: SHA512}
HASHES: Final[dict[Digest, hashes.HashAlgorithm]] = {
    Digest.MD5: hashes.MD5(),  # noqa: S303 - to read old mail, under the legacy allowance
    Digest.SHA1: hashes.SHA1(),  # noqa: S303
    Digest.SHA224: hashes.SHA224(),
    Digest.SHA256: hashes.SHA256(),
    Digest.SHA384: hashes.SHA384(),
    Digest.SHA512: hashes.SHA512(),
}
MICALG: Final = {Digest.SHA256: "sha-256", Digest.SHA384: "sha-384", Digest.SHA512: "sha-512"}  # RFC 8551 3.5.3.2

# Signatures
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSA_PSS: Final = "1.2.840.113549.1.1.10"
MGF1: Final = "1.2.840.113549.1.1.8"
RSA_SHA256: Final = "1.2.840.113549.1.1.11"
RSA_SHA384: Final = "1.2.840.113549.1.1.12"
RSA_SHA512: Final = "1.2.840.113549.1.1.13"
ECDSA_SHA256: Final = "1.2.840.10045.4.3.2"
ECDSA_SHA384: Final = "1.2.840.10045.4.3.3"
ECDSA_SHA512: Final = "1.2.840.10045.4.3.4"
ED25519: Final = "1.3.101.112"

# Keys on curves (RFC 5480 2.1)
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
ID_ECDH: Final = "1.3.132.1.12"

# Content encryption (RFC 3565, 5084)
AES128_CBC: Final = "2.16.840.1.101.3.4.1.2"
AES256_CBC: Final = "2.16.840.1.101.3.4.1.42"
AES128_GCM: Final = "2.16.840.1.101.3.4.1.6"
AES256_GCM: Final = "2.16.840.1.101.3.4.1.46"

# Key management (RFC 3560, 5753, 8418, 3565)
RSA_OAEP: Final = "1.2.840.113549.1.1.7"
P_SPECIFIED: Final = "1.2.840.113549.1.1.9"
ECDH_SHA256: Final = "1.3.132.1.11.1"
ECDH_SHA384: Final = "1.3.132.1.11.2"
ECDH_SHA512: Final = "1.3.132.1.11.3"
ECDH_HKDF_SHA256: Final = "1.2.840.113549.1.9.16.3.19"
AES128_WRAP: Final = "2.16.840.1.101.3.4.1.5"
AES256_WRAP: Final = "2.16.840.1.101.3.4.1.45"

# Key limits (docs/limits.md)
MIN_RSA: Final = 2048
MAX_RSA: Final = 8192
MAX_EXPONENT: Final = 2**33
CURVES: Final = {"secp256r1": Digest.SHA256, "secp384r1": Digest.SHA384, "secp521r1": Digest.SHA512}
ECDH_OF_CURVE: Final = {"secp256r1": ECDH_SHA256, "secp384r1": ECDH_SHA384, "secp521r1": ECDH_SHA512}


class ContentCipher(StrEnum):
    """How content is encrypted, the weakest first. GCM is for readers known to open it: AuthEnvelopedData (RFC 5083)."""

    AES256_CBC = "aes256-cbc"
    AES256_GCM = "aes256-gcm"


class KeyTransport(StrEnum):
    """How a content-encryption key goes to an RSA reader, the weakest first. Every reader knows PKCS #1 v1.5; OAEP is for some."""

    PKCS1 = "rsa-pkcs1"
    OAEP_SHA256 = "rsa-oaep-sha256"


def check_key(key: object) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """``key``, when it is an RSA or EC public key within our limits. Raises :class:`GatewayError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        if not MIN_RSA <= key.key_size <= MAX_RSA or not 2 < exponent < MAX_EXPONENT:
            raise GatewayError(Reason.WEAK_ALGORITHM, f"RSA key of {key.key_size} bits")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise GatewayError(Reason.WEAK_ALGORITHM, f"curve {key.curve.name}")
        return key
    raise GatewayError(Reason.UNSUPPORTED, "key that is neither RSA nor EC")


@lru_cache
def digest_identifier(digest: Digest) -> bytes:
    """AlgorithmIdentifier of a digest, without parameters (RFC 5754 2)."""
    return der.sequence(der.oid(DIGESTS[digest]))


@lru_cache
def signature_identifier(mechanism: Mechanism) -> bytes:
    """AlgorithmIdentifier of a signature (RFC 5754 3, RFC 4056 3, RFC 8419 2.2)."""
    if mechanism in _CURVES:
        return der.sequence(der.oid(_CURVES[mechanism]))
    if mechanism in _RSA:
        return der.sequence(der.oid(_RSA[mechanism]), der.NULL)
    digest = digest_of(mechanism)
    parameters = der.sequence(
        der.element(der.CONTEXT_CONSTRUCTED + 0, digest_identifier(digest)),
        der.element(der.CONTEXT_CONSTRUCTED + 1, _mgf1(digest)),
        der.element(der.CONTEXT_CONSTRUCTED + 2, der.integer(HASHES[digest].digest_size)),
    )
    return der.sequence(der.oid(RSA_PSS), parameters)


def oaep_identifier(digest: Digest) -> bytes:
    """AlgorithmIdentifier of RSAES-OAEP with ``digest`` for both label and mask (RFC 3560 3)."""
    parameters = der.sequence(
        der.element(der.CONTEXT_CONSTRUCTED + 0, digest_identifier(digest)),
        der.element(der.CONTEXT_CONSTRUCTED + 1, _mgf1(digest)),
    )
    return der.sequence(der.oid(RSA_OAEP), parameters)


def _mgf1(digest: Digest) -> bytes:
    return der.sequence(der.oid(MGF1), digest_identifier(digest))


_RSA: Final = {
    Mechanism.RSA_PKCS1_SHA256: RSA_SHA256,
    Mechanism.RSA_PKCS1_SHA384: RSA_SHA384,
    Mechanism.RSA_PKCS1_SHA512: RSA_SHA512,
}
_CURVES: Final = {
    Mechanism.ECDSA_SHA256: ECDSA_SHA256,
    Mechanism.ECDSA_SHA384: ECDSA_SHA384,
    Mechanism.ECDSA_SHA512: ECDSA_SHA512,
    Mechanism.ED25519: ED25519,
}
