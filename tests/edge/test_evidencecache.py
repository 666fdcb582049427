"""What was fetched over real HTTP, in memory and on disk, for several processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.edge import shelf as shelf_module
from gateway.edge.evidencecache import FIRST_AGAIN, FRESH, LAST_AGAIN, LEEWAY, LOOK, EvidenceCache
from gateway.edge.fetch import Fetcher
from gateway.edge.fetcherror import Bounds
from gateway.edge.reachable import networks
from gateway.edge.refresher import USED_LATELY, Refresher, due
from gateway.edge.servers import REST_SECONDS, Servers
from gateway.edge.shelf import Note, Shelf
from gateway.events import Event, Fetched, FetchFailed
from gateway.trust.answer import Failed
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from tests.pki import NOW, Ca, microseconds, new_key
from tests.publisher import Publisher

AT = microseconds(NOW)
HOUR = FRESH


class World:
    """A publisher with one CRL, and caches that share a folder as processes do. The clock stands where a test puts it."""

    def __init__(self, folder: Path) -> None:
        self.ca = Ca.root()
        self.leaf = self.ca.signer("results@laboratory.example")
        self.publisher = Publisher()
        self.seconds = 0.0
        bounds = Bounds(10_000_000, 5.0, networks(["127.0.0.0/8"]))
        self.fetcher = Fetcher(bounds, Servers(lambda: self.seconds))
        self.shelf = Shelf(folder)
        self.folder = folder
        self.content = self.ca.crl()
        self.release = asyncio.Event()
        self.release.set()
        self.asked = asyncio.Event()
        self.events: list[Event] = []
        self.now = AT

    def see(self, event: Event) -> None:
        self.events.append(event)

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.asked.set()
        await self.release.wait()
        return web.Response(body=self.content)

    def cache(self) -> EvidenceCache:
        return EvidenceCache(self.fetcher, self.shelf, self)

    def refresher(self) -> Refresher:
        return Refresher(self.shelf, self.cache(), lambda: self.now)

    def revoke(self) -> None:
        """A newer CRL, with the leaf in it."""
        self.content = self.ca.crl(revoked=[self.leaf], at=NOW + dt.timedelta(minutes=10), number=2)

    def revoked(self, answer: object) -> bool:
        assert isinstance(answer, Crl)
        return answer.revoked_since(facts(self.leaf.der)) is not None

    @property
    def need(self) -> Need:
        return Need(NeedKind.CRL, self.publisher.url("crl"), self.ca.der)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "evidence")
    world.publisher.routes["crl"] = world.answer
    await world.publisher.start()
    yield world
    await world.publisher.stop()
    await world.fetcher.close()


async def test_fetched_then_known(world: World) -> None:
    """Fetched once, known until it is time to look again, not asked for while it is fresh, then fetched again."""
    cache = world.cache()
    assert cache.known(world.need, AT) is None
    crl = await cache.fetch(world.need, AT)
    assert cache.known(world.need, AT + LOOK - 1) is crl
    assert cache.known(world.need, AT + LOOK) is None
    assert await cache.fetch(world.need, AT + HOUR - 1) is crl
    assert len(world.publisher.asked) == 1
    world.revoke()
    assert world.revoked(await cache.fetch(world.need, AT + HOUR))
    assert world.events == [Fetched(kind="crl", source=world.need.url)] * 2


async def test_single_flight(world: World) -> None:
    """Twenty who ask at once cost one fetch; one of them who gives up takes nothing from the others."""
    cache = world.cache()
    world.release.clear()
    askers = [asyncio.create_task(cache.fetch(world.need, AT)) for _ in range(20)]
    await world.asked.wait()
    askers[0].cancel()
    world.release.set()
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, Crl) for answer in answers[1:])
    assert len(world.publisher.asked) == 1


async def test_other_process_reads_the_disk(world: World) -> None:
    """What one process fetched another need not, and what one fetches again the other sees without a restart."""
    first, second = world.cache(), world.cache()
    await first.fetch(world.need, AT)
    assert isinstance(await second.fetch(world.need, AT + 1), Crl)
    assert len(world.publisher.asked) == 1
    world.revoke()
    await first.refresh(world.need, AT + 2)
    assert not world.revoked(second.known(world.need, AT + 3))
    assert second.known(world.need, AT + 1 + LOOK) is None
    assert world.revoked(await second.fetch(world.need, AT + 1 + LOOK))
    assert len(world.publisher.asked) == 2


async def test_publisher_down(world: World) -> None:
    """While the publisher is down the last CRL serves, after a restart too; whether it still counts is not said here."""
    await world.cache().fetch(world.need, AT)
    await world.publisher.stop()
    restarted = world.cache()
    for later in (AT + 2 * HOUR, AT + 8 * 24 * HOUR):
        assert isinstance(await restarted.fetch(world.need, later), Crl)
    (failure,) = [event for event in world.events if isinstance(event, FetchFailed)]
    assert (failure.kind, failure.result, failure.source) == ("crl", "unreachable", world.need.url)


async def test_dead_publisher_is_asked_once(world: World) -> None:
    """The failure is on disk: other processes, and this one after a restart, do not wait for the same thing again."""
    await world.publisher.stop()
    assert isinstance(await world.cache().fetch(world.need, AT), Failed)
    await world.publisher.start()
    world.seconds += REST_SECONDS
    for later in (AT + 1, AT + FIRST_AGAIN, AT + FIRST_AGAIN + LEEWAY - 1):
        answer = await world.cache().fetch(world.need, later)
        assert isinstance(answer, Failed)
        assert "ClientConnectorError" in answer.detail
    assert world.publisher.asked == []


async def test_publisher_back(world: World) -> None:
    """What failed is tried again in the background, and then is there for everybody. First its server is found alive."""
    await world.publisher.stop()
    worker, refresher = world.cache(), world.refresher()
    assert isinstance(await worker.fetch(world.need, AT), Failed)
    await world.publisher.start()
    world.now = AT + FIRST_AGAIN
    world.seconds += REST_SECONDS
    await refresher.refresh()
    await asyncio.gather(*world.fetcher._trials)
    await refresher.refresh()
    assert isinstance(await worker.fetch(world.need, world.now), Crl)


async def test_failures_come_further_apart(world: World) -> None:
    """A minute, two, four, then five; and a success starts anew."""
    world.content = b"none"
    cache, at, waits = world.cache(), AT, []
    for _ in range(4):
        await cache.refresh(world.need, at)
        note = world.shelf.peek(world.need)
        assert note is not None
        waits.append(note.again - at)
        at = note.again
    assert waits == [FIRST_AGAIN, 2 * FIRST_AGAIN, 4 * FIRST_AGAIN, LAST_AGAIN]
    world.content = world.ca.crl()
    await cache.refresh(world.need, at)
    note = world.shelf.peek(world.need)
    assert note is not None
    assert note.failures == 0


async def test_refreshed_before_anybody_waits(world: World) -> None:
    """The control process fetches anew before the hour is over; a worker asks nobody and has the newer one."""
    worker, refresher = world.cache(), world.refresher()
    await worker.fetch(world.need, AT)
    world.revoke()
    world.now = AT + HOUR * 6 // 10
    await refresher.refresh()
    assert len(world.publisher.asked) == 1
    world.now = AT + HOUR * 9 // 10
    await refresher.refresh()
    assert len(world.publisher.asked) == 2
    assert world.revoked(await worker.fetch(world.need, AT + HOUR))
    assert len(world.publisher.asked) == 2


async def test_unused_is_not_refreshed(world: World) -> None:
    """What no mail needs is left alone, and being fetched again is no use."""
    await world.cache().fetch(world.need, AT)
    world.now = AT + HOUR
    await world.refresher().refresh()
    world.now = AT + USED_LATELY
    await world.refresher().refresh()
    assert len(world.publisher.asked) == 2


def test_due_is_spread() -> None:
    """A hundred CRLs fetched at once are due at many moments, each between 70 and 90 percent of its time."""
    notes = [Note(Need(NeedKind.CRL, f"http://ca.example/{number}", b""), AT, AT + 24 * HOUR) for number in range(100)]
    moments = {due(note) - AT for note in notes}
    assert len(moments) > 50
    assert all(HOUR * 7 // 10 <= moment <= HOUR * 9 // 10 for moment in moments)


def test_due_before_next_update() -> None:
    """One that goes out of date in ten minutes is due before that; one that is out of date, within a minute."""
    soon, past = (Note(Need(NeedKind.CRL, "http://ca.example/", b""), AT, until) for until in (AT + HOUR // 6, AT - 1))
    assert AT < due(soon) < AT + HOUR // 6
    assert AT < due(past) < AT + FIRST_AGAIN


async def test_forged_is_not_kept(world: World) -> None:
    """A CRL that another key signed replaces nothing and is not kept."""
    cache = world.cache()
    good = await cache.fetch(world.need, AT)
    world.content = world.ca.crl(at=NOW + dt.timedelta(hours=1), key=new_key())
    kept = await cache.fetch(world.need, AT + HOUR)
    assert isinstance(good, Crl)
    assert isinstance(kept, Crl)
    assert kept.sha256 == good.sha256


async def test_no_way_back(world: World) -> None:
    """An older CRL, replayed, does not take the place of a newer one that revokes."""
    world.content = world.ca.crl(revoked=[world.leaf], at=NOW, number=2)
    cache = world.cache()
    await cache.fetch(world.need, AT)
    world.content = world.ca.crl(at=NOW - dt.timedelta(days=1))
    assert world.revoked(await cache.fetch(world.need, AT + HOUR))


async def test_no_way_back_in_a_race(world: World) -> None:
    """A process that was given an older CRL, or none, and comes to keep that behind another with a newer one, keeps the newer."""
    slow, fast = world.cache(), world.cache()
    for given in (world.content, b"none"):
        world.content = given
        world.release.clear()
        world.asked.clear()
        waiting = asyncio.create_task(slow.refresh(world.need, AT))
        await world.asked.wait()
        newer = world.ca.crl(revoked=[world.leaf], at=NOW + dt.timedelta(minutes=10), number=2)
        before = world.shelf.peek(world.need)
        world.shelf.write(Note(world.need, AT, AT + HOUR), (newer,), AT, before.digest if before is not None else "")
        world.release.set()
        await waiting
        assert world.revoked(slow.known(world.need, AT))
        assert world.revoked(await fast.fetch(world.need, AT + LOOK))
        for path in world.folder.iterdir():
            path.unlink()
        slow, fast = world.cache(), world.cache()


async def test_readers_and_writers(world: World) -> None:
    """While others write, whoever reads finds one whole thing or the other."""
    contents = [(b"a" * 200_000,), (b"b" * 3, b"c" * 100_000)]
    notes = [world.shelf.write(Note(world.need, number), content, AT, "") for number, content in enumerate(contents, 1)]
    assert notes[0] is not None
    assert notes[1] is None

    def write() -> None:
        before = notes[0].digest if notes[0] is not None else ""
        for number in range(100):
            note = world.shelf.write(Note(world.need, number), contents[number % 2], AT, before)
            assert note is not None
            before = note.digest

    writing = asyncio.create_task(asyncio.to_thread(write))
    while not writing.done():
        read = await asyncio.to_thread(world.shelf.read, world.need)
        assert read is not None
        assert read[1] in contents
    await writing


async def test_error_page(world: World) -> None:
    """An error page with status 200 is a failure with words."""
    world.content = b"<html>maintenance</html>"
    answer = await world.cache().fetch(world.need, AT)
    assert isinstance(answer, Failed)
    assert "not a CRL" in answer.detail
    (failure,) = world.events
    assert isinstance(failure, FetchFailed)
    assert failure.result == "unusable"


@pytest.mark.parametrize("damage", ["shorter", "longer", "head", "content", "empty"])
async def test_damaged_file(world: World, damage: str) -> None:
    """A damaged file on disk is as good as none, wherever the damage is."""
    await world.cache().fetch(world.need, AT)
    (path,) = world.folder.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "head":
        data[data.index(b'"checked"') + 12] ^= 1
    elif damage == "content":
        data[-20] ^= 1
    path.write_bytes(bytes({"shorter": data[:-10], "longer": data + b"x", "empty": b""}.get(damage, data)))
    assert isinstance(await world.cache().fetch(world.need, AT), Crl)
    assert len(world.publisher.asked) == 2


async def test_private(world: World) -> None:
    """Folder and files are their owner's alone, and nothing else is left behind."""
    await world.cache().fetch(world.need, AT)
    assert stat.S_IMODE(world.folder.stat().st_mode) == 0o700
    (path,) = world.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for longest makes room, by number and by size."""
    shelf = Shelf(tmp_path)
    needs = [Need(NeedKind.CRL, f"http://ca.example/{number}", b"") for number in range(6)]
    monkeypatch.setattr(shelf_module, "MAX_KEPT", 4)
    for number, need in enumerate(needs):
        shelf.write(Note(need, AT), (b"x" * 100,), AT + number * HOUR, "")
        shelf.use(needs[0], AT + number * HOUR + HOUR // 2)
    left = {found.note.need.url[-1] for found in shelf.all()}
    assert left == {"0", "3", "4", "5"}
    monkeypatch.setattr(shelf_module, "MAX_KEPT_BYTES", 9_600)
    shelf.write(Note(needs[1], AT), (b"x" * 9000,), AT + 9 * HOUR, "")
    assert {found.note.need.url[-1] for found in shelf.all()} == {"0", "1"}


async def test_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder nobody can write costs what would be kept, not the answer."""
    monkeypatch.setattr(shelf_module, "_head", _full)
    assert isinstance(await world.cache().fetch(world.need, AT), Crl)
    assert list(world.folder.iterdir()) == []


def _full(*_: object) -> bytes:
    raise OSError("No space left on device")


async def test_large_crl(world: World) -> None:
    """50,000 entries: once loaded a look-up, for one that is revoked and one that is not, takes far less than a millisecond."""
    other = facts(world.ca.signer("clinic@laboratory.example").der)
    world.content = world.ca.crl(revoked=[world.leaf, *range(1_000_000, 1_050_000)])
    await world.cache().fetch(world.need, AT)
    restarted = world.cache()
    await restarted.fetch(world.need, AT)
    assert len(world.publisher.asked) == 1
    revoked = facts(world.leaf.der)
    began = time.process_time()
    for _ in range(1000):
        crl = restarted.known(world.need, AT)
        assert isinstance(crl, Crl)
        assert crl.revoked_since(revoked) is not None
        assert crl.revoked_since(other) is None
    assert (time.process_time() - began) / 2000 < 0.001
