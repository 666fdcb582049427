"""A message with Header Protection (RFC 9788 5.2): which fields go into its Cryptographic Payload, and which stay outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.mail.confidentiality import Headers, shown_outside
from gateway.mail.entity import LEFT_OUT, Split, split_header
from gateway.mail.form import form_of, is_structure
from gateway.mail.message import MAX_FIELDS, MAX_HEADER, Field, Header, MessageError
from gateway.mail.protected import PROMOTED, is_composers, type_of, with_parameter
from gateway.mail.walk import LAYERS
from gateway.mail.wire import MAX_LINE
from gateway.outcome import GatewayError, Reason

_COLON, _SPACE = b": "
_DEFAULT_TYPE: Final = Field("Content-Type", b"Content-Type: text/plain\r\n")  # RFC 2045 5.2


@dataclass(frozen=True, slots=True)
class Composed:
    """``split``: the fields in two. ``hidden``: those that people read and that are not shown outside as they are, in order."""

    split: Split
    hidden: tuple[Field, ...] = ()


def is_layer(header: Header) -> bool:
    """Whether the content is a Cryptographic Layer already, so that no field can be protected.

    They are in the payload alone (RFC 9788 2.1.1), and the payload of a layer is its maker's: his program chose what to protect and
    what to show.
    """
    kind = type_of(header)
    if kind is not None:
        return kind.type in LAYERS or is_structure(kind, header)
    try:
        return form_of(header) is not None
    except GatewayError:
        return True  # somebody may read it as one


def compose(header: Header, headers: Headers, *, encrypted: bool, boundary: bytes) -> Composed:
    """``header`` taken apart as RFC 9788 5.2.1 has it. ``encrypted``: the payload will be. ``boundary``: random bytes, for a
    payload whose own type cannot say that it is one.

    Raises :class:`MessageError` (LIMIT) where the fields in the payload would be more than a reader takes.
    """
    if headers is Headers.OFF:
        return Composed(split_header(header))
    outer: list[bytes] = []
    copied: list[bytes] = []
    told: list[bytes] = []
    content: list[Field] = []
    hidden: list[Field] = []
    for field in header.fields:
        name = field.name.lower()
        if not is_composers(name):
            if name.startswith("content-"):
                content.append(field)
            elif name and name not in LEFT_OUT:
                outer.append(field.raw)
            continue
        plain = field if field.raw[len(name)] == _COLON else _spelled(field)
        copied.append(plain.raw if len(plain.raw) <= MAX_LINE else _folded(plain.raw))
        shown = shown_outside(headers, plain) if encrypted else plain
        if shown is not plain and name in PROMOTED:
            hidden.append(plain)
        if shown is not None:
            outer.append(field.raw if shown is plain else shown.raw)
            if encrypted:  # HP-Outer, RFC 9788 2.2.1: a name, a colon, a space, and what stands outside
                told.append(b"HP-Outer: " + (shown.raw if shown.raw[len(name) + 1] == _SPACE else _spaced(shown)))
    marked, behind = _marked(content, "cipher" if encrypted else "clear", boundary)
    inner = b"".join((*copied, *told, marked))
    if len(inner) >= MAX_HEADER or len(copied) + len(told) + len(content) >= MAX_FIELDS:
        raise MessageError(Reason.LIMIT, "the header is too long to be protected")
    return Composed(Split(b"".join(outer), inner, behind), tuple(hidden))


def _spelled(field: Field) -> Field:
    """Without the white space that old mail has before the colon (RFC 5322 4.5): not all read it alike."""
    return Field(field.name, field.name.encode("ascii") + field.raw[field.raw.index(b":") :])


def _spaced(field: Field) -> bytes:
    name, _, value = field.raw.partition(b":")
    return b"%b: %b" % (name, value.lstrip(b"\t"))


def _folded(raw: bytes) -> bytes:
    """With no line over 998 bytes, if it has white space: inside a signature a relay that breaks the line breaks that too."""
    lines: list[bytes] = []
    for line in raw.split(b"\r\n"):
        rest = line
        while len(rest) > MAX_LINE:
            at = max(rest.rfind(b" ", 1, MAX_LINE), rest.rfind(b"\t", 1, MAX_LINE))
            if at < 0 or not rest[:at].strip() or not rest[at:].strip():
                break
            lines.append(rest[:at])
            rest = rest[at:]
        lines.append(rest)
    return b"\r\n".join(lines)


def _marked(content: Iterable[Field], hp: str, boundary: bytes) -> tuple[bytes, bytes]:
    """The Content fields with the parameter ``hp`` (RFC 9788 2.1.1), and what follows the content.

    Where no one field can carry it, the content becomes the one part of a multipart that does.
    """
    fields = list(content)
    types = [field for field in fields if field.name.lower() == "content-type"]
    if not types:
        fields.append(_DEFAULT_TYPE)
        types.append(_DEFAULT_TYPE)
    marked = with_parameter(types[0].raw, "hp", hp) if len(types) == 1 else None
    if marked is not None:
        return b"".join([marked if field is types[0] else field.raw for field in fields]), b""
    text = b"=_" + boundary.hex().encode("ascii")
    head = b'Content-Type: multipart/mixed; boundary="%b"; hp="%b"\r\n\r\n--%b\r\n' % (text, hp.encode("ascii"), text)
    return head + b"".join([field.raw for field in fields]), b"\r\n--%b--\r\n" % text
