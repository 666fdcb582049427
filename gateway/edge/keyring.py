"""The keys one agent holds, wherever each lives: the token, or files. Blocking; for the agent's one key thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from gateway.config.model import Config, Key, KeyPurpose, KeyStore
from gateway.edge.keyfile import FileKey
from gateway.edge.keywire import SignRequest, UnwrapRequest
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.secret import read_secret
from gateway.edge.tokensession import TokenError
from gateway.edge.tosign import input_to_sign
from gateway.outcome import GatewayError
from gateway.smime.keys import Mechanism, WrappedKey

SIGNING = frozenset({KeyPurpose.SIGN, KeyPurpose.AUDIT})
UNWRAPPING = frozenset({KeyPurpose.DECRYPT, KeyPurpose.SPOOL})


class _Store(Protocol):
    def look(self, name: str, /) -> None: ...
    def sign(self, name: str, data: bytes, mechanism: Mechanism, /) -> bytes: ...
    def unwrap(self, name: str, wrapped: WrappedKey, /) -> bytes: ...


class KeyRing:
    """The keys of the given purposes, each opened when first needed."""

    def __init__(self, config: Config, purposes: frozenset[KeyPurpose], now: Callable[[], int]) -> None:
        """``now`` gives microseconds UTC. ``config.key_state/keys`` holds the token's lock and PIN markers."""
        self._now = now
        self.signs = purposes == SIGNING
        self._token = TokenKeys(config.token, config.key_state / "keys") if config.token is not None else None
        files = _Files(config.key)
        self._stores: dict[str, _Store] = {}
        for name, key in config.key.items():
            if key.purpose in purposes and key.store is not KeyStore.OFFLINE:
                self._stores[name] = files if key.store is KeyStore.FILE else self._needed(name)

    @property
    def names(self) -> frozenset[str]:
        """The keys this agent holds."""
        return frozenset(self._stores)

    def faults(self) -> dict[str, GatewayError]:
        """Every key that cannot be used now, and why. Opens what is not open."""
        found = {}
        for name, store in self._stores.items():
            try:
                store.look(name)
            except GatewayError as error:
                found[name] = error
        return found

    def perform(self, request: SignRequest | UnwrapRequest) -> bytes:
        """A signature, or an unwrapped key. Raises :class:`GatewayError`: OWN_WORK_WRONG for what we do not sign, else
        KEY_UNAVAILABLE.
        """
        store = self._stores[request.key]
        if isinstance(request, UnwrapRequest):
            return store.unwrap(request.key, request.wrapped)
        data = input_to_sign(request.to_be_signed, request.mechanism, self._now())
        return store.sign(request.key, data, request.mechanism)

    def close(self) -> None:
        """Let go of the token."""
        if self._token is not None:
            self._token.close()

    def _needed(self, name: str) -> TokenKeys:
        if self._token is None:
            raise TokenError(f"key {name!r} is to be on a token, and the configuration has no [token]")
        return self._token


class _Files:
    """Keys in files, each read once."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys
        self._loaded: dict[str, FileKey] = {}

    def look(self, name: str, /) -> None:
        self._key(name)

    def sign(self, name: str, data: bytes, mechanism: Mechanism, /) -> bytes:
        return self._key(name).sign(data, mechanism)

    def unwrap(self, name: str, wrapped: WrappedKey, /) -> bytes:
        return self._key(name).unwrap(wrapped)

    def _key(self, name: str) -> FileKey:
        if name not in self._loaded:
            key = self._keys[name]
            passphrase = read_secret(key.passphrase) if key.passphrase is not None else None
            self._loaded[name] = FileKey.load(key.file or Path(), passphrase)
        return self._loaded[name]
