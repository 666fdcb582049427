"""The token behind PKCS#11: one module, one session, one login. Blocking, and for one thread only.

The token does the private-key operation and nothing else: digests are made here before, paddings are taken off here after
(raw RSA), so that a token that answers one error for a bad padding and for a dead card cannot tell them apart for us, or
for an attacker. Handles die with the token: whatever fails is tried once more after a fresh start of the module.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, cast

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import KDF, MGF, Attribute, KeyType, ObjectClass, PrivateKey
from pkcs11 import Mechanism as Ckm
from pkcs11.types import DecryptMixin, DeriveMixin, SignMixin

from gateway.config.model import Token
from gateway.edge.agreement import open_agreed, originator, originator_x25519
from gateway.edge.rsapadding import open_oaep, open_pkcs1
from gateway.edge.tokensession import TokenError, close_module, describe, open_session
from gateway.outcome import GatewayError
from gateway.smime.keys import Digest, Ecdh, Mechanism, Oaep, Pkcs1, WrappedKey, digest_of

Answer = TypeVar("Answer")

REOPEN_SECONDS: Final = 1.0  # a token that is away is looked for no more often

# DigestInfo up to the digest itself (RFC 8017 9.2 note 1).
_DIGEST_INFO: Final = {
    Digest.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    Digest.SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    Digest.SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}
_PSS: Final = {
    Digest.SHA256: (Ckm.SHA256, MGF.SHA256, 32),
    Digest.SHA384: (Ckm.SHA384, MGF.SHA384, 48),
    Digest.SHA512: (Ckm.SHA512, MGF.SHA512, 64),
}
# CKA_EC_PARAMS, a DER OBJECT IDENTIFIER; named curves only.
CURVES: Final[dict[bytes, ec.EllipticCurve]] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
    bytes.fromhex("06052b81040023"): ec.SECP521R1(),
    bytes.fromhex("06092b2403030208010107"): ec.BrainpoolP256R1(),
    bytes.fromhex("06092b240303020801010b"): ec.BrainpoolP384R1(),
    bytes.fromhex("06092b240303020801010d"): ec.BrainpoolP512R1(),
}
# By identifier (PKCS #11 3.0) or by name, which is what SoftHSM makes of it.
_X25519: Final = (bytes.fromhex("06032b656e"), b"\x13\x0acurve25519")
_ED25519: Final = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
_RSA_SIGNS: Final = frozenset({Ckm.RSA_PKCS, Ckm.RSA_PKCS_PSS})
# The key or the token is not made for what was asked: a fresh start would change nothing.
_WILL_NOT_HELP: Final = (
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.KeyTypeInconsistent,
    pkcs11.KeySizeRange,
    pkcs11.FunctionNotSupported,
    pkcs11.KeyUnextractable,
)


class TokenKeys:
    """The private keys of a token by label."""

    def __init__(self, token: Token, folder: Path) -> None:
        self._token = token
        self._folder = folder
        self._session: pkcs11.Session | None = None
        self._keys: dict[str, _Key] = {}
        self._failed: GatewayError | None = None
        self._failed_at = 0.0

    def open(self) -> None:
        """Be ready. Raises :class:`TokenError` and the like; a failure is remembered for REOPEN_SECONDS."""
        if self._session is not None:
            return
        if self._failed is not None and time.monotonic() - self._failed_at < REOPEN_SECONDS:
            raise self._failed
        try:
            self._session = open_session(self._token, self._folder)
            self._failed = None
        except GatewayError as error:
            self._failed, self._failed_at = error, time.monotonic()
            raise

    def close(self) -> None:
        """Log out and let go of the module."""
        self._session = None
        self._keys.clear()
        close_module(self._token)

    def look(self, name: str) -> None:
        """Raises :class:`TokenError` if there is no private key of this label."""
        self._do(name, lambda _: None)

    def sign(self, name: str, data: bytes, mechanism: Mechanism) -> bytes:
        """The signature over ``data``, which :func:`gateway.smime.keys.signed_input` made; ECDSA in DER."""
        kind = digest_of(mechanism)
        match mechanism.split("-")[:2]:
            case ["rsa", "pkcs1"]:
                block = _DIGEST_INFO[kind] + data
                return self._do(name, lambda key: key.sign(block, Ckm.RSA_PKCS))
            case ["rsa", "pss"]:
                return self._do(name, lambda key: key.sign(data, Ckm.RSA_PKCS_PSS, _PSS[kind]))
            case ["ed25519"]:
                return self._do(name, lambda key: key.sign(data, Ckm.EDDSA))
        pair = self._do(name, lambda key: key.sign(data, Ckm.ECDSA))
        half = len(pair) // 2
        return encode_dss_signature(int.from_bytes(pair[:half]), int.from_bytes(pair[half:]))

    def unwrap(self, name: str, wrapped: WrappedKey) -> bytes:
        """The wrapped key, or a random one (see :class:`gateway.smime.keys.Unwrapper`)."""
        instead = secrets.token_bytes(wrapped.length)
        match wrapped:
            case Pkcs1():
                return open_pkcs1(self._do(name, lambda key: key.decrypt_raw(wrapped.wrapped)), instead)
            case Oaep(digest=digest, mgf=mgf, label=label):
                return open_oaep(self._do(name, lambda key: key.decrypt_raw(wrapped.wrapped)), instead, digest, mgf, label)
            case Ecdh():
                return open_agreed(self._do(name, lambda key: key.agree(wrapped)), wrapped, instead)

    def _do(self, name: str, operation: Callable[[_Key], Answer]) -> Answer:
        """Run ``operation`` on a key; once more on a fresh start if the token lost us. Both are harmless to repeat."""
        self.open()
        try:
            return operation(self._key(name))
        except _WILL_NOT_HELP as error:
            raise TokenError(f"key {name!r}: {describe(error)}") from None
        except pkcs11.PKCS11Error:
            self.close()
        self.open()
        try:
            return operation(self._key(name))
        except pkcs11.PKCS11Error as error:
            self.close()
            self._failed, self._failed_at = TokenError(f"token {self._token.label!r}: {describe(error)}"), time.monotonic()
            raise self._failed from None

    def _key(self, name: str) -> _Key:
        if name not in self._keys:
            self._keys[name] = self._find_key(name)
        return self._keys[name]

    def _find_key(self, name: str) -> _Key:
        if self._session is None:
            raise AssertionError("open comes first")
        template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: name}
        found = [one for one in self._session.get_objects(template) if isinstance(one, PrivateKey)]
        if len(found) != 1:
            number = "no private key is" if not found else f"{len(found)} private keys are"
            raise TokenError(
                f"{number} labelled {name!r} on token {self._token.label!r}. List them with `smime-gateway key list` or "
                f"`pkcs11-tool --module {self._token.module} --token-label {self._token.label} --login --list-objects`"
            )
        return _Key.read(name, found[0])


@dataclass(frozen=True, slots=True)
class _Key:
    """A handle, and what must be known of the key before it is used: what it signs by; its modulus, or its curve, or that it is
    of X25519.
    """

    name: str
    handle: PrivateKey  # python-pkcs11 gives it a mixin for each thing the token lets it do
    signs_by: frozenset[Ckm] = frozenset()
    modulus: int = 0
    curve: ec.EllipticCurve | None = None
    x25519: bool = False

    @classmethod
    def read(cls, name: str, handle: PrivateKey) -> _Key:
        if handle.key_type == KeyType.RSA:
            return cls(name, handle, _RSA_SIGNS, modulus=int.from_bytes(handle[Attribute.MODULUS]))
        if handle.key_type == KeyType.EC and handle[Attribute.EC_PARAMS] in CURVES:
            return cls(name, handle, frozenset({Ckm.ECDSA}), curve=CURVES[handle[Attribute.EC_PARAMS]])
        if handle.key_type == KeyType.EC_EDWARDS and handle[Attribute.EC_PARAMS] in _X25519:
            return cls(name, handle, x25519=True)
        if handle.key_type == KeyType.EC_EDWARDS and handle[Attribute.EC_PARAMS] in _ED25519:
            return cls(name, handle, frozenset({Ckm.EDDSA}))
        curves = "P-256, P-384, P-521, brainpoolP256r1, brainpoolP384r1, brainpoolP512r1, X25519 or Ed25519"
        raise TokenError(f"key {name!r} is neither RSA nor on {curves}")

    def sign(self, block: bytes, mechanism: Ckm, parameter: object = None) -> bytes:
        """The token's signature over ``block``, as it comes."""
        if mechanism not in self.signs_by:
            raise TokenError(f"key {self.name!r} is of another kind than {mechanism.name} needs")
        if not isinstance(self.handle, SignMixin):
            raise TokenError(f"key {self.name!r} may not sign (CKA_SIGN)")
        return bytes(self.handle.sign(block, mechanism=mechanism, mechanism_param=parameter))

    def decrypt_raw(self, wrapped: bytes) -> bytes:
        """``wrapped`` to the private exponent, as long as the modulus.

        What is no ciphertext of this key (wrong length, 0, 1, n-1 or beyond) is replaced by a random number, so that the token
        does the same work and the padding is wrong.
        """
        if not self.modulus or not isinstance(self.handle, DecryptMixin):
            raise TokenError(f"key {self.name!r} may not decrypt with RSA (CKA_DECRYPT)")
        size = (self.modulus.bit_length() + 7) // 8
        number = int.from_bytes(wrapped)
        if len(wrapped) != size or not 1 < number < self.modulus - 1:
            number = 2 + secrets.randbelow(self.modulus - 3)
        block = cast("bytes", self.handle.decrypt(number.to_bytes(size), mechanism=Ckm.RSA_X_509))
        return block.rjust(size, b"\0")

    def agree(self, wrapped: Ecdh) -> bytes:
        """The x-coordinate agreed on with the sender's ephemeral key (CKM_ECDH1_DERIVE without KDF)."""
        if not isinstance(self.handle, DeriveMixin):
            raise TokenError(f"key {self.name!r} may not agree on keys (CKA_DERIVE)")
        if self.x25519:
            point, size = originator_x25519(wrapped).public_bytes_raw(), 32
        elif self.curve is not None:
            point = originator(wrapped, self.curve).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            size = (self.curve.key_size + 7) // 8
        else:
            raise TokenError(f"key {self.name!r} is of another kind than key agreement needs")
        secret = self.handle.derive_key(
            KeyType.GENERIC_SECRET,
            size * 8,
            mechanism=Ckm.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, point),
            template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.TOKEN: False},
        )
        try:
            return bytes(secret[Attribute.VALUE]).rjust(size, b"\0")
        finally:
            secret.destroy()
