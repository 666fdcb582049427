"""What a next hop says: a strict and bounded reader of replies (RFC 5321 4.2, RFC 2034 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.outcome import GatewayError, Reason

MAX_LINE: Final = 2048  # RFC 5321 4.5.3.1.5 says 512; servers with long explanations say more
MAX_LINES: Final = 128
MAX_TEXT: Final = 500  # how much of a reply is kept for people

_LINE: Final = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS: Final = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")


class HopError(GatewayError):
    """The session with a next hop cannot go on. The reason is one that defers: a broken session proves nothing for good."""


@dataclass(frozen=True, slots=True)
class HopReply:
    """One whole reply. ``lines`` are its texts without code and separator, control characters replaced by ``?``."""

    code: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.lines)}"[:MAX_TEXT].rstrip()

    @property
    def positive(self) -> bool:
        """2yz: done."""
        return self.code // 100 == 2

    @property
    def permanent(self) -> bool:
        """5yz: never."""
        return self.code // 100 == 5

    @property
    def status(self) -> str | None:
        """The enhanced status code (RFC 3463) where the hop gave one that agrees with its reply code."""
        found = _STATUS.match(self.lines[0])
        return found[0] if found and int(found[1]) == self.code // 100 else None


class ReplyReader:
    """Bytes in, replies out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = 0
        self._lines: list[str] = []

    @property
    def unread(self) -> bool:
        """Whether bytes are left that belong to no reply yet taken."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """What the hop sent."""
        self._buffer += data

    def take(self) -> HopReply | None:
        """The next whole reply, or None before it is there.

        Raises :class:`HopError` (HOP_DEFERRED) for what is no reply, and beyond ``MAX_LINE`` or ``MAX_LINES``.
        """
        while (end := self._buffer.find(b"\r\n", 0, MAX_LINE)) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            if reply := self._add(line):
                return reply
        if len(self._buffer) >= MAX_LINE:
            raise HopError(Reason.HOP_DEFERRED, "a reply line without an end")
        return None

    def _add(self, line: bytes) -> HopReply | None:
        found = _LINE.fullmatch(line)
        if found is None or (self._lines and int(found[1]) != self._code):
            raise HopError(Reason.HOP_DEFERRED, "not an SMTP reply")
        self._code = int(found[1])
        self._lines.append(_printable((found[3] or b"").decode("utf-8", "replace")))
        if len(self._lines) > MAX_LINES:
            raise HopError(Reason.HOP_DEFERRED, "a reply of too many lines")
        if found[2] == b"-":
            return None
        reply = HopReply(self._code, tuple(self._lines))
        self._lines.clear()
        return reply


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
