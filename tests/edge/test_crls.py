"""CRLs over real HTTP, kept on disk."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.edge.crls import FAILURE_LASTS, REFRESH, CrlCache
from gateway.edge.fetch import Bounds, Fetcher, networks
from gateway.trust.answer import Failed
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from tests.pki import NOW, Ca, microseconds, new_key
from tests.publisher import Publisher

AT = microseconds(NOW)


class World:
    """A publisher with one CRL, and caches that share a folder as processes do."""

    def __init__(self, folder: Path) -> None:
        self.ca = Ca.root()
        self.leaf = self.ca.signer("results@laboratory.example")
        self.publisher = Publisher()
        self.fetcher = Fetcher(Bounds(100_000, 5.0, networks(["127.0.0.0/8"])))
        self.folder = folder
        self.content = self.ca.crl()
        self.release = asyncio.Event()
        self.release.set()
        self.asked = asyncio.Event()

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.asked.set()
        await self.release.wait()
        return web.Response(body=self.content)

    def cache(self) -> CrlCache:
        return CrlCache(self.fetcher, self.folder)

    @property
    def url(self) -> str:
        return self.publisher.url("crl")

    @property
    def need(self) -> Need:
        return Need(NeedKind.CRL, self.url, self.ca.der)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "crl")
    world.publisher.routes["crl"] = world.answer
    await world.publisher.start()
    yield world
    await world.publisher.stop()
    await world.fetcher.close()


async def test_fetched_then_known(world: World) -> None:
    """Fetched once, known until it is time to look again, then fetched again."""
    cache = world.cache()
    assert cache.known(world.need, AT) is None
    crl = await cache.fetch(world.need, AT)
    assert isinstance(crl, Crl)
    assert cache.known(world.need, AT + REFRESH - 1) is crl
    assert cache.known(world.need, AT + REFRESH) is None
    world.content = world.ca.crl(revoked=[world.leaf], at=NOW + dt.timedelta(hours=1), number=2)
    fresh = await cache.fetch(world.need, AT + REFRESH)
    assert isinstance(fresh, Crl)
    assert fresh.revoked_since(facts(world.leaf.der)) is not None
    assert len(world.publisher.asked) == 2


class Nobody:
    """No place answers."""

    async def fetch(self, url: str, /) -> bytes:
        raise FetchError(f"{url}: refused")


async def test_as_many_places_are_known_as_the_limit_says(tmp_path: Path) -> None:
    """For one more, the one that was asked first is forgotten."""
    cache, urls = CrlCache(Nobody(), tmp_path), [f"http://{number}.example/crl" for number in range(MAX_PLACES + 1)]
    for url in urls[:-1]:
        await cache.fetch(url, b"", AT)
    assert all(cache.current(url, AT) for url in urls[:-1])
    await cache.fetch(urls[-1], b"", AT)
    assert [url for url in urls if cache.current(url, AT) is None] == urls[:1]


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
    """What one process fetched another need not."""
    await world.cache().fetch(world.need, AT)
    assert isinstance(await world.cache().fetch(world.need, AT + 1), Crl)
    assert len(world.publisher.asked) == 1


async def test_publisher_down(world: World) -> None:
    """While the publisher is down the last CRL serves, after a restart too; once it is out of date nothing does."""
    await world.cache().fetch(world.need, AT)
    await world.publisher.stop()
    restarted = world.cache()
    later = AT + 2 * REFRESH
    assert isinstance(await restarted.fetch(world.need, later), Crl)
    assert isinstance(restarted.known(world.need, later + 1), Crl)
    week = AT + 8 * 24 * REFRESH
    assert restarted.known(world.need, week) is None
    assert isinstance(await restarted.fetch(world.need, week), Failed)
    assert isinstance(restarted.known(world.need, week + FAILURE_LASTS - 1), Failed)
    assert restarted.known(world.need, week + FAILURE_LASTS) is None


async def test_publisher_back(world: World) -> None:
    """A failure is forgotten after a minute, and the publisher's return is noticed."""
    await world.publisher.stop()
    cache = world.cache()
    assert isinstance(await cache.fetch(world.need, AT), Failed)
    await world.publisher.start()
    assert isinstance(await cache.fetch(world.need, AT + FAILURE_LASTS), Crl)


async def test_forged_is_not_kept(world: World) -> None:
    """A CRL that another key signed replaces nothing and is not kept."""
    cache = world.cache()
    good = await cache.fetch(world.need, AT)
    world.content = world.ca.crl(at=NOW + dt.timedelta(hours=1), key=new_key())
    assert isinstance(good, Crl)
    kept = await cache.fetch(world.need, AT + REFRESH)
    assert isinstance(kept, Crl)
    assert kept.sha256 == good.sha256


async def test_no_way_back(world: World) -> None:
    """An older CRL, replayed, does not take the place of a newer one that revokes."""
    old, world.content = world.content, world.ca.crl(revoked=[world.leaf], at=NOW, number=2)
    old = world.ca.crl(at=NOW - dt.timedelta(days=1))
    cache = world.cache()
    await cache.fetch(world.need, AT)
    world.content = old
    kept = await cache.fetch(world.need, AT + REFRESH)
    assert isinstance(kept, Crl)
    assert kept.revoked_since(facts(world.leaf.der)) is not None


async def test_error_page(world: World) -> None:
    """An error page with status 200 is a failure with words."""
    world.content = b"<html>maintenance</html>"
    answer = await world.cache().fetch(world.need, AT)
    assert isinstance(answer, Failed)
    assert "not a CRL" in answer.detail


async def test_damaged_file(world: World) -> None:
    """A damaged file on disk is as good as none."""
    await world.cache().fetch(world.need, AT)
    for path in world.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-10])
    assert isinstance(await world.cache().fetch(world.need, AT), Crl)
    assert len(world.publisher.asked) == 2
