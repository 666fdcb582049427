"""A link to a next hop under TLS, with either library: what a blocking server of the standard library hears and says."""

from __future__ import annotations

import _ssl
import asyncio
import ctypes
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.config.model import TlsIdentity
from gateway.edge.smtplink import ClientContext, Link
from gateway.edge.tls import ServerTls
from gateway.edge.tlsclient import ClientTls, peer_context
from gateway.edge.tlsown import kept_busy
from gateway.edge.tlsstapled import StapledContext
from gateway.edge.tlstransport import TlsTransport
from gateway.outcome import Reason
from gateway.smtp.hopreply import HopError
from tests.hops import server_context
from tests.pki import Ca

CA = Ca.root()
SERVER = CA.gateway("gateway.laboratory.example")
US = CA.gateway("gateway.hospital.example")
PIECE = bytes(64 * 1024)

Talk = Callable[[ssl.SSLSocket], object]


@pytest.fixture(params=[peer_context, StapledContext])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> ClientContext:
    (tmp_path / "anchors.pem").write_bytes(CA.pem)
    certificate, key = US.write(tmp_path, "us")
    made: ClientContext = request.param(tmp_path / "anchors.pem", TlsIdentity(certificate=certificate, key=key))
    return made


@asynccontextmanager
async def linked(talk: Callable[[socket.socket], object]) -> AsyncIterator[tuple[Link, asyncio.Task[object]]]:
    """A link in clear, and what a thread at its other end comes to by ``talk``."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _, link = await asyncio.get_running_loop().create_connection(Link, *listening.getsockname())
        accepted, _ = listening.accept()
    accepted.settimeout(30)
    told: asyncio.Task[object] = asyncio.create_task(asyncio.to_thread(talk, accepted))
    try:
        async with asyncio.timeout(30):
            yield link, told
    finally:
        link.abort()
        await asyncio.wait([link.lost], timeout=5)
        await asyncio.wait([told])
        accepted.close()


def securely(theirs: ssl.SSLContext, talk: Talk) -> Callable[[socket.socket], object]:
    """``talk`` after the handshake. An end that nobody announced is an error."""

    def begin(accepted: socket.socket) -> object:
        with theirs.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as secured:
            return talk(secured)

    return begin


async def test_a_hop_that_does_not_read_is_waited_for(context: ClientContext, tmp_path: Path) -> None:
    """What it has not read does not gather here without end, and all of it arrives."""
    go_on = threading.Event()

    def read_late(secured: ssl.SSLSocket) -> int:
        go_on.wait(30)
        count = 0
        while (piece := secured.recv(len(PIECE))) and piece[-1:] != b".":
            count += len(piece)
        return count

    async with linked(securely(server_context(SERVER, tmp_path, CA), read_late)) as (link, told):
        await link.start_tls(context, "gateway.laboratory.example", 30)
        sent = 0
        while sent < 64 * 1024 * 1024:
            link.write(PIECE)
            sent += len(PIECE)
            draining = asyncio.create_task(link.drain())
            await asyncio.wait([draining], timeout=0.5)
            if not draining.done():
                break
        assert sent < 32 * 1024 * 1024
        go_on.set()
        await draining
        link.write(b".")
        assert await told == sent


def openssl() -> ctypes.CDLL:
    """The library below the ``ssl`` module, which itself cannot ask the other side for new keys."""
    library = ctypes.CDLL(_ssl.__file__)
    for name in ("TLS_server_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def narrow(connection: socket.socket) -> None:
    """Lets the system hold hardly anything for the other side. What waits for it waits."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)


async def test_a_hop_that_does_not_read_what_tls_answers_is_not_read(context: ClientContext, tmp_path: Path) -> None:
    """Each KeyUpdate may ask for one back (RFC 8446 4.6.3). No more of those answers gather here than of what we say ourselves."""
    certificate, key = (str(path).encode() for path in SERVER.write(tmp_path, "hop"))
    asked, most, go_on = 0, 20_000, threading.Event()

    def ask_for_keys(accepted: socket.socket) -> None:
        nonlocal asked
        library = openssl()
        theirs = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_server_method())))
        library.SSL_CTX_use_certificate_chain_file(theirs, certificate)
        library.SSL_CTX_use_PrivateKey_file(theirs, key, 1)  # PEM
        server = ctypes.c_void_p(library.SSL_new(theirs))
        library.SSL_set_fd(server, accepted.fileno())
        accepted.setblocking(True)
        narrow(accepted)
        assert library.SSL_accept(server) == 1
        with ThreadPoolExecutor(1) as beside:
            beside.submit(read_late, accepted)
            while asked < most and library.SSL_key_update(server, 1) == library.SSL_do_handshake(server) == 1:
                asked += 1
            library.SSL_write(server, b"250 ok", 6)

    def read_late(accepted: socket.socket) -> None:
        go_on.wait(30)
        with suppress(ConnectionError):
            while accepted.recv(len(PIECE)):
                pass

    async with linked(ask_for_keys) as (link, told):
        narrow(link._transport.get_extra_info("socket"))
        await link.start_tls(context, "gateway.laboratory.example", 30)
        before = -1
        while asked != before:
            before = asked
            await asyncio.sleep(1)
        assert asked < most
        go_on.set()
        assert await link.read(link.after(30)) == b"250 ok"
        assert asked == most
        link.abort()
        await told


class Busy(ClientTls):
    """Hears nothing in what comes, and takes its time for it."""

    def __init__(self, heard: Callable[[int], object]) -> None:
        super().__init__(ssl.create_default_context(), "gateway.laboratory.example")
        self.established = True
        self._heard = heard

    def receive(self, data: bytes) -> bytes:
        self._heard(len(data))
        time.sleep(0.002)  # meanwhile more comes than is read at once
        return b""


async def test_what_keeps_tls_busy_leaves_their_turns_to_others() -> None:
    """Which uvloop does not: it reads a socket that is always full some thirty times before it does anything else."""
    turn, turns, go_on = 0, list[int](), threading.Event()

    def flood(accepted: socket.socket) -> None:
        go_on.wait(30)
        accepted.sendall(bytes(32 * 1024 * 1024))
        accepted.shutdown(socket.SHUT_WR)

    def take(came: int) -> None:
        if kept_busy(came, 0):
            turns.append(turn)

    async with linked(flood) as (link, told):
        layer = TlsTransport(link._transport, Busy(take), link)
        await layer.handshake(30)
        go_on.set()
        while not link.ended:
            turn += 1
            await asyncio.sleep(0)
        await told
    assert turns
    assert len(set(turns)) == len(turns)


async def test_a_hop_that_takes_leave_is_answered(context: ClientContext, tmp_path: Path) -> None:
    """close_notify, in both directions (RFC 8446 6.1)."""
    theirs = server_context(SERVER, tmp_path, CA)

    def leave(accepted: socket.socket) -> bool:
        server = ServerTls(theirs)
        while not server.established:
            server.receive(accepted.recv(len(PIECE)))
            accepted.sendall(server.output())
        server.send(b"221 bye\r\n")
        server.close()
        accepted.sendall(server.output())
        while not server.ended and (data := accepted.recv(len(PIECE))):
            server.receive(data)
        return server.ended

    async with linked(leave) as (link, told):
        await link.start_tls(context, "gateway.laboratory.example", 30)
        until = link.after(30)
        assert await link.read(until) + await link.read(until) == b"221 bye\r\n"
        assert await told is True
        await link.lost
        assert link.ended


async def test_what_is_not_tls_breaks_the_connection(context: ClientContext, tmp_path: Path) -> None:
    def garble(secured: ssl.SSLSocket) -> bool:
        with socket.socket(fileno=secured.detach()) as plain, suppress(ConnectionError):
            plain.settimeout(30)
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            while plain.recv(len(PIECE)):
                pass
        return True

    async with linked(securely(server_context(SERVER, tmp_path, CA), garble)) as (link, told):
        await link.start_tls(context, "gateway.laboratory.example", 30)
        with pytest.raises(HopError) as failed:
            await link.read(link.after(30))
        assert failed.value.reason is Reason.TLS_FAILED
        await link.lost
        assert await told is True


async def test_a_hop_that_breaks_off_has_ended(context: ClientContext, tmp_path: Path) -> None:
    def break_off(secured: ssl.SSLSocket) -> None:
        socket.socket(fileno=secured.detach()).close()

    async with linked(securely(server_context(SERVER, tmp_path, CA), break_off)) as (link, _):
        await link.start_tls(context, "gateway.laboratory.example", 30)
        with suppress(HopError):
            assert await link.read(link.after(30)) == b""
        await link.lost
        assert link.ended


def reset(accepted: socket.socket) -> None:
    accepted.recv(1)
    accepted.close()  # on octets it has not read, which resets the connection


def end(accepted: socket.socket) -> None:
    accepted.shutdown(socket.SHUT_WR)
    while accepted.recv(len(PIECE)):
        pass


def say_nothing(accepted: socket.socket) -> None:
    while accepted.recv(len(PIECE)):
        pass


@pytest.mark.parametrize("talk", [reset, end, say_nothing])
async def test_a_handshake_that_comes_to_nothing(context: ClientContext, talk: Callable[[socket.socket], None]) -> None:
    """The connection is lost with it, and nobody waits for that in vain."""
    async with linked(talk) as (link, _):
        with pytest.raises(HopError) as failed:
            await link.start_tls(context, "gateway.laboratory.example", 0.5 if talk is say_nothing else 30)
        assert failed.value.reason is Reason.TLS_FAILED
        assert failed.value.detail.removeprefix("TLS handshake: ")
        link.abort()
        async with asyncio.timeout(5):
            await link.lost


async def test_a_handshake_that_is_given_up(context: ClientContext) -> None:
    async with linked(say_nothing) as (link, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await link.start_tls(context, "gateway.laboratory.example", 30)
        link.abort()
        async with asyncio.timeout(5):
            await link.lost


async def test_why_a_hop_refuses_our_certificate(context: ClientContext, tmp_path: Path) -> None:
    """In TLS 1.3 it says so after our side of the handshake is done."""
    theirs = server_context(SERVER, tmp_path, Ca.root("CN=Other"))
    async with linked(securely(theirs, lambda _: None)) as (link, told):
        await link.start_tls(context, "gateway.laboratory.example", 30)
        with pytest.raises(HopError, match=r"(?i)unknown.ca") as failed:
            await link.read(link.after(30))
        assert failed.value.reason is Reason.TLS_FAILED
        await asyncio.wait([told])
        assert isinstance(told.exception(), ssl.SSLError)


async def test_a_hop_hears_why_we_refuse_its_certificate(context: ClientContext, tmp_path: Path) -> None:
    """By the alert (RFC 8446 6.2), which the event loops' own TLS would swallow."""
    theirs = server_context(Ca.root("CN=Other").gateway("gateway.laboratory.example"), tmp_path, CA)
    async with linked(securely(theirs, lambda secured: secured.recv(1))) as (link, told):
        with pytest.raises(HopError, match="certificate") as failed:
            await link.start_tls(context, "gateway.laboratory.example", 30)
        assert failed.value.reason is Reason.TLS_FAILED
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
            await told
        await link.lost
