"""DER (X.690): writing small structures, and reading back what was written or what a certificate holds, strictly."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.outcome import GatewayError, Reason

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT: Final = 0x80  # plus the number: [n] IMPLICIT of a primitive type
CONTEXT_CONSTRUCTED: Final = 0xA0  # plus the number: [n] of anything constructed

NULL: Final = b"\x05\x00"
MAX_LENGTH_BYTES: Final = 8

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def head(tag: int, length: int) -> bytes:
    """Tag and length, for contents that follow as a stream."""
    if length < 0x80:
        return bytes((tag, length))
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size)


def element(tag: int, *contents: bytes) -> bytes:
    """One element."""
    content = b"".join(contents)
    length = len(content)
    return bytes((tag, length)) + content if length < 0x80 else head(tag, length) + content


def sequence(*items: bytes) -> bytes:
    """SEQUENCE or SEQUENCE OF."""
    return element(SEQUENCE, *items)


def set_of(*items: bytes, tag: int = SET) -> bytes:
    """SET OF, its items in the order of DER (X.690 11.6); ``tag`` for an IMPLICIT one."""
    return element(tag, *sorted(items))


def integer(value: int) -> bytes:
    """INTEGER, in the least number of bytes."""
    size = ((value if value >= 0 else ~value).bit_length() // 8) + 1
    return element(INTEGER, value.to_bytes(size, signed=True))


def octet_string(value: bytes) -> bytes:
    """OCTET STRING."""
    return element(OCTET_STRING, value)


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(number) for number in dotted.split("."))
    return element(OBJECT_IDENTIFIER, b"".join(_base128(number) for number in (first * 40 + second, *rest)))


def _base128(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def time(at: int) -> bytes:
    """The CMS ``Time`` (RFC 5652 11.3) of ``at``, microseconds UTC, in whole seconds: UTCTime to 2049, GeneralizedTime after."""
    return _second(at // 1_000_000)


@lru_cache(maxsize=16)
def _second(at: int) -> bytes:
    moment = _EPOCH + dt.timedelta(seconds=at)
    if 1950 <= moment.year < 2050:
        return element(UTC_TIME, f"{moment:%y%m%d%H%M%S}Z".encode())
    return element(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%S}Z".encode())


@dataclass(slots=True)  # frozen would take four times as long to make, and fifty are made for a small message
class Element:
    """A place in ``data``: the element runs from ``start`` to ``end``, its contents from ``inside``."""

    data: bytes
    tag: int
    start: int
    inside: int
    end: int

    @property
    def raw(self) -> bytes:
        """The element with its tag and length."""
        return self.data[self.start : self.end]

    @property
    def content(self) -> bytes:
        """Its contents alone."""
        return self.data[self.inside : self.end]

    def __iter__(self) -> Iterator[Element]:
        at = self.inside
        while at < self.end:
            item = read(self.data, at, self.end)
            yield item
            at = item.end

    def items(self) -> list[bytes]:
        """The elements inside it, each as it is written. Raises as :func:`read`."""
        data, at, last = self.data, self.inside, self.end
        found: list[bytes] = []
        while at < last:
            end = at + 2 + data[at + 1] if at + 2 <= last and data[at + 1] < 0x80 and data[at] & 0x1F != 0x1F else last + 1
            end = end if end <= last else read(data, at, last).end  # hardly ever
            found.append(data[at:end])
            at = end
        return found

    def parts(self, most: int = -1) -> list[Element]:
        """The elements inside it, all (-1) or no more than the first ``most``. Raises as :func:`read`."""
        data, at, last = self.data, self.inside, self.end
        found: list[Element] = []
        while at < last and most:
            inside = at + 2
            end = inside + data[at + 1] if inside <= last and data[at + 1] < 0x80 and data[at] & 0x1F != 0x1F else last + 1
            item = Element(data, data[at], at, inside, end) if end <= last else read(data, at, last)  # as nearly all are
            found.append(item)
            at = item.end
            most -= 1
        return found


def read(data: bytes, at: int = 0, end: int | None = None) -> Element:
    """The element at ``at``, which ends by ``end``. Raises :class:`GatewayError` (MALFORMED) for what is no DER."""
    last = len(data) if end is None else end
    inside = at + 2
    if inside <= last:
        tag, length = data[at], data[at + 1]
        if length < 0x80 and inside + length <= last and tag & 0x1F != 0x1F:  # a short one, as nearly all are
            return Element(data, tag, at, inside, inside + length)
    found = read_head(data, at, last)
    if found.end > last:
        raise GatewayError(Reason.MALFORMED, "DER element without its end")
    return found


def read_head(data: bytes, at: int = 0, end: int | None = None) -> Element:
    """As :func:`read`, but only tag and length need be there: ``end`` of the answer may lie behind ``data``."""
    end = len(data) if end is None else end
    if at + 2 > end or data[at] & 0x1F == 0x1F:
        raise GatewayError(Reason.MALFORMED, "DER element without a head, or with a long tag")
    length, inside = data[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        inside += size
        if not 0 < size <= MAX_LENGTH_BYTES or inside > end or data[at + 2] == 0:
            raise GatewayError(Reason.MALFORMED, "bad DER length")
        length = int.from_bytes(data[at + 2 : inside])
        if length < 0x80:
            raise GatewayError(Reason.MALFORMED, "DER length not in its shortest form")
    return Element(data, data[at], at, inside, inside + length)
