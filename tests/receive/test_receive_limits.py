"""Limits on connections and time, and how a receiver stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import uvloop

from gateway.edge.tlsown import kept_busy
from gateway.events import CommandRefused, PeerRejected
from gateway.outcome import Reason
from gateway.receive import connection
from gateway.receive.receiver import bind
from tests.receive.gatehouse import House, Pki, house


@pytest.mark.parametrize("limit", ["connections", "connections_per_address"])
async def test_one_connection_too_many(tmp_path: Path, pki: Pki, limit: str) -> None:
    async with house(tmp_path, pki, {limit: 1}) as gatehouse, gatehouse.client() as first:
        async with gatehouse.client(greeted=False) as second:
            assert await second.reply() == "421 4.7.0 Too many connections"
            assert await second.reply() == ""
        assert [event.reason for event in gatehouse.seen(PeerRejected)] == [Reason.TOO_MANY]
        assert (await first.ask("QUIT")).startswith("221 ")
        assert await first.reply() == ""
        await gone(gatehouse)
        async with gatehouse.client() as third:
            assert (await third.ask("NOOP")).startswith("250 ")


async def gone(gatehouse: House) -> None:
    while gatehouse.receiver._open:  # noqa: ASYNC110 - nothing outside the receiver can see it
        await asyncio.sleep(0)


@pytest.mark.parametrize("begin", [[], ["DATA"]])
async def test_silence_ends_a_session(tmp_path: Path, pki: Pki, begin: list[str]) -> None:
    async with house(tmp_path, pki, {"command_seconds": 0.05}) as gatehouse, gatehouse.client() as client:
        await client.mail()
        for line in begin:
            await client.ask(line)
        assert await client.reply() == "421 4.4.2 Too slow"
        assert await client.reply() == ""
        assert gatehouse.spool.bodies.kept == []


async def test_a_message_that_trickles_in_has_its_end_too(tmp_path: Path, pki: Pki) -> None:
    async with house(tmp_path, pki, {"message_seconds": 0.1}) as gatehouse, gatehouse.client() as client:
        await client.mail()
        await client.ask("DATA")

        async def trickle() -> None:
            while True:
                await client.send(b"a\r\n")
                await asyncio.sleep(0.005)

        trickling = asyncio.create_task(trickle())
        assert await client.reply() == "421 4.4.2 Too slow"
        trickling.cancel()
        assert gatehouse.spool.accepted == []


async def test_a_client_that_does_not_read_is_not_waited_for(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that nobody takes fill no memory: when the socket is full no more commands are read, and after a while it ends."""
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.05)
    async with house(tmp_path, pki, {"command_seconds": 0.1}) as gatehouse, gatehouse.client() as client:
        sending = asyncio.create_task(client.send(b"NOOP\r\n" * 2_000_000))
        await gone(gatehouse)
        assert [event.reply for event in gatehouse.seen(CommandRefused)] == ["421 4.4.2 Too slow"]
        sending.cancel()
        await asyncio.wait([sending])


class Answering:
    """TLS whose client has every octet answered by another, as one may by asking for new keys (KeyUpdate, RFC 8446 4.6.3)."""

    def __init__(self, _: object) -> None:
        self.established, self.ended = True, False
        self.answered = 0
        self._due = b""
        Answering.last = self

    last: ClassVar[Answering]

    def receive(self, data: bytes) -> bytes:
        self._due += data
        return b""

    def output(self) -> bytes:
        due, self._due = self._due, b""
        self.answered += len(due)
        return due

    def send(self, data: bytes) -> None:
        """Says nothing of its own."""

    def close(self) -> None:
        """Nor that it ends."""

    def describe(self) -> str:
        return "TLS"

    def peer_chain(self) -> tuple[bytes, ...]:
        return ()


async def test_a_client_that_does_not_read_what_tls_answers_is_not_read(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "server_tls", Answering)
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.05)
    async with house(tmp_path, pki, {"command_seconds": 1}) as gatehouse, gatehouse.client("zone", greeted=False) as client:
        while not gatehouse.receiver._open:  # noqa: ASYNC110 - as in gone
            await asyncio.sleep(0)
        sending = asyncio.create_task(client.send(bytes(64 * 1024 * 1024)))
        await gone(gatehouse)
        sending.cancel()
        await asyncio.wait([sending])
    assert Answering.last.answered < 32 * 1024 * 1024  # what the sockets hold, and no more


def test_what_keeps_tls_busy_leaves_their_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under uvloop, which reads a socket that is always full some thirty times before it does anything else."""
    turn, turns, begun, over = 0, list[int](), threading.Event(), threading.Event()

    class Busy(Answering):
        def receive(self, data: bytes) -> bytes:
            if kept_busy(len(data), 0):
                turns.append(turn)
            time.sleep(0.002)  # meanwhile more comes than is read at once
            return b""

    async def listen(one: connection.Connection) -> None:
        with suppress(connection.Gone):
            await one.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            begun.set()
            while True:
                await one.more()
        over.set()

    def flood(place: tuple[str, int]) -> None:
        with socket.create_connection(place) as client:
            begun.wait(30)
            client.sendall(bytes(32 * 1024 * 1024))

    async def run() -> None:
        nonlocal turn
        made = partial(connection.Connection, listen, "127.0.0.1", 60)
        async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as server:
            flooding = asyncio.create_task(asyncio.to_thread(flood, server.sockets[0].getsockname()))
            while not over.is_set():
                turn += 1
                await asyncio.sleep(0)
            await flooding

    monkeypatch.setattr(connection, "server_tls", Busy)
    uvloop.run(run())
    assert turns
    assert len(set(turns)) == len(turns)


async def test_a_client_that_goes_on_after_the_end_is_cut_off(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read for a moment, so that it can hear why it ends, and holds its place no longer than that."""
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.05)
    async with house(tmp_path, pki, {"errors": 1}) as gatehouse, gatehouse.client() as client:
        assert await client.ask("FOO") == "421 4.7.0 Too many errors"
        assert await client.reply() == ""
        await client.send(b"FOO\r\n" * 1000)
        await gone(gatehouse)
        assert len(gatehouse.seen(CommandRefused)) == 1


async def test_stopping_does_not_wait_for_a_mail_that_has_not_begun(gatehouse: House) -> None:
    """A kept connection may stand behind MAIL for minutes: the client whose recipients were all refused has nothing to send."""
    async with gatehouse.client() as kept:
        await kept.mail()
        gatehouse.stopping.set()
        assert await kept.reply() == "421 4.3.2 Restarting, try again"
        assert await kept.reply() == ""


async def test_stopping_lets_a_mail_on_its_way_come_in(gatehouse: House) -> None:
    async with gatehouse.client() as idle, gatehouse.client() as busy:
        await busy.mail()
        assert (await busy.ask("DATA")).startswith("354 ")
        gatehouse.stopping.set()
        assert await idle.reply() == "421 4.3.2 Restarting, try again"
        assert await idle.reply() == ""
        with pytest.raises(OSError, match=r".*"):
            await asyncio.open_connection("127.0.0.1", gatehouse.ports["inside"])
        await busy.send(b"Subject: last\r\n\r\n.\r\n")
        assert (await busy.reply()).startswith("250 ")
        assert await busy.reply() == "421 4.3.2 Restarting, try again"
    assert len(gatehouse.spool.accepted) == 1


async def test_workers_share_a_port() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.getsockname()[1]) as second:
        assert first.getsockname() == second.getsockname()
    with bind("::1", 0) as third:
        assert third.family is socket.AF_INET6
