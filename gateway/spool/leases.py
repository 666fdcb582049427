"""The statements of leasing. Each function is one step inside a transaction of the database thread.

``boot`` and ``until`` are seconds of the boot clock, other times microseconds UTC.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from gateway.mail.identifier import MailId
from gateway.mail.priority import Priority
from gateway.outcome import Reason
from gateway.spool.codec import CodecError
from gateway.spool.rows import MAIL, Fate, MakeBody, read_mail, settle
from gateway.spool.store import Lease, State


@dataclass(frozen=True, slots=True)
class Worker:
    """Who asks for leases, when, and how long they last."""

    owner: str
    now: int
    boot: float
    until: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker wants: at most ``limit`` leases, at most ``bulk`` of them of bulk mail. ``turned``: the first goes to what has
    to stand back else, so that nothing does so for ever.
    """

    limit: int
    bulk: int
    turned: bool = False


def take(database: apsw.Connection, wish: Wish, worker: Worker, closed: Collection[str], make: MakeBody) -> list[Lease]:
    """Lease what is due: the leases of others that ran out, and waiting rows, except those of ``closed`` epochs."""
    shut, limit = json.dumps(sorted(closed)), wish.limit
    chosen: list[Any] = database.execute(
        "SELECT id, priority, next_at FROM mail WHERE state = 'leased' AND until <= ?"
        " AND epoch NOT IN (SELECT value FROM json_each(?)) LIMIT ?",
        (worker.boot, shut, limit),
    ).fetchall()
    priorities = list(_priorities(database))
    lowest = priorities[-1] if priorities and wish.turned else None
    for priority in priorities:
        if len(chosen) >= limit and priority != lowest:
            continue
        chosen += database.execute(
            "SELECT id, priority, next_at FROM mail WHERE state = 'waiting' AND priority = ? AND next_at <= ?"
            " AND epoch NOT IN (SELECT value FROM json_each(?)) ORDER BY next_at, id LIMIT ?",
            (priority, worker.now, shut, min(limit, wish.bulk) if priority == Priority.BULK else limit),
        ).fetchall()
    chosen.sort(key=lambda row: (-row[1], row[2], row[0]))
    turned = next((row for row in chosen if row[1] == lowest), None)
    if turned is not None:
        chosen.remove(turned)
        chosen.insert(0, turned)
    leases = []
    for identifier, _, _ in chosen[:limit]:
        row: Any = database.execute(
            f"UPDATE mail SET state = 'leased', owner = ?, token = token + 1, until = ?, attempts = attempts + 1"  # noqa: S608
            f" WHERE id = ? RETURNING {MAIL}, token, attempts - 1, next_at",
            (worker.owner, worker.until, identifier),
        ).fetchone()
        try:
            leases.append(Lease(read_mail(row, make), row[9], worker.until, row[10], row[11]))
        except CodecError as error:
            fate = Fate(State.BROKEN, worker.now, row[10], error.reason, error.detail)
            settle(database, identifier, fate)
    return leases


def _priorities(database: apsw.Connection) -> Iterator[int]:
    """The priorities of waiting rows, best first. One look into the index for each, however long the queue."""
    best: Any = database.execute("SELECT max(priority) FROM mail WHERE state = 'waiting'").get
    while best is not None:
        yield best
        best = database.execute("SELECT max(priority) FROM mail WHERE state = 'waiting' AND priority < ?", (best,)).get


def next_due(database: apsw.Connection, closed: Collection[str], *, bulk: bool) -> tuple[int | None, float | None]:
    """When the next waiting row is due, without ``bulk`` one of other mail, and when the next lease runs out; None where there is
    none.
    """
    shut = json.dumps(sorted(closed))
    times = [
        database.execute(
            "SELECT next_at FROM mail WHERE state = 'waiting' AND priority = ?"
            " AND epoch NOT IN (SELECT value FROM json_each(?)) ORDER BY next_at LIMIT 1",
            (priority, shut),
        ).get
        for priority in _priorities(database)
        if bulk or priority != Priority.BULK
    ]
    runs_out = database.execute(
        "SELECT min(until) FROM mail WHERE state = 'leased' AND epoch NOT IN (SELECT value FROM json_each(?))", (shut,)
    ).get
    return min((at for at in times if at is not None), default=None), runs_out


def renew(database: apsw.Connection, held: Collection[tuple[MailId, int]], owner: str, until: float) -> None:
    """Leases that are still ours last until ``until``."""
    database.executemany(
        "UPDATE mail SET until = ? WHERE id = ? AND token = ? AND owner = ? AND state = 'leased'",
        [(until, *key, owner) for key in held],
    )


def give_back(database: apsw.Connection, held: Collection[tuple[MailId, int]], owner: str, reason: Reason | None) -> None:
    """Leases that nothing was done with: the rows wait as before, with ``reason`` if there is one."""
    database.executemany(
        "UPDATE mail SET state = 'waiting', owner = NULL, until = NULL, attempts = attempts - 1, reason = coalesce(?, reason)"
        " WHERE id = ? AND token = ? AND owner = ? AND state = 'leased'",
        [(reason, *key, owner) for key in held],
    )


def reclaim(database: apsw.Connection, owner: str) -> int:
    """Rows the dead ``owner`` had leased wait again, due as before. Returns how many."""
    database.execute("UPDATE mail SET state = 'waiting', owner = NULL, until = NULL WHERE owner = ? AND state = 'leased'", (owner,))
    return database.changes()


def owners(database: apsw.Connection) -> list[str]:
    """Who has leases."""
    return [str(owner) for (owner,) in database.execute("SELECT DISTINCT owner FROM mail WHERE state = 'leased'")]
