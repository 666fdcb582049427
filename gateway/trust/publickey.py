"""The public key of a certificate: of which kind it is, how strong, and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asn1crypto import parser
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

_ID_ECDH: Final = "1.3.132.1.12"  # RFC 5480 2.1.2
_EC_PUBLIC_KEY: Final = bytes.fromhex("06072a8648ce3d0201")  # RFC 5480 2.1.1
_VERSION: Final = b"\xa0"
_BEFORE_KEY: Final = 5  # serialNumber, signature, issuer, validity, subject (RFC 5280 4.1)
_KINDS: Final = {
    "ed25519": ed25519.Ed25519PublicKey,
    "ed448": ed448.Ed448PublicKey,
    "x25519": x25519.X25519PublicKey,
    "x448": x448.X448PublicKey,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``kind`` is ``rsa``, ``ec``, ``ecdh`` (on a curve, for key agreement alone), ``ed25519``, ``ed448``, ``x25519``, ``x448`` or
    ``other``; ``bits`` the size of RSA and EC; ``exponent`` of RSA; ``curve`` the name of an EC curve, or "" where the certificate
    spells out its parameters.
    """

    kind: str
    bits: int = 0
    exponent: int = 0
    curve: str = ""


def public_key(certificate: x509.Certificate) -> PublicKey:
    """What key ``certificate`` has."""
    agrees = _only_agrees(certificate)
    try:
        info = _as_any_on_its_curve(certificate) if agrees else b""
        key = load_der_public_key(info) if agrees else certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return PublicKey("other")
    if isinstance(key, rsa.RSAPublicKey):
        return PublicKey("rsa", key.key_size, key.public_numbers().e)
    if isinstance(key, ec.EllipticCurvePublicKey):
        # The library takes a known curve spelt out as parameters (RFC 5480 2.1.1 forbids them): only if the key as a named
        # curve writes it stands in the certificate was it named there.
        named = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) in (info or certificate.tbs_certificate_bytes)
        return PublicKey("ecdh" if agrees else "ec", key.key_size, curve=key.curve.name if named else "")
    return PublicKey(next((kind for kind, type_ in _KINDS.items() if isinstance(key, type_)), "other"))


def public_key_bytes(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo (DER). Raises ValueError or the library's UnsupportedAlgorithm for a key of no known kind."""
    if _only_agrees(certificate):
        return _info(certificate)
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _only_agrees(certificate: x509.Certificate) -> bool:
    return certificate.public_key_algorithm_oid.dotted_string == _ID_ECDH


def _as_any_on_its_curve(certificate: x509.Certificate) -> bytes:
    """The key, which is named as one for ECDH alone, named as the library knows it. Raises ValueError."""
    algorithm, key = _items(_info(certificate))
    _, *parameters = _items(algorithm)
    return _sequence(_sequence(_EC_PUBLIC_KEY, *parameters), key)


def _info(certificate: x509.Certificate) -> bytes:
    fields = _items(certificate.tbs_certificate_bytes)
    return fields[_BEFORE_KEY + fields[0].startswith(_VERSION)]


def _items(data: bytes) -> list[bytes]:
    """The elements inside the constructed one that ``data`` is. Raises ValueError."""
    content = parser.parse(data)[4]
    found: list[bytes] = []
    while content:
        _, _, _, *written = parser.parse(content)
        found.append(b"".join(written))
        content = content[len(found[-1]) :]
    return found


def _sequence(*items: bytes) -> bytes:
    written: bytes = parser.emit(0, 1, 16, b"".join(items))
    return written
