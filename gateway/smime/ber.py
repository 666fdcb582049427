"""A bounded reader of BER (X.690) that never needs the whole: bytes in, in pieces of any size; octet strings out as they come.

A grammar is written as a generator over a :class:`Source`. It yields ``None`` when it needs more bytes, and ``bytes`` when it has
content to hand on; whoever drives it feeds the source and asks again. Every step costs time in proportion to the bytes it
takes, whatever the pieces. What is small and must be looked at whole is captured, and made DER by ``gateway.smime.normal``.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from gateway.outcome import GatewayError, Reason
from gateway.smime.der import OCTET_STRING
from gateway.smime.limits import MAX_DEPTH, MAX_ELEMENTS, MAX_PIECES, MAX_STRUCTURE, MAX_STRUCTURE_ELEMENTS

CONSTRUCTED: Final = 0x20
_PIECE: Final = 64 * 1024
_NO_ELEMENT: Final = frozenset({0, *range(0x1F, 0x100, 0x20)})  # end of contents, and tag numbers over 30
_LONG_HEADS: Final = range(3, 11)  # bytes of an identifier and a length that takes more than one

Step = Generator[bytes | None, None, None]


class CmsError(GatewayError):
    """The structure cannot be read (MALFORMED, LIMIT, UNSUPPORTED). The detail names the place, never content."""


def malformed(detail: str) -> CmsError:
    """The error for bytes that are not what the grammar asks for."""
    return CmsError(Reason.MALFORMED, detail)


def integrity() -> CmsError:
    """The one error for everything that goes wrong behind a private key."""
    return CmsError(Reason.INTEGRITY, "the content does not open")


@dataclass(slots=True)  # not frozen for the reason that der.Element is not
class Head:
    """Identifier and length of an element. ``length`` None is the indefinite form. ``size`` is how many bytes both take."""

    tag: int
    length: int | None
    size: int

    @property
    def constructed(self) -> bool:
        """Whether the contents are elements."""
        return bool(self.tag & CONSTRUCTED)


class Source:
    """Bytes that arrive in pieces, and where in them the reader stands."""

    __slots__ = ("_buffer", "_ended", "_heads", "_position", "offset")

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._ended = False
        self._heads = 0
        self.offset = 0

    def feed(self, data: bytes) -> None:
        """More bytes."""
        if self._position == len(self._buffer):
            self._buffer = data  # as it came: content is handed on without a copy
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            del self._buffer[: self._position]
            self._buffer += data
        self._position = 0

    def end(self) -> None:
        """No more bytes will come."""
        self._ended = True

    def available(self) -> int:
        """How many bytes can be taken now."""
        return len(self._buffer) - self._position

    def finished(self) -> Generator[None, None, bool]:
        """Whether everything was taken and nothing more will come."""
        while not self.available() and not self._ended:
            yield None
        return not self.available()

    def need(self, count: int) -> Generator[None, None, None]:
        """Returns once ``count`` bytes can be taken. Raises :class:`CmsError` where the data ends before."""
        while self.available() < count:
            if self._ended:
                raise malformed("the data ends inside an element")
            yield None

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, which must be available."""
        taken = bytes(self._buffer[self._position : self._position + count])
        self._position += count
        self.offset += count
        return taken

    def head(self) -> Generator[None, None, Head]:
        """The next identifier and length. The end-of-contents octets are the head with tag 0 and length 0."""
        while (head := self.head_now()) is None:
            yield from self.need(self.available() + 1)
        return head

    def head_now(self) -> Head | None:
        """As :meth:`head`; None, and nothing is taken, while it is not all there."""
        buffer, at = self._buffer, self._position
        if len(buffer) - at < 2:
            return None
        tag, first, size = buffer[at], buffer[at + 1], 2
        length: int | None = first
        if tag in _NO_ELEMENT and (tag or first):
            raise malformed("tag number over 30, or end of contents with contents")
        if first == 0x80:
            if not tag & CONSTRUCTED:
                raise malformed("indefinite length of a primitive")
            length = None
        elif first > 0x80:
            size += first - 0x80
            if size not in _LONG_HEADS:
                raise malformed("length of length")
            if len(buffer) - at < size:
                return None
            length = int.from_bytes(buffer[at + 2 : at + size])
        self._took(size)
        return Head(tag, length, size)

    def whole(self, tag: int | None, last: int | None) -> bytes | None:
        """The element that stands next, where it has the identifier ``tag`` (None: any), a definite length, is all there, small,
        and ends by the offset ``last``; else None, and nothing is taken.
        """
        buffer, at = self._buffer, self._position
        if len(buffer) - at < 2:
            return None
        found, length, inside = buffer[at], buffer[at + 1], at + 2
        if found in _NO_ELEMENT or (tag is not None and found != tag):
            return None
        if length > 0x7F:
            inside += length - 0x80
            if inside - at not in _LONG_HEADS:
                return None
            length = int.from_bytes(buffer[at + 2 : inside])
        end = inside + length
        if end > len(buffer) or length > MAX_STRUCTURE or (last is not None and self.offset + end - at > last):
            return None
        self._took(end - at)
        return bytes(buffer[at:end])

    def _took(self, count: int) -> None:
        """``count`` bytes were taken with the head of one more element."""
        self._position += count
        self.offset += count
        self._heads += 1
        if self._heads > MAX_ELEMENTS:
            raise CmsError(Reason.LIMIT, f"more than {MAX_ELEMENTS} elements")

    def capture(self, head: Head, limit: int = MAX_STRUCTURE) -> Generator[None, None, bytes]:
        """The whole element that begins with ``head``, which was just taken, as written, of at most ``limit`` bytes."""
        raw = self._behind(head)
        if head.length is not None:
            if head.length > limit:
                raise CmsError(Reason.LIMIT, f"a structure of more than {limit} bytes")
            if self.available() < head.length:
                yield from self.need(head.length)
            return raw + self.take(head.length)
        pieces, size, depth = [raw], head.size, 1
        while depth:
            inner = yield from self.head()
            content = inner.length or 0
            size += inner.size + content
            if size > limit or len(pieces) > MAX_STRUCTURE_ELEMENTS:
                raise CmsError(Reason.LIMIT, f"a structure of more than {limit} bytes")
            pieces.append(self._behind(inner))
            yield from self.need(content)
            pieces.append(self.take(content))
            depth += 1 if inner.length is None else -1 if inner.tag == 0 else 0
            if depth > MAX_DEPTH:
                raise CmsError(Reason.LIMIT, f"elements more than {MAX_DEPTH} deep")
        return b"".join(pieces)

    def _behind(self, head: Head) -> bytes:
        """``head``, which was just taken, as written."""
        return bytes(self._buffer[self._position - head.size : self._position])

    def octets(self, head: Head) -> Step:
        """Hands on the contents of the octet string that begins with ``head``, primitive or in pieces of any form."""
        if not head.constructed:
            yield from self._stream(head.length or 0)
            return
        # Where each open piece ends; None for the indefinite form. An octet string in pieces may nest (X.690 8.7.3).
        ends = [self._end_of(head)]
        budget = MAX_PIECES
        while ends:
            batch, count = self._whole_pieces(ends[-1])
            budget -= count
            if budget < 0:
                raise CmsError(Reason.LIMIT, f"an octet string of more than {MAX_PIECES} pieces")
            if batch:
                yield batch
            if ends[-1] is not None and self.offset >= ends[-1]:
                if self.offset > ends[-1]:
                    raise malformed("a piece is longer than the whole")
                ends.pop()
                continue
            inner = yield from self.head()
            if inner.tag == OCTET_STRING:
                budget -= 1
                self._heads -= 1  # a piece, not an element
                yield from self._stream(inner.length or 0)
            elif inner.tag == 0 and ends[-1] is None:
                ends.pop()
            elif inner.tag == OCTET_STRING | CONSTRUCTED:
                ends.append(self._end_of(inner))
                if len(ends) > MAX_DEPTH:
                    raise CmsError(Reason.LIMIT, f"pieces more than {MAX_DEPTH} deep")
            else:
                raise malformed("a piece of an octet string that is none")

    def _end_of(self, head: Head) -> int | None:
        return None if head.length is None else self.offset + head.length

    def _whole_pieces(self, end: int | None) -> tuple[bytes, int]:
        """The contents of the pieces that stand whole in the buffer and before ``end``, and how many they are."""
        buffer, position, first = self._buffer, self._position, self._position
        last = len(buffer) if end is None else min(len(buffer), position + end - self.offset)
        out = []
        while position + 2 <= last and buffer[position] == OCTET_STRING:
            length, inside = buffer[position + 1], position + 2
            if length > 0x7F:
                inside += length - 0x80
                length = int.from_bytes(buffer[position + 2 : inside])
            if inside + length > last or inside - position > 10:
                break
            position = inside + length
            out.append(buffer[inside:position])
        self._position = position
        self.offset += position - first
        return b"".join(out), len(out)

    def _stream(self, length: int) -> Step:
        """Hands on the next ``length`` bytes as they come."""
        while length:
            yield from self.need(1)
            taken = self.take(min(length, self.available(), _PIECE))
            length -= len(taken)
            yield taken


class Scope:
    """The inside of a constructed element, left when its last element was taken."""

    __slots__ = ("_end", "_place", "_source")

    def __init__(self, source: Source, head: Head, place: str) -> None:
        self._source = source
        self._end = None if head.length is None else source.offset + head.length
        self._place = place

    def next(self) -> Generator[None, None, Head | None]:
        """The head of the next element, or None at the end of the contents."""
        source = self._source
        if self._end is not None and source.offset >= self._end:
            if source.offset > self._end:
                raise malformed(f"{self._place}: an element is longer than the whole")
            return None
        head = source.head_now() or (yield from source.head())
        if head.tag == 0:
            if self._end is not None:
                raise malformed(f"{self._place}: end of contents inside a definite length")
            return None
        if self._end is not None and source.offset + (head.length or 0) > self._end:
            raise malformed(f"{self._place}: an element is longer than the whole")
        return head

    def whole(self, tag: int | None = None) -> bytes | None:
        """The next element, where it is small, all there, and has this identifier (None: any); else None, and nothing is taken."""
        return self._source.whole(tag, self._end)

    def want(self, *tags: int) -> Generator[None, None, Head]:
        """The head of the next element, which must be there and have one of these identifiers."""
        head = yield from self.next()
        if head is None or head.tag not in tags:
            raise malformed(f"{self._place}: another element is wanted here")
        return head

    def enter(self, tag: int, place: str) -> Generator[None, None, Scope]:
        """Steps into the next element, which must have the identifier ``tag``."""
        return Scope(self._source, (yield from self.want(tag)), place)

    def done(self) -> Generator[None, None, None]:
        """Raises :class:`CmsError` where an element is left."""
        if (yield from self.next()) is not None:
            raise malformed(f"{self._place}: an element too many")
