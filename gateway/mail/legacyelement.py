"""Legacy Display Elements (RFC 9788 5.2.2, 5.2.3) as we write them: ``mail.legacydisplay`` takes them out to the last byte.

A part that cannot take one in a simple way gets none: text in a charset without ASCII, HTML of which it is not clear where its body
begins.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from gateway.mail.edit import Edit
from gateway.mail.form import Span
from gateway.mail.legacydisplay import BASE64, CHARSET, PARAMETER, QUOTED
from gateway.mail.mainpart import MainPart, base64_decoded, base64_end, main_parts
from gateway.mail.message import Field
from gateway.mail.mime import wrap
from gateway.mail.protected import with_parameter
from gateway.mail.walk import IDENTITY
from gateway.outcome import GatewayError

MAX_REPEATED: Final = 32 * 1024  # bytes of all elements of a message: each of many small parts would take as much as a header holds
_BODY: Final = re.compile(rb"<body(?:\s[^<>]*)?>\s*", re.IGNORECASE)
_SPACE: Final = re.compile(rb"\s*")
_DOCUMENT: Final = re.compile(rb"<(?:!doctype|html|head|body|frameset)\b", re.IGNORECASE)


def with_elements(chunks: Iterable[bytes], hidden: Sequence[Field]) -> tuple[Edit, ...]:
    """What puts the ``hidden`` fields at the head of each main part of the entity in ``chunks`` that takes them, as far as
    ``MAX_REPEATED`` goes.
    """
    lines = [f"{field.name}: {_visible(field.text)}" for field in hidden]
    edits: list[Edit] = []
    left = MAX_REPEATED
    try:
        for part in main_parts(chunks):
            element = _element(part, lines)
            left -= len(element or b"")
            if left < 0:
                break
            if element is not None:
                edits += _put(part, lines, element)
    except GatewayError:
        return ()  # nobody knows which part a reader takes for the text
    return tuple(edits)


def _visible(text: str) -> str:
    """A value on one line, and nothing else in it (RFC 9788 10.3)."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _put(part: MainPart, lines: Sequence[str], element: bytes) -> Iterator[Edit]:
    encoding, types = part.head.encoding, part.head.header.all("Content-Type")
    plain = part.head.type.type == "text/plain"
    text = base64_decoded(part.text) if encoding == BASE64 else part.text
    at = 0 if plain else _body_at(text or b"")
    marked = with_parameter(types[0].raw, PARAMETER, "1") if types else None
    if text is None or at is None or marked is None:
        return
    if encoding in IDENTITY:
        put = Edit(Span(at, at), element)
    elif encoding == QUOTED:
        around = b"" if plain else b"=\r\n"  # HTML stands somewhere in a line, however long that is
        put = Edit(Span(at, at), around + binascii.b2a_qp(element) + around)
    elif encoding == BASE64 and at + -at % 3 <= len(text):
        # A number of groups of three octets, by spaces behind the last value, so that the groups behind can stay as they are
        element = _element(part, [*lines[:-1], lines[-1] + " " * (-len(element) % 3)]) or b""
        end = at + -at % 3
        put = Edit(Span(0, base64_end(part.text, end)), wrap(text[:at] + element + text[at:end]))
    else:
        return
    yield Edit(part.span_of(types[0]), marked)
    yield Edit(Span(part.content + put.span.start, part.content + put.span.end), put.text)


def _element(part: MainPart, lines: Iterable[str]) -> bytes | None:
    """The element for a part: HTML in ASCII, text in its charset; None where that is not known."""
    if part.head.type.type == "text/html":
        text = "".join(f"{escape(line)}\r\n" for line in lines).encode("ascii", "xmlcharrefreplace")
        return b'<div class="header-protection-legacy-display">\r\n<pre>\r\n%b</pre>\r\n</div>' % text
    charset = part.head.type.params.get("charset", "us-ascii")
    if CHARSET.fullmatch(charset) is None:
        return None
    if part.head.encoding == "7bit":
        charset = "us-ascii"
    whole = "".join(f"{line}\r\n" for line in lines) + "\r\n"
    try:
        return whole.encode(charset)
    except UnicodeEncodeError:
        return b"".join(_encoded(each, charset) for each in whole)
    except LookupError:
        return None


def _encoded(letter: str, charset: str) -> bytes:
    """A letter, if need be without its accent."""
    try:
        return letter.encode(charset)
    except UnicodeEncodeError:
        return unicodedata.normalize("NFKD", letter)[:1].encode(charset, "replace")


def _body_at(text: bytes) -> int | None:
    """Where the body of an HTML document begins; one without tags of a document is all body."""
    found = _BODY.search(text) or (None if _DOCUMENT.search(text) else _SPACE.match(text))
    return found.end() if found is not None else None
