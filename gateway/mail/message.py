"""The header of a message as offsets and slices of its original bytes (RFC 5322, RFC 6532); never printed anew.

Reading is total for what SMTP lets in: a line that is no field is kept as a :class:`Field` without a name, so that it can be
relayed byte for byte and yet counts as no field. Only bare CR, bare LF, NUL and an endless header are refused.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.mail.address import Address, AddressError, parse_address
from gateway.mail.body import Body
from gateway.outcome import GatewayError, Reason

MAX_HEADER: Final = 256 * 1024
MAX_FIELDS: Final = 4096
MAX_FROM: Final = 2000

_END: Final = b"\r\n\r\n"
# RFC 5322 2.2 and 4.5.3: printable US-ASCII but the colon; white space (also a fold) may stand before the colon in old mail.
_NAME: Final = rb"([!-9;-~]++)(?::|[ \t]*+(?:\r\n[ \t]++)*:)"
# A line, with the lines that go on with it, and its name if it is a field; or, from the first that is no line on, all the rest.
# Python 3.11.2 (Debian 12) goes on in the wrong place behind a possessive group that fails half way; there is none here.
_FIELD: Final = re.compile(rb"((?:%b|)[^\r\n\0]*+\r\n(?:[ \t][^\r\n\0]*+\r\n)*)|.++" % _NAME, re.DOTALL)
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")
_BLANK_FOLD: Final = re.compile(rb"\r\n[ \t]+(?=\r\n)")
_WORD: Final = r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]{1,40})?\?([BbQq])\?([^?%s]*)\?="
_ENCODED: Final = re.compile(_WORD % " ")
_FORGIVEN: Final = re.compile(_WORD % "")  # with spaces too, against RFC 2047 2
_UNSEEN: Final = bytes(each for each in range(256) if not 0x21 <= each <= 0x7E)
_BETWEEN_ENCODED: Final = re.compile(r"(\?=)[ \t]+(=\?)")
_NO_CHARSET: Final = "punycode"  # an encoding of labels (RFC 3492), which Python decodes in time that grows with the square
# A display name of atoms, dots, spaces and quoted strings; no comments, groups, routes or lists. No two branches share a first
# character, so matching is linear.
_FROM: Final = re.compile(r'(?:[^\x00-\x08\x0a-\x1f\x7f"(),:;<>@\[\\\]]|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")*<([^<>\s]+)>')


class MessageError(GatewayError):
    """The message cannot be read (MALFORMED, LIMIT)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One header field. ``name`` as written, "" for a line that is no field; ``raw`` is every byte of it with its final CRLF."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands after the colon: unfolded (RFC 5322 2.2.3), white space at both ends removed."""
        value = (self.raw.partition(b":")[2] if self.name else self.raw).strip(b" \t\r\n")
        return _FOLD.sub(b"", value) if b"\r\n" in value else value

    @property
    def text(self) -> str:
        """The value for people's eyes and for matching: encoded words (RFC 2047) decoded, what cannot be decoded replaced."""
        return _shown(self.value, "utf-8")

    @property
    def plain(self) -> Field:
        """The same field, which has a name, for readers who take a space before the colon (RFC 5322 4.5), or a line of spaces in a
        fold, for the end of the header: without these.
        """
        name = self.name.encode("ascii")
        raw = self.raw if self.raw.startswith(name + b":") else name + self.raw[self.raw.index(b":") :]
        return Field(self.name, _BLANK_FOLD.sub(b"", raw))

    @property
    def readings(self) -> Iterator[str]:
        """The value for finding words in that must not be missed: as ``text``, and where that may not be what its reader sees, with
        what we cannot decode as if it were ISO 8859-1, as far as it is ASCII in every charset that mail has; and with encoded words
        side by side put together, since there are programs that divide a character between two.
        """
        yield (text := self.text)
        if "\ufffd" in text or "=?" in text:
            yield _put_together(_BETWEEN_ENCODED.sub(r"\1\2", self.value.decode("utf-8", "replace")))
            yield _ENCODED.sub(partial(_decode_word, known=False), _shown(self.value, "latin-1"))


@dataclass(frozen=True, slots=True)
class Header:
    """The fields in order. ``size`` is where the body begins: behind the empty line, in bytes from the start."""

    fields: tuple[Field, ...]
    size: int

    def all(self, name: str) -> tuple[Field, ...]:
        """The fields named ``name``, in any case."""
        wanted = name.lower()
        return tuple([field for field in self.fields if field.name.lower() == wanted])

    def first(self, name: str) -> Field | None:
        """The first field named ``name``, or None."""
        return next(iter(self.all(name)), None)

    @property
    def before_text(self) -> Header:
        """As far as all readers see a header: up to the first line that is no field, from which on most see text, though no empty
        line came before. One above the From, such as that of mbox files (RFC 4155), is none of the text.
        """
        size, above = 0, self.first("From") is not None
        for number, field in enumerate(self.fields):
            if not (field.name or above):
                return Header(self.fields[:number], size)
            above = above and field.name.lower() != "from"
            size += len(field.raw)
        return self


def read_header(data: bytes) -> Header:
    """The header at the start of ``data``, which holds the whole message or at least its header and the empty line.

    A message that has no empty line is all header. Raises :class:`MessageError`: MALFORMED for bare CR or LF and NUL, LIMIT
    beyond ``MAX_HEADER`` bytes or ``MAX_FIELDS`` fields.
    """
    end, size = _extent(data)
    if size > MAX_HEADER:
        raise MessageError(Reason.LIMIT, f"header over {MAX_HEADER} bytes")
    found = _FIELD.findall(data, 0, end)
    if sum([len(raw) for raw, _ in found]) != end:
        raise MessageError(Reason.MALFORMED, "bare CR or LF, NUL, or an unfinished line in the header")
    if len(found) > MAX_FIELDS:
        raise MessageError(Reason.LIMIT, f"over {MAX_FIELDS} header fields")
    return Header(tuple([Field(name.decode("ascii"), raw) for raw, name in found]), size)


def head_of(body: Body) -> Header:
    """The header of ``body``, reading no more of it than needed. Raises as :func:`read_header`."""
    return read_header(head_bytes(body, MAX_HEADER + len(_END)))


def head_bytes(body: Body, limit: int) -> bytes:
    """The first bytes of ``body``: up to the end of the chunk that holds the empty line, or about ``limit`` bytes."""
    chunks = body.chunks()
    first = next(chunks, b"")
    if _END in first or first.startswith(b"\r\n") or len(first) > limit:
        return first  # nearly always, and without a copy
    data = bytearray(first)
    for chunk in chunks:
        searched = max(len(data) - len(_END), 0)
        data += chunk
        if data.startswith(b"\r\n") or data.find(_END, searched) >= 0 or len(data) > limit:
            break
    return bytes(data)


def from_address(header: Header) -> Address:
    """The one author of the message, by one strict grammar: ``local@domain`` or ``display name <local@domain>``.

    Raises :class:`MessageError` (FROM_AMBIGUOUS) where there is no From, several, a list, a group, a comment, or a header
    line that another reader might take for the From.
    """
    fields = header.all("From")
    if len(fields) != 1:
        raise MessageError(Reason.FROM_AMBIGUOUS, f"{len(fields)} From fields")
    if any(squeezed(field.raw).startswith(b"from:") for field in header.fields if not field.name):
        raise MessageError(Reason.FROM_AMBIGUOUS, "a broken line that reads as From")
    value = fields[0].value
    try:
        text = value.decode("utf-8") if len(value) <= MAX_FROM else ""
        matched = _FROM.fullmatch(text)
        return parse_address(matched[1] if matched else text)
    except (UnicodeDecodeError, AddressError) as error:
        raise MessageError(Reason.FROM_AMBIGUOUS, "From is not one plain address") from error


def squeezed(raw: bytes) -> bytes:
    """A broken line as the most forgiving reader might see it: visible ASCII alone, in lower case."""
    return raw.translate(None, _UNSEEN).lower()


def _extent(data: bytes) -> tuple[int, int]:
    """Where the fields end, and where the body begins."""
    if data.startswith(b"\r\n"):
        return 0, 2
    end = data.find(_END)
    return (len(data), len(data)) if end < 0 else (end + 2, end + 4)


def _shown(value: bytes, charset: str) -> str:
    """``value`` with its encoded words decoded; ``charset`` is that of what is none."""
    text = _BETWEEN_ENCODED.sub(r"\1\2", value.decode(charset, "replace"))
    return _ENCODED.sub(_decode_word, text)


def _decode_word(matched: re.Match[str], *, known: bool = True) -> str:
    """One encoded word; left as it is where it cannot be decoded. Not ``known``: whatever it says of its charset."""
    charset = matched[1]
    try:
        data = _octets(matched)
        if not known:
            return data.decode("latin-1")
        return matched[0] if codecs.lookup(charset).name == _NO_CHARSET else data.decode(charset, "replace")
    except (LookupError, UnicodeError, binascii.Error):
        return matched[0]


def _octets(matched: re.Match[str]) -> bytes:
    """What an encoded word encodes. Raises ``UnicodeError``, ``binascii.Error``."""
    _, encoding, text = matched.groups()
    if encoding in "Bb":
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), validate=True)
    return quopri.decodestring(text.replace("_", " ").encode("ascii"), header=True)


def _put_together(text: str) -> str:
    """``text`` with the octets of encoded words of one charset that stand side by side decoded as one (against RFC 2047 5)."""
    shown: list[str] = []
    data, charset, end = bytearray(), "latin-1", 0
    for word in _FORGIVEN.finditer(text):
        try:
            own, octets = _charset(word[1]), _octets(word)
        except (UnicodeError, binascii.Error):
            continue
        if word.start() > end or own != charset:
            shown += [_decoded(data, charset), text[end : word.start()]]
            data, charset = bytearray(), own
        data += octets
        end = word.end()
    return "".join([*shown, _decoded(data, charset), text[end:]])


def _charset(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return "latin-1"
    return "latin-1" if found == _NO_CHARSET else found


def _decoded(data: bytearray, charset: str) -> str:
    try:
        return data.decode(charset, "replace")
    except (LookupError, UnicodeError):  # no charset, but some other codec
        return data.decode("latin-1")
