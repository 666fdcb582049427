"""Bodies as the spool makes and reads them.

A body of one segment stays in memory until a row is about to name it: what a flow makes and discards never touches the disk.
It is then stored beside its row, so that one write to disk makes both durable, and no file is made and removed again. With
files, the queue takes four times the time and CPU at 5 KB, and still half again as much at 60 KB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from gateway.database.fault import fault
from gateway.mail.envelope import Mail
from gateway.outcome import GatewayError, Reason
from gateway.spool.epoch import Epoch
from gateway.spool.files import SEGMENT, BodyFiles, SealedFile, read_file, read_sealed, seal_small

LOOK: Final = 100_000  # microseconds between two looks at the space that is free, while there is enough


class SpoolBodies:
    """Makes bodies while at least ``floor`` bytes of the disk are free."""

    def __init__(self, files: BodyFiles, floor: int) -> None:
        self._files = files
        self._floor = floor
        self._free = 0
        self._looks_at = 0

    def create(self) -> SpoolWriter:
        """A new, empty body. Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE, KEY_UNAVAILABLE)."""
        self.check_space()
        return SpoolWriter(self._files, self.check_space)

    def check_space(self, size: int = 0, floors: int = 1) -> None:
        """Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE) where ``size`` more bytes leave less than so many floors."""
        now = self._files.now()
        if not self._looks_at - LOOK <= now < self._looks_at:  # nor by a clock that was set back meanwhile
            try:
                self._free = self._files.free()
            except OSError as error:
                raise fault(error) from error
            self._looks_at = now + LOOK if self._free >= self._floor else now
        kept = self._floor * floors
        if self._free - size < kept:
            raise GatewayError(Reason.SPOOL_FULL, f"{self._free >> 20} MB free, {size >> 20} MB to come, {kept >> 20} MB are kept")


class SpoolWriter:
    """A body being written. Not for use by two threads at once."""

    def __init__(self, files: BodyFiles, check_space: Callable[[], None]) -> None:
        self.epoch: Epoch = files.keys.current()
        self._files = files
        self._check_space = check_space
        self._name = files.new_name()
        self._buffer = bytearray()
        self._size = 0
        self._file: SealedFile | None = None
        self._body: SpoolBody | None = None
        self._memory: bytes | None = None
        self._sealed: bytes | None = None
        self._durable = False
        self._claimed = False

    def write(self, data: bytes, /) -> None:
        """Append ``data``. Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE)."""
        if self._body is not None:
            raise ValueError("the body is closed")
        self._buffer += data
        self._size += len(data)
        # A full segment waits for the next byte: only then is it known not to be the last.
        while len(self._buffer) > SEGMENT:
            self._check_space()
            self._append(bytes(self._buffer[:SEGMENT]), last=False)
            del self._buffer[:SEGMENT]

    def close(self) -> SpoolBody:
        """Everything is written. Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE)."""
        if self._body is None:
            if self._file is None:
                self._memory = bytes(self._buffer)
            else:
                self._append(bytes(self._buffer), last=True)
            self._buffer.clear()
            self._body = SpoolBody(self._files, self._name, self._size, self.epoch.id, writer=self)
        return self._body

    def discard(self) -> None:
        """Forget the body, unless a row names it or is about to."""
        if not self._claimed and self._file is not None:
            self._file.remove()

    def claim(self) -> None:
        """From now on the spool answers for the body, and ``discard`` does nothing."""
        self._claimed = True
        if self._memory is not None and self._sealed is None:
            self._sealed = seal_small(self._memory, self._name, self._files.keys.key(self.epoch.id), self.epoch.id)

    def unclaim(self) -> None:
        """No row came to name the body."""
        self._claimed = False

    def persist(self) -> Path | None:
        """Bring the closed body to the disk, if it is a file; in any thread. Its directory, returned, is yet to be synced.

        Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE).
        """
        if self._file is None:
            return None
        if not self._durable:
            try:
                self._file.sync()
            except OSError as error:
                raise fault(error) from error
            self._durable = True
        return self._files.path(self._name).parent

    @property
    def sealed(self) -> bytes | None:
        """What is stored beside the row of a claimed body of one segment."""
        return self._sealed

    @property
    def memory(self) -> bytes | None:
        """A closed body that did not outgrow one segment."""
        return self._memory

    def _append(self, segment: bytes, *, last: bool) -> None:
        try:
            if self._file is None:
                self._file = SealedFile(self._files, self._name, self.epoch)
            self._file.append(segment, last=last)
        except OSError as error:
            raise fault(error) from error

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


class SpoolBody:
    """A closed body. ``size`` in bytes; ``sealed`` what was stored beside its row; ``writer`` is None once a row names it.

    ``memory`` is the content of a small body that this process has just stored, or opened once: a flow reads it several times.
    """

    __slots__ = ("_files", "epoch", "memory", "name", "sealed", "size", "writer")

    def __init__(
        self,
        files: BodyFiles,
        name: str,
        size: int,
        epoch: str,
        sealed: bytes | None = None,
        writer: SpoolWriter | None = None,
        memory: bytes | None = None,
    ) -> None:
        self._files = files
        self.name = name
        self.size = size
        self.epoch = epoch
        self.sealed = sealed
        self.writer = writer
        self.memory = memory if writer is None else writer.memory

    def stored(self) -> SpoolBody:
        """The same body, now that a row names it: whoever discards it no longer can."""
        if self.writer is None:
            return self
        return SpoolBody(self._files, self.name, self.size, self.epoch, memory=self.memory)

    def chunks(self) -> Iterator[bytes]:
        """The content, one segment at a time.

        Raises :class:`gateway.spool.files.BodyDamagedError`, and ``GatewayError`` (KEY_UNAVAILABLE, SPOOL_UNAVAILABLE).
        """
        if self.memory is not None:
            if self.memory:
                yield self.memory
        elif self.sealed is not None:
            key = self._files.keys.key(self.epoch)
            self.memory = b"".join(read_sealed(BytesIO(self.sealed), self.name, self.size, key, self.epoch))
            yield from self.chunks()
        else:
            try:
                yield from read_file(self._files, self.name, self.size, self.epoch)
            except OSError as error:
                raise fault(error) from error


def body_of(mail: Mail) -> SpoolBody:
    """The body of a mail that is, or will be, in the spool. Raises ``TypeError`` for one that is not of a spool."""
    if not isinstance(mail.body, SpoolBody):
        raise TypeError("the body is not of this spool")
    return mail.body
