"""A proxy of TCP, and one of UDP, on loopback before a real server, that do to clients what networks and servers do on bad days.

Plain asyncio, blind to the protocol that goes through. What a fault needs is given to it: where the server is, what it would say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any, Final, Protocol, Self, TypeVar

T = TypeVar("T")
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PIECE: Final = 65536
LOOPBACK: Final = "127.0.0.1"


class Door(Enum):
    """How it answers a SYN."""

    OPEN = "open"
    SHUT = "shut"  # refused
    BLACK_HOLE = "black hole"  # no answer at all


def through(port: int, host: str = LOOPBACK) -> Behaviour:
    """No fault: to the server at ``port`` of ``host`` and back."""
    return _answered(port, _pass, host)


def truncated(port: int, size: int, host: str = LOOPBACK) -> Behaviour:
    """The first ``size`` bytes of the answer, then the end."""

    async def cut(answer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left and (data := await answer.read(left)):
            writer.write(data)
            await writer.drain()
            left -= len(data)

    return _answered(port, cut, host)


def dripping(port: int, seconds: float = 1.0, host: str = LOOPBACK) -> Behaviour:
    """The answer, a byte each ``seconds``."""

    async def drip(answer: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while byte := await answer.read(1):
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(seconds)

    return _answered(port, drip, host)


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Listens, and never says anything. With TLS it is silent behind the handshake, without, in place of one."""
    while await reader.read(PIECE):
        pass


def saying(head: bytes, zeros: int = 0) -> Behaviour:
    """``head``, once something was asked, and then so many zeros, as fast as they are taken."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(PIECE)
        writer.write(head)
        for _ in range(zeros // PIECE):
            writer.write(bytes(PIECE))
            await writer.drain()
        await writer.drain()

    return say


def redirecting(target: str) -> Behaviour:
    """An HTTP answer that leads elsewhere."""
    return saying(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())


class FaultProxy:
    """``behave`` and ``door`` may be changed while it runs; ``tls`` ends TLS before what it does. ``met`` counts connections."""

    def __init__(self, behave: Behaviour = silent, door: Door = Door.OPEN, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.door = door
        self.met = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._held: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.WriteTransport] = []
        self.port = 0

    async def start(self) -> None:
        """On a free port, or the one it had."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        if self.door is Door.OPEN:
            self._server = await asyncio.start_server(self._meet, sock=listener, ssl=self._tls)
            return
        self._held.append(listener)  # bound, so that nobody else gets the port, and so far refusing
        if self.door is Door.BLACK_HOLE:
            # Nobody accepts: once the queue is full the kernel drops every SYN.
            listener.listen(0)
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", self.port))
                self._held.append(client)

    async def stop(self) -> None:
        """Ends every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._transports:  # one that still had something to say would never close, for nobody listens
            self._transports.pop().abort()
        await asyncio.sleep(0)  # they close in the next turn of the loop
        while self._held:
            self._held.pop().close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._transports.append(writer.transport)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.behave(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if self._tls is not None else writer.close()


Datagram = Callable[[bytes], Awaitable[bytes | None]]
"""What is answered to a datagram; None is silence."""


def datagrams_through(port: int, host: str) -> Datagram:
    """No fault: to the server at ``port`` of ``host`` and back."""

    async def behave(question: bytes) -> bytes | None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.setblocking(False)
            server.connect((host, port))
            await loop.sock_sendall(server, question)
            return await loop.sock_recv(server, PIECE)

    return behave


async def lost(_: bytes) -> None:
    """Nothing comes back."""


class UdpFaultProxy(asyncio.DatagramProtocol):
    """The same for datagrams. ``met`` counts them."""

    def __init__(self, behave: Datagram = lost) -> None:
        self.behave = behave
        self.met = 0
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """On ``port`` if it is set, else on a free one."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", self.port))
        self.port = self._transport.get_extra_info("sockname")[1]

    async def stop(self) -> None:
        """Answers no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One question."""
        self.met += 1
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self.behave(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _answered(port: int, answer: Behaviour, host: str) -> Behaviour:
    """Questions go to the server at ``port`` of ``host`` as they are; of what comes back ``answer`` makes something."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        asking = asyncio.create_task(_pass(reader, ours))
        try:
            await answer(theirs, writer)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            ours.close()

    return behave


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()


class Proxy(Protocol):
    """What can be started and stopped."""

    async def start(self) -> None:
        """Listen."""

    async def stop(self) -> None:
        """End everything."""


P = TypeVar("P", bound=Proxy)


class Threaded:
    """A loop in a thread of its own, for tests that wait for other processes without one. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults", daemon=True)
        self._proxies: list[Proxy] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def started(self, proxy: P) -> P:
        """``proxy``, which runs from now on until the end."""
        self.run(proxy.start())
        self._proxies.append(proxy)
        return proxy

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for proxy in self._proxies:
            self.run(proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
