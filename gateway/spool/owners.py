"""Which processes work on the spool, and which of them have died.

Each holds a lock on a file of its own, ``workers/ID``, for as long as it lives. The kernel lets go of the lock when the
process ends, however it ends, so the leases and unfinished bodies of the dead are known at once and for certain.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.mail.identifier import is_mail_id


@dataclass(slots=True)
class Owners:
    """The directory of locks, as the process ``own`` sees it."""

    directory: Path
    own: str
    _lock: int = -1

    def claim(self) -> None:
        """Show that this process lives. Raises ``OSError``."""
        hidden = self.directory / f".{self.own}"
        self._lock = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        hidden.rename(self.directory / self.own)  # nobody ever sees the file without its lock

    def leave(self) -> None:
        """The process has nothing more to do with the spool."""
        if self._lock >= 0:
            (self.directory / self.own).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def known(self) -> list[str]:
        """All who left a file, dead or alive."""
        return [path.name for path in self.directory.iterdir() if is_mail_id(path.name)]

    def take_dead(self, owners: Iterable[str]) -> list[Estate]:
        """Those of ``owners`` that are dead and whose estate nobody else is settling."""
        estates = []
        for owner in owners:
            if owner == self.own:
                continue
            with contextlib.suppress(BlockingIOError):  # alive
                estates.append(Estate(self.directory / owner, owner, _try_lock(self.directory / owner)))
        return estates


@dataclass(frozen=True, slots=True)
class Estate:
    """What a dead process left, ours alone to settle while the lock is held; -1 where there was no file to lock."""

    path: Path
    owner: str
    lock: int

    def settle(self, *, done: bool) -> None:
        """Forget the dead if everything is ``done``; otherwise somebody tries again later."""
        if done:
            self.path.unlink(missing_ok=True)
        if self.lock >= 0:
            os.close(self.lock)


def _try_lock(path: Path) -> int:
    """The descriptor with the lock, or -1 if there is no file. Raises ``BlockingIOError`` if another process has the lock."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock)
        raise
    return lock
