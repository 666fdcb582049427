"""Makes an entity 7-bit before it is signed (RFC 8551 3.1.3): a relay that would re-encode it later would break the signature.

Only what must change changes: a leaf with bytes outside ASCII, lines over 998 bytes, NUL, bare CR or LF becomes quoted-printable
or base64; labels of ``8bit`` and ``binary`` become true. Everything else keeps its bytes.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.mail.entity import Entity
from gateway.mail.message import Field
from gateway.mail.mime import Base64Lines, MimeError
from gateway.mail.walk import IDENTITY, Aside, Content, Delimiter, Head, Kind, walk
from gateway.mail.wire import MAX_LINE
from gateway.outcome import GatewayError, Reason

_HIGH: Final = bytes(range(0x80, 0x100))
_BAD: Final = re.compile(rb"[\x80-\xff\0]|\r(?!\n)|(?<!\r)\n|[^\r\n]{999}")
_UTF8_BAD: Final = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n|[^\r\n]{999}")
_ASIDE: Final = bytes(byte if 0 < byte < 0x80 else 0x3F for byte in range(0x100))
_PIECE: Final = 64 * 1024


class UnencodableError(MimeError):
    """A line that cannot be made 7-bit stands where nothing may be encoded. ``line`` is its number in ``whole``, from 1."""

    def __init__(self, line: int, fault: str, whole: str = "the signed entity") -> None:
        super().__init__(Reason.MALFORMED, f"line {line} of {whole} is {fault} where it may not be encoded")
        self.line = line
        self.fault = fault


class _Lines:
    """What a run of content holds, whatever its pieces."""

    __slots__ = ("_column", "high", "longest", "stray", "total")

    def __init__(self) -> None:
        self.total = self.high = self.longest = self._column = 0
        self.stray = False

    def update(self, data: bytes) -> None:
        lines = data.split(b"\r\n")
        self.total += len(data)
        self.high += 0 if data.isascii() else len(data) - len(data.translate(None, _HIGH))
        breaks = len(lines) - 1
        self.stray = self.stray or b"\0" in data or not data.count(b"\r") == data.count(b"\n") == breaks
        self.longest = max(self.longest, self._column + len(lines[0]), *map(len, lines[1:])) if breaks else self.longest
        self._column = len(lines[-1]) + (0 if breaks else self._column)
        self.longest = max(self.longest, self._column)

    @property
    def clean(self) -> bool:
        return not self.high and not self.stray and self.longest <= MAX_LINE


@dataclass(frozen=True, slots=True)
class SevenBitEntity:
    """``entity`` with the heads and contents numbered in ``encodings`` re-encoded."""

    entity: Entity
    encodings: tuple[str | None, ...]

    def chunks(self) -> Iterator[bytes]:
        """The converted bytes from the start."""
        number = -1
        encoder: Base64Lines | _QuotedPrintable | None = None
        for piece in walk(self.entity.chunks()):
            if isinstance(piece, Content):
                yield piece.data if encoder is None else encoder.update(piece.data)
                continue
            if encoder is not None:
                yield _last(encoder, isinstance(piece, Delimiter))
                encoder = None
            if isinstance(piece, Head):
                number += 1
                encoding = self.encodings[number]
                encoder = _encoder(encoding)
                yield piece.raw if encoding is None else _relabelled(piece, encoding)
            else:
                yield piece.data.translate(_ASIDE) if isinstance(piece, Aside) else piece.data
        if encoder is not None:
            yield _last(encoder, delimited=False)


def seven_bit(entity: Entity, utf8_headers: bool) -> Entity:
    """``entity`` itself where it is 7-bit in fact and in name, else one that is. ``utf8_headers``: SMTPUTF8 mail (RFC 6532) may
    keep UTF-8 in header fields, which no relay re-encodes.

    Reads the entity once or twice. Raises :class:`MimeError` (MALFORMED), :class:`UnencodableError` of a line.
    """
    try:
        encodings, aside_clean = _survey(entity, utf8_headers)
    except GatewayError:
        if _is_clean(entity):
            return entity  # no reader agrees on its parts, but no relay has a reason to change it
        raise
    if aside_clean and not any(encodings):
        return entity
    return SevenBitEntity(entity, encodings)


def _is_clean(entity: Entity) -> bool:
    lines = _Lines()
    for chunk in _whole_breaks(entity.chunks()):
        lines.update(chunk)
    return lines.clean


def _whole_breaks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """``chunks`` cut anew so that none ends between CR and LF."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        rest = b"\r" if data.endswith(b"\r") else b""
        yield data[: len(data) - len(rest)]
    yield rest


def _survey(entity: Entity, utf8_headers: bool) -> tuple[tuple[str | None, ...], bool]:
    """The new transfer encoding of each head in turn (None: as it is), and whether all preambles and epilogues are clean."""
    encodings: list[str | None] = []
    aside = _Lines()
    head: Head | None = None
    lines = _Lines()
    line = 1
    for piece in walk(entity.chunks()):
        if isinstance(piece, Content):
            lines.update(piece.data)
            if head is not None and head.kind is not Kind.LEAF and not lines.clean:
                raise _refusal(piece.data, _BAD, line)
        elif isinstance(piece, Aside):
            aside.update(piece.data)
            if aside.longest > MAX_LINE:
                raise _refusal(piece.data, _BAD, line)
        else:
            if isinstance(piece, Head):
                encodings.append(None if head is None else _choice(head, lines))
                bad = _UTF8_BAD if utf8_headers else _BAD
                if bad.search(piece.raw):
                    raise _refusal(piece.raw, bad, line)
                head, lines = piece, _Lines()
        line += (piece.raw if isinstance(piece, Head) else piece.data).count(b"\n")
    encodings.append(None if head is None else _choice(head, lines))
    return tuple(encodings[1:]), aside.clean


def _choice(head: Head, lines: _Lines) -> str | None:
    if head.kind is Kind.FIXED:
        return None
    if head.kind is Kind.LEAF and not lines.clean:
        text = head.type.type.startswith("text/") and not lines.stray
        return "quoted-printable" if text and lines.high * 6 < lines.total else "base64"
    return "7bit" if head.encoding in IDENTITY - {"7bit"} else None


def _refusal(data: bytes, bad: re.Pattern[bytes], line: int) -> UnencodableError:
    found = bad.search(data)
    at = line + data.count(b"\n", 0, found.start() if found else 0)  # else it is the line begun in the piece before
    what = f"longer than {MAX_LINE} bytes" if found is None or len(found.group()) > 1 else "not 7-bit"
    return UnencodableError(at, what)


def _relabelled(head: Head, encoding: str) -> bytes:
    """The header with its Content-Transfer-Encoding field replaced, or with one at its end."""
    label = f"Content-Transfer-Encoding: {encoding}\r\n".encode()
    fields = [label if _is_label(field) else field.raw for field in head.header.fields]
    if label not in fields:
        fields.append(label)
    return b"".join([*fields, b"\r\n"])


def _is_label(field: Field) -> bool:
    return field.name.lower() == "content-transfer-encoding"


def _encoder(encoding: str | None) -> Base64Lines | _QuotedPrintable | None:
    if encoding == "base64":
        return Base64Lines()
    return _QuotedPrintable() if encoding == "quoted-printable" else None


def _last(encoder: Base64Lines | _QuotedPrintable, delimited: bool) -> bytes:
    """The end of encoded content. Base64 ends its last line itself, unless a delimiter brings that CRLF."""
    end = encoder.finalize()
    return end.removesuffix(b"\r\n") if delimited and isinstance(encoder, Base64Lines) else end


class _QuotedPrintable:
    """Text with CRLF line ends in, quoted-printable out (RFC 2045 6.7), as a stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def update(self, data: bytes) -> bytes:
        data = self._rest + data
        end = data.rfind(b"\r\n") + 2
        if end >= 2:
            self._rest = data[end:]
            return binascii.b2a_qp(data[:end])
        self._rest = data
        if len(data) < _PIECE:
            return b""
        return self.finalize() + b"=\r\n"

    def finalize(self) -> bytes:
        rest, self._rest = self._rest, b""
        # Without a line end in sight b2a_qp breaks lines with LF alone
        return binascii.b2a_qp(rest).replace(b"=\n", b"=\r\n")
