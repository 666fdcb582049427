"""What is remembered of programs: the newest by its signing time, whatever is sent again, for a year and within bounds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.database.thread import Database, Effect
from gateway.mail.address import Address, parse_address
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import AES256_CBC, AES256_GCM, ContentCipher
from gateway.smime.capabilities import Capabilities
from gateway.state import capabilities as state
from gateway.state.capabilities import FORGOTTEN_DAYS, HeardCapabilities
from gateway.state.state import open_state

DAY = 86_400 * 10**6
RESULTS, OTHER = parse_address("results@laboratory.example"), parse_address("other@laboratory.example")
OLD, NEW = (der.sequence(der.sequence(der.oid(cipher))) for cipher in (AES256_CBC, AES256_GCM))
SAYS_OLD, SAYS_NEW = Capabilities(frozenset({ContentCipher.AES256_CBC})), Capabilities(frozenset({ContentCipher.AES256_GCM}))


class World:
    """A database and a clock; each ``process`` has a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 2_000_000 * DAY // 100
        self.databases: list[Database] = []

    def process(self) -> HeardCapabilities:
        self.databases.append(open_state(self.folder, lambda: self.now))
        return HeardCapabilities(self.databases[-1], lambda: self.now)

    async def found(self, address: Address = RESULTS, organisation: str = "hospital") -> Capabilities | None:
        """By a process that remembers nothing."""
        return await HeardCapabilities(self.databases[0], lambda: self.now).capabilities(organisation, address)

    def count(self) -> int:
        def count(database: apsw.Connection) -> int:
            return int(database.execute("SELECT count(*) FROM capabilities").get)

        return self.databases[0].call(count, Effect.READ)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for database in made.databases:
        database.close()


async def test_what_was_said_is_known_to_that_organisation_alone(world: World) -> None:
    heard = world.process()
    heard.learn("hospital", RESULTS, NEW, world.now)
    assert await heard.capabilities("hospital", parse_address("Results@LABORATORY.example")) == SAYS_NEW
    assert await heard.capabilities("clinic", RESULTS) is None
    assert await heard.capabilities("hospital", OTHER) is None


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD)])
async def test_the_newest_by_signing_time_counts_in_whatever_order_they_come(world: World, order: tuple[bytes, bytes]) -> None:
    """A mail that was captured, kept back or sent again never brings back what was said before."""
    heard = world.process()
    times = {OLD: world.now - DAY, NEW: world.now}
    for value in (*order, *order):
        heard.learn("hospital", RESULTS, value, times[value])
        world.now += DAY
    assert await world.found() == SAYS_NEW


async def test_the_same_list_signed_later_keeps_what_was_signed_between_from_coming_back(world: World) -> None:
    heard = world.process()
    for value, signed_at in ((NEW, 1), (NEW, 5), (OLD, 3)):
        heard.learn("hospital", RESULTS, value, signed_at)
    assert await world.found() == SAYS_NEW


async def test_two_of_one_moment_the_first_stays(world: World) -> None:
    heard = world.process()
    heard.learn("hospital", RESULTS, NEW, 7)
    heard.learn("hospital", RESULTS, OLD, 7)
    assert await world.found() == SAYS_NEW


async def test_a_program_that_opens_less_than_before_is_believed(world: World) -> None:
    """Who changed to a program without GCM would see empty mails otherwise."""
    heard = world.process()
    heard.learn("hospital", RESULTS, NEW, 1)
    assert await heard.capabilities("hospital", RESULTS) == SAYS_NEW
    heard.learn("hospital", RESULTS, OLD, 2)
    assert await world.found() == SAYS_OLD
    assert await heard.capabilities("hospital", RESULTS) == SAYS_OLD


async def test_another_process_knows_within_a_minute(world: World) -> None:
    one, other = world.process(), world.process()
    assert await other.capabilities("hospital", RESULTS) is None
    one.learn("hospital", RESULTS, NEW, world.now)
    assert await one.capabilities("hospital", RESULTS) == SAYS_NEW
    assert await other.capabilities("hospital", RESULTS) is None
    world.now += 60 * 10**6
    assert await other.capabilities("hospital", RESULTS) == SAYS_NEW


async def test_a_process_asks_the_database_once_a_minute(world: World) -> None:
    heard = world.process()
    heard.learn("hospital", RESULTS, NEW, world.now)
    assert await heard.capabilities("hospital", RESULTS) == SAYS_NEW
    world.databases[0].call(lambda database: database.execute("DELETE FROM capabilities"), Effect.CHANGE)
    assert await heard.capabilities("hospital", RESULTS) == SAYS_NEW


async def test_what_was_not_heard_for_a_year_is_forgotten(world: World) -> None:
    heard = world.process()
    heard.learn("hospital", RESULTS, NEW, world.now)
    world.now += FORGOTTEN_DAYS * DAY - 1
    assert await world.found() == SAYS_NEW
    world.now += 1
    assert await world.found() is None
    heard.learn("hospital", OTHER, NEW, world.now)
    assert (await world.found(OTHER), world.count()) == (SAYS_NEW, 1)


async def test_beyond_the_bound_who_was_seen_last_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MAX_REMEMBERED", 3)
    heard = world.process()
    for number in range(state.MAX_REMEMBERED + 2):
        world.now += 1
        heard.learn("hospital", Address(f"n{number}", "laboratory.example"), NEW, 1)
        heard.learn("hospital", RESULTS, NEW, number)
    assert world.count() == state.MAX_REMEMBERED
    found = [await world.found(Address(f"n{number}", "laboratory.example")) for number in range(5)]
    assert found == [None, None, None, SAYS_NEW, SAYS_NEW]
    assert await world.found() == SAYS_NEW


async def test_what_a_process_remembers_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_MAX_CACHED", 10)
    heard = world.process()
    for number in range(30):
        await heard.capabilities("hospital", Address(f"n{number}", "laboratory.example"))
    assert len(heard._cached) == 10


async def test_a_database_that_is_gone_stops_nothing(world: World) -> None:
    heard = world.process()
    world.databases.pop().close()
    heard.learn("hospital", RESULTS, NEW, world.now)
    assert await heard.capabilities("hospital", RESULTS) is None


def test_a_state_of_a_later_version_is_left_alone(world: World, tmp_path: Path) -> None:
    world.process()
    with apsw.Connection(str(tmp_path / "state.sqlite")) as database:
        database.execute("INSERT INTO schema_version VALUES (99, 0)")
    with pytest.raises(GatewayError, match="schema 99") as caught:
        open_state(tmp_path, lambda: 0)
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE


WRITE = """
import sys
from pathlib import Path
from gateway.mail.address import Address
from gateway.smime import der
from gateway.smime.algorithms import AES256_CBC, AES256_GCM
from gateway.state.capabilities import HeardCapabilities
from gateway.state.state import open_state
first = int(sys.argv[2])
database = open_state(Path(sys.argv[1]), lambda: 10**15)
heard = HeardCapabilities(database, lambda: 10**15)
for turn in range(first, 400, 2):
    cipher = AES256_GCM if turn == 399 else AES256_CBC
    heard.learn("hospital", Address("results", "laboratory.example"), der.sequence(der.sequence(der.oid(cipher))), turn)
database.close()
"""


async def test_processes_that_learn_at_once_end_with_the_newest(world: World, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    processes = [await asyncio.create_subprocess_exec(*command, first) for first in ("0", "1")]
    assert [await process.wait() for process in processes] == [0, 0]
    world.process()
    world.now = 10**15
    assert await world.found() == SAYS_NEW
