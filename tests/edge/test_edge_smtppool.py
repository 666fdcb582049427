"""Connections kept: when they are given again, and when they go."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config.model import TlsMode
from gateway.edge.smtpclient import Connection, Deadlines, Target
from gateway.edge.smtppool import PER_TARGET, Pool
from gateway.mail.address import parse_address
from tests.hops import aiosmtpd_hop, lines, scripted_hop

ADDRESS = parse_address("results@laboratory.example")


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
                assert (await loan.connection.probe(ADDRESS)).done
                open_now -= 1

        await asyncio.gather(*(use() for _ in range(3 * PER_TARGET)))
        assert most == hop.connections == PER_TARGET
        await pool.close()
