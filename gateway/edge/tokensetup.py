"""What an administrator does at a token: initialise it, generate key pairs, read public keys, sign a request.

For short-lived commands alone; the gateway itself never writes to a token.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pkcs11
from asn1crypto.core import OctetString
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, TokenFlag
from pkcs11 import Mechanism as Ckm
from pkcs11.util.ec import encode_named_curve_parameters

from gateway.config.model import Token
from gateway.edge.pkcs11 import CURVES
from gateway.edge.tokensession import TokenError, close_module, describe, open_session

LABEL_SIZE: Final = 32  # CK_TOKEN_INFO.label
_SIGNS: Final = MechanismFlag.SIGN | MechanismFlag.VERIFY
_DECRYPTS: Final = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT


class KeyKind(StrEnum):
    """What a key pair is made of."""

    RSA_2048 = "rsa2048"
    RSA_3072 = "rsa3072"
    RSA_4096 = "rsa4096"
    P256 = "p256"
    P384 = "p384"


_CURVES: Final = {KeyKind.P256: "secp256r1", KeyKind.P384: "secp384r1"}


class KeyUse(StrEnum):
    """What the token lets a private key do: one thing."""

    SIGN = "sign"
    DECRYPT = "decrypt"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A private key on a token: label, kind (``RSA 2048``, ``EC``), CKA_ID in hex, which is the SHA-1 of its public key."""

    label: str
    kind: str
    identifier: str


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for a module that reads them when it is initialised."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def require_module(token: Token) -> None:
    """Raises :class:`TokenError` if there is no such module."""
    if not token.module.is_file():
        raise TokenError(f"no PKCS#11 module at {token.module}; Debian's SoftHSM comes with `apt-get install softhsm2`")


def create_token(token: Token, pin: str, so_pin: str) -> None:
    """Initialise a free slot of the module as ``token.label`` and give it its user PIN.

    The PINs go to the module as arguments of C functions, so that no command line ever shows them. Raises :class:`TokenError`.
    """
    label = token.label.encode()
    if len(label) > LABEL_SIZE:
        raise TokenError(f"label {token.label!r} is longer than {LABEL_SIZE} bytes")
    require_module(token)
    with _environment(token.environment):
        close_module(token)
        try:
            module = pkcs11.lib(str(token.module))
            free = [slot for slot in module.get_slots() if TokenFlag.TOKEN_INITIALIZED not in slot.get_token().flags]
            if not free:
                raise TokenError(f"module {token.module} has no slot without a token")
            # python-pkcs11 has no C_InitToken; the loaded module is asked for it by name.
            init = ctypes.CDLL(str(token.module)).C_InitToken
            secret = so_pin.encode()
            status = init(ctypes.c_ulong(free[0].slot_id), secret, ctypes.c_ulong(len(secret)), label.ljust(LABEL_SIZE))
            if status != 0:
                raise TokenError(f"C_InitToken answered {status:#x}")
            session = free[0].get_token().open(rw=True, so_pin=so_pin)
            session.init_pin(pin)
            session.close()
        except pkcs11.PKCS11Error as error:
            raise TokenError(f"token {token.label!r} cannot be initialised: {describe(error)}") from None
        finally:
            close_module(token)


@contextlib.contextmanager
def administer(token: Token, folder: Path) -> Iterator[TokenAdministration]:
    """A session that may write, logged in with the PIN the configuration names. Raises :class:`TokenError` and the like."""
    with _environment(token.environment):
        close_module(token)
        try:
            yield TokenAdministration(open_session(token, folder, writable=True))
        except pkcs11.PKCS11Error as error:
            raise TokenError(f"token {token.label!r}: {describe(error)}") from None
        finally:
            close_module(token)


class TokenAdministration:
    """The keys of a token, for someone who may change them."""

    def __init__(self, session: pkcs11.Session) -> None:
        self._session = session

    def listing(self) -> tuple[KeyFacts, ...]:
        """Every private key there is, by label."""
        found = []
        for one in self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
            rsa = one[Attribute.KEY_TYPE] == KeyType.RSA
            kind = f"RSA {len(one[Attribute.MODULUS]) * 8}" if rsa else one[Attribute.KEY_TYPE].name
            found.append(KeyFacts(one[Attribute.LABEL], kind, one[Attribute.ID].hex()))
        return tuple(sorted(found, key=lambda facts: facts.label))

    def generate(self, label: str, kind: KeyKind, use: KeyUse) -> bytes:
        """A new pair on the token; the private key never leaves it. Gives the public key as DER SubjectPublicKeyInfo."""
        if any(facts.label == label for facts in self.listing()):
            raise TokenError(f"a private key labelled {label!r} is on the token already")
        # Asked for by name, also where a token's own default is another.
        private = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        if kind in _CURVES:
            named = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind])}
            parameters = self._session.create_domain_parameters(KeyType.EC, named, local=True)
            rights = _SIGNS if use is KeyUse.SIGN else MechanismFlag.DERIVE
            public, secret = parameters.generate_keypair(
                mechanism=Ckm.EC_KEY_PAIR_GEN, store=True, label=label, capabilities=rights, private_template=private
            )
        else:
            rights = _SIGNS if use is KeyUse.SIGN else _DECRYPTS
            public, secret = self._session.generate_keypair(
                KeyType.RSA, int(kind[3:]), store=True, label=label, capabilities=rights, private_template=private
            )
        info = _info(public)
        public[Attribute.ID] = secret[Attribute.ID] = hashlib.sha1(info, usedforsecurity=False).digest()
        return info

    def public_key(self, label: str) -> bytes:
        """The public key of a pair, as DER SubjectPublicKeyInfo."""
        return _info(self._one(ObjectClass.PUBLIC_KEY, label))

    def prove(self, label: str, request: bytes) -> bytes:
        """The signature of a key under a certification request: RSA PKCS#1 or ECDSA (DER), with SHA-256.

        A decryption key may not sign. It is allowed to for the length of this one signature, since a request without proof of
        possession (RFC 2986) is worth nothing.
        """
        key = self._one(ObjectClass.PRIVATE_KEY, label)
        lent = not key[Attribute.SIGN]
        if lent:
            key[Attribute.SIGN] = True
            key = self._one(ObjectClass.PRIVATE_KEY, label)
        try:
            if key[Attribute.KEY_TYPE] == KeyType.RSA:
                return bytes(key.sign(request, mechanism=Ckm.SHA256_RSA_PKCS))
            pair = bytes(key.sign(hashlib.sha256(request).digest(), mechanism=Ckm.ECDSA))
            half = len(pair) // 2
            return encode_dss_signature(int.from_bytes(pair[:half]), int.from_bytes(pair[half:]))
        finally:
            if lent:
                key[Attribute.SIGN] = False

    def _one(self, kind: ObjectClass, label: str) -> Any:  # noqa: ANN401 - its methods are composed at run time
        found = list(self._session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}))
        if len(found) != 1:
            raise TokenError(f"{len(found) or 'no'} keys labelled {label!r} are on the token; `smime-gateway key list` shows all")
        return found[0]


def _info(public: Any) -> bytes:  # noqa: ANN401 - its methods are composed at run time
    """DER SubjectPublicKeyInfo of a public key on the token."""
    if public[Attribute.KEY_TYPE] == KeyType.RSA:
        modulus, exponent = (int.from_bytes(public[name]) for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
        key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    else:
        point = bytes(OctetString.load(public[Attribute.EC_POINT]))
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[public[Attribute.EC_PARAMS]], point)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
