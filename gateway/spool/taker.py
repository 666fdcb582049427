"""How a process gets its leases: those taken by the transaction that stored a mail here, and what is due in the database.

A worker that has room gets at once what its own process accepts. That spares each mail a transaction, and the reading and
opening of what has just been written. Not while more is due in the database than the worker took: what waits is not overtaken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.database.thread import Database, Effect
from gateway.events import MailBroken, Observer
from gateway.mail.envelope import Mail
from gateway.mail.identifier import MailId
from gateway.mail.priority import Priority
from gateway.outcome import GatewayError, Reason
from gateway.spool import leases as leasing
from gateway.spool import rows as table
from gateway.spool.bodies import body_of
from gateway.spool.epoch import Epoch, EpochKeys
from gateway.spool.keeper import LEASE_SECONDS, Keeper
from gateway.spool.store import Lease

POLL_SECONDS: Final = 0.5  # how soon a row is seen that another process released or added
TURN: Final = 8  # each so many looks into the database, the lowest priority comes first: it waits longer, and not for ever
OPEN_SECONDS: Final = 1.0  # for the token to open epochs; what takes longer goes on beside the mail that needs none of them
_CLOSED_SECONDS: Final = 5.0  # how soon an epoch that could not be opened is tried again


class Taker:
    """Takes leases for one process, ``own``. ``now`` in microseconds UTC; ``boot`` the boot clock, in seconds."""

    def __init__(
        self,
        own: str,
        database: Database,
        keys: EpochKeys,
        keeper: Keeper,
        make: table.MakeBody,
        now: Callable[[], int],
        boot: Callable[[], float],
        observer: Observer | None,
    ) -> None:
        self._own = own
        self._database = database
        self._keys = keys
        self._keeper = keeper
        self._make = make
        self._now = now
        self._boot = boot
        self._observer = observer
        self._closed: dict[str, float] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._room = 0
        """How many more leases the worker wants."""
        self._bulk = 0
        """How many of them may be of bulk mail."""
        self._turn = 0
        self._ready: deque[Lease] = deque()
        """Leases that nobody has asked for yet."""
        self._look_at = 0.0
        """When the database is to be asked again what is due, by the boot clock."""
        self._behind = True
        """Whether more was due when it was last asked than there was room for."""
        self._run_behind = False
        """Whether more bulk mail was due than there was room for such."""

    async def lease(self, limit: int, bulk: int) -> Sequence[Lease]:
        """See :meth:`gateway.spool.store.Spool.lease`. Rows whose epoch cannot be opened now are passed over, and tried later."""
        boot = self._boot()
        ready = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if ready and (len(ready) == limit or boot < self._look_at):
            return ready
        try:
            taken = sum(lease.mail.priority is Priority.BULK for lease in ready)
            return [*ready, *await self._due(limit - len(ready), max(0, bulk - taken), boot)]
        except BaseException:
            self._ready.extendleft(reversed(ready))
            raise

    async def wait(self, room: int, bulk: int) -> None:
        """See :meth:`gateway.spool.store.Spool.wait`. Sees what other processes changed within ``POLL_SECONDS``."""
        self._room, self._bulk = room, min(room, bulk)
        while not self._ready:
            if (self._behind and room) or (self._run_behind and bulk):
                return
            self._changed.clear()
            if room and (pause := self._look_at - self._boot()) > 0:
                if await self._stirred(pause):
                    continue
                self._look_at = 0.0
            closed = self._closed_epochs()
            next_at, runs_out = await self._database.run(
                partial(leasing.next_due, closed=closed, bulk=bulk > 0, free=not self._keeper.held()), Effect.READ
            )
            pauses = [POLL_SECONDS]
            if next_at is not None:
                pauses.append((next_at - self._now()) / 1e6)
            if runs_out is not None:
                pauses.append(runs_out - self._boot())
            if min(pauses) <= 0:
                return
            if not self._changed.is_set():
                self._look_at = self._boot() + min(pauses)
            await self._stirred(min(pauses))

    def stir(self) -> None:
        """Something in the database may be due."""
        self._look_at = 0.0
        self._changed.set()

    def holder(self, priority: Priority) -> table.Holder | None:
        """Whose the next mail is from the start: ours if there is room for its like and nothing else waits for it."""
        bulk = priority is Priority.BULK
        if self._room <= 0 or self._behind or (bulk and (self._bulk <= 0 or self._run_behind)):
            return None
        self._room -= 1
        self._bulk -= bulk
        return table.Holder(self._own, self._boot() + LEASE_SECONDS)

    def hand_over(self, mail: Mail, holder: table.Holder, due: int) -> None:
        """``mail`` is stored, leased by ``holder``."""
        lease = Lease(replace(mail, body=body_of(mail).stored()), table.FIRST_TOKEN, holder.until, 0, due)
        self._keeper.take_up([lease])
        self._ready.append(lease)
        self._changed.set()

    async def give_back(self) -> None:
        """Every lease in hand, at the end of the process. Raises ``GatewayError`` (SPOOL_UNAVAILABLE)."""
        self._room = self._bulk = 0
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await self._return(self._keeper.held(), None)

    async def _due(self, limit: int, bulk: int, boot: float) -> list[Lease]:
        self._turn += 1
        wish = leasing.Wish(limit, bulk, turned=self._turn % TURN == 0, free=not self._keeper.held())
        worker = leasing.Worker(self._own, self._now(), boot, boot + LEASE_SECONDS)
        self._look_at = boot + POLL_SECONDS  # unless something is put there meanwhile
        closed = self._closed_epochs()
        leases, broken = await self._database.run(
            lambda database: leasing.take(database, wish, worker, closed, self._make), Effect.CHANGE
        )
        if self._observer is not None:
            for row in broken:
                self._observer.see(MailBroken(org=row.organisation, mail=row.mail, detail=row.detail))
        self._behind = len(leases) + len(broken) == limit
        if bulk:
            self._run_behind = sum(lease.mail.priority is Priority.BULK for lease in leases) >= bulk
        if self._behind or self._run_behind:
            self._look_at = 0.0
        self._keeper.take_up(leases)  # renewed while the token is waited for; where this is cancelled, given back at the end
        try:
            leases = await self._readable(leases)
        except Exception:
            for lease in leases:
                self._keeper.let_go(lease)
            raise
        if leases and leases[0].alone:
            self._room = self._bulk = 0
        return leases

    async def _readable(self, leases: list[Lease]) -> list[Lease]:
        """Those of ``leases`` whose bodies can be opened; the others are given back."""
        shut = await self._open_epochs({body_of(lease.mail).epoch for lease in leases})
        refused = [lease for lease in leases if body_of(lease.mail).epoch in shut]
        for lease in refused:
            self._keeper.let_go(lease)
        await self._return([(lease.mail.arrival.mail, lease.token) for lease in refused], Reason.KEY_UNAVAILABLE)
        return [lease for lease in leases if body_of(lease.mail).epoch not in shut]

    async def _open_epochs(self, wanted: set[str]) -> set[str]:
        """Those of ``wanted`` that could not be opened."""
        unknown = {epoch for epoch in wanted if not self._keys.is_open(epoch)}
        if not unknown:
            return unknown
        for epoch in await self._database.run(lambda database: table.epochs(database, unknown), Effect.READ):
            if epoch.id not in self._opening:
                self._opening[epoch.id] = asyncio.create_task(self._open(epoch))
        if under_way := [self._opening[epoch] for epoch in unknown if epoch in self._opening]:
            await asyncio.wait(under_way, timeout=OPEN_SECONDS)
        shut = {epoch for epoch in unknown if not self._keys.is_open(epoch)}
        retry = self._boot() + _CLOSED_SECONDS
        self._closed.update((epoch, retry) for epoch in shut)
        return shut

    async def _open(self, epoch: Epoch) -> None:
        try:
            with contextlib.suppress(GatewayError):  # stays among the shut ones, whose rows get the reason
                await self._keys.open(epoch)
                self._closed.pop(epoch.id, None)
                self.stir()
        finally:
            del self._opening[epoch.id]

    def _closed_epochs(self) -> list[str]:
        """Epochs that could not be opened a moment ago."""
        boot = self._boot()
        self._closed = {epoch: retry for epoch, retry in self._closed.items() if retry > boot}
        return list(self._closed)

    async def _return(self, held: list[tuple[MailId, int]], reason: Reason | None) -> None:
        if held:
            await self._database.run(lambda database: leasing.give_back(database, held, self._own, reason), Effect.CHANGE)

    async def _stirred(self, seconds: float) -> bool:
        """Whether something was stored here before so many seconds were over."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
