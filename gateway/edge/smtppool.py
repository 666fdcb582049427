"""Connections to next hops, kept open between mails: a TLS handshake costs more than many mails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway.edge.smtpclient import Connection, Target

IDLE_SECONDS: Final = 30.0  # servers hang up after one to five minutes; we go first
OLDEST_SECONDS: Final = 300.0  # so that a revoked certificate does not live on in an open connection
PER_TARGET: Final = 10


@dataclass(slots=True)
class _Idle:
    connection: Connection
    opened: float
    timer: asyncio.TimerHandle


@dataclass(slots=True)
class _Lane:
    """All connections to one target."""

    free: asyncio.Semaphore
    idle: list[_Idle] = field(default_factory=list)
    users: int = 0


class Loan:
    """A connection on loan. ``kept``: it served before, and the hop may meanwhile have hung up."""

    def __init__(self, connection: Connection, opened: float, *, kept: bool) -> None:
        self.connection = connection
        self.opened = opened
        self.kept = kept


class Pool:
    """At most ``PER_TARGET`` connections to one target. Its owner closes it."""

    def __init__(self, open_connection: Callable[[Target], Awaitable[Connection]], *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._open = open_connection
        self._idle_seconds = idle_seconds
        self._lanes: dict[Target, _Lane] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def lend(self, target: Target, *, fresh: bool = False) -> AsyncIterator[Loan]:
        """A connection to ``target``, kept or new; always new where ``fresh``. Kept afterwards if it can serve again.

        Raises as :meth:`Connection.open`.
        """
        lane = self._lanes.setdefault(target, _Lane(asyncio.Semaphore(PER_TARGET)))
        lane.users += 1
        try:
            async with lane.free:
                loan = await self._take(lane, target, fresh=fresh)
                try:
                    yield loan
                except BaseException:
                    await loan.connection.abort()
                    raise
                await self._give(lane, loan)
        finally:
            lane.users -= 1
            self._forget(target, lane)

    async def _take(self, lane: _Lane, target: Target, *, fresh: bool) -> Loan:
        while lane.idle and not fresh:
            idle = lane.idle.pop()
            idle.timer.cancel()
            if idle.connection.reusable:
                return Loan(idle.connection, idle.opened, kept=True)
            await idle.connection.abort()
        return Loan(await self._open(target), asyncio.get_running_loop().time(), kept=False)

    async def _give(self, lane: _Lane, loan: Loan) -> None:
        loop, connection = asyncio.get_running_loop(), loan.connection
        if not connection.reusable:
            await connection.abort()
        elif self._closed or loop.time() - loan.opened > OLDEST_SECONDS:
            await connection.quit()
        else:
            timer = loop.call_later(self._idle_seconds, self._expire, connection)
            lane.idle.append(_Idle(connection, loan.opened, timer))

    def _expire(self, connection: Connection) -> None:
        lane = self._lanes[connection.target]
        lane.idle = [idle for idle in lane.idle if idle.connection is not connection]
        self._forget(connection.target, lane)
        leaving = asyncio.get_running_loop().create_task(connection.quit())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _forget(self, target: Target, lane: _Lane) -> None:
        if not lane.idle and not lane.users:
            self._lanes.pop(target, None)

    async def close(self) -> None:
        """Say QUIT on every idle connection; those on loan are closed when they come back."""
        self._closed = True
        idle = [idle for lane in self._lanes.values() for idle in lane.idle]
        for entry in idle:
            entry.timer.cancel()
        self._lanes = {target: lane for target, lane in self._lanes.items() if lane.users}
        for lane in self._lanes.values():
            lane.idle = []
        await asyncio.gather(*(entry.connection.quit() for entry in idle), *self._leaving)
