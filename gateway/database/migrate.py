"""A schema: numbered plain SQL files, applied in order, each once."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Any, Final

import apsw

from gateway.outcome import GatewayError, Reason

OLDEST_SQLITE: Final = 3_051_003  # before it, resetting the WAL while another process writes could corrupt the database


def migrations(schema: Traversable) -> dict[int, str]:
    """Every migration in the folder ``schema`` by its version, in order."""
    found = {int(file.name[:4]): file.read_text() for file in schema.iterdir()}
    return dict(sorted(found.items()))


def migrate(database: apsw.Connection, schema: Traversable, now: int) -> None:
    """Bring it up to date; safe against another process doing the same.

    Raises ``GatewayError`` (SPOOL_UNAVAILABLE) for a database of a later version, and ``apsw.Error``.
    """
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"SQLite {apsw.sqlite_lib_version()} is too old")
    known = migrations(schema)
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT"
        )
        version: Any = database.execute("SELECT coalesce(max(version), 0) FROM schema_version").get
        _require_known(version, max(known))
        for number, script in known.items():
            if number > version:
                database.execute(script)
                database.execute("INSERT INTO schema_version VALUES (?, ?)", (number, now))
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _require_known(version: int, newest: int) -> None:
    if version > newest:
        raise GatewayError(Reason.SPOOL_UNAVAILABLE, f"the database has schema {version}, this program knows {newest}")
