"""The keys one agent holds, wherever each lives: the token, or files. Blocking; for the agent's one key thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Protocol

from gateway.config.kinds import contents, first_certificate
from gateway.config.model import Config, Key, KeyPurpose, KeyStore
from gateway.edge.keyfile import FileKey
from gateway.edge.keywire import SignRequest, UnwrapRequest
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.secret import read_secret
from gateway.edge.tokensession import TokenError
from gateway.edge.tosign import input_to_sign
from gateway.outcome import GatewayError, Reason
from gateway.smime.certificate import signing_key
from gateway.smime.keys import Mechanism, WrappedKey, signed_input
from gateway.smime.mechanisms import mechanism_for, verify

SIGNING = frozenset({KeyPurpose.SIGN, KeyPurpose.AUDIT})
UNWRAPPING = frozenset({KeyPurpose.DECRYPT, KeyPurpose.SPOOL})
_SAMPLE: Final = b"Does this key belong to its certificate?"  # no DER: nobody can take its signature for one of a mail


class _Store(Protocol):
    def look(self, name: str, /) -> None: ...
    def sign(self, name: str, data: bytes, mechanism: Mechanism, /) -> bytes: ...
    def unwrap(self, name: str, wrapped: WrappedKey, /) -> bytes: ...


class KeyRing:
    """The keys of the given purposes, each opened when first needed."""

    def __init__(self, config: Config, purposes: frozenset[KeyPurpose], now: Callable[[], int]) -> None:
        """``now`` gives microseconds UTC. ``config.key_state/keys`` holds the token's lock and PIN markers."""
        self._now = now
        self._keys = config.key
        self._matched: set[str] = set()
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

    def unmatched(self, but: Collection[str] = ()) -> dict[str, GatewayError]:
        """Every key ``but`` those that do not open, which does not belong to the certificate it is to sign under, or cannot show
        that it does.
        """
        found = {}
        for name in self._stores.keys() - but:
            try:
                self._match(name)
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
        self._match(request.key)
        data = input_to_sign(request.to_be_signed, request.mechanism, self._now())
        return store.sign(request.key, data, request.mechanism)

    def _match(self, name: str) -> None:
        """Once for each key that has a certificate and signs: a signature of its verifies under that. Everybody would refuse
        another, and its mail would be held by our own check, for a person to release. Raises :class:`GatewayError`.
        """
        key = self._keys[name]
        if name in self._matched or key.purpose is not KeyPurpose.SIGN or key.certificate is None:
            return
        try:
            certificate = contents(key.certificate, first_certificate)
        except (OSError, ValueError) as error:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"key {name!r}: its certificate {key.certificate} cannot be read") from error
        mechanism = mechanism_for(certificate, key.mechanism)
        signature = self._stores[name].sign(name, signed_input(_SAMPLE, mechanism), mechanism)
        try:
            verify(signing_key(certificate), _SAMPLE, signature, mechanism)
        except GatewayError as error:
            raise GatewayError(
                Reason.KEY_UNAVAILABLE, f"key {name!r} is not the key of its certificate {key.certificate}"
            ) from error
        self._matched.add(name)

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
