"""Keeps the leases of this process alive, takes back those of processes that died, and mails that a wrong clock put off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Final

from gateway.database.thread import Database, Effect, Work
from gateway.mail.identifier import MailId
from gateway.spool import leases as leasing
from gateway.spool.files import BodyFiles
from gateway.spool.owners import Owners
from gateway.spool.store import Lease
from gateway.spool.sweep import settle_dead

LEASE_SECONDS: Final = 120.0
CLOCK_TICKS: Final = 15  # between two looks for mails that a wrong clock put off
TICK_SECONDS: Final = 2.0  # how soon the leases of a dead process are taken back


class Keeper:
    """Knows the leases in hand. Renewing stops with the event loop, so a process that hangs loses them."""

    def __init__(
        self,
        database: Database,
        disk: Executor,
        owners: Owners,
        files: BodyFiles,
        boot: Callable[[], float],
        plans: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """``disk`` runs what blocks; ``boot`` is the boot clock, in seconds. ``plans``: the time now, and how far ahead at most a
        try is planned, microseconds.
        """
        self._plans = plans
        self._ticks = 0
        self._database = database
        self._disk = disk
        self._owners = owners
        self._files = files
        self._boot = boot
        self._held: dict[MailId, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._settling: Future[None] | None = None

    def start(self) -> None:
        """Tick from now on."""
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._again)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()

    def take_up(self, leases: Sequence[Lease]) -> None:
        """These are renewed until let go."""
        self._held.update((lease.mail.arrival.mail, lease.token) for lease in leases)

    def let_go(self, lease: Lease) -> None:
        """No longer renewed: settled, or it runs out."""
        if self._held.get(lease.mail.arrival.mail) == lease.token:
            del self._held[lease.mail.arrival.mail]

    def held(self) -> list[tuple[MailId, int]]:
        """The leases in hand, by identifier and token."""
        return list(self._held.items())

    def tick(self) -> None:
        """Renew what is held, and settle what the dead left."""
        held, owner, until = self.held(), self._owners.own, self._boot() + LEASE_SECONDS
        if held:
            # A renewal that fails is made up for by the next one.
            work = Work(lambda database: leasing.renew(database, held, owner, until), lambda _, __: None, Effect.CHANGE)
            self._database.submit(work)
        self._ticks += 1
        if self._plans is not None and self._ticks % CLOCK_TICKS == 1:
            now, longest = self._plans()
            planned = Work(lambda database: leasing.come_back(database, now, longest), lambda _, __: None, Effect.CHANGE)
            self._database.submit(planned)
        if self._settling is None or self._settling.done():
            # What fails now, for whatever reason, is tried again at the next tick.
            self._settling = self._disk.submit(settle_dead, self._database, self._owners, self._files)

    async def settled(self) -> None:
        """Returns when the settling of the last tick has ended."""
        if self._settling is not None:
            await asyncio.wrap_future(self._settling)

    def _again(self) -> None:
        self.start()  # first: whatever one tick meets, another follows
        self.tick()
