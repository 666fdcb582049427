"""Header protection (RFC 9788): which header fields a message protects, what its sender left outside, which the mailbox gets.

Which fields are protected at all, and which of them are promoted, stands here for both directions; ``mail.compose`` writes.

The payload is the entity inside all layers of signing and encrypting. Whether there are such layers around the whole message, and
what they prove, is the caller's to know.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from typing import Final

from gateway.mail.entity import LEFT_OUT
from gateway.mail.form import form_of
from gateway.mail.message import Field, Header, read_header
from gateway.mail.mime import MAX_PARAMETERS, MAX_VALUE, ContentType, parse_content_type, parse_transfer_encoding
from gateway.mail.walk import IDENTITY
from gateway.outcome import GatewayError

# What may be promoted: what a sender says of a message (RFC 5322 3.6.1 to 3.6.5), but for Bcc. No trace, no mark, nothing that a
# server or a program acts upon. All but two stand once at most (RFC 5322 3.6).
_ADDRESSES: Final = frozenset({"from", "sender", "reply-to", "to", "cc"})
_SEVERAL: Final = frozenset({"comments", "keywords"})
PROMOTED: Final = frozenset({"subject", "date", "message-id", "in-reply-to", "references"}) | _ADDRESSES | _SEVERAL
# What is added on the way (RFC 9788 7), or says where a copy went, and so is not its composer's: trace and resent fields (RFC 5322
# 3.6.6, 3.6.7), results and signatures of servers, those of lists (RFC 9788 7.1), marks.
_OF_THE_WAY: Final = frozenset(
    ("received", "return-path", "delivered-to", "authentication-results", "received-spf", "dkim-signature", "archived-at")
)
_KINDS_OF_THE_WAY: Final = ("resent-", "list-", "arc-", "x-gateway-", "x-ms-exchange-")
# A server that takes the message may add these where they are missing (RFC 6409 8.2, 8.3); without them it would be no message.
_ADDED_ON_THE_WAY: Final = frozenset({"date", "message-id"})

_CIPHER: Final = "cipher"
_MEANT: Final = frozenset({"clear", _CIPHER})
_WRAPPER: Final = "message/rfc822"


@lru_cache(maxsize=1024)
def is_composers(name: str) -> bool:
    """Whether a field of that name (in lower case) is its composer's, and no Structural Header Field (RFC 9787 1.1.1): all of
    these are protected (RFC 9788 5.2).
    """
    return bool(name) and name not in LEFT_OUT | _OF_THE_WAY and not name.startswith(("content-", *_KINDS_OF_THE_WAY))


@dataclass(frozen=True, slots=True)
class Protected:
    """``header`` holds the protected fields, among others. ``outside`` is what the sender left outside, None where nobody knows.

    ``confidential``: the sender says that he encrypted it (``hp="cipher"``), and it was encrypted.
    """

    header: Header
    outside: tuple[Field, ...] | None
    confidential: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that may be promoted, in order: of those that stand once at most the first, and none in an odd spelling."""
        return tuple(_once(self.header.fields))


def protected_in(payload: Header, *, encrypted: bool) -> Protected | None:
    """What the payload with this header protects by the scheme of RFC 9788, which marks it with ``hp`` (4.1); None: nothing.

    ``encrypted``: some layer around it encrypts. ``hp="cipher"`` is no proof of that (2.1.1): without a layer, HP-Outer is ignored
    (2.2), and all is as if it were ``hp="clear"``.
    """
    kind = type_of(payload)
    if kind is None or kind.params.get("hp") not in _MEANT:
        return None
    confidential = encrypted and kind.params["hp"] == _CIPHER
    outside = _said_outside(payload) if confidential else _once(payload.fields)
    return Protected(payload, tuple(outside), confidential)


def is_wrapper(payload: Header) -> bool:
    """Whether the payload says that it is the message itself, wrapped (RFC 8551 3.1), and not one that is forwarded.

    RFC 9788 4.10.1 goes by structure alone. We want ``forwarded=no``, since structure cannot tell the two apart.
    """
    kind = type_of(payload)
    if kind is None or kind.type != _WRAPPER or "hp" in kind.params:
        return False
    encodings = payload.all("Content-Transfer-Encoding")
    try:
        plain = len(encodings) < 2 and parse_transfer_encoding(encodings[0].value if encodings else None) in IDENTITY
    except GatewayError:
        return False
    return plain and kind.params.get("forwarded", "").lower() == "no"


def protected_by_wrapping(inner: Header, *, encrypted: bool) -> Protected | None:
    """What a wrapped message with this header protects (RFC 9788 4.10.2); None where it is no such message.

    Where it was encrypted, nobody says what was left outside.
    """
    kind = type_of(inner)
    if any(not field.name for field in inner.fields) or (kind is not None and "hp" in kind.params):
        return None
    try:
        if form_of(inner) is not None:
            return None
    except GatewayError:
        return None
    return Protected(inner, None if encrypted else tuple(_once(inner.fields)))


def is_tampered(outer: Header, protected: Protected) -> bool:
    """Whether the outer fields are not those that the sender left outside.

    How they are folded, encoded and quoted is no difference: servers change that.
    """
    if protected.outside is None:
        return False
    left, found = Counter(map(_comparable, protected.outside)), Counter(map(_comparable, _known(outer.fields)))
    names = {name for name, _ in left}
    added = [each for each in found if each[0] in _ADDED_ON_THE_WAY - names]
    return left != found - Counter({each: found[each] for each in added})


def with_protected(outer: Iterable[Field], protected: Protected, *, author: bool) -> tuple[Field, ...]:
    """The outer fields with the protected ones each in place of its own, and behind them those that have none outside.
    ``author``: the From too.

    A field that is only outside is not shown beside protected ones (RFC 9788 4), lest somebody add a Reply-To (6.2); fields of the
    way stay (7). A line that is no field is dropped: some readers might take it for one of these.
    """
    promoted = [field for field in protected.fields if author or field.name.lower() != "from"]
    stay = (_ADDED_ON_THE_WAY | {"from"}) - {field.name.lower() for field in promoted}
    waiting: dict[str, deque[Field]] = {}
    for field in promoted:
        waiting.setdefault(field.name.lower(), deque()).append(field)
    shown: list[Field] = []
    for field in outer:
        name = field.name.lower()
        if waiting.get(name):
            shown.append(waiting[name].popleft())
        elif name and (name not in PROMOTED or name in stay):
            shown.append(field)
    return (*shown, *chain.from_iterable(waiting.values()))


def with_parameter(raw: bytes, name: str, value: str) -> bytes | None:
    """A Content-Type field with one parameter more, or with another value of it; None where that cannot be done safely."""
    if name.encode("ascii") in raw.lower():
        raw = without_parameter(raw, name)
    before = _parsed(raw)
    if before is None or name in before.params or len(before.params) == MAX_PARAMETERS:
        return None
    # What was read to its end is read so still: semicolons there say nothing, and belong to no parameter and no comment
    changed = b'%b;\r\n %b="%b"\r\n' % (raw.rstrip(b" \t\r\n;"), name.encode("ascii"), value.encode("ascii"))
    return changed if len(changed) <= MAX_VALUE else None


def without_parameter(raw: bytes, name: str) -> bytes:
    """A Content-Type field without one of its parameters, all else byte for byte; as it is where that cannot be done safely."""
    before = _parsed(raw)
    if before is None:
        return raw
    changed, count = _parameter(name).subn(b"", raw)
    after = _parsed(changed)
    if count != 1 or after is None or after.type != before.type:
        return raw
    return changed if {**after.params, name: before.params.get(name)} == before.params else raw


@cache
def _parameter(name: str) -> re.Pattern[bytes]:
    """A parameter with the semicolon before it, and the fold before that. Takes time in proportion to the field."""
    value = rb"""(?:"[^"\\\r\n]*"|[^\s;"()]+)(?=[ \t\r\n;])"""
    return re.compile(
        rb"(?:\r\n[ \t]+)?;(?:\r\n)?[ \t]*%b[ \t]*=[ \t]*%b" % (re.escape(name.encode("ascii")), value), re.IGNORECASE
    )


def _parsed(raw: bytes) -> ContentType | None:
    try:
        return parse_content_type(Field("Content-Type", raw).value)
    except GatewayError:
        return None


def type_of(header: Header) -> ContentType | None:
    """The type of an entity, where there is one field that can be read; else None."""
    fields = header.all("Content-Type")
    return _parsed(fields[0].raw) if len(fields) == 1 else None


def _known(fields: Iterable[Field]) -> Iterator[Field]:
    return (field for field in fields if field.name.lower() in PROMOTED)


def _once(fields: Iterable[Field]) -> Iterator[Field]:
    seen: set[str] = set()
    for field in _known(fields):
        name = field.name.lower()
        if not field.raw.startswith(field.name.encode("ascii") + b":"):
            continue  # white space before the colon: obsolete (RFC 5322 4.5), and not read alike by all
        if name in _SEVERAL or name not in seen:
            seen.add(name)
            yield field


def _said_outside(payload: Header) -> Iterator[Field]:
    """The fields that HP-Outer names, one each (RFC 9788 2.2.1, 4.2.1)."""
    for outer in payload.all("HP-Outer"):
        yield from _known(read_header(outer.value + b"\r\n").fields)


def _comparable(field: Field) -> tuple[str, str]:
    name, text = field.name.lower(), " ".join(field.text.split())
    return name, text.replace('"', "") if name in _ADDRESSES else text
