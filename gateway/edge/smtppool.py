"""Connections to next hops, kept open between mails: a TLS handshake costs more than many mails.

A hop gets as many at once as it bears (:class:`gateway.smtp.window.Window`). One that cannot be reached is left alone for a
while, and then tried by one; of one that has fallen silent with all its connections busy, a mail waits for its turn in vain. Who
comes meanwhile hears so at once, and no hand waits that another hop's mail could use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Final

from gateway.edge.smtpclient import Connection, Target
from gateway.outcome import GatewayError, Reason
from gateway.smtp.hopreply import HopError
from gateway.smtp.window import Window

IDLE_SECONDS: Final = 30.0  # servers hang up after one to five minutes; we go first
OLDEST_SECONDS: Final = 300.0  # so that a revoked certificate does not live on in an open connection
TURN_SECONDS: Final = 20.0  # a mail that gets no connection by then goes back to the queue, so that others are taken up
REST_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Idle:
    connection: Connection
    opened: float
    since: float


@dataclass(slots=True)
class _Lane:
    """All connections to one target. ``busy``: those on loan or being opened; ``freed``: how many have ceased to be. ``jam``: none
    did while somebody waited for a whole turn, nor since.
    """

    window: Window = field(default_factory=Window)
    shrunk: float = 0.0
    busy: int = 0
    freed: int = 0
    idle: list[_Idle] = field(default_factory=list)
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    trouble: GatewayError | None = None
    jam: HopError | None = None
    rests_until: float = 0.0
    used: float = 0.0

    def leave(self) -> None:
        """One less is busy: the next of those who wait may go."""
        self.busy -= 1
        self.freed += 1
        self.jam = None
        self.admit()

    def admit(self) -> None:
        """As many of those who wait as the window allows."""
        while self.waiting and self.busy < self.window.allowed:
            waiter = self.waiting.popleft()
            if not waiter.done():
                self.busy += 1
                waiter.set_result(None)

    def close(self, trouble: GatewayError, until: float) -> None:
        """The target cannot be reached; nobody waits for it."""
        self.trouble, self.jam, self.rests_until = trouble, None, until
        self.window = Window()
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_exception(again(trouble))


def again(trouble: GatewayError) -> HopError:
    """``trouble``, for one more mail."""
    return HopError(trouble.reason, f"{trouble.detail} (found by another mail a moment ago)")


@dataclass(frozen=True, slots=True)
class Loan:
    """A connection on loan since ``lent``. ``kept``: it served before, and the hop may meanwhile have hung up."""

    connection: Connection
    opened: float
    lent: float
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
    """As many connections to one target as it bears. Its owner closes it."""

    def __init__(
        self,
        open_connection: Callable[[Target], Awaitable[Connection]],
        *,
        idle_seconds: float = IDLE_SECONDS,
        turn_seconds: float = TURN_SECONDS,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._open = open_connection
        self._idle_seconds = idle_seconds
        self._turn_seconds = turn_seconds
        self._rest_seconds = rest_seconds
        self._lanes: dict[Target, _Lane] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    def lend(self, target: Target, *, fresh: bool = False) -> AbstractAsyncContextManager[Loan]:
        """A connection to ``target``, kept or new; always new where ``fresh``. Kept afterwards if it can serve again.

        Entering raises as :meth:`Connection.open`, and HOP_BUSY where none came free in time.
        """
        return _Lending(self, target, fresh=fresh)

    async def take(self, target: Target, *, fresh: bool) -> Loan:
        """The first half of ``lend``."""
        lane = self._lanes.get(target) or self._lanes.setdefault(target, _Lane())
        while True:
            await self._turn(target, lane, fresh=fresh)
            try:
                loan = await self._loan(target, lane, fresh=fresh)
            except GatewayError as error:
                if lane.busy == 1 and not lane.idle:
                    lane.busy = 0
                    lane.close(error, monotonic() + self._rest_seconds)
                    raise
                lane.window = lane.window.shrunk(lane.busy - 1 + len(lane.idle))  # it bears those; one of them is or comes free
                if fresh:
                    lane.leave()
                    raise
                lane.busy -= 1
            except BaseException:
                lane.leave()
                raise
            else:
                lane.trouble = None
                return loan

    async def _turn(self, target: Target, lane: _Lane, *, fresh: bool) -> None:
        """Returns when one more may be busy, and is counted as such. Who asks for a ``fresh`` one wants to know for himself."""
        if lane.trouble is not None and not fresh and (lane.busy or monotonic() < lane.rests_until):
            raise again(lane.trouble)
        if lane.busy < lane.window.allowed:
            lane.busy += 1
            return
        if lane.jam is not None:
            raise again(lane.jam)
        waiter, freed = asyncio.get_running_loop().create_future(), lane.freed
        lane.waiting.append(waiter)
        try:
            async with asyncio.timeout(self._turn_seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                lane.leave()
            if isinstance(error, TimeoutError):
                busy = HopError(Reason.HOP_BUSY, f"{target}: no connection came free in {self._turn_seconds:g} s")
                lane.jam = busy if lane.freed == freed else None
                raise busy from None
            raise

    async def _loan(self, target: Target, lane: _Lane, *, fresh: bool) -> Loan:
        while lane.idle and not fresh:
            idle = lane.idle.pop()
            if idle.connection.reusable:
                return Loan(idle.connection, idle.opened, monotonic(), kept=True)
            await idle.connection.abort()
        connection = await self._open(target)
        return Loan(connection, now := monotonic(), now, kept=False)

    async def give(self, target: Target, loan: Loan, *, failed: bool) -> None:
        """The second half of ``lend``. What ``failed`` is not lent again."""
        lane, connection, now = self._lanes[target], loan.connection, monotonic()
        try:
            self._learn(lane, loan, now)
            if failed or not connection.reusable:
                await connection.abort()
            elif self._closed or now - loan.opened > OLDEST_SECONDS:
                await connection.quit()
            else:
                lane.idle.append(_Idle(connection, loan.opened, now))
        finally:
            lane.used = now
            lane.leave()
            self._keep_swept()

    def _learn(self, lane: _Lane, loan: Loan, now: float) -> None:
        """What the hop bears, from how the last mail on ``loan`` ended."""
        sent = loan.connection.last
        if sent is None or (sent.stale and loan.kept):
            return  # a hop that hangs up an idle connection says nothing of what it bears
        if not sent.strained:
            if lane.busy >= lane.window.allowed:
                lane.window = lane.window.grown()
        elif loan.lent >= lane.shrunk:  # of several in trouble at once, the first one counts
            lane.window, lane.shrunk = lane.window.shrunk(), now

    def _keep_swept(self) -> None:
        if self._sweeping is None and not self._closed:
            self._sweep_in(self._idle_seconds)

    def _sweep_in(self, seconds: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        """Part with those that were idle for too long. One timer for all of them: most are taken again at once."""
        now = monotonic()
        self._sweeping, oldest = None, now - self._idle_seconds
        for target, lane in list(self._lanes.items()):
            for idle in lane.idle:
                if idle.since <= oldest:
                    leaving = asyncio.create_task(idle.connection.quit())
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)
            lane.idle = [idle for idle in lane.idle if idle.since > oldest]
            if not (lane.idle or lane.busy or lane.waiting) and lane.used <= oldest:
                del self._lanes[target]
        if self._lanes:
            times = [idle.since for lane in self._lanes.values() for idle in lane.idle]
            self._sweep_in(min(times, default=now) - oldest)

    async def close(self) -> None:
        """Say QUIT on every idle connection; those on loan are closed when they come back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        idle = [idle for lane in self._lanes.values() for idle in lane.idle]
        for lane in self._lanes.values():
            lane.idle = []
        await asyncio.gather(*(entry.connection.quit() for entry in idle), *self._leaving)
