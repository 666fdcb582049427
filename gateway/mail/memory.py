"""Bodies in memory, for whoever handles one message and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class MemoryBody:
    """A :class:`gateway.mail.body.Body`, in the pieces in which it was written. None is longer than 64 KiB."""

    pieces: tuple[bytes, ...]
    size: int

    @classmethod
    def of(cls, data: bytes) -> MemoryBody:
        """One that holds ``data``."""
        writer = MemoryWriter()
        writer.write(data)
        return writer.close()

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in pieces."""
        return iter(self.pieces)


class MemoryWriter:
    """A :class:`gateway.mail.body.BodyWriter`. Small pieces are put together, large ones are kept as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._small = bytearray()
        self._size = 0

    def write(self, data: bytes, /) -> None:
        """Append ``data``."""
        self._size += len(data)
        if len(self._small) + len(data) <= _PIECE // 2:
            self._small += data
            return
        self._flush()
        self._pieces += (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))

    def close(self) -> MemoryBody:
        """Everything is written."""
        self._flush()
        return MemoryBody(tuple(self._pieces), self._size)

    def discard(self) -> None:
        """Forget what was written."""
        self._pieces.clear()
        self._small.clear()

    def _flush(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()


class MemoryBodies:
    """A :class:`gateway.mail.body.Bodies`."""

    def create(self) -> MemoryWriter:
        """A new, empty body."""
        return MemoryWriter()
