"""BER made DER, for the small structures of CMS: definite, shortest lengths, and strings in one piece (X.690 10)."""

from __future__ import annotations

from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.ber import CONSTRUCTED, CmsError, malformed
from gateway.smime.limits import MAX_DEPTH, MAX_ELEMENTS, MAX_STRUCTURE_ELEMENTS

# Universal types that BER may write in pieces and DER may not (X.690 10.2): the strings.
_STRINGS: Final = frozenset({0x03, 0x04, 0x0C, 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1A, 0x1B, 0x1C, 0x1E})

# End of contents, strings in pieces, and numbers over 30: nothing of DER that we read
_NOT_DER: Final = frozenset({0, *(kind | CONSTRUCTED for kind in _STRINGS), *range(0x1F, 0x100, 0x20)})
# By identifier: 0 for these, CONSTRUCTED or 1 for all others
_KINDS: Final = bytes(0 if tag in _NOT_DER else tag & CONSTRUCTED or 1 for tag in range(0x100))


class Budget:
    """How many elements may still be made DER, of all the structures of one layer."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def spend(self, count: int) -> None:
        """``count`` more were. Raises :class:`CmsError` (LIMIT)."""
        self.left -= count
        if self.left < 0 or count > MAX_STRUCTURE_ELEMENTS:
            raise CmsError(Reason.LIMIT, "too many elements in one structure, or in all of them")


def to_der(data: bytes, budget: Budget | None = None) -> bytes:
    """The one element of BER that ``data`` is, in DER but for sets, which keep their order.

    ``budget`` is shared by the structures of a layer. Raises :class:`CmsError` (MALFORMED, LIMIT).
    """
    budget = budget or Budget()
    if count := _count_of_der(data):
        budget.spend(count)
        return data
    most = min(MAX_STRUCTURE_ELEMENTS, budget.left)
    left = [most]
    written, position = _element(data, 0, left, 0)
    budget.spend(most - left[0])
    if position != len(data):
        raise malformed("bytes behind an element")
    return written


def _count_of_der(data: bytes) -> int:
    """How many elements ``data`` is, itself included, if it is one element in DER, as nearly everything is; else 0."""
    whole = len(data)
    if whole < 2 or not data[0] & CONSTRUCTED:
        return 1 if 2 <= whole < 0x80 and data[1] == whole - 2 and _KINDS[data[0]] else 0
    try:
        return _count(data, whole)
    except IndexError:  # it ends inside a head
        return 0


def _count(data: bytes, whole: int) -> int:
    """As :func:`_count_of_der` for a constructed element. Raises IndexError where it ends inside a head."""
    position = count = 0
    here = whole  # where the innermost element that stands open ends
    ends: list[int] = []  # where those around it do
    while True:
        kind, length = _KINDS[data[position]], data[position + 1]
        position += 2
        if length > 0x7F:
            inside = position + length - 0x80
            length = int.from_bytes(data[position:inside])
            if length < 0x80 or not data[position] or inside - position > 8:
                return 0
            position = inside
        if not kind or position + length > here:
            return 0
        count += 1
        if kind == CONSTRUCTED:
            if len(ends) == MAX_DEPTH:
                return 0
            ends.append(here)
            here = position + length
        else:
            position += length
        while position == here:
            if position == whole:
                return count
            here = ends.pop()
            if not ends:
                return 0  # another element behind the first


def _element(data: bytes, position: int, budget: list[int], depth: int) -> tuple[bytes, int]:
    """The element at ``position`` made DER, and where the next begins. ``budget`` counts down the elements still allowed."""
    tag, length, position = _head(data, position)
    budget[0] -= 1
    if budget[0] < 0 or depth > MAX_DEPTH:
        raise CmsError(Reason.LIMIT, "too many elements, or too deep, in one structure")
    if not tag & CONSTRUCTED:
        if length is None:
            raise malformed("indefinite length of a primitive")
        return der.element(tag, data[position : position + length]), position + length
    inside, position = _inside(data, position, length, budget, depth)
    kind = tag & ~CONSTRUCTED
    if kind in _STRINGS:
        return der.element(kind, _joined(kind, inside)), position
    return der.element(tag, *inside), position


def _inside(data: bytes, position: int, length: int | None, budget: list[int], depth: int) -> tuple[list[bytes], int]:
    """The elements inside a constructed one, made DER, and where the next begins."""
    end = None if length is None else position + length
    inside: list[bytes] = []
    while end is None or position < end:
        if end is None and data[position : position + 2] == b"\0\0":
            return inside, position + 2
        written, position = _element(data, position, budget, depth + 1)
        inside.append(written)
    if position != end:
        raise malformed("an element is longer than the whole")
    return inside, position


def _joined(kind: int, pieces: list[bytes]) -> bytes:
    """The contents of a string written in pieces."""
    parts = []
    for piece in pieces:
        if piece[0] != kind:
            raise malformed("a piece of a string that is none")
        parts.append(der.read(piece).content)
    if kind != der.BIT_STRING:
        return b"".join(parts)
    # Each piece begins with its number of unused bits, of which only the last may have some (X.690 8.6.4).
    if not all(parts) or any(part[0] for part in parts[:-1]):
        raise malformed("a bit string in pieces")
    return (parts[-1][:1] if parts else b"\0") + b"".join(part[1:] for part in parts)


def _head(data: bytes, position: int) -> tuple[int, int | None, int]:
    """Identifier, length (None: indefinite) and where the contents begin, of the element at ``position``."""
    if position + 2 > len(data):
        raise malformed("the data ends inside an element")
    tag, first = data[position], data[position + 1]
    position += 2
    if tag & 0x1F == 0x1F or tag == 0:
        raise malformed("tag number over 30, or end of contents")
    if first == 0x80:
        return tag, None, position
    count = first & 0x7F if first & 0x80 else 0
    length = int.from_bytes(data[position : position + count]) if count else first
    position += count
    if count > 8 or position + length > len(data):
        raise malformed("the data ends inside an element")
    return tag, length, position
