"""Reading a message from a connection, sans-io: DATA (RFC 5321 4.5.2) and BDAT (RFC 3030). Bytes in, the message's bytes out.

Only CRLF ends a line and only CRLF.CRLF ends DATA. What another server might read as an end of line or an end of message (bare
CR, bare LF, NUL) is a fault: nothing of the message is kept, reading goes on to the true end, and the refusal names the fault.
So nothing can be smuggled past us, and nothing past the next server by us.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from gateway.mail.clean import has_clean_lines
from gateway.mail.message import MAX_HEADER
from gateway.outcome import Reason
from gateway.smtp.lineends import MendedChunks, MendedData
from gateway.smtp.reply import Reply, refused

MAX_LINE: Final = 998  # RFC 5322 2.1.1, without CRLF

_RECEIVED: Final = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_PROBE: Final = MAX_LINE + 2
_MAX_HEADER: Final = MAX_HEADER - 8192  # leaves room for the lines we shall add


class Fault(StrEnum):
    """Why a message is refused while it is read. The value is what the peer is told."""

    BARE_LF = "Bare LF in the message"
    BARE_CR = "Bare CR in the message"
    NUL = "NUL in the message"
    LONG_LINE = "Line over 998 octets"
    LONG_HEADER = "Header too long"
    TOO_LARGE = "Message too large"
    LOOP = "Mail loop"

    @property
    def reason(self) -> Reason:
        """The reason among those of every ending."""
        return _REASONS[self]

    @property
    def reply(self) -> Reply:
        """What the peer is told."""
        return refused(self.reason, self.value)


_REASONS: Final = {
    Fault.BARE_LF: Reason.MALFORMED,
    Fault.BARE_CR: Reason.MALFORMED,
    Fault.NUL: Reason.MALFORMED,
    Fault.LONG_LINE: Reason.MALFORMED,
    Fault.LONG_HEADER: Reason.LIMIT,
    Fault.TOO_LARGE: Reason.TOO_LARGE,
    Fault.LOOP: Reason.LOOP,
}


class _Reader:
    """What DATA and BDAT share: whole lines are looked at as they pass."""

    def __init__(self, limit: int, received: int) -> None:
        self._limit = limit
        self._received_limit = received
        self._partial = b""
        self._in_header = True
        self._received = 0
        self.size = 0
        """Octets of the message seen so far, kept or not."""
        self.fault: Fault | None = None
        """The first fault; from then on nothing more is handed out."""

    def _lines(self, data: bytes) -> bytes:
        """``data`` with what was left of before, up to the last CRLF; the rest of it waits in ``_partial``."""
        data = self._partial + data
        last = data.rfind(b"\r\n")
        end = last + 2 if last >= 0 else 0
        lines, self._partial = data[:end], data[end:]
        if len(self._partial) > _PROBE:
            self._note(Fault.LONG_LINE)
            self.size += len(self._partial) - 2
            self._partial = b"?" + self._partial[-1:]  # no start of a line, and still half a CRLF if it was one
        return lines

    def _look(self, lines: bytes) -> bytes:
        """``lines``, which begin a line and end with CRLF, if nothing is wrong with them; else nothing."""
        self.size += len(lines)
        if self.fault is None:
            self._note(_fault_in(lines))
            if self._in_header:
                self._look_at_header(lines)
            if self.size > self._limit:
                self._note(Fault.TOO_LARGE)
        return b"" if self.fault else lines

    def _look_at_header(self, lines: bytes) -> None:
        end = 0 if lines.startswith(b"\r\n") else lines.find(b"\r\n\r\n")
        self._in_header = end < 0
        self._received += len(_RECEIVED.findall(lines, 0, len(lines) if end < 0 else end + 2))
        if self._received > self._received_limit:
            self._note(Fault.LOOP)
        if self.size - (0 if end < 0 else len(lines) - end) > _MAX_HEADER:
            self._note(Fault.LONG_HEADER)

    def _note(self, fault: Fault | None) -> None:
        self.fault = self.fault or fault


class DataReader(_Reader):
    """Reads what follows DATA. ``limit`` in octets; ``received`` is how many trace lines the header may have; with ``mended`` bare
    CR and LF are no faults.
    """

    def __init__(self, limit: int, received: int, mended: MendedData | None = None) -> None:
        super().__init__(limit, received)
        self._mended = mended
        self.rest: bytes | None = None
        """None until the end was read; then the bytes behind it, which are commands."""

    def feed(self, data: bytes) -> bytes:
        """Takes what came, gives what is to be kept. Not to be called after the end."""
        lines = self._lines(data if self._mended is None else self._mended.feed(data))
        if lines.startswith(b".\r\n"):
            end, self.rest = 0, lines[3:] + self._partial
        elif (found := lines.find(b"\r\n.\r\n")) >= 0:
            end, self.rest = found + 2, lines[found + 5 :] + self._partial
        else:
            end = len(lines)
        if self.rest is not None:
            lines = lines[:end]
            if self._mended is not None and self._mended.rest is not None:
                self.rest = self._mended.rest
        # RFC 5321 4.5.2: one dot is taken from the start of a line
        return self._look(lines[lines.startswith(b".") :].replace(b"\r\n.", b"\r\n"))


class ChunkReader(_Reader):
    """Reads the chunks of BDAT, one after another as if they were one. Made as :class:`DataReader`."""

    def __init__(self, limit: int, received: int, mended: MendedChunks | None = None) -> None:
        super().__init__(limit, received)
        self._mended = mended

    def feed(self, data: bytes) -> bytes:
        """Takes octets of a chunk, gives what is to be kept."""
        return self._look(self._lines(data if self._mended is None else self._mended.feed(data)))

    def finish(self) -> bytes:
        """The last chunk has been fed: gives what remains. A last line without CRLF gets one: DATA could not carry it otherwise."""
        kept = self._look(self._lines(self._mended.finish())) if self._mended is not None else b""
        partial, self._partial = self._partial, b""
        return kept + (self._look(partial + b"\r\n") if partial else b"")


def _fault_in(lines: bytes) -> Fault | None:
    if not has_clean_lines(lines):
        text = lines.replace(b"\r\n", b"")  # what is left of line ends is bare
        return Fault.BARE_LF if b"\n" in text else Fault.BARE_CR if b"\r" in text else Fault.NUL
    position = 0
    while len(lines) - position > _PROBE:  # from one line end to the last within reach: a few steps, however short the lines
        found = lines.rfind(b"\r\n", position, position + _PROBE)
        if found < 0:
            return Fault.LONG_LINE
        position = found + 2
    return None
