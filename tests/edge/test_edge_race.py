"""Addresses of one host, raced (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

import pytest

from gateway.edge.race import interleaved, race, source_for

SIX, FOUR = "2001:db8::1", "192.0.2.1"
NEVER = 3600.0


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        ((SIX,), (SIX,)),
        ((SIX, "2001:db8::2", FOUR, "192.0.2.2"), (SIX, FOUR, "2001:db8::2", "192.0.2.2")),
        ((FOUR, "192.0.2.2", SIX), (FOUR, SIX, "192.0.2.2")),
        (("fe80::1%eth0", FOUR), ("fe80::1%eth0", FOUR)),
        ((), ()),
    ],
)
def test_families_take_turns(found: tuple[str, ...], tried: tuple[str, ...]) -> None:
    assert interleaved(found) == tried


def test_a_source_is_of_the_family_of_the_address() -> None:
    assert source_for(SIX, ("192.0.2.9", "2001:db8::9")) == "2001:db8::9"
    assert source_for(FOUR, ("2001:db8::9",)) is None


class Course:
    """Connects by a table: an address answers at once, never, fails, or answers once it is cancelled."""

    def __init__(self, **ways: str) -> None:
        self.ways = ways
        self.begun: list[str] = []
        self.undone: list[str] = []

    async def connect(self, address: str) -> str:
        self.begun.append(address)
        match self.ways[address]:
            case "fails":
                raise ConnectionRefusedError(address)
            case "never":
                await asyncio.Event().wait()
            case "late":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return address
        return address

    def race(self, apart: float) -> Awaitable[tuple[str, str]]:
        return race(self.connect, list(self.ways), self.undone.append, apart)


async def test_the_first_alone_is_tried_where_it_answers() -> None:
    course = Course(a="answers", b="answers")
    assert await course.race(NEVER) == ("a", "a")
    assert course.begun == ["a"]


async def test_a_failure_starts_the_next_at_once() -> None:
    course = Course(a="fails", b="answers")
    assert await course.race(NEVER) == ("b", "b")


async def test_a_silent_address_is_overtaken() -> None:
    course = Course(a="never", b="answers")
    assert await course.race(0.001) == ("b", "b")


async def test_what_answers_too_late_is_undone() -> None:
    course = Course(a="late", b="answers")
    assert await course.race(0.001) == ("b", "b")
    assert course.undone == ["a"]


async def test_where_all_fail_the_last_failure_is_told() -> None:
    with pytest.raises(ConnectionRefusedError, match="b"):
        await Course(a="fails", b="fails").race(NEVER)


async def test_nothing_runs_on_after_a_race_is_given_up() -> None:
    course = Course(a="never", b="late")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await course.race(0.001)
    assert course.undone == ["b"]
    assert len(asyncio.all_tasks()) == 1


@contextmanager
def black_hole() -> Iterator[int]:
    """A port of 127.0.0.2 that answers no connection: its backlog is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", port))
            waiting.append(one)
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


async def test_a_real_address_that_is_silent_costs_a_moment() -> None:
    loop = asyncio.get_running_loop()
    with black_hole() as port:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)

        async def connect(address: str) -> asyncio.Transport:
            transport, _ = await loop.create_connection(asyncio.Protocol, address, port)
            return transport

        async with server, asyncio.timeout(5):
            address, transport = await race(connect, ("127.0.0.2", "127.0.0.1"), asyncio.Transport.abort)
            transport.abort()
    assert address == "127.0.0.1"
