"""Connections to next hops, kept open between mails: a TLS handshake costs more than many mails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from gateway.edge.smtpclient import Connection, Target

IDLE_SECONDS: Final = 30.0  # servers hang up after one to five minutes; we go first
OLDEST_SECONDS: Final = 300.0  # so that a revoked certificate does not live on in an open connection
PER_TARGET: Final = 10


@dataclass(slots=True)
class _Idle:
    connection: Connection
    opened: float
    since: float


@dataclass(slots=True)
class _Lane:
    """All connections to one target."""

    free: asyncio.Semaphore
    idle: list[_Idle] = field(default_factory=list)
    users: int = 0


@dataclass(frozen=True, slots=True)
class Loan:
    """A connection on loan. ``kept``: it served before, and the hop may meanwhile have hung up."""

    connection: Connection
    opened: float
    kept: bool


class _Lending:
    """From the loan of a connection to its return; by hand, because a generator costs each mail more than what it does here."""

    def __init__(self, pool: Pool, target: Target, *, fresh: bool) -> None:
        self._pool = pool
        self._target = target
        self._fresh = fresh

    async def __aenter__(self) -> Loan:
        self._loan = await self._pool.take(self._target, fresh=self._fresh)
        return self._loan

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._pool.give(self._target, self._loan, failed=kind is not None)


class Pool:
    """At most ``PER_TARGET`` connections to one target. Its owner closes it."""

    def __init__(self, open_connection: Callable[[Target], Awaitable[Connection]], *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._open = open_connection
        self._idle_seconds = idle_seconds
        self._lanes: dict[Target, _Lane] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    def lend(self, target: Target, *, fresh: bool = False) -> AbstractAsyncContextManager[Loan]:
        """A connection to ``target``, kept or new; always new where ``fresh``. Kept afterwards if it can serve again.

        Entering raises as :meth:`Connection.open`.
        """
        return _Lending(self, target, fresh=fresh)

    async def take(self, target: Target, *, fresh: bool) -> Loan:
        """The first half of ``lend``."""
        lane = self._lanes.get(target) or self._lanes.setdefault(target, _Lane(asyncio.Semaphore(PER_TARGET)))
        lane.users += 1
        try:
            await lane.free.acquire()
        except BaseException:
            self._leave(target, lane)
            raise
        try:
            while lane.idle and not fresh:
                idle = lane.idle.pop()
                if idle.connection.reusable:
                    return Loan(idle.connection, idle.opened, kept=True)
                await idle.connection.abort()
            return Loan(await self._open(target), asyncio.get_running_loop().time(), kept=False)
        except BaseException:
            lane.free.release()
            self._leave(target, lane)
            raise

    async def give(self, target: Target, loan: Loan, *, failed: bool) -> None:
        """The second half of ``lend``. What ``failed`` is not lent again."""
        lane, connection, now = self._lanes[target], loan.connection, asyncio.get_running_loop().time()
        try:
            if failed or not connection.reusable:
                await connection.abort()
            elif self._closed or now - loan.opened > OLDEST_SECONDS:
                await connection.quit()
            else:
                lane.idle.append(_Idle(connection, loan.opened, now))
                if self._sweeping is None:
                    self._sweep_at(now + self._idle_seconds)
        finally:
            lane.free.release()
            self._leave(target, lane)

    def _leave(self, target: Target, lane: _Lane) -> None:
        lane.users -= 1
        self._forget(target, lane)

    def _forget(self, target: Target, lane: _Lane) -> None:
        if not lane.idle and not lane.users:
            self._lanes.pop(target, None)

    def _sweep_at(self, at: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_at(at, self._sweep)

    def _sweep(self) -> None:
        """Part with those that were idle for too long. One timer for all of them: most are taken again at once."""
        loop = asyncio.get_running_loop()
        self._sweeping, oldest = None, loop.time() - self._idle_seconds
        for target, lane in list(self._lanes.items()):
            for idle in lane.idle:
                if idle.since <= oldest:
                    leaving = loop.create_task(idle.connection.quit())
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)
            lane.idle = [idle for idle in lane.idle if idle.since > oldest]
            self._forget(target, lane)
        if left := [idle.since for lane in self._lanes.values() for idle in lane.idle]:
            self._sweep_at(min(left) + self._idle_seconds)

    async def close(self) -> None:
        """Say QUIT on every idle connection; those on loan are closed when they come back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        idle = [idle for lane in self._lanes.values() for idle in lane.idle]
        self._lanes = {target: lane for target, lane in self._lanes.items() if lane.users}
        for lane in self._lanes.values():
            lane.idle = []
        await asyncio.gather(*(entry.connection.quit() for entry in idle), *self._leaving)
