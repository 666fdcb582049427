"""Fetching over real HTTP on loopback: what is refused, and at what cost."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.edge.fetch import MAX_REDIRECTS, MAX_URL, Bounds, Fetcher, FetchError, may_reach, networks
from tests.publisher import Handler, Publisher

LOOPBACK = networks(["127.0.0.0/8"])


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()
    await publisher.start()
    yield publisher
    await publisher.stop()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(Bounds(1000, 5.0, LOOPBACK))
    yield fetcher
    await fetcher.close()


def _gives(body: bytes, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return answer


def _leads_to(url: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": url})

    return answer


async def test_fetches(publisher: Publisher, fetcher: Fetcher) -> None:
    """What is there comes, by address and by name."""
    publisher.routes["crl"] = _gives(b"content")
    assert await fetcher.fetch(publisher.url("crl")) == b"content"
    assert await fetcher.fetch(publisher.url("crl", "localhost")) == b"content"


async def test_private_is_refused(publisher: Publisher) -> None:
    """Without leave nothing reaches loopback, written as an address, a name, or in another spelling of either."""
    fetcher = Fetcher(Bounds(1000, 5.0))
    publisher.routes["crl"] = _gives(b"content")
    try:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):  # noqa: S104
            with pytest.raises(FetchError):
                await fetcher.fetch(publisher.url("crl", host))
    finally:
        await fetcher.close()
    assert publisher.asked == []


async def test_redirects(publisher: Publisher, fetcher: Fetcher) -> None:
    """As many as the limit are followed and not one more."""
    publisher.routes |= {f"{left}": _leads_to(f"/{left - 1}") for left in range(1, MAX_REDIRECTS + 2)} | {"0": _gives(b"content")}
    assert await fetcher.fetch(publisher.url(f"{MAX_REDIRECTS}")) == b"content"
    with pytest.raises(FetchError, match="redirects"):
        await fetcher.fetch(publisher.url(f"{MAX_REDIRECTS + 1}"))


async def test_a_url_has_an_end(publisher: Publisher, fetcher: Fetcher) -> None:
    publisher.routes["crl"] = _gives(b"content")
    start = publisher.url("crl?")
    longest = start + "x" * (MAX_URL - len(start))
    assert await fetcher.fetch(longest) == b"content"
    with pytest.raises(FetchError, match="URL too long"):
        await fetcher.fetch(longest + "x")


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "http://10.0.0.1/", "http://169.254.169.254/latest"]
)
async def test_redirect_elsewhere_is_refused(publisher: Publisher, fetcher: Fetcher, target: str) -> None:
    """No redirect leads to another scheme or to a private address."""
    publisher.routes["crl"] = _leads_to(target)
    with pytest.raises(FetchError):
        await fetcher.fetch(publisher.url("crl"))


async def test_too_large(publisher: Publisher, fetcher: Fetcher) -> None:
    """Too large is refused, whether announced or not."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 500)
                await asyncio.sleep(0)
        return response

    publisher.routes |= {"announced": _gives(b"x" * 1001), "fits": _gives(b"x" * 1000), "endless": endless}
    assert len(await fetcher.fetch(publisher.url("fits"))) == 1000
    for name in ("announced", "endless"):
        with pytest.raises(FetchError, match="larger"):
            await fetcher.fetch(publisher.url(name))


async def test_compressed_is_refused(publisher: Publisher, fetcher: Fetcher) -> None:
    """What is compressed could be anything once it is not."""
    publisher.routes["crl"] = _gives(b"content", Content_Encoding="gzip")
    with pytest.raises(FetchError, match="compressed"):
        await fetcher.fetch(publisher.url("crl"))


async def test_deadline(publisher: Publisher) -> None:
    """A publisher that drips is left at the deadline."""
    over = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await over.wait()
        return response

    publisher.routes["crl"] = drip
    fetcher = Fetcher(Bounds(1000, 0.3, LOOPBACK))
    began = time.monotonic()
    with pytest.raises(FetchError, match=r"within 0\.3 s"):
        await fetcher.fetch(publisher.url("crl"))
    assert time.monotonic() - began < 2
    over.set()
    await fetcher.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "ldap:///cn=x",
        "http:///x",
        "nothing",
        "http://user:secret@127.0.0.1/",
        "http://[",
        "http://" + "x" * 3000,
    ],
)
async def test_no_url_of_ours(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(FetchError):
        await fetcher.fetch(url)


async def test_status(publisher: Publisher, fetcher: Fetcher) -> None:
    """An error page is no content."""

    async def missing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="no")

    publisher.routes["crl"] = missing
    with pytest.raises(FetchError, match="404"):
        await fetcher.fetch(publisher.url("crl"))


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("8.8.8.8", True),
        ("2600::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address, bound by nobody
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("2002:a00:1::", False),
        ("172.16.5.5", True),
    ],
)
def test_may_reach(address: str, reached: bool) -> None:
    """Global unicast, and 172.16.5.0/24 because the administrator named it; what hides in IPv6 is unwrapped."""
    assert may_reach(ipaddress.ip_address(address), networks(["172.16.5.0/24"])) is reached
