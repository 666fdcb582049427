"""What people do with certificates that are kept: each a change of the database, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from gateway.mail.address import Address
from gateway.outcome import GatewayError, Reason
from gateway.state.certificates import fingerprint, split
from gateway.trust.harvested import contradict
from gateway.trust.kept import Kept, KeptAs

MAX_BY_HAND: Final = 100_000
"""Certificates pinned and imported, of all organisations."""
MAX_EACH: Final = 16
"""Of one address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate kept by ``organisation`` for ``address``, in the form in which addresses are compared. ``zone`` vouched for
    what was harvested, None outside of all; ``seen_at`` is when a mail last showed it, or a person put it in (us UTC).
    """

    organisation: str
    address: str
    kept: Kept
    zone: str | None
    seen_at: int


def entries(
    database: apsw.Connection, organisation: str | None = None, address: Address | None = None, kept_as: KeptAs | None = None
) -> list[Entry]:
    """Everything that is kept, or of what is given alone; by organisation and address, the newest first."""
    return _entries(database, organisation, None if address is None else address.key, kept_as)


def _entries(database: apsw.Connection, organisation: str | None, address: str | None, kept_as: KeptAs | None) -> list[Entry]:
    rows = database.execute(
        "SELECT organisation, address, certificate, kept_as, signed_at, above, zone, seen_at FROM certificates"
        " WHERE organisation = coalesce(?1, organisation) AND address = coalesce(?2, address) AND kept_as = coalesce(?3, kept_as)"
        " ORDER BY organisation, address, signed_at DESC",
        (organisation, address, None if kept_as is None else str(kept_as)),
    )
    return [
        Entry(of, whose, Kept(certificate, KeptAs(kind), at, split(above)), zone or None, seen)
        for of, whose, certificate, kind, at, above, zone, seen in rows
    ]


def put_in(
    database: apsw.Connection,
    organisation: str,
    address: Address,
    certificate: bytes,
    above: Sequence[bytes],
    kept_as: KeptAs,
    now: int,
) -> bool:
    """Keep ``certificate`` for ``address``, as PINNED or IMPORTED; whether anything changed. What is pinned stays so.

    Raises :class:`GatewayError` (TOO_MANY).
    """
    person = (organisation, address.key)
    query = "SELECT kept_as FROM certificates WHERE organisation = ? AND address = ? AND fingerprint = ?"
    before: Any = database.execute(query, (*person, fingerprint(certificate))).get
    if before in (str(KeptAs.PINNED), str(kept_as)):
        return False
    if before != KeptAs.IMPORTED:
        _require_room(database, person)
    database.execute(
        "INSERT INTO certificates VALUES (?, ?, ?, ?, '', ?, ?, ?, ?) ON CONFLICT DO UPDATE SET kept_as = excluded.kept_as,"
        " signed_at = excluded.signed_at, seen_at = excluded.seen_at, above = iif(length(above) > 0, above, excluded.above)",
        (*person, fingerprint(certificate), str(kept_as), now, now, certificate, b"".join(above)),
    )
    return True


def _require_room(database: apsw.Connection, person: tuple[str, str]) -> None:
    query = "SELECT count(*) FROM certificates WHERE organisation = ? AND address = ? AND kept_as IN ('pinned', 'imported')"
    each: Any = database.execute(query, person).get
    if each >= MAX_EACH:
        raise GatewayError(Reason.TOO_MANY, f"{person[1]} has {each} certificates pinned or imported; forget one first")
    every: Any = database.execute("SELECT sum(rows) FROM counted WHERE kind IN ('pinned', 'imported')").get
    if every >= MAX_BY_HAND:
        raise GatewayError(Reason.TOO_MANY, f"{every} certificates are pinned or imported; forget some first")


def approve(database: apsw.Connection, entry: Entry, now: int) -> list[Entry] | None:
    """Let what waits be used; None where it waits no more. What was harvested before and names another organisation is forgotten,
    since side by side neither would be taken, and is the answer. ``now`` as in :func:`forget`.
    """
    database.execute(
        "UPDATE certificates SET kept_as = 'harvested' WHERE organisation = ? AND address = ? AND fingerprint = ?"
        " AND kept_as = 'waiting'",
        (entry.organisation, entry.address, fingerprint(entry.kept.certificate)),
    )
    if not database.changes():
        return None
    harvested = _entries(database, entry.organisation, entry.address, KeptAs.HARVESTED)
    rivals = [each for each in harvested if contradict(each.kept.certificate, entry.kept.certificate)]
    return [each for each in rivals if forget(database, each, now)]


def forget(database: apsw.Connection, entry: Entry, now: int) -> bool:
    """Let go of ``entry``; whether it was there still. A mail signed before ``now`` (us UTC) does not teach it again."""
    database.execute(
        "DELETE FROM certificates WHERE organisation = ? AND address = ? AND fingerprint = ?",
        (entry.organisation, entry.address, fingerprint(entry.kept.certificate)),
    )
    if not database.changes():
        return False
    database.execute(
        "INSERT INTO forgotten VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
        (entry.organisation, entry.address, now),
    )
    return True
