"""What follows an ECDH operation, and what must be checked before it (RFC 5753): points, X9.63 KDF, AES key unwrap. Pure."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Ecdh


def originator(wrapped: Ecdh, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    """The sender's ephemeral public key, its point checked to lie on ``curve``.

    A key that is not one on ``curve`` is replaced by a fresh one, so that the operation runs all the same and what comes out
    opens nothing: a private key is never multiplied with a point of another curve.
    """
    try:
        key = load_der_public_key(wrapped.originator)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve.name:
        return key
    return ec.generate_private_key(curve).public_key()


def open_agreed(secret: bytes, wrapped: Ecdh, instead: bytes) -> bytes:
    """The wrapped key, from the x-coordinate both sides agreed on; ``instead`` where integrity or length is wrong."""
    derivation = X963KDF(algorithm=HASHES[wrapped.digest], length=wrapped.wrap_length, sharedinfo=wrapped.shared_info)
    try:
        found = aes_key_unwrap(derivation.derive(secret), wrapped.wrapped)
    except InvalidUnwrap:
        return instead
    return found if len(found) == len(instead) else instead
