"""Connections kept: when they are given again, and when they go."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.config.model import TlsMode
from gateway.edge.smtpclient import Connection, Deadlines, Target
from gateway.edge.smtppool import Pool
from gateway.mail.address import parse_address
from gateway.mail.envelope import Envelope, Recipient
from gateway.outcome import GatewayError, Reason
from gateway.smtp.hopreply import HopError
from gateway.smtp.window import PER_TARGET, START
from tests.doubles import MemoryBody
from tests.hops import aiosmtpd_hop, lines, scripted_hop

ADDRESS = parse_address("results@laboratory.example")
ENVELOPE = Envelope(None, (Recipient(ADDRESS),))
MAIL = b"Subject: a\r\n\r\nb\r\n"


def target(port: int) -> Target:
    return Target("127.0.0.1", (), port, TlsMode.NONE)


async def connect(where: Target) -> Connection:
    return await Connection.open(where, "gateway.hospital.example", Deadlines(reply=5), None)


async def test_an_idle_connection_goes_with_a_quit() -> None:
    said = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await lines(b"220 mx\r\n", b"250 mx\r\n")(reader, writer)
        if await reader.readline() == b"QUIT\r\n":
            said.set()

    async with scripted_hop(script) as port:
        pool = Pool(connect, idle_seconds=0.01)
        async with pool.lend(target(port)):
            pass
        await said.wait()
        await pool.close()


async def test_close_takes_leave_of_the_idle_and_of_those_that_come_back() -> None:
    async with aiosmtpd_hop() as hop:
        pool = Pool(connect)
        async with pool.lend(target(hop.port)):
            pass
        async with pool.lend(target(hop.port), fresh=True) as loan:
            await pool.close()
            assert (await loan.connection.probe(ADDRESS)).done
        assert not loan.connection.reusable
        assert hop.connections == 2


async def test_what_failed_is_not_given_again() -> None:
    async with aiosmtpd_hop() as hop:
        pool = Pool(connect)
        with pytest.raises(RuntimeError):
            async with pool.lend(target(hop.port)) as first:
                raise RuntimeError
        async with pool.lend(target(hop.port)) as second:
            assert not second.kept
        assert not first.connection.reusable
        await pool.close()


async def test_one_who_waits_gets_the_connection_that_comes_back() -> None:
    async with aiosmtpd_hop() as hop:
        pool, open_now, most = Pool(connect), 0, 0

        async def use() -> None:
            nonlocal open_now, most
            async with pool.lend(target(hop.port)) as loan:
                open_now += 1
                most = max(most, open_now)
                assert not (await loan.connection.send(ENVELOPE, MemoryBody(MAIL))).strained
                open_now -= 1

        for _ in range(20):  # what comes back soon enough leaves no reason for one more connection
            await asyncio.gather(*(use() for _ in range(3 * PER_TARGET)))
            if most == PER_TARGET:
                break
        assert most == hop.connections == PER_TARGET
        await pool.close()


async def test_a_hop_that_is_not_known_gets_few_at_once_and_who_waits_too_long_goes_back() -> None:
    async with aiosmtpd_hop() as hop, contextlib.AsyncExitStack() as held:
        pool = Pool(connect, turn_seconds=0.05)
        for _ in range(START):
            await held.enter_async_context(pool.lend(target(hop.port)))
        with pytest.raises(GatewayError, match="no connection came free") as caught:
            async with pool.lend(target(hop.port)):
                pytest.fail("one more than START")
        assert caught.value.reason is Reason.HOP_BUSY
        await held.aclose()
        async with pool.lend(target(hop.port)) as loan:
            assert loan.kept, "who gave up waiting holds nothing"
        await pool.close()


async def test_behind_one_who_waited_in_vain_nobody_waits_until_a_connection_comes_free() -> None:
    """However many mails there are for a hop that has fallen silent, they keep the hands of others for one turn alone."""
    async with aiosmtpd_hop() as hop, contextlib.AsyncExitStack() as held:
        pool = Pool(connect, turn_seconds=0.05)
        first = await held.enter_async_context(pool.lend(target(hop.port)))
        for _ in range(START - 1):
            await held.enter_async_context(pool.lend(target(hop.port)))
        with pytest.raises(GatewayError, match="no connection came free"):
            await pool.take(target(hop.port), fresh=False)
        pool._turn_seconds = 3600.0
        for _ in range(3):
            with pytest.raises(GatewayError, match="found by another mail") as caught:
                async with asyncio.timeout(10):
                    await pool.take(target(hop.port), fresh=False)
            assert caught.value.reason is Reason.HOP_BUSY
        await held.aclose()
        loans = [await pool.take(target(hop.port), fresh=False) for _ in range(START)]
        assert first.connection in [loan.connection for loan in loans]
        waiting = asyncio.create_task(pool.take(target(hop.port), fresh=False))
        await asyncio.sleep(0)
        assert not waiting.done(), "who comes now may wait again"
        await pool.give(target(hop.port), loans.pop(), failed=False)
        for loan in [*loans, await waiting]:
            await pool.give(target(hop.port), loan, failed=False)
        await pool.close()


async def test_where_connections_come_free_one_who_waited_too_long_jams_nothing() -> None:
    """A hop that is slow and takes mail is waited for: its mails would else be put off together, and its connections lie idle."""
    async with aiosmtpd_hop() as hop:
        pool = Pool(connect, turn_seconds=3600.0)
        loans = [await pool.take(target(hop.port), fresh=False) for _ in range(START)]
        first = asyncio.create_task(pool.take(target(hop.port), fresh=False))
        await asyncio.sleep(0)
        pool._turn_seconds = 0.5
        second = asyncio.create_task(pool.take(target(hop.port), fresh=False))
        await asyncio.sleep(0)
        pool._turn_seconds = 3600.0
        await pool.give(target(hop.port), loans.pop(), failed=False)
        loans.append(await first)
        with pytest.raises(GatewayError, match="no connection came free"):
            await second
        third = asyncio.create_task(pool.take(target(hop.port), fresh=False))
        await asyncio.sleep(0)
        assert not third.done()
        await pool.give(target(hop.port), loans.pop(), failed=False)
        for loan in [*loans, await third]:
            await pool.give(target(hop.port), loan, failed=False)
        await pool.close()


class Limited:
    """A hop that bears so many connections and says 421 to the next (RFC 5321 3.8)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = self.refused = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open >= self.most:
            self.refused += 1
            writer.write(b"421 4.7.0 Too many connections\r\n")
            return
        self.open += 1
        try:
            writer.write(b"220 mx\r\n")
            while line := await reader.readline():
                writer.write(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 mx\r\n" if len(line) > 1 else b"")
                if line == b"DATA\r\n":
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 taken\r\n")
        finally:
            self.open -= 1


async def test_a_hop_that_bears_three_is_given_three_and_no_mail_hears_of_the_fourth() -> None:
    hop = Limited(3)
    async with scripted_hop(hop) as port:
        pool = Pool(connect)

        async def send() -> bool:
            async with pool.lend(target(port)) as loan:
                sent = await loan.connection.send(ENVELOPE, MemoryBody(MAIL))
                return all(reply and reply.done for reply in sent.replies)

        assert await asyncio.gather(*(send() for _ in range(60))) == [True] * 60
        assert 1 <= hop.refused < 20, "it was asked for more now and then, and not for each mail"
        await pool.close()


@pytest.mark.parametrize(("rest", "then"), [(60.0, Reason.HOP_UNREACHABLE), (0.0, None)], ids=["left alone", "tried again"])
async def test_few_ask_a_hop_that_is_away_and_tell_the_others(rest: float, then: Reason | None) -> None:
    asked, away = 0, True

    async def open_it(where: Target) -> Connection:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if away:
            raise HopError(Reason.HOP_UNREACHABLE, f"{where}: Connection refused")
        return await connect(where)

    async with aiosmtpd_hop() as hop:
        pool = Pool(open_it, rest_seconds=rest)

        async def use() -> Reason | None:
            try:
                async with pool.lend(target(hop.port)):
                    return None
            except GatewayError as error:
                return error.reason

        assert await asyncio.gather(*(use() for _ in range(20))) == [Reason.HOP_UNREACHABLE] * 20
        assert asked == START
        away = False
        assert await use() is then
        assert asked == START + (then is None)
        await pool.close()


async def test_who_asks_for_a_new_connection_hears_that_there_is_none_though_old_ones_are_left() -> None:
    async with aiosmtpd_hop() as hop:
        asked = 0

        async def open_it(where: Target) -> Connection:
            nonlocal asked
            asked += 1
            if asked == 1:
                return await connect(where)
            raise HopError(Reason.HOP_UNREACHABLE, f"{where}: Connection refused")

        pool = Pool(open_it)
        async with pool.lend(target(hop.port)) as loan:
            assert not loan.kept
        with pytest.raises(GatewayError, match="refused"):
            async with asyncio.timeout(5), pool.lend(target(hop.port), fresh=True):
                pytest.fail("there is none")
        assert asked == 2
        async with pool.lend(target(hop.port)) as loan:
            assert loan.kept, "and the old one serves on"
        await pool.close()


async def test_a_mail_that_is_put_off_halves_what_the_hop_is_given() -> None:
    says = [b"451 4.3.2 Later\r\n"]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            writer.write(says[0] if line.startswith(b"MAIL") else b"250 mx\r\n")

    async with scripted_hop(script) as port:
        pool = Pool(connect, turn_seconds=0.05)
        async with pool.lend(target(port)) as loan:
            assert (await loan.connection.send(ENVELOPE, MemoryBody(MAIL))).strained
        async with pool.lend(target(port)):
            with pytest.raises(GatewayError, match="no connection came free"):
                async with pool.lend(target(port)):
                    pytest.fail("START is halved")
        await pool.close()
