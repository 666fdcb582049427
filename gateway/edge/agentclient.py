"""How a worker asks the key agents: one kept connection to each, many requests under way on it, the least busy agent first.

An agent may end at any moment and come back. What it had not answered is asked once more, of whichever agent is there, since
signing and unwrapping twice harm nobody; then it is KEY_UNAVAILABLE, and the mail waits in the spool.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from gateway.edge.keywire import (
    Frame,
    FrameReader,
    Request,
    SignRequest,
    StatusRequest,
    TooLongError,
    UnwrapRequest,
    WireError,
    read_answer,
    write_request,
)
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Mechanism, WrappedKey

DEADLINE_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0  # an agent that restarts is there again sooner
IN_FLIGHT: Final = 32  # requests under way at each agent; more wait here, not in its queue
_PAUSE: Final = 0.05
_HUNG_SECONDS: Final = 5.0  # how long an agent that let a deadline pass is left alone


class _Lost(Exception):
    """The connection ended before the answer came."""


class _Link(asyncio.Protocol):
    """One connection to an agent."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._transport: asyncio.WriteTransport | None = None
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._count = 0
        self.answered_at = 0.0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()  # uvloop raises RuntimeError on writing then

    @property
    def in_flight(self) -> int:
        return len(self._asked)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's transports are not asyncio's by class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_Lost())
        self._asked.clear()

    def data_received(self, data: bytes) -> None:
        self.answered_at = asyncio.get_running_loop().time()
        try:
            for frame in self._frames.feed(data):
                future = self._asked.pop(frame.number, None)
                if future is not None and not future.done():
                    future.set_result(frame)
        except WireError:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: Request) -> bytes:
        """The answer. Raises :class:`GatewayError` as the agent gave it, :class:`TooLongError`, or :class:`_Lost`."""
        if self._transport is None or not self.open:
            raise _Lost
        self._count = (self._count + 1) % 2**32
        number = self._count
        frame = write_request(number, request)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            self._transport.write(frame)
            return read_answer(await future)
        except WireError as error:
            self.close()
            raise _Lost from error
        finally:
            self._asked.pop(number, None)


class _Agent:
    """One agent's socket, and the connection to it while there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.link = _Link()
        self.asked = 0
        self.rests_until = 0.0
        self.fault = ""
        self._connecting = asyncio.Lock()

    async def connected(self) -> _Link | None:
        """The connection, made if need be; None if the agent is not there."""
        async with self._connecting:
            if not self.link.open:
                try:
                    _, self.link = await asyncio.get_running_loop().create_unix_connection(_Link, str(self.path))
                except OSError as error:
                    self.fault = error.strerror or type(error).__name__
                    return None
            return self.link


class _Agents:
    """All agents of one kind, seen as one."""

    def __init__(self, paths: Sequence[Path], deadline: float = DEADLINE_SECONDS) -> None:
        """``paths`` are the agents' sockets; ``deadline`` is how long one answer may take, in seconds."""
        if not paths:
            raise ValueError("no agents")
        self._agents = [_Agent(path) for path in paths]
        self._deadline = deadline
        self._slots = asyncio.Semaphore(IN_FLIGHT * len(paths))

    async def close(self) -> None:
        """End the connections; what is under way fails."""
        for agent in self._agents:
            agent.link.close()

    async def status(self) -> tuple[bytes | None, ...]:
        """What each agent says of itself, JSON; None for one that does not answer."""
        return tuple([await self._status(agent) for agent in self._agents])

    async def _status(self, agent: _Agent) -> bytes | None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                link = await agent.connected()
                return await link.ask(StatusRequest()) if link is not None else None
        except (TimeoutError, _Lost):
            return None

    async def _call(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                try:
                    return await self._ask(request)
                except _Lost:
                    return await self._ask(request)
        except _Lost:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "the key agents ended before they answered") from None
        except TimeoutError:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"no key agent answered within {self._deadline:.0f} s") from None

    async def _ask(self, request: Request) -> bytes:
        agent = await self._least_busy()
        agent.asked += 1
        link, asked_at = agent.link, asyncio.get_running_loop().time()
        try:
            return await link.ask(request)
        except asyncio.CancelledError:
            # A deadline passed and the agent answered nobody meanwhile: it hangs, and must not look idle to the next.
            if link.answered_at < asked_at and asyncio.get_running_loop().time() - asked_at > self._deadline / 2:
                agent.rests_until = asyncio.get_running_loop().time() + _HUNG_SECONDS
                link.close()
            raise

    async def _least_busy(self) -> _Agent:
        """An agent that is connected, waiting a little for one to come back."""
        end = asyncio.get_running_loop().time() + CONNECT_SECONDS
        while True:
            now = asyncio.get_running_loop().time()
            for agent in sorted(self._agents, key=lambda each: (each.rests_until > now, each.link.in_flight, each.asked)):
                if await agent.connected() is not None:
                    return agent
            if now > end:
                where = ", ".join(f"{agent.path} ({agent.fault})" for agent in self._agents)
                raise GatewayError(Reason.KEY_UNAVAILABLE, f"no key agent listens on {where}")
            await asyncio.sleep(_PAUSE)


class AgentSigner(_Agents):
    """A :class:`gateway.smime.keys.Signer` over the sign agents."""

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        """See the port. Also raises OWN_WORK_WRONG for what the agents do not sign."""
        try:
            return await self._call(SignRequest(key, to_be_signed, mechanism))
        except TooLongError:
            raise GatewayError(Reason.OWN_WORK_WRONG, "the attributes to sign are too long") from None


class AgentUnwrapper(_Agents):
    """A :class:`gateway.smime.keys.Unwrapper` over the unwrap agents."""

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        """See the port."""
        try:
            return await self._call(UnwrapRequest(key, wrapped))
        except TooLongError:
            return secrets.token_bytes(wrapped.length)  # no key of ours made this: the answer to every wrong padding
