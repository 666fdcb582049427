"""Whether what came out of encryption or of a CMS structure is a MIME entity that can be shown and sent on.

CBC lets anybody who holds the ciphertext exchange blocks, at the price of blocks of noise between them. Noise is not mail:
checking the whole, before anything is released, is what stands in for the integrity that CBC lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import IncrementalNewlineDecoder
from typing import Final

from gateway.mail.body import Body
from gateway.mail.message import Header, head_of
from gateway.mail.mime import MimeError, parse_content_type, parse_transfer_encoding
from gateway.outcome import GatewayError, Reason

_ASCII_ONLY: Final = frozenset({"7bit", "base64", "quoted-printable"})


class LineCheck:
    """Looks at every byte of an entity: how its lines end, whether it has NUL, whether it has 8-bit bytes."""

    __slots__ = ("_ends", "_nul", "eight_bit")

    def __init__(self) -> None:
        # Its purpose is to say which line ends it saw, in one pass; each byte is one character to it.
        self._ends = IncrementalNewlineDecoder(None, translate=False)
        self._nul = False
        self.eight_bit = False

    def update(self, data: bytes) -> None:
        """The next bytes."""
        text = data.decode("latin-1")
        self.eight_bit = self.eight_bit or not text.isascii()  # which a string knows of itself
        self._nul = self._nul or "\0" in text
        self._ends.decode(text)

    @property
    def clean(self) -> bool:
        """Every line ends with CRLF, and there is no NUL."""
        return not self._nul and self._seen() in (None, "\r\n")

    @property
    def bare(self) -> bool:
        """Every line ends with LF alone, and there is no NUL: the form of a Unix file, which some programs encrypt and sign as
        it is, though RFC 8551 3.1.1 asks for CRLF.
        """
        return not self._nul and self._seen() == "\n"

    def _seen(self) -> str | tuple[str, ...] | None:
        """The kinds of line ends; a CR at the very end is one by itself."""
        self._ends.decode("", final=True)
        return self._ends.newlines


def has_clean_lines(data: bytes) -> bool:
    """Whether every line of ``data`` ends with CRLF, no CR or LF stands anywhere else, and there is no NUL."""
    lines = LineCheck()
    lines.update(data)
    return lines.clean


def with_crlf(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """An entity whose lines end with LF alone, in its canonical form."""
    return (chunk.replace(b"\n", b"\r\n") for chunk in chunks)


def entity_header(body: Body, lines: LineCheck) -> Header:
    """The header of the entity in ``body``, every byte of which ``lines`` saw (before ``with_crlf``, where it was needed).

    Raises :class:`gateway.outcome.GatewayError` (MALFORMED, LIMIT) where it is no clean entity: lines that are no field, broken
    lines, 8-bit bytes in what says that it has none.
    """
    if not (lines.clean or lines.bare):
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
