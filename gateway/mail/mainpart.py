"""The parts of an entity that are the text of the message (Main Body Parts, RFC 9787 7.1, RFC 9788 5.2.4)."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pybase64

from gateway.mail.form import Span
from gateway.mail.message import Field
from gateway.mail.walk import Content, Delimiter, Head, Kind, walk

MAX_TEXT: Final = 64 * 1024

_SPACE: Final = b"\r\n \t"
_TEXTS: Final = frozenset({"text/plain", "text/html"})


@dataclass(frozen=True, slots=True)
class MainPart:
    """Plain text or HTML. ``start``: where its header begins, in bytes from the start of the entity. ``text``: the first
    ``MAX_TEXT`` bytes of its content, in its transfer encoding; ``whole`` where that is all of it.
    """

    head: Head
    start: int
    text: bytes
    whole: bool

    @property
    def content(self) -> int:
        """Where its content begins, in bytes from the start of the entity."""
        return self.start + len(self.head.raw)

    def span_of(self, one: Field) -> Span:
        """Where a field of its header lies in the entity."""
        at = self.start
        for each in self.head.header.fields:
            if each is one:
                return Span(at, at + len(each.raw))
            at += len(each.raw)
        raise ValueError("a field of another header")


def base64_decoded(text: bytes) -> bytes | None:
    """The beginning of a part out of base64, as far as whole groups of it go; None where it is no base64."""
    characters = text.translate(None, _SPACE)
    try:
        return pybase64.b64decode(characters[: len(characters) // 4 * 4], validate=True)
    except binascii.Error:
        return None


def base64_end(text: bytes, octets: int) -> int:
    """Where in base64 the first ``octets`` end, a multiple of three, with the line end behind them."""
    at, left = 0, octets // 3 * 4
    for line in text.splitlines(keepends=True):
        characters = len(line.translate(None, _SPACE))
        if characters > left or not left:
            break
        at, left = at + len(line), left - characters
    while left:
        left -= text[at] not in _SPACE
        at += 1
    return at


def main_parts(chunks: Iterable[bytes]) -> Iterator[MainPart]:
    """The main parts of the entity in ``chunks``, in order. Raises as :func:`walk` does."""
    tree = _Tree()
    offset, start, text, size = 0, 0, b"", 0
    part: Head | None = None
    for piece in walk(chunks):
        data = piece.raw if isinstance(piece, Head) else piece.data
        if part is not None and isinstance(piece, Content):
            text += data[: MAX_TEXT - len(text)]
            size += len(data)
        elif part is not None:
            yield MainPart(part, start, text, size == len(text))
            part = None
        if isinstance(piece, Head):
            part = piece if tree.is_main(piece) and piece.type.type in _TEXTS else None
            start, text, size = offset, b"", 0
        elif isinstance(piece, Delimiter):
            tree.delimiter(data)
        offset += len(data)
    if part is not None:
        yield MainPart(part, start, text, size == len(text))


@dataclass(slots=True)
class _Multipart:
    """One that is open. ``main``: its parts may be the text of the message."""

    boundary: bytes
    alternative: bool
    main: bool
    children: int = 0


@dataclass(slots=True)
class _Tree:
    opened: list[_Multipart] = field(default_factory=list)
    wrapped: bool = False

    def is_main(self, head: Head) -> bool:
        """Whether the next part is no attachment, and no second part of what is not an alternative."""
        parent = self.opened[-1] if self.opened else None
        main = not self.wrapped and not _is_attachment(head)
        if parent is not None:
            parent.children += 1
            main = main and parent.main and (parent.alternative or parent.children == 1)
        self.wrapped = head.kind is Kind.MESSAGE
        if head.type.type.startswith("multipart/"):
            inside = main and head.kind is Kind.MULTIPART  # not in what must keep its bytes
            self.opened.append(_Multipart(head.type.boundary or b"", head.type.type == "multipart/alternative", inside))
        return main

    def delimiter(self, data: bytes) -> None:
        """A delimiter line."""
        line = data.strip()
        for level in range(len(self.opened) - 1, -1, -1):
            boundary = b"--" + self.opened[level].boundary
            if line in (boundary, boundary + b"--"):
                del self.opened[level + (line == boundary) :]
                return


def _is_attachment(head: Head) -> bool:
    disposition = head.header.first("Content-Disposition")
    return disposition is not None and disposition.value.lower().startswith(b"attachment")
