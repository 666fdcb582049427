"""Being logged in to (RFC 4954): PLAIN (RFC 4616) and LOGIN, which has no RFC, as their server. Pure; for use under TLS alone."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Final

MECHANISMS: Final = ("PLAIN", "LOGIN")
MAX_RESPONSE: Final = 1024  # octets in base64: no user or password of anybody is longer
CANCEL: Final = b"*"  # RFC 4954 4

_USER: Final = "VXNlcm5hbWU6"  # "Username:"
_PASSWORD: Final = "UGFzc3dvcmQ6"  # noqa: S105 - "Password:"


class SaslError(ValueError):
    """What was said is no response. It is not in the text."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the other side says it is. The password is in no representation of it."""

    user: str
    password: str = field(repr=False)


class Exchange:
    """One exchange in ``mechanism`` (of ``MECHANISMS``)."""

    def __init__(self, mechanism: str) -> None:
        self._plain = mechanism == "PLAIN"
        self._user: str | None = None

    def challenge(self) -> str:
        """What the server says next, in base64."""
        return "" if self._plain else _USER if self._user is None else _PASSWORD

    def give(self, response: bytes) -> Credentials | None:
        """``response`` is a line of the client. None: another challenge is due. Raises :class:`SaslError`."""
        text = _decoded(response)
        if self._plain:
            return _plain(text)
        if self._user is None:
            self._user = text
            return None
        return Credentials(self._user, text)


def _decoded(response: bytes) -> str:
    if len(response) > MAX_RESPONSE:
        raise SaslError("too long")
    try:
        data = b64decode(response, validate=True)
        text = data.decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise SaslError("not base64 of UTF-8") from error
    if b64encode(data) != response:  # the decoder lets padding beyond the end and stray bits pass
        raise SaslError("not base64 of UTF-8")
    return text


def _plain(text: str) -> Credentials:
    parts = text.split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslError("not a PLAIN message")
    if parts[0] not in ("", parts[1]):
        raise SaslError("nobody speaks for somebody else here")
    return Credentials(parts[1], parts[2])
