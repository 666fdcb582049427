"""The key agents: processes of their own, the only ones that see a PIN, a passphrase or a private key.

Two kinds with two sockets. The sign agent hashes and signs SignedAttributes it has read (``tosign``); the unwrap agent
answers wrapped keys and never signs. Who connects is told by the kernel, not by himself (SO_PEERCRED). One request is done
after the other, where it is read: while the token works nothing else is read, and what waits does so in the sockets
(docs/decisions/0011). An agent whose token hangs does not answer, and is left alone by its clients.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, cast

import structlog
import uvloop

from gateway.config.model import Config, KeyPurpose
from gateway.edge.clock import now
from gateway.edge.heartbeat import keep_beating
from gateway.edge.keymeter import Meter
from gateway.edge.keyring import SIGNING, UNWRAPPING, KeyRing
from gateway.edge.keywire import (
    Frame,
    FrameReader,
    Kind,
    SignRequest,
    StatusRequest,
    UnwrapRequest,
    WireError,
    read_request,
    write_failure,
    write_frame,
)
from gateway.edge.ownmemory import keep_to_ourselves
from gateway.events import KeyFailed, KeyUsed, Observer
from gateway.outcome import GatewayError, Reason

CONNECTIONS: Final = 64
QUIET_SECONDS: Final = 0.1  # after SIGTERM an agent goes on until nothing was asked for so long
DRAIN_SECONDS: Final = 10.0
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)

_log = structlog.get_logger()


def run_sign_agent(config: Config, path: Path, observer: Observer, ready: Callable[[], None]) -> int:
    """The main of a sign agent on the socket ``path``, until SIGTERM. Answers the exit status.

    ``ready`` is called once requests are taken. Raises :class:`GatewayError` if none of its keys can be used.
    """
    return _run(config, SIGNING, path, observer, ready)


def run_unwrap_agent(config: Config, path: Path, observer: Observer, ready: Callable[[], None]) -> int:
    """The main of an unwrap agent; as :func:`run_sign_agent`."""
    return _run(config, UNWRAPPING, path, observer, ready)


def _run(config: Config, purposes: frozenset[KeyPurpose], path: Path, observer: Observer, ready: Callable[[], None]) -> int:
    keep_to_ourselves()
    ring = KeyRing(config, purposes, now)
    try:
        faults = ring.faults()
        for name, fault in (faults | ring.unmatched(faults.keys())).items():
            _log.error("key_unusable", key=name, detail=fault.detail)
            observer.see(KeyFailed(key=name, operation="open", detail=fault.detail))
        for_mail = [name for name in ring.names if config.key[name].purpose is not KeyPurpose.AUDIT]
        if faults and all(name in faults for name in for_mail):
            raise next(iter(faults.values()))
        user = os.geteuid() if config.agents is None else config.agents.served
        uvloop.run(_serve(Agent(ring, observer, users={user}), path, ready))
    finally:
        ring.close()
    return 0


async def _serve(agent: Agent, path: Path, ready: Callable[[], None]) -> None:
    keep_beating()
    await agent.serve(path, ready)


class Agent:
    """Serves one key ring. ``users`` are the user ids that may connect."""

    def __init__(self, ring: KeyRing, observer: Observer, *, users: Collection[int], meter: Meter | None = None) -> None:
        self._ring = ring
        self._observer = observer
        self._users = frozenset(users)
        self._meter = meter or Meter()
        self._done_last = 0.0
        self._told = ""
        self.sessions: set[_Session] = set()

    async def serve(self, path: Path, ready: Callable[[], None]) -> None:
        """Answer on the socket ``path`` until SIGTERM, then finish what waits."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        path.unlink(missing_ok=True)
        mask = os.umask(0o117)
        try:
            server = await loop.create_unix_server(lambda: _Session(self), path)
        finally:
            os.umask(mask)
        ready()
        await stopping.wait()
        server.close()
        path.unlink(missing_ok=True)
        self._done_last = loop.time()
        end = self._done_last + DRAIN_SECONDS
        while (left := min(end, self._done_last + QUIET_SECONDS) - loop.time()) > 0:  # noqa: ASYNC110 - for nothing
            await asyncio.sleep(left)
        for session in tuple(self.sessions):
            session.close()

    def admits(self, connection: socket.socket) -> bool:
        """Whether the process at the other end runs as a user we serve."""
        _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if user in self._users and len(self.sessions) < CONNECTIONS:
            return True
        _log.warning("key_client_refused", user=user, connections=len(self.sessions))
        return False

    def answer(self, frame: Frame) -> bytes:
        """What is asked for is done, and the answer is a frame. Raises :class:`WireError`."""
        request = read_request(frame)
        if isinstance(request, StatusRequest):
            told = {"used": dict(self._meter.total), "fault": self._told}
            return write_frame(frame.number, Kind.DONE, (json.dumps(told).encode(),))
        refusal = self._refusal(request)
        if refusal is not None:
            return write_failure(frame.number, GatewayError(Reason.KEY_UNAVAILABLE, refusal))
        try:
            result = self._ring.perform(request)
        except GatewayError as error:
            return write_failure(frame.number, self._failed(request, error))
        except Exception as error:  # one request must not end the agent, which serves all
            unexpected = GatewayError(Reason.KEY_UNAVAILABLE, f"unexpected {type(error).__name__}")
            return write_failure(frame.number, self._failed(request, unexpected))
        finally:
            self._done_last = asyncio.get_running_loop().time()
        self._told = ""
        # The audit first: no use of a key is answered that it does not know of.
        self._observer.see(KeyUsed(key=request.key, operation=_operation(request)))
        return write_frame(frame.number, Kind.DONE, (result,))

    def _failed(self, request: SignRequest | UnwrapRequest, error: GatewayError) -> GatewayError:
        if error.detail != self._told:
            self._told = error.detail
            _log.error("key_failed", key=request.key, operation=_operation(request), detail=error.detail)
        self._observer.see(KeyFailed(key=request.key, operation=_operation(request), detail=error.detail))
        return error

    def _refusal(self, request: SignRequest | UnwrapRequest) -> str | None:
        if request.key not in self._ring.names:
            return f"this agent has no key {request.key!r}"
        if isinstance(request, SignRequest) != self._ring.signs:
            return "this agent does not sign" if isinstance(request, SignRequest) else "this agent does not unwrap"
        return self._meter.exceeded(request.key, now())


def _operation(request: SignRequest | UnwrapRequest) -> str:
    return "sign" if isinstance(request, SignRequest) else "unwrap"


class _Session(asyncio.Protocol):
    """One connection of a worker."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's transports are not asyncio's by class
        if not self._agent.admits(transport.get_extra_info("socket")):
            transport.abort()
            return
        self._transport = transport
        self._agent.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._agent.sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                if self._transport is None:  # aborted, or gone
                    return
                self._transport.write(self._agent.answer(frame))
        except WireError as error:
            _log.warning("key_client_spoke_wrongly", what=str(error))
            self.abort()

    def pause_writing(self) -> None:
        """A worker that does not read its answers is not read either."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
