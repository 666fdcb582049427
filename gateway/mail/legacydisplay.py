"""Legacy Display Elements (RFC 9788 2.1.2): protected fields that are repeated at the head of the text, for old mail programs.

Where the fields are in the header again, elements are taken out, if that is simple: text as RFC 9788 5.2.2 and 5.2.3 write it, in
an ASCII charset; in base64, where what is behind them can stay as it is. All else stays: a line too many does less harm than a line
too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.mail.edit import Edit
from gateway.mail.form import Span
from gateway.mail.mainpart import MainPart, base64_decoded, base64_end, main_parts
from gateway.mail.mime import wrap
from gateway.mail.protected import PROMOTED, without_parameter
from gateway.mail.walk import IDENTITY
from gateway.outcome import GatewayError

PARAMETER: Final = "hp-legacy-display"
CHARSET: Final = re.compile(r"us-ascii|utf-?8|iso-8859-\d+|windows-125\d", re.IGNORECASE)  # what has ASCII in it
QUOTED: Final = "quoted-printable"
BASE64: Final = "base64"

_NAMES: Final = b"|".join(sorted(name.encode("ascii") for name in PROMOTED))
# Lines of fields, and the first blank line. In quoted-printable a line goes on behind "=" at its end.
_PLAIN: Final = re.compile(rb"(?:(?:%b):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\r\n" % _NAMES, re.IGNORECASE)
_PLAIN_QUOTED: Final = re.compile(rb"(?:(?:%b):(?:[^\r\n]*=\r\n)*[^\r\n]*(?<!=)\r\n)+\r\n" % _NAMES, re.IGNORECASE)
_ELEMENT: Final = rb"""<div class=%b"header-protection-legacy-display">\s*<pre>[^<>]*</pre>\s*</div>"""
_HTML: Final = re.compile(rb"(\A|<body(?:\s[^<>]*)?>)(\s*)%b(?:\r\n)?" % (_ELEMENT % b""), re.IGNORECASE)
_HTML_QUOTED: Final = re.compile(
    rb"(\A|<body(?:\s[^<>]*)?>)((?:\s|=\r\n)*?)(?:=\r\n)?%b(?:=?\r\n)?" % (_ELEMENT % b"3D"), re.IGNORECASE
)


def without_elements(chunks: Iterable[bytes]) -> tuple[Edit, ...]:
    """What takes them out of the entity in ``chunks``; nothing where it cannot be read in one way only."""
    try:
        return tuple(edit for part in main_parts(chunks) for edit in _cut(part))
    except GatewayError:
        return ()


def _cut(part: MainPart) -> Iterator[Edit]:
    """The element at the head of a part that is marked, and the parameter that tells of it."""
    if CHARSET.fullmatch(part.head.type.params.get("charset", "us-ascii")) is None or part.head.type.params.get(PARAMETER) != "1":
        return
    cut = _without_base64(part) if part.head.encoding == BASE64 else _without(part)
    if cut is not None:
        field = part.head.header.all("Content-Type")[0]
        yield Edit(part.span_of(field), without_parameter(field.raw, PARAMETER))
        yield cut


def _without(part: MainPart) -> Edit | None:
    if part.head.encoding not in IDENTITY and part.head.encoding != QUOTED:
        return None
    found = _element(part, part.text, quoted=part.head.encoding == QUOTED)
    return Edit(Span(part.content + found.start, part.content + found.end)) if found is not None else None


def _without_base64(part: MainPart) -> Edit | None:
    """Base64 is cut between groups of three octets: what goes is a number of these, and the rest of the last group comes before."""
    text = base64_decoded(part.text)
    found = _element(part, text, quoted=False) if text is not None else None
    if text is None or found is None or (found.end - found.start) % 3:
        return None
    end = found.end + -found.end % 3
    if end > len(text):
        return None
    kept = wrap(text[: found.start] + text[found.end : end])
    return Edit(Span(part.content, part.content + base64_end(part.text, end)), kept)


def _element(part: MainPart, text: bytes, *, quoted: bool) -> Span | None:
    if part.head.type.type == "text/plain":
        found = (_PLAIN_QUOTED if quoted else _PLAIN).match(text)
        return Span(0, found.end()) if found else None
    found = (_HTML_QUOTED if quoted else _HTML).search(text)
    return Span(found.end(2), found.end()) if found else None
