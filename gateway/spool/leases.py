"""The statements of leasing. Each function is one step inside a transaction of the database thread.

``boot`` and ``until`` are seconds of the boot clock, other times microseconds UTC.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apsw

from gateway.mail.identifier import MailId, is_mail_id
from gateway.mail.priority import Priority
from gateway.outcome import Reason
from gateway.spool.codec import CodecError
from gateway.spool.rows import ID, MAIL, Fate, MakeBody, read_mail, settle, unreadable
from gateway.spool.store import Lease, State, Unreadable

PATIENCE_SECONDS: Final = 60  # how long a suspect that is due waits for a worker with nothing in hand

_PATIENCE: Final = PATIENCE_SECONDS * 1_000_000


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
    to stand back else, so that nothing does so for ever. ``free``: it has nothing in hand, and can take a suspect alone. One
    that is not takes a suspect which found nobody free: that may cost the others in hand a death, which they can bear.
    """

    limit: int
    bulk: int
    turned: bool = False
    free: bool = True


def take(
    database: apsw.Connection, wish: Wish, worker: Worker, closed: Collection[str], make: MakeBody
) -> tuple[list[Lease], list[Unreadable]]:
    """Lease what is due: the leases of others that ran out, and waiting rows, except those of ``closed`` epochs.

    What cannot be read of it is put aside, and is the second part of the answer.
    """
    shut = json.dumps(sorted(closed))
    chosen = [suspect] if (suspect := _suspect(database, wish, worker, shut)) else _choose(database, wish, worker, shut)
    leases, broken = [], []
    for identifier in chosen:
        row: Any = database.execute(
            f"UPDATE mail SET state = 'leased', owner = ?, token = token + 1, until = ?, attempts = attempts + 1"  # noqa: S608
            f" WHERE id = CAST(? AS TEXT) RETURNING {MAIL}, token, attempts - 1, next_at, deaths",
            (worker.owner, worker.until, identifier),
        ).fetchone()
        try:
            leases.append(Lease(read_mail(row, make), row[10], worker.until, *row[11:]))
        except CodecError as error:
            settle(database, identifier, Fate(State.BROKEN, worker.now, row[11], error.reason, error.detail))
            broken.append(unreadable(row, State.BROKEN, error))
    return leases, broken


def _suspect(database: apsw.Connection, wish: Wish, worker: Worker, shut: str) -> bytes | None:
    now, boot = (worker.now, worker.boot) if wish.free else (worker.now - _PATIENCE, worker.boot - PATIENCE_SECONDS)
    for due, before in (("state = 'waiting' AND next_at <= ?", now), ("state = 'leased' AND until <= ?", boot)):
        found: bytes | None = database.execute(
            f"SELECT {ID} FROM mail WHERE {due} AND deaths >= 2 AND epoch NOT IN (SELECT value FROM json_each(?)) LIMIT 1",  # noqa: S608
            (before, shut),
        ).get
        if found is not None:
            return found
    return None


def _choose(database: apsw.Connection, wish: Wish, worker: Worker, shut: str) -> list[bytes]:
    limit = wish.limit
    chosen: list[Any] = database.execute(
        f"SELECT {ID}, priority, next_at FROM mail WHERE state = 'leased' AND until <= ? AND deaths < 2"  # noqa: S608
        " AND epoch NOT IN (SELECT value FROM json_each(?)) LIMIT ?",
        (worker.boot, shut, limit),
    ).fetchall()
    priorities = list(_priorities(database))
    lowest = priorities[-1] if priorities and wish.turned else None
    for priority in priorities:
        if len(chosen) >= limit and priority != lowest:
            continue
        chosen += database.execute(
            f"SELECT {ID}, priority, next_at FROM mail"  # noqa: S608
            " WHERE state = 'waiting' AND priority = ? AND next_at <= ? AND deaths < 2"
            " AND epoch NOT IN (SELECT value FROM json_each(?)) ORDER BY next_at, id LIMIT ?",
            (priority, worker.now, shut, min(limit, wish.bulk) if priority == Priority.BULK else limit),
        ).fetchall()
    chosen.sort(key=lambda row: (-row[1], row[2], row[0]))
    turned = next((row for row in chosen if row[1] == lowest), None)
    if turned is not None:
        chosen.remove(turned)
        chosen.insert(0, turned)
    return [identifier for identifier, _, _ in chosen[:limit]]


def _priorities(database: apsw.Connection) -> Iterator[int]:
    """The priorities of waiting rows, best first. One look into the index for each, however long the queue."""
    best: Any = database.execute("SELECT max(priority) FROM mail WHERE state = 'waiting'").get
    while best is not None:
        yield best
        best = database.execute("SELECT max(priority) FROM mail WHERE state = 'waiting' AND priority < ?", (best,)).get


def next_due(database: apsw.Connection, closed: Collection[str], *, bulk: bool, free: bool) -> tuple[int | None, float | None]:
    """When the next waiting row is due, without ``bulk`` one of other mail, and when the next lease runs out; None where there is
    none. ``free`` as in :class:`Wish`.
    """
    shut = json.dumps(sorted(closed))
    times = [
        database.execute(
            "SELECT next_at FROM mail WHERE state = 'waiting' AND priority = ? AND (deaths < 2 OR ?)"
            " AND epoch NOT IN (SELECT value FROM json_each(?)) ORDER BY next_at LIMIT 1",
            (priority, free, shut),
        ).get
        for priority in _priorities(database)
        if bulk or priority != Priority.BULK
    ]
    if not free:
        suspect: int | None = database.execute(
            "SELECT min(next_at) FROM mail WHERE state = 'waiting' AND deaths >= 2"
            " AND epoch NOT IN (SELECT value FROM json_each(?))",
            (shut,),
        ).get
        times.append(None if suspect is None else suspect + _PATIENCE)
    runs_out = database.execute(
        "SELECT min(until) FROM mail WHERE state = 'leased' AND (deaths < 2 OR ?)"
        " AND epoch NOT IN (SELECT value FROM json_each(?))",
        (free, shut),
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
    """Rows the dead ``owner`` had leased wait again, due as before. Returns how many.

    It may have died of one of them: which, is found out by taking those alone that it happens to again.
    """
    database.execute(
        "UPDATE mail SET state = 'waiting', owner = NULL, until = NULL, deaths = deaths + 1 WHERE owner = ? AND state = 'leased'",
        (owner,),
    )
    return database.changes()


def come_back(database: apsw.Connection, now: int, longest: int) -> None:
    """Rows planned further ahead than ``longest`` microseconds are due ``now``: the clock that planned them was wrong."""
    database.execute("UPDATE mail SET next_at = ? WHERE state = 'waiting' AND next_at > ?", (now, now + longest))


def owners(database: apsw.Connection) -> list[str]:
    """Who has leases. What a damaged row names, is nobody: its lease runs out."""
    found: Iterator[Any] = database.execute("SELECT DISTINCT CAST(owner AS BLOB) FROM mail WHERE state = 'leased'")
    return [owner for (name,) in found if name is not None and is_mail_id(owner := name.decode(errors="replace"))]
