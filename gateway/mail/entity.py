"""From a message to its MIME entity: which header fields are protected with the content, which stay outside (RFC 8551 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.mail.body import Body
from gateway.mail.message import Header

# RFC 5322 3.6.3: Bcc is for the sender's own side. MIME-Version is written anew, once. HP-Outer tells of a message's own layers, of
# which there are none yet (RFC 9788 2.2).
LEFT_OUT: Final = frozenset({"bcc", "resent-bcc", "mime-version", "hp-outer"})


_GATHERED: Final = 32 * 1024


class Entity(Protocol):
    """A MIME entity: its header, the empty line, its content. Can be read any number of times, always with the same bytes."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start."""


def gathered(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, small pieces put together: of a small mail one piece, and each step with a piece has its price."""
    kept: list[bytes] = []
    size = 0
    for chunk in chunks:
        kept.append(chunk)
        size += len(chunk)
        if size >= _GATHERED:
            yield b"".join(kept)
            kept, size = [], 0
    if size:
        yield b"".join(kept)


class Sized(Entity, Protocol):
    """An entity of known length."""

    @property
    def size(self) -> int:
        """Length in bytes."""


@dataclass(frozen=True, slots=True)
class Split:
    """The fields of a message's header in two: ``outer`` stays in clear, ``inner`` goes with the content. Neither is ended.

    ``behind`` follows the content.
    """

    outer: bytes
    inner: bytes
    behind: bytes = b""


def split_header(header: Header) -> Split:
    """``header`` in two, every field byte for byte and in order; ``Content-*`` is inner.

    Left out are Bcc, MIME-Version, HP-Outer, and lines that are no field: those would end the header for some readers.
    """
    outer: list[bytes] = []
    inner: list[bytes] = []
    for field in header.fields:
        name = field.name.lower()
        if name.startswith("content-"):
            inner.append(field.raw)
        elif name and name not in LEFT_OUT:
            outer.append(field.raw)
    return Split(b"".join(outer), b"".join(inner))


@dataclass(frozen=True, slots=True)
class MessageEntity:
    """The entity of a message as it came: ``inner`` fields, the empty line, ``body`` from ``offset`` on, then ``behind``."""

    inner: bytes
    body: Body
    offset: int
    behind: bytes = b""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.inner) + 2 + max(self.body.size - self.offset, 0) + len(self.behind)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start."""
        skip = self.offset
        head = self.inner + b"\r\n"
        for chunk in self.body.chunks():
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            yield head + chunk[skip:]
            head, skip = b"", 0
        if head or self.behind:
            yield head + self.behind
