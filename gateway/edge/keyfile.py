"""Private keys in files: PEM or PKCS#12. The same two methods as a token behind an agent.

OpenSSL's own RSA decryption (3.2 and later, which `cryptography` brings) gives a random text for a bad PKCS#1 padding, of a
random length; a length that is not the one asked for becomes a random key here, as does every other fault of a wrapped key.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from asn1crypto.pkcs12 import Pfx, SafeContents
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from gateway.edge.agreement import open_agreed, originator, originator_x25519
from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Ecdh, Mechanism, Oaep, Pkcs1, WrappedKey, digest_of, signed_input

MAX_FILE: Final = 64 * 1024
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey


class KeyFileError(GatewayError):
    """A key file cannot be used. The detail names the file and the fault."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(Reason.KEY_UNAVAILABLE, f"{path}: {fault}")


class FileKey:
    """One private key, in memory. RSA, EC, Ed25519, which only signs, or X25519, which only opens."""

    def __init__(self, private: PrivateKey) -> None:
        self._private = private

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> FileKey:
        """The one key in ``path``, PEM (PKCS#8 or older) or PKCS#12. Raises :class:`KeyFileError`."""
        found = cls.load_all(path, passphrase)
        if len(found) > 1:
            raise KeyFileError(path, f"holds {len(found)} private keys; give it one")
        return found[0]

    @classmethod
    def load_all(cls, path: Path, passphrase: str | None = None) -> tuple[FileKey, ...]:
        """The keys in ``path``, as :meth:`load`; one at least. Keys of other kinds are left out. Raises :class:`KeyFileError`."""
        password = passphrase.encode() if passphrase is not None else None
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise KeyFileError(path, error.strerror or "cannot be read") from None
        if len(data) > MAX_FILE:
            raise KeyFileError(path, f"longer than {MAX_FILE} bytes")
        try:
            found = tuple(cls(private) for private in _parse(data, password) if isinstance(private, PrivateKey))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The library's own text may quote the file.
            raise KeyFileError(path, "not a PEM or PKCS#12 private key, or its passphrase is missing or wrong") from None
        if not found:
            raise KeyFileError(path, "holds no RSA, EC, Ed25519 or X25519 private key")
        return found

    @property
    def spki(self) -> bytes:
        """The public half, DER SubjectPublicKeyInfo."""
        return self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        """The signature over ``data``, which :func:`gateway.smime.keys.signed_input` made.

        Raises :class:`GatewayError` (KEY_UNAVAILABLE) where key and mechanism do not fit.
        """
        algorithm = HASHES[digest_of(mechanism)]
        prehashed = utils.Prehashed(algorithm)
        match mechanism.split("-")[:2], self._private:
            case ["rsa", "pkcs1"], rsa.RSAPrivateKey() as private:
                return private.sign(data, padding.PKCS1v15(), prehashed)
            case ["rsa", "pss"], rsa.RSAPrivateKey() as private:
                return private.sign(data, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), prehashed)
            case ["ecdsa", _], ec.EllipticCurvePrivateKey() as private:
                return private.sign(data, ec.ECDSA(prehashed))
            case ["ed25519"], ed25519.Ed25519PrivateKey() as private:
                return private.sign(data)
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"the key cannot do {mechanism}")

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """The wrapped key, or a random one (see :class:`gateway.smime.keys.Unwrapper`)."""
        instead = secrets.token_bytes(wrapped.length)
        match wrapped, self._private:
            case Pkcs1() | Oaep(), rsa.RSAPrivateKey() as private:
                try:
                    found = private.decrypt(wrapped.wrapped, _padding(wrapped))
                except ValueError:
                    return instead
                return found if len(found) == len(instead) else instead
            case Ecdh(), ec.EllipticCurvePrivateKey() as private:
                shared = private.exchange(ec.ECDH(), originator(wrapped, private.curve))
                return open_agreed(shared, wrapped, instead)
            case Ecdh(), x25519.X25519PrivateKey() as private:
                return open_agreed(private.exchange(originator_x25519(wrapped)), wrapped, instead)
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"the key cannot do {type(wrapped).__name__}")


class FileKeys:
    """Keys by name: a Signer and an Unwrapper. Private-key operations run in a thread."""

    def __init__(self, keys: Mapping[str, FileKey]) -> None:
        self._keys = dict(keys)

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        """See :class:`gateway.smime.keys.Signer`."""
        return await asyncio.to_thread(self._named(key).sign, signed_input(to_be_signed, mechanism), mechanism)

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        """See :class:`gateway.smime.keys.Unwrapper`."""
        return await asyncio.to_thread(self._named(key).unwrap, wrapped)

    def _named(self, key: str) -> FileKey:
        if key not in self._keys:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"no key named {key}")
        return self._keys[key]


def _parse(data: bytes, password: bytes | None) -> list[object]:
    """The private keys in PEM or PKCS#12. Raises what the library raises."""
    if b"-----BEGIN" in data:
        blocks = [found[0] for found in _PEM.finditer(data)]
        return [load_pem_private_key(block, password) for block in blocks or [data]]
    key, _, _ = load_key_and_certificates(data, password)  # it checks the MAC, and gives one key, whichever
    bags = list(_key_bags(Pfx.load(data), password))
    return [key] if len(bags) < 2 else [load_der_private_key(*bag) for bag in bags]


def _key_bags(bundle: Pfx, password: bytes | None) -> Iterator[tuple[bytes, bytes | None]]:
    """The keys of PKCS#12 (RFC 7292 4.2): each in DER, and the password it is encrypted with. Everybody puts them where this looks:
    encrypted themselves, and not inside what is encrypted once more, as certificates are.
    """
    for info in bundle.authenticated_safe:
        if info["content_type"].native == "data":
            for bag in SafeContents.load(info["content"].native):
                kind = bag["bag_id"].native
                if kind in ("key_bag", "pkcs8_shrouded_key_bag"):
                    yield bag["bag_value"].untag().dump(), None if kind == "key_bag" else password


def _padding(wrapped: Pkcs1 | Oaep) -> padding.AsymmetricPadding:
    if isinstance(wrapped, Pkcs1):
        return padding.PKCS1v15()
    return padding.OAEP(padding.MGF1(HASHES[wrapped.mgf]), HASHES[wrapped.digest], wrapped.label)
