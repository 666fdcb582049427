"""``state.sqlite``: what outlives a mail. Mail is received without it too, and it is opened again as soon as it can be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import apsw

from gateway.database.thread import Database, Effect, Work
from gateway.outcome import GatewayError, Reason

STATE: Final = "state.sqlite"
REST_SECONDS: Final = 30.0

_LOST: Final = frozenset({Reason.SPOOL_UNAVAILABLE, Reason.SPOOL_FULL})

_T = TypeVar("_T")


class Working(Protocol):
    """What does work on the database: itself, or :class:`State`."""

    def submit(self, work: Work, /) -> None:
        """Queue work. Raises :class:`GatewayError` (SPOOL_UNAVAILABLE)."""

    async def run(self, change: Callable[[apsw.Connection], _T], effect: Effect, /) -> _T:
        """The result of ``change``. Raises what it raised, or :class:`GatewayError` (SPOOL_...)."""


def open_state(folder: Path, now: Callable[[], int]) -> Database:
    """The database in the state directory ``folder``. ``now`` in microseconds UTC.

    Raises :class:`GatewayError` (SPOOL_UNAVAILABLE, SPOOL_FULL).
    """
    return Database(folder / STATE, files(__package__) / "schema", now)


def open_sound_state(folder: Path, now: Callable[[], int]) -> Database:
    """As :func:`open_state`, once all of it was looked at: takes a second for some 100 MB. Raises as that for a damaged one."""
    database = open_state(folder, now)
    try:
        database.call(_require_sound, Effect.READ)
    except GatewayError:
        _let_go(database)
        raise
    return database


def _let_go(database: Database) -> None:
    """Close what is damaged, which may fail once more."""
    with contextlib.suppress(apsw.Error, OSError):
        database.close()


def _require_sound(database: apsw.Connection) -> None:
    first: Any = database.execute("PRAGMA quick_check(1)").get
    if first != "ok":
        raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"damaged: {first}")


class Opened:
    """The database while a command uses it, which may block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, look: Callable[[apsw.Connection], _T]) -> _T:
        """What ``look`` finds. Raises what it raises, or :class:`GatewayError` (SPOOL_...)."""
        return self._database.call(look, Effect.READ)

    def change(self, change: Callable[[apsw.Connection], _T]) -> _T:
        """What ``change`` answers, once it is on disk; where it raises, nothing is changed. Raises as :meth:`read`."""
        return self._database.call(change, Effect.DURABLE)


@contextlib.contextmanager
def opened(folder: Path, now: Callable[[], int]) -> Iterator[Opened]:
    """The database for the time of a command. Raises as :func:`open_state`."""
    database = open_state(folder, now)
    try:
        yield Opened(database)
    finally:
        database.close()


class State:
    """The database of a process that goes on without it. ``mend`` is to run beside the process."""

    def __init__(
        self,
        folder: Path,
        now: Callable[[], int],
        failed: Callable[[GatewayError], None],
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        """``failed`` hears each time that it cannot be opened or read; the next try is after ``rest_seconds``."""
        self._folder = folder
        self._now = now
        self._failed = failed
        self._rest_seconds = rest_seconds
        self._database: Database | None = None
        self._broken: Database | None = None
        self._why = "not open"
        self._missing = asyncio.Event()

    async def open(self) -> None:
        """Open it for the first time. Where that fails, the process is to begin all the same."""
        try:
            self._database = await asyncio.to_thread(open_state, self._folder, self._now)
        except GatewayError as error:
            self._lost(error)

    def submit(self, work: Work) -> None:
        """Queue work. Raises :class:`GatewayError` (SPOOL_UNAVAILABLE) while it is not open."""
        self._opened().submit(work)

    async def run(self, change: Callable[[apsw.Connection], _T], effect: Effect) -> _T:
        """The result of ``change`` once it is committed. Raises what it raised, or :class:`GatewayError` (SPOOL_...)."""
        database = self._opened()
        try:
            return await database.run(change, effect)
        except GatewayError as error:
            if error.reason in _LOST and database is self._database:
                self._database, self._broken = None, database
                self._lost(error)
            raise

    def _opened(self) -> Database:
        if self._database is None:
            raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"{self._folder / STATE}: {self._why}")
        return self._database

    def _lost(self, error: GatewayError) -> None:
        self._why = error.detail
        self._missing.set()
        self._failed(error)

    async def mend(self) -> None:
        """Open it again whenever it was lost, until cancelled. What was put in its place meanwhile is taken as it is."""
        while True:
            await self._missing.wait()
            await self._put_away()
            try:
                self._database = await asyncio.to_thread(open_sound_state, self._folder, self._now)
                self._missing.clear()
            except GatewayError as error:
                self._why = error.detail
                self._failed(error)
                await asyncio.sleep(self._rest_seconds)

    async def _put_away(self) -> None:
        broken, self._broken = self._broken, None
        if broken is not None:
            await asyncio.to_thread(_let_go, broken)

    async def close(self) -> None:
        """Finish what is queued."""
        await self._put_away()
        if self._database is not None:
            await asyncio.to_thread(self._database.close)
