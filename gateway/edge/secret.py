"""Where a secret comes from: a file, an environment variable, or a systemd credential; never a command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gateway.config.model import Secret
from gateway.outcome import GatewayError, Reason

MAX_SECRET: Final = 4096
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"  # set by systemd for units with LoadCredential=


class SecretError(GatewayError):
    """A secret cannot be read. The detail names its place and never the secret."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.KEY_UNAVAILABLE, detail)


def read_secret(secret: Secret) -> str:
    """The secret as text, without the line end that editors leave behind it. Raises :class:`SecretError`."""
    if secret.environment is not None:
        return _from_environment(secret.environment)
    if secret.credential is not None:
        return _from_credential(secret.credential)
    if secret.file is None:
        raise AssertionError("the configuration gives exactly one source")
    return _from_file(secret.file)


def _from_environment(name: str) -> str:
    text = os.environ.get(name, "")
    if not text:
        raise SecretError(f"environment variable {name} is not set, or empty")
    return text


def _from_credential(name: str) -> str:
    folder = os.environ.get(CREDENTIALS)
    if folder is None:
        raise SecretError(f"credential {name}: {CREDENTIALS} is not set; give the unit LoadCredential={name}:...")
    if name in {"", ".", ".."} or "/" in name:
        raise SecretError("a credential is named without a path")
    return _from_file(Path(folder) / name)


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET + 1)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_SECRET:
        raise SecretError(f"{path}: longer than {MAX_SECRET} bytes")
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not UTF-8 text") from None
    if not text:
        raise SecretError(f"{path}: empty")
    return text
