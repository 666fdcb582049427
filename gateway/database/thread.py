"""A database and the one thread of this process that uses it.

Work queued while a transaction is being committed goes into the next one together: ten sessions that accept a mail at once
pay for one write to disk. Under load each transaction waits a moment first, so that still more of it goes together. Where a
piece of it fails they are all done again, each behind a savepoint, so that one that fails takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from gateway.database.disk import sync_directory
from gateway.database.fault import fault
from gateway.database.migrate import migrate
from gateway.outcome import GatewayError, Reason

MAX_BATCH: Final = 256
CROWD: Final = 4  # with more than so much work in one transaction, more is on its way to the next
GATHER_SECONDS: Final = 0.002  # how long that one then waits for it
_BUSY_SECONDS: Final = 10.0
_WAL_LIMIT: Final = 64 * 1024 * 1024
_T = TypeVar("_T")
_Result = tuple[Any, BaseException | None]


class Effect(IntEnum):
    """What work does to the database, and so what its transaction costs."""

    READ = 0
    CHANGE = 1  # may be lost with the power, never with the process
    DURABLE = 2  # on disk before it is said to be done


@dataclass(slots=True)
class Work:
    """A change and what follows it.

    ``finish`` is called in the database thread once the change is committed (with the change's result) or has failed (with
    the error). ``directories`` are synced before the commit. Work nobody wants any more when its turn comes is not done.
    """

    change: Callable[[apsw.Connection], Any]
    finish: Callable[[Any, BaseException | None], None]
    effect: Effect
    directories: Sequence[Path] = ()
    wanted: Callable[[], bool] = field(default=lambda: True)


class Unwanted(Exception):
    """Nobody waited for the work any more; it was not done."""


class Database:
    """Opens the file, brings its schema up to date, and runs the thread."""

    def __init__(
        self, path: Path, schema: Traversable, now: Callable[[], int], pause: Callable[[float], None] = time.sleep
    ) -> None:
        """``schema`` is the folder of its migrations, ``now`` in microseconds UTC; ``pause`` waits so many seconds.

        Raises ``GatewayError`` (SPOOL_UNAVAILABLE, SPOOL_FULL).
        """
        self._pause = pause
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._directory = path.parent
        try:
            with _alone(path.parent):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._connection = apsw.Connection(str(path))
                self._prepare(schema, now())
        except (OSError, apsw.Error) as error:
            raise fault(error) from error
        self._closed = False
        self._turn = threading.Lock()  # so that nothing is queued behind the end, which nobody would do
        self._thread = threading.Thread(target=self._run, name=f"{path.stem}-database", daemon=True)
        self._thread.start()

    def _prepare(self, schema: Traversable, now: int) -> None:
        self._connection.set_busy_handler(_Patience(_BUSY_SECONDS))
        for pragma in ("journal_mode = WAL", f"journal_size_limit = {_WAL_LIMIT}", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")  # one at a time: behind a row of the first, a second waits unexecuted
        self._durable = True
        migrate(self._connection, schema, now)

    def submit(self, work: Work) -> None:
        """Queue work; from any thread. Raises ``GatewayError`` (SPOOL_UNAVAILABLE) once closed."""
        with self._turn:
            if self._closed:
                raise GatewayError(Reason.SPOOL_UNAVAILABLE, "the database is closed")
            self._queue.put(work)

    async def run(self, change: Callable[[apsw.Connection], _T], effect: Effect) -> _T:
        """The result of ``change`` once it is committed. Raises what it raised, or ``GatewayError`` (SPOOL_...)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        finish = finisher(loop, future)
        self.submit(Work(change, finish, effect, wanted=lambda: not future.cancelled()))
        return await future

    def call(self, change: Callable[[apsw.Connection], _T], effect: Effect) -> _T:
        """As :meth:`run`, for a thread that may block."""
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self.submit(Work(change, lambda result, error: answers.put((result, error)), effect))
        result, error = answers.get()
        if error is not None:
            raise error
        answer: _T = result
        return answer

    def close(self) -> None:
        """Finish what is queued, then close the file."""
        with self._turn:
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        with _alone(self._directory):
            self._connection.close()

    def _run(self) -> None:
        running, done = True, 0
        while running:
            batch = [self._queue.get()]
            if done > CROWD:
                self._pause(GATHER_SECONDS)
            while len(batch) < MAX_BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            running, done = None not in batch, len(batch)
            self._do([work for work in batch if work is not None])

    def _do(self, batch: list[Work]) -> None:
        wanted = []
        for work in batch:
            if work.wanted():
                wanted.append(work)
            else:
                work.finish(None, Unwanted())
        if not wanted:
            return
        try:
            for directory in {directory for work in wanted for directory in work.directories}:
                sync_directory(directory)
            results = self._together(wanted)
        except Exception as error:  # the thread goes on; whoever asked for the work hears of it
            failure = fault(error) if isinstance(error, OSError | apsw.Error) else error
            results = [(None, failure)] * len(wanted)
        for work, (result, error_or_none) in zip(wanted, results, strict=True):
            work.finish(result, error_or_none)

    def _together(self, batch: list[Work]) -> list[_Result]:
        """Hardly ever does one fail, and each statement is a moment at which the rest of the process may go before us."""
        try:
            return self._transaction(batch, lambda work: (work.change(self._connection), None))
        except Exception:
            if len(batch) == 1:
                raise
        return self._transaction(batch, self._guarded)

    def _transaction(self, batch: list[Work], do: Callable[[Work], _Result]) -> list[_Result]:
        effect = max(work.effect for work in batch)
        self._be_durable(effect is Effect.DURABLE)
        execute = self._connection.execute
        execute("BEGIN" if effect is Effect.READ else "BEGIN IMMEDIATE")
        try:
            results = [do(work) for work in batch]
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return results

    def _guarded(self, work: Work) -> _Result:
        self._connection.execute("SAVEPOINT work")
        try:
            result = work.change(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave up the whole transaction, and all work in it
            self._connection.execute("ROLLBACK TO work; RELEASE work")
            return None, fault(error) if isinstance(error, apsw.Error) else error
        self._connection.execute("RELEASE work")
        return result, None

    def _be_durable(self, durable: bool) -> None:
        if durable != self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """While a process opens or closes the database, no other does: at those moments SQLite answers busy without waiting."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class _Patience:
    """How long one waits for another process's transaction: in short uneven pauses, so that the waiting do not march in step."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        if tries == 0:
            self._since = time.monotonic()
        time.sleep(random.uniform(0.0001, 0.0005) * min(tries + 1, 20))  # noqa: S311 - no secret
        return time.monotonic() - self._since < self._seconds


def finisher(loop: asyncio.AbstractEventLoop, future: asyncio.Future[_T]) -> Callable[[Any, BaseException | None], None]:
    """What hands a result from the database thread to ``future`` on its loop."""

    def finish(result: Any, error: BaseException | None) -> None:  # noqa: ANN401 - whatever the change returned
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            loop.call_soon_threadsafe(settle, future, result, error)

    return finish


def settle(future: asyncio.Future[_T], result: _T, error: BaseException | None) -> None:
    """What came of the work, for whoever still waits for it."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
