"""Certificates of correspondents that we keep: pinned, imported, harvested. Shared by all our processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import apsw

from gateway.database.thread import Effect, Work, finisher
from gateway.events import CertificateHarvested, CertificateWaiting, Observer
from gateway.mail.address import Address
from gateway.mail.identifier import MailId
from gateway.outcome import GatewayError
from gateway.smime import der
from gateway.state.state import Working
from gateway.trust.harvested import Harvesting, Known, New, Taught, decide
from gateway.trust.kept import Kept, KeptAs
from gateway.trust.sources import DirectoryError

MAX_LEARNED: Final = 50_000
"""Certificates harvested and waiting, of all organisations; what a zone vouched for stays, then what was seen last."""
MAX_HARVESTED: Final = 4
"""Of one address; those signed for last stay. As many wait at most, and push out none that is in use."""
MAX_ROW: Final = 32 * 1024
"""Bytes of a certificate that is harvested, together with those above it."""
FORGOTTEN_DAYS: Final = 365
"""After so long without a mail from its owner, what was harvested is forgotten."""
CACHED_SECONDS: Final = 60
"""How long a process believes what it read; another, or a person, may have changed it."""
MAX_CACHED: Final = 20_000
MAX_CACHED_BYTES: Final = 64 * 1024 * 1024

_FORGOTTEN: Final = FORGOTTEN_DAYS * 86_400 * 1_000_000
_RANK: Final = {kind: rank for rank, kind in enumerate((KeptAs.PINNED, KeptAs.IMPORTED, KeptAs.HARVESTED, KeptAs.WAITING))}

Person = tuple[str, str]


class KeptCertificates:
    """What our organisations keep (:class:`gateway.trust.kept.Keeping`), and what verified mail adds to it."""

    def __init__(self, state: Working, observer: Observer, now: Callable[[], int]) -> None:
        """``now`` in microseconds UTC."""
        self._state = state
        self._observer = observer
        self._now = now
        self._cached: OrderedDict[Person, tuple[int, tuple[Kept, ...], int]] = OrderedDict()
        self._bytes = 0

    async def kept(self, organisation: str, address: Address, /) -> tuple[Kept, ...]:
        """Everything kept for ``address``, pinned before imported before harvested before waiting, each the newest first.

        Raises :class:`DirectoryError`: a pin that cannot be read is not passed over.
        """
        person, now = (organisation, address.key), self._now()
        until, found, _ = self._cached.get(person, (0, (), 0))
        if now < until:
            return found
        try:
            found = await self._state.run(lambda database: _find(database, person, now - _FORGOTTEN), Effect.READ)
        except GatewayError as error:
            raise DirectoryError(f"certificates kept by ourselves: {error.detail}") from error
        self._remember(person, now, found)
        return found

    def _remember(self, person: Person, now: int, found: tuple[Kept, ...]) -> None:
        self._forget(person)
        size = sum(len(each.certificate) + sum(map(len, each.above)) for each in found)
        self._cached[person] = (now + CACHED_SECONDS * 1_000_000, found, size)
        self._bytes += size
        while len(self._cached) > MAX_CACHED or self._bytes > MAX_CACHED_BYTES:
            self._forget(next(iter(self._cached)))

    def _forget(self, person: Person) -> None:
        *_, size = self._cached.pop(person, (0, (), 0))
        self._bytes -= size

    def teach(self, organisation: str, mail: MailId, taught: Taught, harvesting: Harvesting, /) -> None:
        """``mail`` taught this. Nobody waits for it, and a fault of the disk is no fault of the mail."""
        if len(taught.certificate) + sum(map(len, taught.above)) > MAX_ROW:
            return
        loop, now = asyncio.get_running_loop(), self._now()
        done: asyncio.Future[New | None] = loop.create_future()
        done.add_done_callback(lambda future: self._taught(organisation, mail, taught, future))
        work = Work(lambda database: teach(database, organisation, taught, harvesting, now), finisher(loop, done), Effect.CHANGE)
        with contextlib.suppress(GatewayError):
            self._state.submit(work)

    def _taught(self, organisation: str, mail: MailId, taught: Taught, done: asyncio.Future[New | None]) -> None:
        new = None if done.cancelled() or done.exception() is not None else done.result()
        if new is None:
            return
        self._forget((organisation, taught.address.key))
        address, print_, zone = str(taught.address), fingerprint(taught.certificate).hex(), taught.zone or ""
        if new.why is None:
            event = CertificateHarvested(org=organisation, mail=mail, address=address, fingerprint=print_, zone=zone)
            self._observer.see(event)
        else:
            self._observer.see(
                CertificateWaiting(org=organisation, mail=mail, address=address, fingerprint=print_, zone=zone, kind=new.why)
            )


class CertificateCounts:
    """How many certificates are kept, of all organisations."""

    def __init__(self, state: Working) -> None:
        self._state = state

    async def count(self) -> dict[KeptAs, int]:
        """By how they are kept. Raises :class:`GatewayError` (SPOOL_...)."""
        return await self._state.run(_count, Effect.READ)


def _count(database: apsw.Connection) -> dict[KeptAs, int]:
    found: dict[str, int] = dict(database.execute("SELECT kind, rows FROM counted"))
    return {kind: found[kind] for kind in KeptAs}


def fingerprint(certificate: bytes) -> bytes:
    """The SHA-256 of ``certificate`` (DER), by which people and rows name it."""
    return hashlib.sha256(certificate).digest()


def split(above: bytes) -> tuple[bytes, ...]:
    """The certificates that lie in ``above`` one behind the other."""
    found, at = [], 0
    while at < len(above):
        item = der.read(above, at)
        found.append(item.raw)
        at = item.end
    return tuple(found)


def teach(database: apsw.Connection, organisation: str, taught: Taught, harvesting: Harvesting, now: int) -> New | None:
    """Keep what a verified mail showed, and answer how if it is new. The time moves on where it is not, too, or what was signed
    between and kept back would count. ``now`` in microseconds UTC.
    """
    person, zone = (organisation, taught.address.key), taught.zone or ""
    print_, signed_at = fingerprint(taught.certificate), taught.signed_at
    database.execute(
        "UPDATE certificates SET signed_at = ?, seen_at = ?, zone = iif(? = '', zone, ?) WHERE organisation = ? AND address = ?"
        " AND fingerprint = ? AND kept_as IN ('harvested', 'waiting') AND signed_at < ?",
        (signed_at, now, zone, zone, *person, print_, signed_at),
    )
    if database.changes():
        return None
    query = "SELECT fingerprint, certificate, kept_as, zone, signed_at FROM certificates WHERE organisation = ? AND address = ?"
    rows = list(database.execute(query, person))
    if any(row[0] == print_ for row in rows):
        return None
    known = [Known(certificate, KeptAs(kept_as), zone or None, at) for _, certificate, kept_as, zone, at in rows]
    before: Any = database.execute("SELECT at FROM forgotten WHERE organisation = ? AND address = ?", person).get
    new = decide(taught, known, harvesting, before or 0)
    if new is None:
        return None
    values = (*person, print_, str(new.kept_as), zone, signed_at, now, taught.certificate, b"".join(taught.above))
    database.execute("INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    _make_room(database, person, new.kept_as, now)
    return new


def _make_room(database: apsw.Connection, person: Person, kept_as: KeptAs, now: int) -> None:
    """Whose owner was silent for long, and beyond the bounds what is oldest. What an administrator put in stays."""
    database.execute("DELETE FROM certificates WHERE kept_as IN ('harvested', 'waiting') AND seen_at <= ?", (now - _FORGOTTEN,))
    database.execute(
        "DELETE FROM certificates WHERE rowid IN (SELECT rowid FROM certificates WHERE organisation = ? AND address = ?"
        " AND kept_as = ? ORDER BY signed_at DESC LIMIT -1 OFFSET ?)",
        (*person, str(kept_as), MAX_HARVESTED),
    )
    learned: Any = database.execute("SELECT sum(rows) FROM counted WHERE kind IN ('harvested', 'waiting')").get
    if learned > MAX_LEARNED:
        database.execute(
            "DELETE FROM certificates WHERE rowid IN (SELECT rowid FROM certificates WHERE kept_as IN ('harvested', 'waiting')"
            " ORDER BY zone != '', seen_at LIMIT ?)",
            (learned - MAX_LEARNED,),
        )


def _find(database: apsw.Connection, person: Person, since: int) -> tuple[Kept, ...]:
    query = (
        "SELECT certificate, kept_as, signed_at, above FROM certificates WHERE organisation = ? AND address = ?"
        " AND (kept_as IN ('pinned', 'imported') OR seen_at > ?)"
    )
    found = [Kept(value, KeptAs(kind), at, split(above)) for value, kind, at, above in database.execute(query, (*person, since))]
    return tuple(sorted(found, key=lambda each: (_RANK[each.kept_as], -each.since)))
