"""Epoch keys: what encrypts the bodies of one day in one process.

An epoch key is random, lives in memory and is stored only sealed (RSAES-OAEP with SHA-256, RFC 8017 7.1) to each of some
public keys: the spool key of the token and, where there is one, a recovery key. So accepting mail needs no token, and
reading what another process or an earlier life wrote needs one unwrap for each epoch.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.mail.identifier import RANDOM_BYTES, MailId, make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Digest, Oaep, Unwrapper

KEY_BYTES: Final = 32
DAY: Final = 86_400_000_000
_MIN_BITS: Final = 2048
_PROOF: Final = b"smime-gateway spool epoch v1"


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A public key epoch keys are sealed to; ``name`` is the private key's name, as an unwrapper knows it."""

    name: str
    public: RSAPublicKey


@dataclass(frozen=True, slots=True)
class Sealing:
    """An epoch key sealed to the key named ``key``."""

    key: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is stored of an epoch. ``proof`` tells the right key from a random one: an unwrapper answers a wrong padding
    with a random key. ``created_at`` in microseconds UTC.
    """

    id: MailId
    created_at: int
    proof: bytes
    sealings: tuple[Sealing, ...]


def load_sealing_key(name: str, pem: bytes) -> SealingKey:
    """The RSA public key in ``pem`` (SubjectPublicKeyInfo). Raises ``ValueError`` for another kind, or under 2048 bits."""
    try:
        public = load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError("not an RSA public key") from error
    if not isinstance(public, RSAPublicKey) or public.key_size < _MIN_BITS:
        raise ValueError(f"a spool key is RSA, of {_MIN_BITS} bits or more")
    return SealingKey(name, public)


class EpochKeys:
    """The epoch keys one process knows: its own, and those it had unwrapped."""

    def __init__(self, sealing: tuple[SealingKey, ...], unwrapper: Unwrapper | None, now: Callable[[], int]) -> None:
        self._sealing = sealing
        self._unwrapper = unwrapper
        self._now = now
        self._keys: dict[str, bytes] = {}
        self._current: Epoch | None = None
        self._opening = asyncio.Lock()

    def current(self) -> Epoch:
        """The epoch to write under now: made at first use, and anew each day. Raises ``GatewayError`` (KEY_UNAVAILABLE)."""
        now = self._now()
        if self._current is None or now // DAY != self._current.created_at // DAY:
            self._current = self._make(now)
        return self._current

    def _make(self, now: int) -> Epoch:
        if not self._sealing:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "no spool key to seal to")
        key = os.urandom(KEY_BYTES)
        padding = OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)
        sealings = tuple(Sealing(to.name, to.public.encrypt(key, padding)) for to in self._sealing)
        epoch = Epoch(make_mail_id(now, os.urandom(RANDOM_BYTES)), now, _proof(key), sealings)
        self._keys[epoch.id] = key
        return epoch

    def is_open(self, epoch: str) -> bool:
        """Whether :meth:`key` has an answer."""
        return epoch in self._keys

    def key(self, epoch: str) -> bytes:
        """The key of an epoch this process made or opened. Raises ``GatewayError`` (KEY_UNAVAILABLE) for any other."""
        try:
            return self._keys[epoch]
        except KeyError:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"epoch {epoch} is not open") from None

    async def open(self, epoch: Epoch) -> None:
        """Have the key of ``epoch`` unwrapped, unless it is known: by the first of its sealings that yields it.

        Raises ``GatewayError`` (KEY_UNAVAILABLE).
        """
        async with self._opening:
            if epoch.id in self._keys:
                return
            if self._unwrapper is None:
                raise GatewayError(Reason.KEY_UNAVAILABLE, "this process opens no epochs")
            failure: GatewayError | None = None
            for sealing in epoch.sealings:
                wrapped = Oaep(sealing.wrapped, KEY_BYTES, Digest.SHA256, Digest.SHA256)
                try:
                    key = await self._unwrapper.unwrap(sealing.key, wrapped)
                except GatewayError as error:
                    failure = failure or error  # why the spool key does not; a recovery key is seldom there at all
                    continue
                if hmac.compare_digest(_proof(key), epoch.proof):
                    self._keys[epoch.id] = key
                    return
                failure = failure or GatewayError(Reason.KEY_UNAVAILABLE, f"key {sealing.key} does not open epoch {epoch.id}")
            raise failure or GatewayError(Reason.KEY_UNAVAILABLE, f"epoch {epoch.id} is sealed to no key")


def _proof(key: bytes) -> bytes:
    return hmac.digest(key, _PROOF, "sha256")
