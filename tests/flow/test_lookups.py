"""Answers of directories: used again, asked once, asked ahead for those who were written to lately, and bounded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gateway.flow import lookups
from gateway.flow.lookups import LATELY_SECONDS, MAX_AHEAD, MAX_REMEMBERED, NOTHING_FOUND_SECONDS, Lookups
from gateway.mail.address import Address, parse_address
from gateway.trust.sources import DirectoryError, Found
from tests.doubles import Events

LIFE = 300
SECOND = 1_000_000


@dataclass
class Shelf:
    """Holds one certificate of everybody."""

    name: str = "shelf"
    remember_seconds: float = LIFE
    found: Found = field(default_factory=lambda: Found((b"certificate",)))
    asked: list[str] = field(default_factory=list)
    down: DirectoryError | None = None
    doors: asyncio.Event = field(default_factory=asyncio.Event)
    thrice: asyncio.Event = field(default_factory=asyncio.Event)

    async def find(self, address: Address, /) -> Found:
        self.asked.append(str(address))
        if len(self.asked) == 3:
            self.thrice.set()
        await self.doors.wait()
        if self.down is not None:
            raise self.down
        return self.found


class World:
    """One clock, one directory. ``draw`` puts every look ahead at 0.8 of an answer's life."""

    def __init__(self) -> None:
        self.now = 0
        self.shelf = Shelf()
        self.shelf.doors.set()
        self.lookups = Lookups(Events(), lambda: self.now, lambda: 0.5)

    async def find(self, number: int = 0) -> Found:
        return await self.lookups.find("hospital", self.shelf, parse_address(f"a{number}@laboratory.example"))

    async def at(self, seconds: float) -> None:
        """What the timer does then, and all that follows from it."""
        self.now = int(seconds * SECOND)
        self.lookups.refresh()
        while flights := list(self.lookups._flights.values()):
            await asyncio.gather(*flights, return_exceptions=True)
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_who_was_written_to_lately_never_waits(world: World) -> None:
    """His answer is renewed at 0.8 of its life for as long as he was wanted in the last half hour, and then no more."""
    await world.find()
    times = 0
    for look in range(1, 40):
        await world.at(look * 0.8 * LIFE)
        assert len(world.shelf.asked) in (1 + look, 1 + times)
        times = max(times, len(world.shelf.asked) - 1)
    assert times == LATELY_SECONDS // (0.8 * LIFE)
    world.now = int(40 * 0.8 * LIFE * SECOND)
    before = len(world.shelf.asked)
    await world.find()
    assert len(world.shelf.asked) == before + 1


async def test_each_use_counts_anew(world: World) -> None:
    await world.find()
    for look in range(1, 100):
        await world.at(look * 0.8 * LIFE)
        await world.find()
    assert len(world.shelf.asked) == 100


async def test_while_the_directory_is_dead_the_last_answer_serves_to_its_end(world: World) -> None:
    """And is tried again when half of what is left has passed."""
    await world.find()
    world.shelf.down = DirectoryError("closed")
    tries = []
    for second in range(int(LIFE * 0.8), LIFE):
        before = len(world.shelf.asked)
        await world.at(second)
        if len(world.shelf.asked) > before:
            tries.append(second)
        assert await world.find() == world.shelf.found
    assert tries == [240, 270, 285, 293, 297, 299]
    world.now = LIFE * SECOND
    with pytest.raises(DirectoryError):
        await world.find()
    world.shelf.down = None
    assert await world.find() == world.shelf.found


async def test_nobody_waits_for_what_is_asked_ahead(world: World) -> None:
    await world.find()
    world.shelf.doors.clear()
    world.now = int(0.8 * LIFE * SECOND)
    world.lookups.refresh()
    await asyncio.sleep(0)
    assert len(world.shelf.asked) == 2
    assert await world.find() == world.shelf.found
    world.now = LIFE * SECOND
    waiting = asyncio.create_task(world.find())  # now it is: the one question that is under way
    await asyncio.sleep(0)
    assert (len(world.shelf.asked), waiting.done()) == (2, False)
    world.shelf.doors.set()
    assert await waiting == world.shelf.found


async def test_a_few_are_asked_ahead_at_once(world: World) -> None:
    for number in range(10):
        await world.find(number)
    world.shelf.doors.clear()
    world.now = int(0.8 * LIFE * SECOND)
    world.lookups.refresh()
    await asyncio.sleep(0)
    assert len(world.shelf.asked) == 10 + MAX_AHEAD
    world.shelf.doors.set()
    await world.at(0.8 * LIFE)
    await world.at(0.8 * LIFE)
    await world.at(0.8 * LIFE)
    assert sorted(world.shelf.asked[10:]) == [f"a{number}@laboratory.example" for number in range(10)]


async def test_the_timer_is_set_for_what_is_due_first(world: World) -> None:
    """By the loop's clock: nothing has to ask for it."""
    loop = asyncio.get_running_loop()
    world.shelf.remember_seconds = 0.05
    world.lookups = Lookups(Events(), lambda: int(loop.time() * SECOND))
    await world.find()
    async with asyncio.timeout(10):
        await world.shelf.thrice.wait()
    world.lookups.close()
    assert world.lookups._timer is None


async def test_what_lands_after_the_end_plans_nothing(world: World) -> None:
    """A mail in hand gets its answer, and nobody asks for another."""
    world.shelf.doors.clear()
    waiting = asyncio.create_task(world.find())
    await asyncio.sleep(0)
    world.lookups.close()
    world.shelf.doors.set()
    assert await waiting == world.shelf.found
    assert world.lookups._timer is None
    await world.at(0.8 * LIFE)
    assert len(world.shelf.asked) == 1


async def test_that_there_is_nothing_is_not_asked_ahead_and_forgotten_soon(world: World) -> None:
    world.shelf.found = Found()
    await world.find()
    await world.at(NOTHING_FOUND_SECONDS - 1)
    await world.find()
    assert len(world.shelf.asked) == 1
    world.now = int(NOTHING_FOUND_SECONDS * SECOND)
    await world.find()
    assert len(world.shelf.asked) == 2


async def test_the_newest_are_remembered(world: World) -> None:
    for number in range(MAX_REMEMBERED + 1):
        await world.find(number)
    assert len(world.lookups._known) == MAX_REMEMBERED
    await world.find(1)
    assert len(world.shelf.asked) == MAX_REMEMBERED + 1
    await world.find(0)
    assert len(world.shelf.asked) == MAX_REMEMBERED + 2
    world.lookups.close()


async def test_what_is_to_be_asked_ahead_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many people are written to once; and each answer that is remembered is still asked for ahead."""
    monkeypatch.setattr(lookups, "MAX_REMEMBERED", 50)
    for number in range(1000):
        await world.find(number)
        assert len(world.lookups._due) <= 2 * 50
    for _ in range(50 // MAX_AHEAD + 1):
        await world.at(0.8 * LIFE)
    assert sorted(world.shelf.asked[1000:]) == sorted(f"a{number}@laboratory.example" for number in range(950, 1000))
    world.lookups.close()
