"""A MIME entity as a stream of its pieces: headers, content, delimiter lines. Every byte is in exactly one piece, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import compress, count, islice
from typing import Final

from gateway.mail.message import Header, read_header
from gateway.mail.mime import TEXT_PLAIN, ContentType, MimeError, parse_content_type, parse_transfer_encoding
from gateway.outcome import Reason

MAX_DEPTH: Final = 50
MAX_PARTS: Final = 10_000
MAX_PART_HEADER: Final = 256 * 1024
MAX_HEADERS: Final = 4 * 1024 * 1024  # bytes of the headers of all parts together
MAX_ALL_FIELDS: Final = 100_000  # fields in them
_LONGEST_DELIMITER: Final = 1000
_ENOUGH: Final = _LONGEST_DELIMITER + 4  # with the CRLF before it, and the end of what is no CRLF
_STRETCH: Final = 8192  # bytes that are looked through at once
_NEAR: Final = 256
# What ``_match`` looks up of each line that begins with dashes; of one with a bare CR, something that is no boundary
_DASHES: Final = re.compile(rb"\r\n--([^\r]{0,997}(?:[^\r \t]|\r(?!\n)))?")

IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
LAYERS: Final = frozenset({"multipart/signed", "multipart/encrypted"})  # what is in them must keep its bytes
_DIGEST_PART: Final = ContentType("message/rfc822", {})  # RFC 2046 5.1.5


class Kind(Enum):
    """What follows a header."""

    MULTIPART = auto()
    MESSAGE = auto()
    LEAF = auto()
    FIXED = auto()  # content that must keep its bytes: a signed multipart and all within, or what forbids encodings


@dataclass(frozen=True, slots=True)
class Head:
    """The header of an entity. ``raw`` ends with the empty line; ``encoding`` is the transfer encoding it names."""

    raw: bytes
    header: Header
    type: ContentType
    encoding: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of a leaf's content. Never ends between CR and LF."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Aside:
    """A piece of a preamble or an epilogue, which readers ignore (RFC 2046 5.1.1)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Delimiter:
    """A delimiter line with the CRLF before it, which belongs to it, and the one behind."""

    data: bytes


Piece = Head | Content | Aside | Delimiter


@dataclass(frozen=True, slots=True)
class _Open:
    """A multipart whose end was not yet seen."""

    boundary: bytes
    type: str
    fixed: bool


# By what a delimiter line may have behind its dashes: the index of the multipart that stands open with it, the innermost of two,
# and whether the line closes it
_Levels = dict[bytes, tuple[int, bool]]


def _levels(opened: list[_Open]) -> _Levels:
    levels: _Levels = {}
    for level, each in enumerate(opened):
        levels |= {each.boundary: (level, False), each.boundary + b"--": (level, True)}
    return levels


class _Reader:
    """What was read and not yet given on."""

    __slots__ = ("_chunks", "data", "ended")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.data = b""
        self.ended = False

    def fill(self) -> None:
        more = next(self._chunks, None)
        if more is None:
            self.ended = True
        else:
            self.data += more

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        return taken


def walk(chunks: Iterable[bytes]) -> Iterator[Piece]:
    """The pieces of the entity in ``chunks``. Raises :class:`MimeError` or ``MessageError`` where there are two ways to read it."""
    reader = _Reader(chunks)
    opened: list[_Open] = []
    levels: _Levels = {}
    parts, nested, size, fields = 0, 0, 0, 0
    expecting_head = True
    fixed = False
    while True:
        if expecting_head:
            parts += 1
            if parts > MAX_PARTS or len(opened) + nested > MAX_DEPTH:
                raise MimeError(Reason.LIMIT, "too many MIME parts")
            head = _head(reader, opened, levels, fixed)
            size, fields = size + len(head.raw), fields + len(head.header.fields)
            if size > MAX_HEADERS or fields > MAX_ALL_FIELDS:
                raise MimeError(Reason.LIMIT, "too much in the headers of MIME parts")
            yield head
            nested = nested + 1 if head.kind is Kind.MESSAGE else 0
            expecting_head = head.kind is Kind.MESSAGE
            if head.kind is Kind.MULTIPART or (head.kind is Kind.FIXED and head.type.type.startswith("multipart/")):
                fixed = head.kind is Kind.FIXED
                opened.append(_open(head, fixed))
                levels = _levels(opened)
            if expecting_head:
                continue
            aside = bool(opened) and head.type.type.startswith("multipart/")
        else:
            aside = True
        yield from (Aside(piece) if aside and not fixed else Content(piece) for piece in _until_delimiter(reader, levels))
        if not reader.data:
            return
        line, level, closing = _delimiter(reader.data, levels)
        yield Delimiter(reader.take(line))
        del opened[level + (0 if closing else 1) :]
        levels = _levels(opened)
        fixed = opened[-1].fixed if opened else False
        expecting_head = not closing


def _head(reader: _Reader, opened: list[_Open], levels: _Levels, fixed: bool) -> Head:
    while not (reader.ended or reader.data.startswith(b"\r\n") or b"\r\n\r\n" in reader.data):
        if len(reader.data) > MAX_PART_HEADER:
            raise MimeError(Reason.LIMIT, "header of a MIME part too long")
        reader.fill()
    header = read_header(reader.data)
    raw = reader.take(header.size)
    if any(not field.name or _match(field.raw, 0, levels) for field in header.fields):
        raise MimeError(Reason.MALFORMED, "header of a MIME part has a line that is no field")
    default = _DIGEST_PART if opened and opened[-1].type == "multipart/digest" else TEXT_PLAIN
    types, encodings = header.all("Content-Type"), header.all("Content-Transfer-Encoding")
    if len(types) > 1 or len(encodings) > 1:
        raise MimeError(Reason.MALFORMED, "Content-Type or Content-Transfer-Encoding given twice")
    kind = parse_content_type(types[0].value) if types else default
    encoding = parse_transfer_encoding(encodings[0].value if encodings else None)
    return Head(raw, header, kind, encoding, Kind.FIXED if fixed else _kind(kind.type, encoding))


def _kind(name: str, encoding: str) -> Kind:
    if name.startswith("multipart/"):
        if encoding not in IDENTITY:  # RFC 2045 6.4
            raise MimeError(Reason.MALFORMED, "multipart with a transfer encoding")
        return Kind.FIXED if name in LAYERS else Kind.MULTIPART
    if encoding not in IDENTITY:
        return Kind.FIXED
    if name in {"message/rfc822", "message/news"}:
        return Kind.MESSAGE
    # RFC 2046 5.2: other message types are 7bit, but for those of RFC 6532 and 6533, which take any encoding
    return Kind.FIXED if name.startswith("message/") and not name.startswith("message/global") else Kind.LEAF


def _open(head: Head, fixed: bool) -> _Open:
    boundary = head.type.boundary
    if boundary is None:
        raise MimeError(Reason.MALFORMED, "multipart without a boundary")
    return _Open(boundary, head.type.type, fixed)


def _until_delimiter(reader: _Reader, levels: _Levels) -> Iterator[bytes]:
    """Content up to the next delimiter line, which is then at the start of ``reader.data``; to the end where there is none."""
    while not reader.ended and len(reader.data) < _LONGEST_DELIMITER:
        reader.fill()
    if _match(reader.data, 0, levels):
        return
    at = 0
    while True:
        at = reader.data.find(b"\r\n--", at)
        if at >= 0 and not reader.ended and len(reader.data) - at < _LONGEST_DELIMITER:
            if at:
                yield reader.take(at)
            at = 0
            reader.fill()
        elif at >= 0:
            if _match(reader.data, at + 2, levels):
                if at:
                    yield reader.take(at)
                return
            at = _pass_over(reader, at + 2, levels)
        elif reader.ended:
            if reader.data:
                yield reader.take(len(reader.data))
            return
        else:
            keep = len(reader.data) - 3
            if keep > 0:
                yield reader.take(keep - (reader.data[keep - 1] == 0x0D))
            at = 0
            reader.fill()


def _pass_over(reader: _Reader, at: int, levels: _Levels) -> int:
    """Where, from ``at`` on, a line may be a delimiter, or how far on none is: there are bodies of lines that look like one."""
    data = reader.data
    whole = len(data) - (0 if reader.ended else _ENOUGH)  # a line that begins behind it may be there in part
    behind = max(at, min(whole, at + _STRETCH))
    end = behind + _ENOUGH
    starts = [data.find(b"\r\n--" + text, at, end) for text, (_, closing) in levels.items() if not closing]
    near = min((start for start in starts if start >= 0), default=behind)
    if near - at < _NEAR:  # perhaps one of many that only begin like a delimiter
        texts = _DASHES.findall(data, at, end)
        first = next(compress(count(), map(levels.__contains__, texts)), None)
        line = None if first is None else next(islice(_DASHES.finditer(data, at, end), first, None))
        near = behind if line is None else line.start()
    return min(near, behind)


def _delimiter(data: bytes, levels: _Levels) -> tuple[int, int, bool]:
    """Length of the delimiter at the start of ``data``, the index of its multipart, and whether it closes it."""
    lead = 2 if data.startswith(b"\r\n") else 0
    found = _match(data, lead, levels)
    if found is None:
        raise MimeError(Reason.MALFORMED, "delimiter expected")
    length, level, closing = found
    return lead + length, level, closing


def _match(data: bytes, at: int, levels: _Levels) -> tuple[int, int, bool] | None:
    """The delimiter line at ``at``: its length with CRLF, the index of its multipart, and whether it closes it. Costs the same
    however many multiparts are open.
    """
    if not data.startswith(b"--", at):
        return None
    end = data.find(b"\r\n", at, at + _LONGEST_DELIMITER)
    behind = min(len(data), at + _LONGEST_DELIMITER) if end < 0 else end
    found = levels.get(data[at + 2 : behind].rstrip(b" \t"))
    return None if found is None else (behind - at + (0 if end < 0 else 2), *found)
