"""The database thread, below the queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

import gateway.database.thread
from gateway.database.thread import Database, Effect
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
