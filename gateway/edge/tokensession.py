"""Opening the token: one module, one session, one login, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pkcs11
from pkcs11 import TokenFlag

from gateway.config.model import Token
from gateway.edge.pin import PinGuard
from gateway.edge.secret import read_secret
from gateway.outcome import GatewayError, Reason

OPEN_TRIES: Final = 8  # SoftHSM opened by several processes at once fails in 10-20% of first tries
OPEN_PAUSE: Final = 0.05  # seconds
LOCK_SECONDS: Final = 30.0
_PIN_SAYS_NO: Final = (pkcs11.PinIncorrect, pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.PinInvalid, pkcs11.PinLenRange)


class TokenError(GatewayError):
    """The token, or a key on it, cannot be used. The detail says which, and how to list what is there."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.KEY_UNAVAILABLE, detail)


def open_session(token: Token, folder: Path, *, writable: bool = False) -> pkcs11.Session:
    """Load the module, find the token by label, log in once. ``folder`` holds the lock and the PIN markers.

    Sets ``token.environment`` in this process, since modules read it when they are initialised.
    Raises :class:`TokenError`, :class:`gateway.edge.pin.PinRefusedError` or :class:`gateway.edge.secret.SecretError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.update(token.environment)
    with _locked(folder / "token.lock"):
        try:
            return _log_in(_find(token), token, folder, writable=writable)
        except BaseException:
            close_module(token)
            raise


def _log_in(found: pkcs11.Token, token: Token, folder: Path, *, writable: bool) -> pkcs11.Session:
    """The one place where a PIN is shown to a token."""
    pin = read_secret(token.pin)
    guard = PinGuard(token, folder)
    guard.check(pin, failed_since=TokenFlag.USER_PIN_COUNT_LOW in found.flags)
    guard.trying(pin)
    try:
        session = found.open(rw=writable, user_pin=pin)
    except _PIN_SAYS_NO:
        raise guard.refused() from None
    except pkcs11.PKCS11Error as error:
        raise TokenError(f"login at token {token.label!r} failed: {describe(error)}") from None
    guard.accepted()
    return session


def close_module(token: Token) -> None:
    """Let go of the module. Every session and handle of it is dead afterwards."""
    with contextlib.suppress(pkcs11.PKCS11Error):
        if token.module.is_file():
            pkcs11.lib(str(token.module)).finalize()


def _find(token: Token) -> pkcs11.Token:
    """The token, on a module that was shown to open sessions."""
    if not token.module.is_file():
        raise TokenError(f"no PKCS#11 module at {token.module}; SoftHSM's is found with `dpkg -L libsofthsm2 | grep so`")
    for attempt in range(1, OPEN_TRIES + 1):
        try:
            module = pkcs11.lib(str(token.module))
            tokens = list(module.get_tokens())
            matching = [one for one in tokens if one.label == token.label]
            if len(matching) == 1:
                matching[0].open().close()
                return matching[0]
        except pkcs11.PKCS11Error as error:
            close_module(token)
            if attempt == OPEN_TRIES:
                told = "".join(f"; see that {name}={value} is right" for name, value in token.environment.items())
                raise TokenError(f"PKCS#11 module {token.module} cannot be opened: {describe(error)}{told}") from None
            time.sleep(OPEN_PAUSE * attempt)
        else:
            raise _not_found(token, [one.label for one in tokens if one.label])
    raise AssertionError("the last attempt returns or raises")


def _not_found(token: Token, labels: list[str]) -> TokenError:
    number = f"{labels.count(token.label)} tokens are" if token.label in labels else "no token is"
    there = ", ".join(repr(label) for label in sorted(labels)) or "none"
    return TokenError(
        f"{number} labelled {token.label!r}; module {token.module} has: {there}. "
        f"List them with `pkcs11-tool --module {token.module} --list-token-slots`"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file, waiting for another process to let go of it. The lock ends with the process that holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TokenError(f"another process has held {path} for {LOCK_SECONDS:.0f} s") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def describe(error: pkcs11.PKCS11Error) -> str:
    """The name of an error of PKCS#11, and its words if it has any."""
    return f"{type(error).__name__} {error}".strip()
