"""A private key of whoever uses the library: two methods, which block or are awaited, and the certificates that go with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Mechanism, WrappedKey, signed_input

_Private = TypeVar("_Private", covariant=True)


class PrivateKey(Protocol):
    """A private key that answers at once or blocks. :class:`gateway.edge.keyfile.FileKey` is one; one elsewhere is two methods."""

    def sign(self, data: bytes, mechanism: Mechanism, /) -> bytes:
        """The signature over ``data``: a digest, by the algorithm of ``mechanism``, or for Ed25519 what is signed itself.

        ECDSA answers in DER (Ecdsa-Sig-Value). Raises :class:`gateway.outcome.GatewayError` (KEY_UNAVAILABLE).
        """

    def unwrap(self, wrapped: WrappedKey, /) -> bytes:
        """The content-encryption key, ``wrapped.length`` bytes; a *random* one of that length, in the same time, where padding,
        integrity or length is wrong: else whoever sends mail learns from the answer what a key can open (RFC 3218).

        Raises :class:`gateway.outcome.GatewayError` (KEY_UNAVAILABLE) when the key cannot be used at all.
        """


class AsyncPrivateKey(Protocol):
    """A private key that is waited for."""

    async def sign(self, data: bytes, mechanism: Mechanism, /) -> bytes:
        """As that of :class:`PrivateKey`."""

    async def unwrap(self, wrapped: WrappedKey, /) -> bytes:
        """As that of :class:`PrivateKey`."""


class InThread:
    """An :class:`AsyncPrivateKey` of one that blocks: each operation runs in a thread."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    async def sign(self, data: bytes, mechanism: Mechanism, /) -> bytes:
        """As that of :class:`PrivateKey`."""
        return await asyncio.to_thread(self._key.sign, data, mechanism)

    async def unwrap(self, wrapped: WrappedKey, /) -> bytes:
        """As that of :class:`PrivateKey`."""
        return await asyncio.to_thread(self._key.unwrap, wrapped)


class AtOnce:
    """An :class:`AsyncPrivateKey` of one that blocks, which nobody ever waits for."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    async def sign(self, data: bytes, mechanism: Mechanism, /) -> bytes:
        """As that of :class:`PrivateKey`."""
        return self._key.sign(data, mechanism)

    async def unwrap(self, wrapped: WrappedKey, /) -> bytes:
        """As that of :class:`PrivateKey`."""
        return self._key.unwrap(wrapped)


@dataclass(frozen=True, slots=True)
class Key(Generic[_Private]):
    """A private key, and its certificates (DER): its own first, then those above it that readers need, without the root.

    Raises :class:`GatewayError` (KEY_UNAVAILABLE) for no certificate.
    """

    private: _Private
    certificates: Sequence[bytes]

    def __post_init__(self) -> None:
        if not self.certificates:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "a key without its certificate")


class Ring:
    """Several keys, each named by its place: the Signer and the Unwrapper of :mod:`gateway.smime.keys`."""

    def __init__(self, keys: Sequence[Key[AsyncPrivateKey]]) -> None:
        self._private = {str(number): key.private for number, key in enumerate(keys)}
        self.certificates = {str(number): tuple(key.certificates) for number, key in enumerate(keys)}

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        """See :class:`gateway.smime.keys.Signer`."""
        return await self._private[key].sign(signed_input(to_be_signed, mechanism), mechanism)

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        """See :class:`gateway.smime.keys.Unwrapper`."""
        return await self._private[key].unwrap(wrapped)
