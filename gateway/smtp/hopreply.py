"""What a next hop says: bytes in, replies out, strict and bounded (RFC 5321 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gateway.outcome import GatewayError, Reason
from gateway.smtp.reply import MAX_LINES, MAX_TEXT, Reply, ReplyError, parse_line, parse_reply

MAX_LINE: Final = 2048  # RFC 5321 4.5.3.1.5 says 512; servers with long explanations say more
SHORTEST: Final = 3  # letters of a Subject that is looked for in what a hop says; shorter ones stand there by chance


class HopError(GatewayError):
    """The session with a next hop cannot go on. The reason is one that defers: a broken session proves nothing for good."""


def final(reply: Reply) -> Reply:
    """``reply``, where it can be the answer to a command that asks for no more. Raises :class:`HopError`."""
    if reply.code // 100 == 3:
        raise HopError(Reason.HOP_DEFERRED, f"out of place: {reply}")
    return reply


def must_succeed(reply: Reply) -> None:
    """Raises :class:`HopError` where ``reply`` is not 2yz."""
    if not reply.done:
        raise HopError(Reason.HOP_DEFERRED, str(reply))


def without(reply: Reply, subjects: Iterable[str]) -> Reply:
    """``reply`` with ``[subject]`` wherever it quotes one of ``subjects``, which hold private words."""
    lines = list(reply.lines)
    for text in subjects:
        if SHORTEST <= len(text) <= MAX_TEXT:
            pattern = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
            lines = [pattern.sub("[subject]", line) for line in lines]
    return replace(reply, lines=tuple(lines))


class ReplyReader:
    """Bytes in, replies out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[bytes] = []

    @property
    def unread(self) -> bool:
        """Whether bytes are left that belong to no reply yet taken."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """What the hop sent."""
        self._buffer += data

    def take(self) -> Reply | None:
        """The next whole reply, or None before it is there.

        Raises :class:`HopError` (HOP_DEFERRED) for what is no reply, and beyond ``MAX_LINE`` bytes or ``MAX_LINES`` lines.
        """
        try:
            while (end := self._buffer.find(b"\r\n", 0, MAX_LINE)) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if reply := self._add(line):
                    return reply
        except ReplyError as error:
            raise HopError(Reason.HOP_DEFERRED, f"the next hop does not speak SMTP: {error}") from error
        if len(self._buffer) >= MAX_LINE:
            raise HopError(Reason.HOP_DEFERRED, "the next hop does not speak SMTP: a line without an end")
        return None

    def _add(self, line: bytes) -> Reply | None:
        self._lines.append(line)
        if line[3:4] != b"-":
            lines, self._lines = self._lines, []
            return parse_reply(tuple(lines))
        parse_line(line)  # what is no reply is refused at once, and not waited for
        if len(self._lines) >= MAX_LINES:
            raise ReplyError("too many lines")
        return None
