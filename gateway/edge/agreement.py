"""What follows an ECDH operation, and what must be checked before it (RFC 5753, 8418): points, KDF, key unwrap. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Ecdh, Kdf, Wrap

_TRIPLE_DES_VECTOR: Final = bytes.fromhex("4adda22c79e82105")  # RFC 3217 3.1


def originator(wrapped: Ecdh, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    """The sender's ephemeral public key, its point checked to lie on ``curve``.

    A key that is not one on ``curve`` is replaced by a fresh one, so that the operation runs all the same and what comes out
    opens nothing: a private key is never multiplied with a point of another curve.
    """
    key = _public_key(wrapped)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve.name:
        return key
    return ec.generate_private_key(curve).public_key()


def originator_x25519(wrapped: Ecdh) -> x25519.X25519PublicKey:
    """The sender's ephemeral public key; a fresh one, as above, in place of one that is none, or is of small order.

    With such a one every private key agrees on zero (RFC 7748 6.1, RFC 8418 2), also that of nobody's which is tried here: a
    token never sees it, whose own operation would fail like that of a token that is gone.
    """
    key, nobody = _public_key(wrapped), x25519.X25519PrivateKey.generate()
    try:
        if isinstance(key, x25519.X25519PublicKey):
            nobody.exchange(key)
            return key
    except ValueError:
        pass  # the library refuses the all-zero secret
    return nobody.public_key()


def _public_key(wrapped: Ecdh) -> object:
    try:
        return load_der_public_key(wrapped.originator)
    except (ValueError, UnsupportedAlgorithm):
        return None


def open_agreed(secret: bytes, wrapped: Ecdh, instead: bytes) -> bytes:
    """The wrapped key, from what both sides agreed on (EC: the x-coordinate); ``instead`` where integrity or length is wrong."""
    try:
        found = _unwrapped(_derived(secret, wrapped), wrapped)
    except InvalidUnwrap:
        return instead
    return found if len(found) == len(instead) else instead


def _derived(secret: bytes, wrapped: Ecdh) -> bytes:
    algorithm, length, info = HASHES[wrapped.digest], wrapped.wrap_length, wrapped.shared_info
    if wrapped.kdf is Kdf.HKDF:
        return HKDF(algorithm, length, wrapped.salt or None, info).derive(secret)
    return X963KDF(algorithm, length, info).derive(secret)


def _unwrapped(key: bytes, wrapped: Ecdh) -> bytes:
    return aes_key_unwrap(key, wrapped.wrapped) if wrapped.wrap is Wrap.AES else _triple_des_unwrapped(key, wrapped.wrapped)


def _triple_des_unwrapped(key: bytes, wrapped: bytes) -> bytes:
    """RFC 3217 3.2. Raises ``InvalidUnwrap``. The parity of DES keys is not looked at, as nowhere else."""
    if len(wrapped) < 24 or len(wrapped) % 8:
        raise InvalidUnwrap
    backwards = Cipher(TripleDES(key), CBC(_TRIPLE_DES_VECTOR)).decryptor().update(wrapped)[::-1]
    opened = Cipher(TripleDES(key), CBC(backwards[:8])).decryptor().update(backwards[8:])
    found, check = opened[:-8], opened[-8:]
    if not hmac.compare_digest(hashlib.sha1(found, usedforsecurity=False).digest()[:8], check):
        raise InvalidUnwrap
    return found
