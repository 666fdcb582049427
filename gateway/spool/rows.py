"""The statements of the queue. Each function is one step inside a transaction of the database thread.

Times are microseconds UTC.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import apsw

from gateway.mail.envelope import Mail, Recipient, Stage
from gateway.mail.identifier import MailId, is_mail_id
from gateway.mail.priority import Priority
from gateway.outcome import Reason
from gateway.spool.bodies import SpoolBody, body_of
from gateway.spool.codec import CodecError, read_content, read_sealings, write_content, write_sealings
from gateway.spool.epoch import Epoch
from gateway.spool.files import owner_of
from gateway.spool.store import Lease, LeaseLost, Remainder, Row, Settlement, State, Unreadable, Waiting

MakeBody = Callable[[str, int, str, bytes | None], SpoolBody]  # name, size, epoch, sealed

FIRST_TOKEN: Final = 1
_END_OF_TIME: Final = 253_402_300_800_000_000  # the year 10000, of which no date can be written
# As bytes: text that is damaged is then found where its row is read, and not by the statement that reads all of them
ID: Final = "CAST(id AS BLOB)"
_COLUMNS: Final = (
    f"{ID}, CAST(organisation AS BLOB), CAST(content AS BLOB), CAST(stage AS BLOB), protected, priority,"
    " CAST(body AS BLOB), size, CAST(epoch AS BLOB)"
)
MAIL: Final = f"{_COLUMNS}, (SELECT sealed FROM body WHERE name = mail.body)"  # noqa: S608 - names of columns
# What is in a state that is none is for a person too
_STATE: Final = f"CASE WHEN state IN ({', '.join(repr(str(state)) for state in State)}) THEN state ELSE '{State.BROKEN}' END"
_FATE: Final = f"{_STATE}, attempts, next_at, CAST(reason AS BLOB), CAST(detail AS BLOB)"


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a row stands after a step, and why."""

    state: State
    next_at: int
    attempts: int = 0
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose lease a new row begins with, and until when (boot clock, seconds)."""

    owner: str
    until: float


def insert(database: apsw.Connection, mail: Mail, fate: Fate, holder: Holder | None = None) -> None:
    """A new row, and the epoch of its body unless another row brought it. Raises ``ValueError`` for a known identifier.

    With ``holder`` it is leased from the start, as if it had waited and been taken: its token is ``FIRST_TOKEN``.
    """
    body = body_of(mail)
    if body.writer is not None:
        epoch = body.writer.epoch
        database.execute(
            "INSERT OR IGNORE INTO epoch VALUES (?, ?, ?, ?)",
            (epoch.id, epoch.created_at, epoch.proof, write_sealings(epoch.sealings)),
        )
        if body.writer.sealed is not None:
            database.execute("INSERT OR IGNORE INTO body VALUES (?, ?)", (body.name, body.writer.sealed))
    arrival = mail.arrival
    content = write_content(arrival, mail.envelope, mail.hop)
    state, attempts = (fate.state, fate.attempts) if holder is None else (State.LEASED, fate.attempts + 1)
    lease = (None, 0, None) if holder is None else (holder.owner, FIRST_TOKEN, holder.until)
    try:
        database.execute(
            "INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                *(arrival.mail, arrival.organisation, arrival.at, mail.stage, mail.protected, mail.priority, content),
                *(body.name, body.size, body.epoch, state, attempts, fate.next_at, fate.reason, fate.detail, *lease),
            ),
        )
    except apsw.ConstraintError as error:
        raise ValueError(f"mail {arrival.mail} is already in the spool") from error


def end(
    database: apsw.Connection, lease: Lease, owner: str, settlement: Settlement, new: Callable[[], MailId], now: int
) -> list[str]:
    """The end of a lease. Returns the names of bodies that no row names any more. Raises :class:`LeaseLost`, ``ValueError``."""
    row = lease.mail.arrival.mail
    mail = settlement.of or lease.mail
    if len(settlement.remainders) == 1 and settlement.of is None:
        [remainder] = settlement.remainders
        fate = _fate(remainder, _require(database, lease, owner), now)
        rest = _rest(mail, row, mail.arrival.parent, remainder.recipients)
        database.execute("UPDATE mail SET content = ? WHERE id = ?", (write_content(rest.arrival, rest.envelope, rest.hop), row))
        settle(database, row, fate)
    else:
        attempts = _remove(database, lease, owner)
        if settlement.of is not None:
            attempts = 1
        for remainder in settlement.remainders:
            only = len(settlement.remainders) == 1
            named = (mail.arrival.mail, mail.arrival.parent) if only else (new(), mail.arrival.mail)
            insert(database, _rest(mail, *named, remainder.recipients), _fate(remainder, attempts, now))
    for output in settlement.outputs:
        insert(database, output, Fate(State.WAITING, now))
    return forget_body(database, body_of(lease.mail).name)


def set_broken(database: apsw.Connection, lease: Lease, owner: str, detail: str, now: int) -> None:
    """The row is put aside. Raises :class:`LeaseLost`."""
    attempts = _require(database, lease, owner)
    settle(database, lease.mail.arrival.mail, Fate(State.BROKEN, now, attempts, None, detail))


def select(database: apsw.Connection, state: State | None, make: MakeBody) -> list[Row | Unreadable]:
    """All rows, or those in ``state``, oldest first; their small bodies cannot be read."""
    found: Iterator[Any] = database.execute(
        f"SELECT {_COLUMNS}, NULL, {_FATE} FROM mail WHERE {_STATE} = coalesce(?, {_STATE}) ORDER BY at, id",  # noqa: S608 - names
        (state,),
    )
    return [_row(row, make) for row in found]


def find(database: apsw.Connection, mail: MailId, make: MakeBody) -> Row | Unreadable | None:
    """One row."""
    row = database.execute(f"SELECT {MAIL}, {_FATE} FROM mail WHERE id = ?", (mail,)).fetchone()  # noqa: S608 - names
    return None if row is None else _row(row, make)


def count(database: apsw.Connection) -> dict[State, int]:
    """How many rows there are in each state."""
    found: Iterator[Any] = database.execute(f"SELECT {_STATE}, count(*) FROM mail GROUP BY 1")  # noqa: S608 - names
    return dict.fromkeys(State, 0) | {State(state): number for state, number in found}


def release(database: apsw.Connection, mail: MailId, now: int) -> bool:
    """A row that is not leased waits, due now, as if never tried. What its flow held is ``released`` to it: see ``Stage``."""
    database.execute(
        "UPDATE mail SET stage = CASE WHEN state = 'held' AND stage = 'flow' THEN 'released' ELSE stage END,"
        " state = 'waiting', next_at = ?, attempts = 0 WHERE id = ? AND state <> 'leased'",
        (now, mail),
    )
    return database.changes() > 0


def delete(database: apsw.Connection, mail: MailId) -> list[str] | None:
    """A row that is not leased goes. Returns the names of bodies no row names any more, or None if there was no such row."""
    body: Any = database.execute("DELETE FROM mail WHERE id = ? AND state <> 'leased' RETURNING CAST(body AS BLOB)", (mail,)).get
    if body is None:
        return None
    name = _shown(body)
    return forget_body(database, name) if owner_of(name) is not None else []  # a body whose name is damaged is swept


def forget_body(database: apsw.Connection, name: str) -> list[str]:
    """A body that no row names any more goes. Returns its name if it is a file, to be deleted after the commit."""
    database.execute("DELETE FROM body WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM mail WHERE body = ?1)", (name,))
    return [] if database.changes() else unnamed(database, [name])


def unnamed(database: apsw.Connection, bodies: Sequence[str]) -> list[str]:
    """Those of ``bodies`` that no row names."""
    return [name for name in bodies if not database.execute("SELECT EXISTS (SELECT 1 FROM mail WHERE body = ?)", (name,)).get]


def epochs(database: apsw.Connection, wanted: Collection[str]) -> list[Epoch]:
    """The stored epochs among ``wanted``, but for those that cannot be read."""
    found: Iterator[Any] = database.execute(
        "SELECT id, created_at, proof, CAST(sealings AS BLOB) FROM epoch WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(wanted)),),
    )
    readable = []
    for identifier, at, proof, sealings in found:
        with contextlib.suppress(CodecError):
            readable.append(Epoch(identifier, at, proof, read_sealings(_text(sealings))))
    return readable


def forget_epochs(database: apsw.Connection) -> None:
    """Epochs that no row's body was written under go. A living process stores its own again with its next row."""
    database.execute("DELETE FROM epoch WHERE id NOT IN (SELECT epoch FROM mail)")


_OURS: Final = "mail WHERE id = ? AND token = ? AND owner = ? AND state = 'leased'"


def _require(database: apsw.Connection, lease: Lease, owner: str) -> int:
    """The attempts of a row whose lease is still ours. Raises :class:`LeaseLost`."""
    return _attempts(database, f"SELECT attempts FROM {_OURS}", lease, owner)  # noqa: S608 - a constant


def _remove(database: apsw.Connection, lease: Lease, owner: str) -> int:
    """As :func:`_require`, and the row goes."""
    return _attempts(database, f"DELETE FROM {_OURS} RETURNING attempts", lease, owner)  # noqa: S608 - a constant


def _attempts(database: apsw.Connection, statement: str, lease: Lease, owner: str) -> int:
    attempts: int | None = database.execute(statement, (lease.mail.arrival.mail, lease.token, owner)).get
    if attempts is None:
        raise LeaseLost(lease.mail.arrival.mail)
    return attempts


def settle(database: apsw.Connection, mail: MailId | bytes, fate: Fate) -> None:
    """Nobody has the row any more, and whoever had it lives. ``mail`` as bytes where it may be damaged."""
    database.execute(
        "UPDATE mail SET state = ?, next_at = ?, attempts = ?, reason = ?, detail = ?, owner = NULL, until = NULL, deaths = 0"
        " WHERE id = CAST(? AS TEXT)",
        (fate.state, fate.next_at, fate.attempts, fate.reason, fate.detail, mail),
    )


def _fate(remainder: Remainder, attempts: int, now: int) -> Fate:
    if isinstance(remainder, Waiting):
        return Fate(State.WAITING, remainder.next_at, attempts, remainder.reason, remainder.detail)
    return Fate(State.HELD, now, attempts, remainder.reason, remainder.detail)


def _rest(mail: Mail, identifier: MailId, parent: MailId | None, recipients: tuple[Recipient, ...]) -> Mail:
    arrival = replace(mail.arrival, mail=identifier, parent=parent)
    return replace(mail, arrival=arrival, envelope=mail.envelope.to(recipients))


def read_mail(row: Sequence[Any], make: MakeBody) -> Mail:
    """The mail in the columns ``MAIL`` of a row. Raises :class:`CodecError`."""
    identifier, _, text, stage, protected, priority, body, size, epoch, sealed = row[:10]
    content = read_content(_text(text))
    if content.arrival.mail != _text(identifier):
        raise CodecError("content is of another mail")
    try:
        stands, urgency = Stage(_text(stage)), Priority(priority)
    except ValueError as error:  # of a version to come, perhaps
        raise CodecError("stage or priority of another version") from error
    name, under = _text(body), _text(epoch)
    if owner_of(name) is None:
        raise CodecError("body is none that was stored here")
    if not is_mail_id(under):  # where it could be one that is missing, its mail waits for it
        raise CodecError("epoch is none that was made here")
    return Mail(
        arrival=content.arrival,
        envelope=content.envelope,
        body=make(name, size, under, sealed),
        stage=stands,
        hop=content.hop,
        protected=bool(protected),
        priority=urgency,
    )


def unreadable(row: Sequence[Any], state: State, error: CodecError) -> Unreadable:
    """What can be told of a row with the columns ``MAIL`` that has an ``error`` somewhere."""
    return Unreadable(MailId(_shown(row[0])), _shown(row[1]), state, error.detail)


def _row(row: Sequence[Any], make: MakeBody) -> Row | Unreadable:
    state, attempts, next_at, reason, detail = row[10:]
    try:
        mail = read_mail(row, make)
        _check_times(mail.arrival.at, next_at)
        return Row(mail, State(state), attempts, next_at, _reason(reason), _text(detail))
    except CodecError as error:
        return unreadable(row, State(state), error)


def _check_times(*times: int) -> None:
    if not all(0 <= at < _END_OF_TIME for at in times):
        raise CodecError("a time that is none")


def _reason(column: bytes | None) -> Reason | None:
    try:
        return None if column is None else Reason(_text(column))
    except ValueError as error:  # of a version to come, perhaps
        raise CodecError("reason of another version") from error


def _text(column: bytes) -> str:
    try:
        return column.decode()
    except UnicodeDecodeError:
        raise CodecError("a column is no text") from None


def _shown(column: bytes) -> str:
    return column.decode(errors="replace")
