"""Bare CR and bare LF made CRLF, for servers of our own that do not know better. Sans-io, before anything else reads the message.

RFC 5321 2.3.8 forbids them. A mail of ours may still have them, and must not be signed with them: the first server that mends
them on the way would break the signature. The end of the message is CRLF.CRLF even so, and nothing else becomes it.
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(rb"\r\n|\n|\r(?=[^\n])")  # a CR at the end of what came is not yet known to be bare
_HOLD: Final = 1024  # octets of a line without an end that are held; what is longer is refused by who reads behind us


class MendedChunks:
    """The line ends of a message that comes by BDAT."""

    def __init__(self) -> None:
        self.mended = 0
        """How many line ends were made CRLF."""
        self._carry = b""

    def feed(self, data: bytes) -> bytes:
        """Takes octets, gives octets with no line end but CRLF."""
        data = self._carry + data
        out: list[bytes] = []
        position = 0
        for found in _END.finditer(data):
            out += (data[position : found.start()], b"\r\n")
            self.mended += found[0] != b"\r\n"
            position = found.end()
        self._carry = data[position:]
        return b"".join(out) + self._overlong()

    def finish(self) -> bytes:
        """Everything has come: gives what remains."""
        rest, self._carry = self._carry, b""
        self.mended += rest.endswith(b"\r")
        return rest[:-1] + b"\r\n" if rest.endswith(b"\r") else rest

    def _overlong(self) -> bytes:
        """What there is of a line that is longer than any may be, but for a CR that may be the beginning of its end."""
        if len(self._carry) <= _HOLD:
            return b""
        out, self._carry = self._carry[:-1], self._carry[-1:]
        return out


class MendedData(MendedChunks):
    """The line ends of what follows DATA. A line of one dot that is not the true end gets a second dot: it was content. So does a
    line with one dot at its start, where it begins behind a bare CR or LF: who takes that for the end of a line doubles the dot
    (RFC 5321 4.5.2), and who does not sends it as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rest: bytes | None = None
        """None until the end was read; then the octets behind it, which are commands."""
        self._begins = self._true = True
        """Whether a line begins here, and whether it does so behind CRLF."""

    def feed(self, data: bytes) -> bytes:
        """Takes octets, gives octets with no line end but CRLF, dots as they were. Not to be called after the end."""
        data = self._carry + data
        out: list[bytes] = []
        position = 0
        for found in _END.finditer(data):
            line, position = data[position : found.start()], found.end()
            begins, behind = self._begins, self._true
            self._begins, self._true = True, found[0] == b"\r\n"
            if line == b"." and begins:
                if behind and self._true:
                    self.rest = data[position:]
                    return b"".join(out) + b".\r\n"
                line = b".."
            elif begins and not behind and line[:1] == b"." != line[1:2]:
                line = b"." + line
            out += (line, b"\r\n")
            self.mended += not self._true
        self._carry = data[position:]
        overlong = self._overlong()
        self._begins = self._begins and not overlong
        return b"".join(out) + overlong
