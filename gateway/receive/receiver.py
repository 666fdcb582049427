"""Accepts connections on every listener, within limits, and holds each one until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Final

import structlog

from gateway.config.model import Config, TlsMode
from gateway.edge.password import Passwords
from gateway.edge.tls import ServerContext, server_contexts
from gateway.events import PeerRejected
from gateway.outcome import Reason
from gateway.policy import within
from gateway.receive.connection import Connection, Gone
from gateway.receive.introduction import NotIntroducedError, introduced
from gateway.receive.session import Session
from gateway.receive.transaction import World
from gateway.smtp.reply import Reply

BACKLOG: Final = 1024
PAUSE_SECONDS: Final = 0.1  # after the system refused us a socket, for want of descriptors or memory

_BUSY: Final = Reply(421, "4.7.0", ("Too many connections",))

_log = structlog.get_logger()


def bind(address: str, port: int) -> socket.socket:
    """A listening socket that several workers may have at the same port. Port 0 takes a free one. Raises ``OSError``."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class Receiver:
    """``sockets`` are the listening sockets by the names of their listeners (see ``bind``); they are closed at the end.

    Raises :class:`gateway.outcome.GatewayError` (TLS_FAILED) where a listener's certificate, key or anchors cannot be used.
    """

    def __init__(self, world: World, sockets: Mapping[str, socket.socket]) -> None:
        self._world = world
        self._sockets = sockets
        self._contexts: dict[str, ServerContext] = server_contexts(world.config())
        self._passwords = Passwords()
        self._draining = asyncio.Event()
        self._connections: set[Connection] = set()
        self._open = 0
        self._by_address: Counter[str] = Counter()

    def reload(self) -> None:
        """The configuration has changed: new handshakes use its certificates and anchors, open connections go on.

        Raises as the constructor; what was in use then stays in use.
        """
        contexts = server_contexts(self._world.config())
        self._contexts.clear()
        self._contexts.update(contexts)

    async def run(self, stopping: asyncio.Event, drain_seconds: float) -> None:
        """Accepts until ``stopping`` is set, then lets the mails on their way come in, for ``drain_seconds`` at most."""
        async with asyncio.TaskGroup() as tasks:
            accepting = [tasks.create_task(self._accept(tasks, name, listening)) for name, listening in self._sockets.items()]
            await stopping.wait()
            for task in accepting:
                task.cancel()
            await asyncio.wait(accepting)
            for listening in self._sockets.values():
                listening.close()
            await self._drain(drain_seconds)

    async def _drain(self, seconds: float) -> None:
        self._draining.set()
        for connection in self._connections:
            connection.wake()
        talks = [connection.task for connection in self._connections if connection.task is not None]
        if talks:
            await asyncio.wait(talks, timeout=seconds)
        for connection in self._connections:
            connection.abort()

    async def _accept(self, tasks: asyncio.TaskGroup, name: str, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                _log.warning("cannot accept", listener=name, error=error.strerror)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            tasks.create_task(self._hold(name, accepted, _plain(address[0])))

    async def _hold(self, name: str, accepted: socket.socket, address: str) -> None:
        """One connection, from its limits to its end."""
        config = self._world.config()
        place = config.listener.get(name)
        # A balancer hands on the connections of many: whom each is counted for, its header says
        handed_on = place is not None and within(address, place.proxy)
        if self._open >= config.limits.connections or (not handed_on and self._full(address)):
            self._turn_away(name, accepted, address)
            return
        self._open += 1
        try:
            with contextlib.nullcontext() if handed_on else self._counted(address):
                await self._connect(config, name, accepted, address, handed_on=handed_on)
        except Exception as error:  # one connection must not end the others
            accepted.close()
            _log.error("connection failed", listener=name, error=type(error).__name__)
        finally:
            self._open -= 1

    def _full(self, address: str) -> bool:
        return self._by_address[address] >= self._world.config().limits.connections_per_address

    @contextlib.contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    async def _handed_on(self, session: Session, name: str, connection: Connection) -> None:
        """A connection that must begin with a PROXY header, and is its source's from there on."""
        try:
            named = await introduced(connection)
        except Gone:
            return
        except NotIntroducedError as error:
            self._world.observer.see(
                PeerRejected(listener=name, address=connection.address, reason=Reason.MALFORMED, detail=str(error))
            )
            return
        connection.address = _plain(named or connection.address)
        if self._full(connection.address):
            # Under implicit TLS the client waits for a handshake, as in _turn_away
            if self._world.config().listener[name].tls is not TlsMode.IMPLICIT:
                connection.say(_BUSY)
            self._rejected(name, connection.address)
            return
        with self._counted(connection.address):
            await session.talk(connection)

    async def _connect(self, config: Config, name: str, accepted: socket.socket, address: str, *, handed_on: bool) -> None:
        place = config.listener.get(name)
        if place is None:
            accepted.close()
            return
        session = Session(self._world, name, place, self._contexts, self._passwords, self._draining)
        talk = partial(self._handed_on, session, name) if handed_on else session.talk
        connection = Connection(talk, address, config.limits.command_seconds)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
            return
        self._connections.add(connection)
        try:
            if connection.task is not None:
                await connection.task
                await connection.closed()
        finally:
            connection.abort()
            self._connections.discard(connection)

    def _turn_away(self, name: str, accepted: socket.socket, address: str) -> None:
        """Under implicit TLS the peer sees a connection that closes: a handshake only to say so would be the cost we avoid."""
        place = self._world.config().listener.get(name)
        with contextlib.suppress(OSError), accepted:
            if place is not None and place.tls is not TlsMode.IMPLICIT:
                accepted.send(_BUSY.encode())
        self._rejected(name, address)

    def _rejected(self, name: str, address: str) -> None:
        self._world.observer.see(
            PeerRejected(listener=name, address=address, reason=Reason.TOO_MANY, detail="too many connections")
        )


def _plain(address: str) -> str:
    """``address`` without a scope, and as IPv4 where it is one in IPv6 clothes."""
    place = ip_address(address.partition("%")[0])
    mapped = place.ipv4_mapped if isinstance(place, IPv6Address) else None
    return str(mapped or place)
