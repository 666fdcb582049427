"""How a message says that it is S/MIME (RFC 8551 3.2 to 3.6), and where the two parts of a multipart/signed lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from gateway.mail.body import Body
from gateway.mail.message import Header
from gateway.mail.mime import Base64Bytes, ContentType, MimeError, parse_content_type, parse_transfer_encoding
from gateway.mail.slice import Slice
from gateway.mail.walk import IDENTITY
from gateway.outcome import Reason

OPAQUE: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
SIGNATURE: Final = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature"})
_BY_NAME: Final = "application/octet-stream"
_FILE: Final = re.compile(rb"""filename\*?\s*=\s*"?[^";]*\.(p7[a-z])["\s]*(?:;|$)""", re.IGNORECASE)
_MAX_DELIMITER: Final = 1000  # bytes of a delimiter line with the white space behind it


class Form(Enum):
    """How a message is S/MIME."""

    OPAQUE = auto()  # one CMS structure
    DETACHED = auto()  # multipart/signed


def form_of(header: Header) -> Form | None:
    """How the entity with this header says that it is S/MIME; None where it does not.

    Raises :class:`MimeError` (MALFORMED) where it can be read in two ways, and S/MIME is one of them.
    """
    fields = header.all("Content-Type")
    if len(fields) != 1:
        if any(_hints(field.value) for field in fields):
            raise MimeError(Reason.MALFORMED, "several Content-Types, of which one is S/MIME")
        return None
    try:
        kind = parse_content_type(fields[0].value)
    except MimeError:
        if _hints(fields[0].value):
            raise
        return None
    return _form(kind, header)


def _form(kind: ContentType, header: Header) -> Form | None:
    if is_structure(kind, header):
        return Form.OPAQUE
    if kind.type == "multipart/signed" and kind.params.get("protocol", "").strip().lower() in SIGNATURE:
        return Form.DETACHED
    return None


def is_structure(kind: ContentType, header: Header) -> bool:
    """Whether the entity is one CMS structure: by its type, or by a file name where software put its own type (RFC 8551 3.9)."""
    return kind.type in OPAQUE or _is_named(kind, header, ".p7m", ".p7z")


def is_signature(kind: ContentType, header: Header) -> bool:
    """Whether the entity calls itself a detached signature, by its type or by a file name."""
    return kind.type in SIGNATURE or _is_named(kind, header, ".p7s")


def _is_named(kind: ContentType, header: Header, *endings: str) -> bool:
    if kind.type != _BY_NAME:
        return False
    disposition = header.first("Content-Disposition")
    found = _FILE.search(disposition.value[:2000]) if disposition is not None else None
    if found and f".{found[1].decode().lower()}" in endings:
        return True
    return any(kind.params.get(name, "").lower().endswith(endings) for name in ("name", "name*"))  # RFC 2231 4


def _hints(value: bytes) -> bool:
    return b"pkcs7" in value.lower()


def decoded(body: Body, header: Header) -> Iterator[bytes]:
    """The content of the entity in ``body`` without its transfer encoding, in pieces.

    Raises :class:`MimeError` (MALFORMED) for broken base64, and for an encoding that no S/MIME program uses.
    """
    fields = header.all("Content-Transfer-Encoding")
    if len(fields) > 1:
        raise MimeError(Reason.MALFORMED, "several Content-Transfer-Encodings")
    yield from without_encoding(body.chunks(), parse_transfer_encoding(fields[0].value if fields else None))


def without_encoding(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """``chunks`` without the transfer encoding of that name. Raises :class:`MimeError` as :func:`decoded` does."""
    if encoding in IDENTITY:
        yield from chunks
    elif encoding == "base64":
        decoder = Base64Bytes()
        for chunk in chunks:
            yield decoder.update(chunk)
        decoder.finalize()
    else:
        raise MimeError(Reason.MALFORMED, "signed or encrypted content in an encoding other than base64")


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to before ``end``, in bytes from the start of the body."""

    start: int
    end: int


class NotTwoError(MimeError):
    """A multipart/signed of more than two parts: the signature covers but one of what is shown."""


def signed_parts(body: Body, header: Header) -> tuple[Span, Span]:
    """Where the signed entity and its signature lie in the multipart/signed in ``body`` (RFC 1847 2.1).

    The CRLF before a delimiter line belongs to the delimiter. Raises :class:`MimeError` (MALFORMED), :class:`NotTwoError`.
    """
    first, second, last = _signed_lines(body, header)
    return Span(first.end, second.start), Span(second.end, last.start)


def is_plainly_signed(body: Body, header: Header) -> bool:
    """Whether every reader of the multipart/signed in ``body`` finds the same two parts in it, and no other.

    Outside the first nothing is signed. So there must be no line that some reader takes for a delimiter, and no Content-Type in
    which one finds another boundary: comments and quoted pairs (RFC 2045 5.1), parameters in pieces (RFC 2231). Raises as
    :func:`signed_parts`.
    """
    [field] = header.all("Content-Type")
    encodings = header.all("Content-Transfer-Encoding")
    if b"(" in field.value or b"\\" in field.value or any("*" in name for name in parse_content_type(field.value).params):
        return False
    if len(encodings) > 1 or (encodings and parse_transfer_encoding(encodings[0].value) not in IDENTITY):
        return False
    first, second, last = _signed_lines(body, header)
    outside = ((header.size, first.start), (second.end, last.start), (last.end, body.size))
    return not any(_has_delimiter(Slice(body, start, end)) for start, end in outside)


def _has_delimiter(part: Slice) -> bool:
    """Whether a line begins as delimiters do."""
    before = b"\n"
    for chunk in part.chunks():
        seen = before + chunk
        if b"\n--" in seen:
            return True
        before = seen[-2:]
    return False


def _signed_lines(body: Body, header: Header) -> list[_Line]:
    """The three delimiter lines of a multipart/signed."""
    boundary = parse_content_type(header.all("Content-Type")[0].value).boundary
    if boundary is None:
        raise MimeError(Reason.MALFORMED, "multipart without a boundary")
    lines: list[_Line] = []
    for line in _delimiters(body, header.size - 2, b"\r\n--" + boundary):
        lines.append(line)
        if line.closing:
            break
        if len(lines) == 3:
            raise NotTwoError(Reason.PARTIAL_COVERAGE, "multipart/signed of more than two parts")
    if len(lines) != 3 or lines[1].start < lines[0].end or lines[2].start < lines[1].end:
        raise MimeError(Reason.MALFORMED, "multipart/signed that has not two parts and an end")
    return lines


@dataclass(frozen=True, slots=True)
class _Line:
    """A delimiter line: from the CRLF before it to behind the CRLF that ends it."""

    start: int
    end: int
    closing: bool


def _delimiters(body: Body, start: int, wanted: bytes) -> Iterator[_Line]:
    """The delimiter lines of one boundary from ``start`` on, in order."""
    window, offset, position = b"", 0, start
    chunks = body.chunks()
    ended = False
    while True:
        found = window.find(wanted, max(position - offset, 0))
        enough = found >= 0 and (ended or len(window) - found >= len(wanted) + _MAX_DELIMITER)
        if not enough:
            if ended:
                return
            keep = found if found >= 0 else max(len(window) - len(wanted), 0)
            chunk = next(chunks, None)
            ended = chunk is None
            window, offset = window[keep:] + (chunk or b""), offset + keep
            continue
        line, position = _line(window, found, len(wanted), offset)
        if line is not None:
            yield line
        else:  # there are bodies of lines that only begin like one
            next_one = _likely(wanted).search(window, position - offset)
            position = offset + (len(window) - len(wanted) if next_one is None else next_one.start())


@lru_cache(maxsize=16)
def _likely(wanted: bytes) -> re.Pattern[bytes]:
    """What is a delimiter line, or may be one when more of it is there. Made for those bodies alone: it takes its time."""
    return re.compile(re.escape(wanted) + rb"(?:--)?[ \t]*(?:\r\n|\r?\Z|-\Z)")


def _line(window: bytes, found: int, length: int, offset: int) -> tuple[_Line | None, int]:
    """The delimiter line at ``found``, if it is one, and where to search on."""
    behind = found + length
    end = window.find(b"\r\n", behind, behind + _MAX_DELIMITER)
    rest = window[behind : end if end >= 0 else len(window)].rstrip(b" \t")
    if rest not in (b"", b"--") or (end < 0 and len(window) - behind > _MAX_DELIMITER):
        return None, offset + behind
    after = end + 2 if end >= 0 else len(window)
    # The CRLF at the end of one delimiter line may be the one before the next.
    return _Line(offset + found, offset + after, rest == b"--"), offset + (end if end >= 0 else len(window))
