"""Legacy Display Elements (RFC 9788 4.5.3): protected fields that a sender repeats at the head of the text, for old mail programs.

Where the fields are in the header again, they are taken out, if that is simple: text as RFC 9788 5.2.2 and 5.2.3 write it, in
an ASCII charset, not in base64. All else stays as it is: a line too many does less harm than a line too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.mail.form import Span
from gateway.mail.protected import PROMOTED, without_parameter
from gateway.mail.walk import IDENTITY, Content, Delimiter, Head, Kind, walk
from gateway.outcome import GatewayError

MAX_ELEMENT: Final = 64 * 1024

_PARAMETER: Final = "hp-legacy-display"
_CHARSET: Final = re.compile(r"us-ascii|utf-8|iso-8859-\d+|windows-125\d", re.IGNORECASE)
_NAMES: Final = b"|".join(sorted(name.encode("ascii") for name in PROMOTED))
# Lines of fields, and the first blank line. In quoted-printable a line goes on behind "=" at its end.
_PLAIN: Final = re.compile(rb"(?:(?:%b):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\r\n" % _NAMES, re.IGNORECASE)
_QUOTED: Final = re.compile(rb"(?:(?:%b):(?:[^\r\n]*=\r\n)*[^\r\n]*(?<!=)\r\n)+\r\n" % _NAMES, re.IGNORECASE)
_HTML: Final = re.compile(
    rb"""(<body(?:\s[^<>]*)?>\s*)<div class="header-protection-legacy-display">\s*<pre>[^<>]*</pre>\s*</div>(?:\r\n)?""",
    re.IGNORECASE,
)


def legacy_display(chunks: Iterable[bytes]) -> tuple[Span, ...]:
    """What of the entity in ``chunks`` is to be left out, in order; nothing where it cannot be read in one way only."""
    try:
        return tuple(_Search().spans(chunks))
    except GatewayError:
        return ()


def without(chunks: Iterable[bytes], spans: Iterable[Span]) -> Iterator[bytes]:
    """``chunks`` without ``spans``, which are in order."""
    offset, left = 0, list(spans)
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            while left and left[0].end <= offset + at:
                left.pop(0)
            start = min(max(left[0].start - offset, at), len(chunk)) if left else len(chunk)
            if start > at:
                yield chunk[at:start]
            at = min(left[0].end - offset, len(chunk)) if left and start < len(chunk) else len(chunk)
        offset += len(chunk)


@dataclass(slots=True)
class _Multipart:
    """One that is open. ``main``: its parts may be the text of the message."""

    boundary: bytes
    alternative: bool
    main: bool
    children: int = 0


@dataclass(slots=True)
class _Search:
    opened: list[_Multipart] = field(default_factory=list)
    wrapped: bool = False

    def spans(self, chunks: Iterable[bytes]) -> Iterator[Span]:
        offset, start, text = 0, 0, b""
        part: Head | None = None
        for piece in walk(chunks):
            data = piece.raw if isinstance(piece, Head) else piece.data
            if part is not None and isinstance(piece, Content) and len(text) < MAX_ELEMENT:
                text += data
            elif part is not None and not isinstance(piece, Content):
                yield from _cut(part, start, text)
                part = None
            if isinstance(piece, Head):
                part = piece if self._is_main(piece) and _is_marked(piece) else None
                start, text = offset, b""
            elif isinstance(piece, Delimiter):
                self._delimiter(data)
            offset += len(data)
        if part is not None:
            yield from _cut(part, start, text)

    def _is_main(self, head: Head) -> bool:
        """Whether it is a Main Body Part (RFC 9788 5.2.4): no attachment, no second part of what is not an alternative."""
        parent = self.opened[-1] if self.opened else None
        main = not self.wrapped and not _is_attachment(head)
        if parent is not None:
            parent.children += 1
            main = main and parent.main and (parent.alternative or parent.children == 1)
        self.wrapped = head.kind is Kind.MESSAGE
        if head.type.type.startswith("multipart/"):
            self.opened.append(_Multipart(head.type.boundary or b"", head.type.type == "multipart/alternative", main))
        return main

    def _delimiter(self, data: bytes) -> None:
        line = data.strip()
        for level in range(len(self.opened) - 1, -1, -1):
            boundary = b"--" + self.opened[level].boundary
            if line in (boundary, boundary + b"--"):
                del self.opened[level + (line == boundary) :]
                return


def _is_attachment(head: Head) -> bool:
    disposition = head.header.first("Content-Disposition")
    return disposition is not None and disposition.value.lower().startswith(b"attachment")


def _is_marked(head: Head) -> bool:
    known = _CHARSET.fullmatch(head.type.params.get("charset", "us-ascii")) is not None
    return known and head.kind is not Kind.MULTIPART and head.type.params.get(_PARAMETER) == "1"


def _cut(part: Head, start: int, text: bytes) -> Iterator[Span]:
    """The element at the head of a part that begins at ``start``, and the parameter that tells of it."""
    element = _element(part, text)
    if element is None:
        return
    kind = part.header.all("Content-Type")[0].raw
    changed = without_parameter(kind, _PARAMETER)
    if changed != kind:
        same = next((number for number, (old, new) in enumerate(zip(kind, changed, strict=False)) if old != new), len(changed))
        # Byte by byte from the left, so that what is cut is a span; several spans would give the same bytes.
        at = start + part.raw.index(kind) + same
        yield Span(at, at + len(kind) - len(changed))
    behind = start + len(part.raw)
    yield Span(behind + element.start, behind + element.end)


def _element(part: Head, text: bytes) -> Span | None:
    plain, text = part.type.type == "text/plain", text[:MAX_ELEMENT]
    if plain and (part.encoding in IDENTITY or part.encoding == "quoted-printable"):
        found = (_PLAIN if part.encoding in IDENTITY else _QUOTED).match(text)
        return Span(0, found.end()) if found else None
    if part.type.type == "text/html" and part.encoding in IDENTITY:
        found = _HTML.search(text)
        return Span(found.end(1), found.end()) if found else None
    return None
