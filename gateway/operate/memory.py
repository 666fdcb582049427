"""Bodies in memory, for a command that handles one message and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class MemoryBody:
    """A :class:`gateway.mail.body.Body`."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in pieces."""
        for start in range(0, len(self.data), _PIECE):
            yield self.data[start : start + _PIECE]


class MemoryWriter:
    """A :class:`gateway.mail.body.BodyWriter`."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes, /) -> None:
        """Append ``data``."""
        self._data += data

    def close(self) -> MemoryBody:
        """Everything is written."""
        return MemoryBody(bytes(self._data))

    def discard(self) -> None:
        """Forget what was written."""
        self._data.clear()


class MemoryBodies:
    """A :class:`gateway.mail.body.Bodies`."""

    def create(self) -> MemoryWriter:
        """A new, empty body."""
        return MemoryWriter()
