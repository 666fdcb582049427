"""Legacy Display Elements (RFC 9788 2.1.2): protected fields that are repeated at the head of the text, for old mail programs.

Where the fields are in the header again, elements are taken out, if that is simple: text as RFC 9788 5.2.2 and 5.2.3 write it, in
an ASCII charset, not in base64. All else stays as it is: a line too many does less harm than a line too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.mail.edit import Edit
from gateway.mail.form import Span
from gateway.mail.mainpart import MainPart, main_parts
from gateway.mail.protected import PROMOTED, without_parameter
from gateway.mail.walk import IDENTITY
from gateway.outcome import GatewayError

PARAMETER: Final = "hp-legacy-display"
CHARSET: Final = re.compile(r"us-ascii|utf-?8|iso-8859-\d+|windows-125\d", re.IGNORECASE)  # what has ASCII in it
QUOTED: Final = "quoted-printable"

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
    found = _element(part)
    if found is not None:
        field = part.head.header.all("Content-Type")[0]
        yield Edit(part.span_of(field), without_parameter(field.raw, PARAMETER))
        yield Edit(Span(part.content + found.start, part.content + found.end))


def _element(part: MainPart) -> Span | None:
    encoding, plain = part.head.encoding, part.head.type.type == "text/plain"
    if encoding not in IDENTITY and encoding != QUOTED:
        return None
    if plain:
        found = (_PLAIN if encoding in IDENTITY else _PLAIN_QUOTED).match(part.text)
        return Span(0, found.end()) if found else None
    found = (_HTML if encoding in IDENTITY else _HTML_QUOTED).search(part.text)
    return Span(found.end(2), found.end()) if found else None
