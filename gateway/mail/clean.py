"""Whether what came out of encryption or of a CMS structure is a MIME entity that can be shown and sent on.

CBC lets anybody who holds the ciphertext exchange blocks, at the price of blocks of noise between them. Noise is not mail:
checking the whole, before anything is released, is what stands in for the integrity that CBC lacks.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.mail.body import Body
from gateway.mail.message import Header, head_of
from gateway.mail.mime import MimeError, parse_content_type, parse_transfer_encoding
from gateway.outcome import GatewayError, Reason

_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_ASCII_ONLY: Final = frozenset({"7bit", "base64", "quoted-printable"})


class LineCheck:
    """Looks at every byte of an entity: no NUL, no bare CR, no bare LF; remembers whether any byte is 8-bit."""

    __slots__ = ("_last", "clean", "eight_bit")

    def __init__(self) -> None:
        self._last = b""
        self.clean = True
        self.eight_bit = False

    def update(self, data: bytes) -> None:
        """The next bytes."""
        if not data:
            return
        self.eight_bit = self.eight_bit or not data.isascii()
        if self.clean:
            text = self._last + data
            # A CR at the very end is judged with what follows it.
            self._last = b"\r" if data.endswith(b"\r") else b""
            self.clean = not _BARE.search(text[: len(text) - len(self._last)])

    def finalize(self) -> bool:
        """Whether the whole was clean."""
        return self.clean and not self._last


def entity_header(body: Body, lines: LineCheck) -> Header:
    """The header of the entity in ``body``, every byte of which ``lines`` saw.

    Raises :class:`gateway.outcome.GatewayError` (MALFORMED, LIMIT) where it is no clean entity: lines that are no field, broken
    lines, 8-bit bytes in what says that it has none.
    """
    if not lines.finalize():
        raise MimeError(Reason.MALFORMED, "bare CR or LF, or NUL, in an entity")
    header = head_of(body)
    if any(not field.name for field in header.fields):
        raise MimeError(Reason.MALFORMED, "a line in the header of an entity that is no field")
    if lines.eight_bit and _says_ascii(header):
        raise MimeError(Reason.MALFORMED, "8-bit bytes in an entity that says it has none")
    return header


def _says_ascii(header: Header) -> bool:
    """Whether a single part says by its encoding that it is ASCII. A multipart often says nothing of its parts' encodings."""
    encoding = header.first("Content-Transfer-Encoding")
    try:
        kind = header.first("Content-Type")
        if kind is not None and parse_content_type(kind.value).type.startswith(("multipart/", "message/")):
            return False
        return encoding is not None and parse_transfer_encoding(encoding.value) in _ASCII_ONLY
    except GatewayError:
        return False
