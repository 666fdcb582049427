"""What CMS needs of a certificate: who it is (issuer and serial, byte for byte as issued) and its public key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import CURVES, EC_PUBLIC_KEY, ID_ECDH, MAX_EXPONENT, MAX_RSA, MIN_RSA, RSA_PSS, check_key
from gateway.smime.known import Strength

_FIELDS: Final = 10  # of a TBSCertificate (RFC 5280 4.1)
MIN_LEGACY_RSA: Final = 1024  # what mail of the time before 2010 was signed with and encrypted to
_BRAINPOOL: Final = frozenset({"brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1"})

EncryptionKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | x25519.X25519PublicKey
SigningPublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
ReadableKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey | dsa.DSAPublicKey


@dataclass(frozen=True, slots=True)
class Identified:
    """``issuer`` (Name), ``serial`` (INTEGER) and ``spki`` (SubjectPublicKeyInfo) are DER elements, cut from the certificate;
    ``issuer_and_serial`` is the IssuerAndSerialNumber made of two of them (RFC 5652 10.2.4).
    """

    issuer: bytes
    serial: bytes
    spki: bytes
    issuer_and_serial: bytes


@lru_cache(maxsize=4096)
def identified(certificate: bytes) -> Identified:
    """Who ``certificate`` (DER) says it is. Raises :class:`GatewayError` (MALFORMED)."""
    # Cut out, because printing a Name anew may change its string types, and readers compare bytes.
    tbs = next(iter(der.read(certificate)), ())
    fields = [field for field in islice(tbs, _FIELDS) if field.tag != der.CONTEXT_CONSTRUCTED + 0]
    if len(fields) < 6:
        raise GatewayError(Reason.MALFORMED, "not a certificate")
    issuer, serial, spki = fields[2].raw, fields[0].raw, fields[5].raw
    return Identified(issuer, serial, spki, der.sequence(issuer, serial))


@lru_cache(maxsize=4096)
def encryption_key(certificate: bytes) -> EncryptionKey:
    """The public key of ``certificate`` (DER), where we encrypt to such keys. One for PSS alone opens nothing (RFC 4055 1.2).

    Raises :class:`GatewayError` (MALFORMED, WEAK_ALGORITHM, UNSUPPORTED).
    """
    algorithm, *_ = next(iter(der.read(identified(certificate).spki)))
    if algorithm.raw == der.oid(RSA_PSS):
        raise GatewayError(Reason.UNSUPPORTED, "RSA key for PSS alone")
    key = any_key(certificate)
    if not isinstance(key, x25519.X25519PublicKey):
        return check_key(key)
    try:
        x25519.X25519PrivateKey.generate().exchange(key)
    except ValueError as error:  # a point of small order, with which everybody agrees on zero (RFC 7748 6.1)
        raise GatewayError(Reason.WEAK_ALGORITHM, "X25519 key of small order") from error
    return key


@lru_cache(maxsize=4096)
def signing_key(certificate: bytes) -> SigningPublicKey:
    """The public key of ``certificate`` (DER), where we sign by such keys.

    Raises :class:`GatewayError` (MALFORMED, WEAK_ALGORITHM, UNSUPPORTED).
    """
    if is_for_agreement(identified(certificate).spki):
        raise GatewayError(Reason.UNSUPPORTED, "key for ECDH alone")
    key = any_key(certificate)
    return key if isinstance(key, ed25519.Ed25519PublicKey) else check_key(key)


@lru_cache(maxsize=4096)
def readable_key(certificate: bytes, strength: Strength) -> ReadableKey:
    """The public key of ``certificate`` (DER), where we check what others signed by such keys and open what they encrypted to them.

    Raises :class:`GatewayError` (MALFORMED, WEAK_ALGORITHM, UNSUPPORTED).
    """
    key = any_key(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        least = MIN_RSA if strength is Strength.MODERN else MIN_LEGACY_RSA
        if not least <= key.key_size <= MAX_RSA or not 2 < key.public_numbers().e < MAX_EXPONENT:
            raise GatewayError(Reason.WEAK_ALGORITHM, f"RSA key of {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES and key.curve.name not in _BRAINPOOL:
            raise GatewayError(Reason.WEAK_ALGORITHM, f"curve {key.curve.name}")
    elif isinstance(key, dsa.DSAPublicKey):
        if strength is Strength.MODERN:
            raise GatewayError(Reason.WEAK_ALGORITHM, "DSA key")
    elif not isinstance(key, ed25519.Ed25519PublicKey | x25519.X25519PublicKey):
        raise GatewayError(Reason.UNSUPPORTED, "key of another kind")
    return key


def is_weak(key: ReadableKey) -> bool:
    """Whether ``key`` is one that only the legacy allowance reads."""
    return isinstance(key, dsa.DSAPublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA)


def is_for_agreement(spki: bytes) -> bool:
    """Whether the key of a SubjectPublicKeyInfo (DER) is for ECDH alone, and signs nothing: id-ecDH (RFC 5480 2.1.2)."""
    algorithm = next(iter(der.read(spki)), None)
    return algorithm is not None and algorithm.content.startswith(der.oid(ID_ECDH))


def agreement_algorithm(spki: bytes) -> bytes:
    """The AlgorithmIdentifier of a key that agrees, as ephemeral keys beside it have it: one for ECDH alone is named as any key on
    its curve. Raises :class:`GatewayError` (MALFORMED).
    """
    algorithm = next(iter(der.read(spki)))
    if not is_for_agreement(spki):
        return algorithm.raw
    return der.sequence(der.oid(EC_PUBLIC_KEY), *algorithm.items()[1:])


def any_key(certificate: bytes) -> PublicKeyTypes:
    """The public key of ``certificate`` (DER), whatever it is for. Raises :class:`GatewayError` (MALFORMED, UNSUPPORTED)."""
    spki = identified(certificate).spki
    try:
        if is_for_agreement(spki):  # a name that the library does not know
            return load_der_public_key(der.sequence(agreement_algorithm(spki), *der.read(spki).items()[1:]))
        return x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
        raise GatewayError(Reason.UNSUPPORTED, "certificate whose key cannot be read") from error
