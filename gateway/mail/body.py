"""The body of a mail as a thing to read again and again, and as a thing being written. Ports: the spool implements both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Body(Protocol):
    """Bytes at rest. Reading is synchronous: a flow reads small bodies inline and large ones in a crypto thread."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in pieces of at most 64 KiB. May be called any number of times."""


class BodyWriter(Protocol):
    """Bytes on their way to rest. Until the spool commits a row that names it, a body is an orphan and swept at start."""

    def write(self, data: bytes, /) -> None:
        """Append ``data``. Raises :class:`gateway.outcome.GatewayError` (SPOOL_FULL, SPOOL_UNAVAILABLE)."""

    def close(self) -> Body:
        """Everything is written. Not yet durable: committing a row that names the body makes it so."""

    def discard(self) -> None:
        """Forget what was written. Allowed at any time, also after ``close``."""


class Bodies(Protocol):
    """Makes bodies."""

    def create(self) -> BodyWriter:
        """A new, empty body."""
