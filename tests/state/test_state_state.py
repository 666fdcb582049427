"""A process goes on without ``state.sqlite``, says so, and takes it up again when it is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from gateway.database.thread import Effect, Work
from gateway.mail.address import parse_address
from gateway.outcome import GatewayError, Reason
from gateway.state.certificates import KeptCertificates
from gateway.state.state import STATE, State, open_sound_state, open_state
from gateway.trust.kept import KeptAs
from gateway.trust.sources import DirectoryError
from tests.doubles import Events

AT = 2_000_000_000_000_000
RESULTS = parse_address("results@laboratory.example")


class Heard:
    """What was said of failures, and a way to wait for the next."""

    def __init__(self) -> None:
        self.errors: list[GatewayError] = []
        self.again = asyncio.Event()

    def __call__(self, error: GatewayError) -> None:
        self.errors.append(error)
        self.again.set()

    async def next(self) -> GatewayError:
        await asyncio.wait_for(self.again.wait(), 10)
        self.again.clear()
        return self.errors[-1]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def state(tmp_path: Path, heard: Heard) -> AsyncIterator[State]:
    """Not open yet; mending beside it."""
    made = State(tmp_path, lambda: AT, heard, rest_seconds=0.01)
    mending = asyncio.create_task(made.mend())
    yield made
    mending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await mending
    await made.close()


def fill(folder: Path) -> None:
    """A database of many pages with a pin in it."""
    database = open_state(folder, lambda: AT)

    def change(connection: apsw.Connection) -> None:
        rows = [("hospital", f"n{number}@x.example", bytes([number % 256]) * 32, number) for number in range(500)]
        insert = "INSERT INTO certificates VALUES (?, ?, ?, 'pinned', '', ?, 0, zeroblob(2000), x'')"
        connection.executemany(insert, rows)
        connection.execute(insert, ("hospital", RESULTS.key, bytes(32), 1))

    database.call(change, Effect.DURABLE)
    database.close()


async def pins(state: State) -> int:
    kept = await KeptCertificates(state, Events(), lambda: AT).kept("hospital", RESULTS)
    return sum(each.kept_as is KeptAs.PINNED for each in kept)


async def when_open(state: State) -> int:
    for _ in range(1000):
        try:
            return await pins(state)
        except DirectoryError:
            await asyncio.sleep(0.01)  # opened by a thread, which tells nobody
    raise AssertionError("never open again")


async def test_what_is_no_database_stops_nobody_from_beginning(tmp_path: Path, state: State, heard: Heard) -> None:
    (tmp_path / STATE).write_bytes(b"not a database at all, but a file of some length" * 100)
    await state.open()
    assert (await heard.next()).reason is Reason.SPOOL_UNAVAILABLE
    with pytest.raises(DirectoryError, match="not a database"):
        await pins(state)
    with pytest.raises(GatewayError, match="not a database"):
        state.submit(Work(lambda _: None, lambda *_: None, Effect.CHANGE))


async def test_it_is_said_again_and_again_until_it_is_mended_and_then_taken_up(tmp_path: Path, state: State, heard: Heard) -> None:
    (tmp_path / STATE).write_bytes(b"no database" * 100)
    await state.open()
    for _ in range(3):
        await heard.next()
    (tmp_path / STATE).unlink()
    fill(tmp_path)
    assert await when_open(state) == 1


async def test_damage_that_shows_only_in_a_page_is_found_when_it_is_read(tmp_path: Path, state: State, heard: Heard) -> None:
    fill(tmp_path)
    await state.open()
    assert heard.errors == []
    damage(tmp_path / STATE)
    state._database._connection.execute("PRAGMA cache_size = 0")  # type: ignore[union-attr]
    with pytest.raises(DirectoryError):
        await pins(state)
    await heard.next()
    with pytest.raises(DirectoryError, match=r"malformed|damaged|Corrupt|not a database"):
        await pins(state)


async def test_a_database_that_cannot_even_be_closed_ends_nobody(
    tmp_path: Path, state: State, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    await state.open()
    opened, closes = state._database, []
    assert opened is not None

    def close() -> None:
        closes.append(1)
        raise apsw.IOError("the disk is gone")

    monkeypatch.setattr(opened, "close", close)
    (tmp_path / STATE).rename(tmp_path / "elsewhere")
    with pytest.raises(GatewayError):
        await state.run(lambda connection: connection.execute("SELECT * FROM gone"), Effect.READ)
    await heard.next()
    assert await when_open(state) == 0
    assert closes == [1]
    monkeypatch.undo()
    opened.close()


def damage(path: Path) -> None:
    """Every page but the first, which alone is looked at when a database is opened."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def test_all_of_it_is_looked_at_before_it_is_taken_up_again(tmp_path: Path) -> None:
    fill(tmp_path)
    open_sound_state(tmp_path, lambda: AT).close()
    damage(tmp_path / STATE)
    with pytest.raises(GatewayError) as caught:
        open_sound_state(tmp_path, lambda: AT)
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE


async def test_a_mistake_of_ours_is_no_loss_of_the_database(tmp_path: Path, state: State, heard: Heard) -> None:
    fill(tmp_path)
    await state.open()

    def refuse(_: apsw.Connection) -> None:
        raise GatewayError(Reason.TOO_MANY, "enough")

    with pytest.raises(GatewayError, match="enough"):
        await state.run(refuse, Effect.CHANGE)
    assert (heard.errors, await pins(state)) == ([], 1)
