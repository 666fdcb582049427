"""A message on its way through DATA or BDAT: sans-io encoders of one method pair, ``update`` and ``finalize``.

Both refuse bare CR, bare LF (RFC 5321 2.3.8) and NUL. A lenient server behind us would take the one for the end of a line and
drop the other, and a message could then end where its author wants: SMTP smuggling. No message that came in has any of them;
this is the last look.
"""

from __future__ import annotations

from gateway.mail.clean import has_clean_lines
from gateway.outcome import GatewayError, Reason


class ChunkedContent:
    """The message as BDAT carries it (RFC 3030): the bytes as they are."""

    def __init__(self) -> None:
        self._carry = b""

    def update(self, chunk: bytes) -> bytes:
        """What to send for ``chunk``. Raises :class:`GatewayError` (MALFORMED) for bare CR or LF, or NUL."""
        data = self._carry + chunk
        self._carry = b""
        if data.endswith(b"\r"):  # whether it is bare, the next chunk tells
            data, self._carry = data[:-1], b"\r"
        if not has_clean_lines(data):
            raise GatewayError(Reason.MALFORMED, "bare CR or LF, or NUL, in the message")
        return data

    def finalize(self) -> bytes:
        """What to send at the end."""
        if self._carry:
            raise GatewayError(Reason.MALFORMED, "bare CR or LF in the message")
        return b""


class DotStuffedContent(ChunkedContent):
    """The message as DATA carries it: transparent to dots, and ended by the final one (RFC 5321 4.5.2)."""

    def __init__(self) -> None:
        super().__init__()
        self._line_start = True

    def update(self, chunk: bytes) -> bytes:
        """What to send for ``chunk``. Raises :class:`GatewayError` (MALFORMED) for bare CR or LF, or NUL."""
        data = super().update(chunk)
        if not data:
            return b""
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        if self._line_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._line_start = data.endswith(b"\r\n")
        return stuffed

    def finalize(self) -> bytes:
        """The final dot, on a line of its own."""
        super().finalize()
        return b".\r\n" if self._line_start else b"\r\n.\r\n"
