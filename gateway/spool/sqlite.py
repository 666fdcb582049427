"""The spool of one machine: rows in one SQLite database, bodies in files, shared by all our processes.

How a mail is never lost: its body is brought to disk, then the entry of its directory, then the row; only then does
``accept`` return. The other way round when it is done: the row goes first, then the body. Whatever a crash leaves in
between is a body no row names, and is swept when the next process starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import apsw

from gateway.database.fault import fault
from gateway.database.thread import Database, Effect, Work, settle
from gateway.events import Observer
from gateway.mail.body import Bodies
from gateway.mail.envelope import Mail, Role
from gateway.mail.identifier import RANDOM_BYTES, MailId, make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Unwrapper
from gateway.spool import rows as table
from gateway.spool.bodies import SpoolBodies, SpoolBody, body_of
from gateway.spool.epoch import EpochKeys, SealingKey
from gateway.spool.files import BodyFiles, free_space
from gateway.spool.keeper import Keeper
from gateway.spool.owners import Owners
from gateway.spool.store import Lease, Row, Settlement, State, Unreadable
from gateway.spool.sweep import settle_dead, sweep
from gateway.spool.taker import Taker

ROOM: Final = 4  # times its size: a mail, and copies in base64, 1.4 times as long, for two groups of recipients
SCHEMA: Final = files(__package__) / "schema"
_DISK_THREADS: Final = 4


def boot_clock() -> float:
    """Seconds since the machine started: not set back by anybody, and counting while it sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SqliteSpool:
    """Implements :class:`gateway.spool.store.Spool`.

    ``open`` is enough for listing, releasing and dropping; a process that accepts or leases calls ``start``. A lease is
    renewed for as long as its holder's event loop runs and it is neither settled nor let go; if the holder dies, its leases
    are taken back within seconds.
    """

    def __init__(
        self,
        state: Path,
        *,
        sealing: tuple[SealingKey, ...] = (),
        unwrapper: Unwrapper | None = None,
        now: Callable[[], int],
        free_megabytes: int = 0,
        boot: Callable[[], float] = boot_clock,
        free: Callable[[], int] | None = None,
        random: Callable[[int], bytes] = os.urandom,
        longest_pause: Callable[[], int] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """``state`` is the state directory. ``sealing`` and ``unwrapper`` may be missing where no body is written or read.

        ``longest_pause``: how far ahead at most a try is planned, in microseconds; None: not looked at here.
        ``observer`` sees what is put aside because its row cannot be read.

        Below ``free_megabytes`` no new mail is taken; flows may go on to a quarter of it, so that a full spool drains.
        """
        self._state = state
        self._now = now
        self._boot = boot
        self._random = random
        self._longest_pause = longest_pause
        self._observer = observer
        self._own = self._new()
        self._keys = EpochKeys(sealing, unwrapper, now)
        self._files = BodyFiles(state / "bodies", self._own, self._keys, now, free or partial(free_space, state))
        self._make = partial(SpoolBody, self._files)
        self._bodies = SpoolBodies(self._files, free_megabytes << 20)
        self._output_bodies = SpoolBodies(self._files, free_megabytes << 18)
        self._owners = Owners(state / "workers", self._own)
        self._database: Database
        self._disk: ThreadPoolExecutor
        self._keeper: Keeper
        self._taker: Taker

    async def open(self) -> None:
        """Open the database, making it and its directories if need be. Raises ``GatewayError`` (SPOOL_...)."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        try:
            for directory in (self._state, self._state / "bodies", self._state / "workers"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise fault(error) from error
        self._database = Database(self._state / "spool.sqlite", SCHEMA, self._now)
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "spool-disk")
        longest = self._longest_pause
        plans = (lambda: (self._now(), longest())) if longest is not None else None
        self._keeper = Keeper(self._database, self._disk, self._owners, self._files, self._boot, plans)
        self._taker = Taker(self._own, self._database, self._keys, self._keeper, self._make, self._now, self._boot, self._observer)

    async def start(self) -> None:
        """Open, show that this process lives, take back what the dead left, and keep doing so. Raises ``GatewayError``."""
        await self.open()
        await asyncio.to_thread(self._claim)
        self._keeper.start()

    def _claim(self) -> None:
        try:
            self._owners.claim()
            settle_dead(self._database, self._owners, self._files)
            sweep(self._database, self._owners, self._files)
        except OSError as error:
            raise fault(error) from error

    async def close(self) -> None:
        """Give back the leases still held, finish what is queued, and let go of everything."""
        self._keeper.stop()
        with contextlib.suppress(GatewayError):  # they run out by themselves
            await self._taker.give_back()
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._disk.shutdown()
        self._database.close()
        self._owners.leave()

    @property
    def bodies(self) -> Bodies:
        """Where arriving mail is written."""
        return self._bodies

    @property
    def output_bodies(self) -> Bodies:
        """Where flows write: they may still do so when no more mail is taken."""
        return self._output_bodies

    def check_room(self, size: int, role: Role) -> None:
        """Raises ``GatewayError`` (SPOOL_FULL, SPOOL_UNAVAILABLE) where a mail of ``size`` bytes and its copies find no room.

        Strangers find none first: what is held of their mail must not keep out our own people and our peers.
        """
        self._bodies.check_space(size * ROOM, floors=2 if role is Role.STRANGER else 1)

    async def accept(self, mail: Mail) -> None:
        """See the contract. If it fails, the caller still owns the body and discards it."""
        fate = table.Fate(State.WAITING, self._now())
        holder = self._taker.holder(mail.priority)

        def stored() -> None:
            if holder is None:
                self._taker.stir()
            else:
                self._taker.hand_over(mail, holder, fate.next_at)

        await self._store([mail], lambda database: table.insert(database, mail, fate, holder), stored)

    async def lease(self, limit: int, bulk: int | None = None) -> Sequence[Lease]:
        """See the contract."""
        return await self._taker.lease(limit, limit if bulk is None else bulk)

    async def wait(self, room: int = 0, bulk: int | None = None) -> None:
        """See the contract."""
        await self._taker.wait(room, room if bulk is None else bulk)

    async def replace(self, lease: Lease, settlement: Settlement) -> None:
        """See the contract. Where it fails the lease is still held: the caller tries again, or lets go of it."""
        now = self._now()
        stays = [settlement.of] if settlement.of is not None and settlement.remainders else []
        stored = self._taker.stir if settlement.outputs or settlement.remainders else None
        await self._store(
            [*settlement.outputs, *stays],
            lambda database: table.end(database, lease, self._own, settlement, self._new, now),
            stored,
        )
        self._keeper.let_go(lease)

    def discard(self, outputs: Sequence[Mail]) -> None:
        """See the contract."""
        for writer in filter(None, (body_of(output).writer for output in outputs)):
            writer.discard()

    async def break_(self, lease: Lease, detail: str) -> None:
        """See the contract."""
        now = self._now()
        await self._database.run(lambda database: table.set_broken(database, lease, self._own, detail, now), Effect.DURABLE)
        self._keeper.let_go(lease)

    def let_go(self, lease: Lease) -> None:
        """See the contract."""
        self._keeper.let_go(lease)

    async def rows(self, state: State | None = None) -> Sequence[Row | Unreadable]:
        """See the contract."""
        return await self._database.run(lambda database: table.select(database, state, self._make), Effect.READ)

    async def row(self, mail: MailId) -> Row | Unreadable | None:
        """See the contract."""
        return await self._database.run(lambda database: table.find(database, mail, self._make), Effect.READ)

    async def count(self) -> dict[State, int]:
        """How many rows there are in each state."""
        return await self._database.run(table.count, Effect.READ)

    async def release(self, mail: MailId) -> bool:
        """See the contract."""
        now = self._now()
        released = await self._database.run(lambda database: table.release(database, mail, now), Effect.DURABLE)
        self._taker.stir()
        return released

    async def drop(self, mail: MailId) -> bool:
        """See the contract."""
        gone = await self._database.run(lambda database: table.delete(database, mail), Effect.DURABLE)
        if gone is None:
            return False
        await asyncio.to_thread(self._delete, gone)
        return True

    async def _store(
        self,
        mails: Sequence[Mail],
        change: Callable[[apsw.Connection], list[str] | None],
        stored: Callable[[], None] | None,
    ) -> None:
        """Bring the bodies of ``mails`` to disk, then do ``change``, then delete the bodies it leaves without a row.

        ``stored`` is then called, even if the caller was cancelled meanwhile.

        It goes on if the caller is cancelled, unless the change has not begun; either way bodies and rows agree.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        writers = [body.writer for body in map(body_of, mails) if body.writer is not None]
        for writer in writers:
            writer.claim()
        large = [writer for writer in writers if writer.sealed is None]

        def finish(gone: Any, error: BaseException | None) -> None:  # noqa: ANN401 - what ``change`` returned
            for writer in writers:
                if error is not None:
                    writer.unclaim()
                    if future.cancelled():
                        writer.discard()
            self._delete(gone or [])
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it, and leases run out
                loop.call_soon_threadsafe(tell, error)

        def tell(error: BaseException | None) -> None:
            if error is None and stored is not None:
                stored()
            settle(future, None, error)

        def persist() -> None:
            try:
                directories = [directory for writer in large if (directory := writer.persist()) is not None]
                work = Work(change, finish, Effect.DURABLE, directories, lambda: not future.cancelled())
                self._database.submit(work)
            except Exception as error:  # whatever it is, the caller hears of it
                finish(None, error)

        if large:
            try:
                self._disk.submit(persist)
            except RuntimeError:  # its threads have ended
                finish(None, GatewayError(Reason.SPOOL_UNAVAILABLE, "the spool is closed"))
        else:
            persist()
        await future

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            with contextlib.suppress(OSError):  # swept later
                self._files.delete(name)

    def _new(self) -> MailId:
        return make_mail_id(self._now(), self._random(RANDOM_BYTES))
