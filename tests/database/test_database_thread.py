"""The database thread, below the queue."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import apsw
import pytest

import gateway.database.thread
from gateway.database.thread import CROWD, GATHER_SECONDS, Database, Effect, Work
from gateway.outcome import GatewayError, Reason
from gateway.spool.sqlite import SCHEMA

LIMIT = 64 * 1024


def insert(name: str, size: int) -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO body VALUES (?, ?)", (name, os.urandom(size)))

    return change


def test_the_log_of_a_full_day_does_not_keep_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.database.thread, "_WAL_LIMIT", LIMIT)
    database = Database(tmp_path / "queue.db", SCHEMA, lambda: time.time_ns() // 1000)
    log = tmp_path / "queue.db-wal"
    try:
        database.call(insert("large", 8_000_000), Effect.DURABLE)
        assert log.stat().st_size > LIMIT
        for number in range(3):  # the commit before copied the log to the database; this one begins it anew
            database.call(insert(f"small-{number}", 10), Effect.DURABLE)
        assert log.stat().st_size <= LIMIT
    finally:
        database.close()


def test_a_crowd_goes_together(tmp_path: Path) -> None:
    """Behind a transaction with much work in it the next waits a moment for more; behind one with little it does not."""
    commits: list[str] = []
    pauses: list[float] = []
    held, go, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def submit(name: str, before: Callable[[apsw.Connection], object] = lambda _: None) -> None:
        change = insert(name, 10)
        database.submit(Work(lambda connection: (before(connection), change(connection)), finished, Effect.CHANGE))

    def finished(_: object, error: BaseException | None) -> None:
        assert error is None
        done.release()

    def await_work(pieces: int) -> None:
        assert all(done.acquire(timeout=10) for _ in range(pieces))

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        submit("came meanwhile")

    def committing() -> bool:
        commits.append("commit")
        return False

    def watch(connection: apsw.Connection) -> None:
        connection.set_commit_hook(committing)
        held.set()
        assert go.wait(10)

    database = Database(tmp_path / "queue.db", SCHEMA, lambda: time.time_ns() // 1000, pause)
    try:
        submit("holds the thread up", watch)
        assert held.wait(10)
        for number in range(CROWD + 1):
            submit(f"of a crowd {number}")
        go.set()
        await_work(CROWD + 2)
        assert (commits, pauses) == (["commit"] * 2, [])
        submit("first of the next")
        await_work(2)
        assert (commits, pauses) == (["commit"] * 3, [GATHER_SECONDS])
        submit("alone")
        await_work(1)
        assert (commits, pauses) == (["commit"] * 4, [GATHER_SECONDS])
    finally:
        go.set()
        database.close()


class Telling:
    """A lock that says when somebody wants it."""

    def __init__(self, wanted: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._wanted = wanted

    def __enter__(self) -> None:
        self._wanted()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Watched:
    """The queue of a database; ``before`` is called when work is just about to be put there."""

    def __init__(self, queue: SimpleQueue[Work | None], before: Callable[[], None]) -> None:
        self._queue = queue
        self._before = before
        self.get, self.empty = queue.get, queue.empty

    def put(self, work: Work | None) -> None:
        if work is not None:
            self._before()
        self._queue.put(work)


def test_work_that_comes_while_it_closes_is_done(tmp_path: Path) -> None:
    """Closing begins when the work has been let in and is not yet in the queue: it waits its turn, or would be done first."""
    database = Database(tmp_path / "queue.db", SCHEMA, lambda: time.time_ns() // 1000)
    moved = threading.Event()
    ended: list[tuple[object, BaseException | None]] = []

    def close() -> None:
        database.close()
        moved.set()

    closing = threading.Thread(target=close)

    def close_meanwhile() -> None:
        moved.clear()
        closing.start()
        assert moved.wait(10)

    database._turn = Telling(moved.set)  # type: ignore[assignment]
    database._queue = Watched(database._queue, close_meanwhile)  # type: ignore[assignment]
    database.submit(Work(lambda _: "done", lambda result, error: ended.append((result, error)), Effect.CHANGE))
    closing.join(10)
    assert ended == [("done", None)]
    with pytest.raises(GatewayError) as caught:
        database.call(lambda _: None, Effect.READ)
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE
