"""The key agents: processes of their own, the only ones that see a PIN, a passphrase or a private key.

Two kinds with two sockets. The sign agent hashes and signs SignedAttributes it has read (``tosign``); the unwrap agent
answers wrapped keys and never signs. Who connects is told by the kernel, not by himself (SO_PEERCRED). One thread does the
blocking calls, one after the other, since a PKCS#11 session is for one thread; requests wait in a bounded queue before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import struct
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import structlog
import uvloop

from gateway.config.model import Config, KeyPurpose
from gateway.edge.clock import now
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

QUEUE: Final = 256  # requests waiting; one more is answered KEY_UNAVAILABLE at once
CONNECTIONS: Final = 64
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
        for name, fault in faults.items():
            _log.error("key_unusable", key=name, detail=fault.detail)
            observer.see(KeyFailed(key=name, operation="open", detail=fault.detail))
        for_mail = [name for name in ring.names if config.key[name].purpose is not KeyPurpose.AUDIT]
        if faults and all(name in faults for name in for_mail):
            raise next(iter(faults.values()))
        user = os.geteuid() if config.agents is None else config.agents.served
        uvloop.run(Agent(ring, observer, users={user}).serve(path, ready))
    finally:
        ring.close()
    return 0


@dataclass(frozen=True, slots=True)
class _Job:
    session: _Session
    number: int
    request: SignRequest | UnwrapRequest

    @property
    def operation(self) -> str:
        return "sign" if isinstance(self.request, SignRequest) else "unwrap"


class Agent:
    """Serves one key ring. ``users`` are the user ids that may connect."""

    def __init__(
        self, ring: KeyRing, observer: Observer, *, users: Collection[int], meter: Meter | None = None, limit: int = QUEUE
    ) -> None:
        self._ring = ring
        self._observer = observer
        self._users = frozenset(users)
        self._meter = meter or Meter()
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._told = ""
        self.sessions: set[_Session] = set()

    async def serve(self, path: Path, ready: Callable[[], None]) -> None:
        """Answer on the socket ``path`` until SIGTERM, then finish what waits."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        thread = threading.Thread(target=self._work, args=(loop,), name="keys", daemon=True)
        thread.start()
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
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS)
        for session in tuple(self.sessions):
            session.close()
        self._jobs.put(None)
        await asyncio.to_thread(thread.join, DRAIN_SECONDS)

    def admits(self, connection: socket.socket) -> bool:
        """Whether the process at the other end runs as a user we serve."""
        _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if user in self._users and len(self.sessions) < CONNECTIONS:
            return True
        _log.warning("key_client_refused", user=user, connections=len(self.sessions))
        return False

    def take(self, session: _Session, frame: Frame) -> None:
        """Queue a request, or answer at once what needs no key. Raises :class:`WireError`."""
        request = read_request(frame)
        if isinstance(request, StatusRequest):
            told = {"waiting": self._waiting, "used": dict(self._meter.total), "fault": self._told}
            session.write(write_frame(frame.number, Kind.DONE, (json.dumps(told).encode(),)))
            return
        refusal = self._refusal(request)
        if refusal is not None:
            session.write(write_failure(frame.number, GatewayError(Reason.KEY_UNAVAILABLE, refusal)))
            return
        self._waiting += 1
        self._idle.clear()
        self._jobs.put(_Job(session, frame.number, request))

    def _refusal(self, request: SignRequest | UnwrapRequest) -> str | None:
        if request.key not in self._ring.names:
            return f"this agent has no key {request.key!r}"
        if isinstance(request, SignRequest) != self._ring.signs:
            return "this agent does not sign" if isinstance(request, SignRequest) else "this agent does not unwrap"
        if self._waiting >= self._limit:
            return f"{self._waiting} requests are waiting for the key"
        return self._meter.exceeded(request.key, now())

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """The key thread."""
        while (job := self._jobs.get()) is not None:
            try:
                result: bytes | GatewayError = self._ring.perform(job.request)
            except GatewayError as error:
                result = error
            except Exception as error:  # one request must not end the thread that serves all
                result = GatewayError(Reason.KEY_UNAVAILABLE, f"unexpected {type(error).__name__}")
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for this any more
                loop.call_soon_threadsafe(self._done, job, result)

    def _done(self, job: _Job, result: bytes | GatewayError) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self._idle.set()
        # The audit first: no use of a key is answered that it does not know of.
        if isinstance(result, bytes):
            self._told = ""
            self._observer.see(KeyUsed(key=job.request.key, operation=job.operation))
            job.session.write(write_frame(job.number, Kind.DONE, (result,)))
            return
        if result.detail != self._told:
            self._told = result.detail
            _log.error("key_failed", key=job.request.key, operation=job.operation, detail=result.detail)
        self._observer.see(KeyFailed(key=job.request.key, operation=job.operation, detail=result.detail))
        job.session.write(write_failure(job.number, result))


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
                self._agent.take(self, frame)
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

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
