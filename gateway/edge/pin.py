"""A wrong PIN is tried once in all: by one agent, once, whoever restarts and however often.

Three wrong PINs lock a token, and a locked token is a day's work for two people. So every login happens under one lock and
leaves a trace before it begins: ``pin-trying`` becomes ``pin-refused`` if the token says no, and goes if it says yes. An
agent killed between the two leaves ``pin-trying``; the token's own flag then tells how that login ended. A marker holds a
salted slow hash of module, label and PIN, so that it counts for this PIN alone: a changed source is a new chance.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Final

from gateway.config.model import Token
from gateway.outcome import GatewayError, Reason

_COST: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": 32}  # some 80 ms a guess


class PinRefusedError(GatewayError):
    """The token refused this PIN, now or before; it will not be tried again."""

    def __init__(self, token: Token, marker: Path) -> None:
        super().__init__(
            Reason.KEY_UNAVAILABLE,
            f"token {token.label!r} refused the PIN from {source(token)}; it is not tried again until that changes. "
            f"If the PIN is right after all (the token's was changed back), remove {marker}",
        )


def source(token: Token) -> str:
    """Where the PIN comes from, in words."""
    pin = token.pin
    if pin.file is not None:
        return f"file {pin.file}"
    return f"environment variable {pin.environment}" if pin.environment is not None else f"credential {pin.credential}"


class PinGuard:
    """The markers of one token. Its caller holds the token's lock."""

    def __init__(self, token: Token, folder: Path) -> None:
        self._token = token
        self._trying = folder / "pin-trying"
        self._refused = folder / "pin-refused"

    def check(self, pin: str, *, failed_since: bool) -> None:
        """Raises :class:`PinRefusedError` if this PIN was refused before; forgets markers of another.

        ``failed_since`` is the token's word that the last login with it failed (CKF_USER_PIN_COUNT_LOW).
        """
        if self._trying.exists():
            if failed_since and self._matches(self._trying, pin):
                self.refused()
            else:
                self._trying.unlink()
        if self._refused.exists():
            if self._matches(self._refused, pin):
                raise PinRefusedError(self._token, self._refused)
            self._refused.unlink()

    def trying(self, pin: str) -> None:
        """A login with this PIN begins. Durable before this returns."""
        salt = secrets.token_bytes(16)
        record = json.dumps({"salt": salt.hex(), "hash": self._hash(salt, pin).hex(), "source": source(self._token)})
        with open(self._trying, "w", encoding="ascii", opener=_private) as file:
            file.write(record)
            file.flush()
            os.fsync(file.fileno())
        _sync(self._trying.parent)

    def accepted(self) -> None:
        """The login succeeded."""
        self._trying.unlink(missing_ok=True)

    def refused(self) -> PinRefusedError:
        """The token said no. Durable before this returns; the answer is the error to raise."""
        self._trying.replace(self._refused)
        _sync(self._refused.parent)
        return PinRefusedError(self._token, self._refused)

    def _matches(self, marker: Path, pin: str) -> bool:
        """Whether a marker is about this PIN. One that cannot be read counts for every PIN."""
        try:
            record = json.loads(marker.read_text("ascii"))
            salt, expected = bytes.fromhex(record["salt"]), bytes.fromhex(record["hash"])
        except (ValueError, KeyError, TypeError):
            return True
        return hmac.compare_digest(self._hash(salt, pin), expected)

    def _hash(self, salt: bytes, pin: str) -> bytes:
        secret = "\0".join((str(self._token.module), self._token.label, pin))
        return hashlib.scrypt(secret.encode(), salt=salt, **_COST)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
