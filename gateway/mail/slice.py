"""A part of a body, read as a body of its own, so that an entity inside a mail needs no copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.mail.body import Body


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of ``whole`` from ``start`` to before ``end``."""

    whole: Body
    start: int
    end: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.end - self.start

    def behind(self, size: int) -> Slice:
        """All of it but the first ``size`` bytes."""
        return Slice(self.whole, self.start + size, self.end)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in pieces."""
        offset = 0
        for chunk in self.whole.chunks():
            if offset >= self.end:
                return
            piece = chunk[max(self.start - offset, 0) : self.end - offset]
            if piece:
                yield piece
            offset += len(chunk)
