"""Fetching over real HTTP on loopback: what is refused, and at what cost."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.fetch import MAX_URL, Fetcher
from gateway.edge.fetcherror import Bounds, Fault, FetchError
from gateway.edge.http import MAX_REDIRECTS
from gateway.edge.ldapurl import LdapUrl, read_ldap_url
from gateway.edge.reachable import Names, may_reach, networks
from gateway.edge.servers import AT_ONCE, REST_SECONDS, Servers
from gateway.trust.judgement import Need, NeedKind
from tests.faultproxy import FaultProxy, through
from tests.pki import Ca
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


def _crl(url: str) -> Need:
    return Need(NeedKind.CRL, url, b"")


async def _got(fetcher: Fetcher, url: str) -> bytes:
    (content,) = await fetcher.fetch(_crl(url))
    return content


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
    assert await _got(fetcher, publisher.url("crl")) == b"content"
    assert await _got(fetcher, publisher.url("crl", "localhost")) == b"content"


async def test_private_is_refused(publisher: Publisher) -> None:
    """Without leave nothing reaches loopback, written as an address, a name, or in another spelling of either."""
    fetcher = Fetcher(Bounds(1000, 5.0))
    publisher.routes["crl"] = _gives(b"content")
    try:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):  # noqa: S104
            with pytest.raises(FetchError):
                await _got(fetcher, publisher.url("crl", host))
    finally:
        await fetcher.close()
    assert publisher.asked == []


async def test_redirects(publisher: Publisher, fetcher: Fetcher) -> None:
    """As many as the limit are followed and not one more."""
    publisher.routes |= {f"{left}": _leads_to(f"/{left - 1}") for left in range(1, MAX_REDIRECTS + 2)} | {"0": _gives(b"content")}
    assert await _got(fetcher, publisher.url(f"{MAX_REDIRECTS}")) == b"content"
    with pytest.raises(FetchError, match="redirects"):
        await _got(fetcher, publisher.url(f"{MAX_REDIRECTS + 1}"))


async def test_a_url_has_an_end(publisher: Publisher, fetcher: Fetcher) -> None:
    publisher.routes["crl"] = _gives(b"content")
    start = publisher.url("crl?")
    longest = start + "x" * (MAX_URL - len(start))
    assert await _got(fetcher, longest) == b"content"
    with pytest.raises(FetchError, match="URL too long"):
        await _got(fetcher, longest + "x")


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "http://10.0.0.1/", "http://169.254.169.254/latest"]
)
async def test_redirect_elsewhere_is_refused(publisher: Publisher, fetcher: Fetcher, target: str) -> None:
    """No redirect leads to another scheme or to a private address."""
    publisher.routes["crl"] = _leads_to(target)
    with pytest.raises(FetchError):
        await _got(fetcher, publisher.url("crl"))


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
    assert len(await _got(fetcher, publisher.url("fits"))) == 1000
    for name in ("announced", "endless"):
        with pytest.raises(FetchError, match="larger"):
            await _got(fetcher, publisher.url(name))


async def test_compressed_is_refused(publisher: Publisher, fetcher: Fetcher) -> None:
    """What is compressed could be anything once it is not."""
    publisher.routes["crl"] = _gives(b"content", Content_Encoding="gzip")
    with pytest.raises(FetchError, match="compressed"):
        await _got(fetcher, publisher.url("crl"))


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
        await _got(fetcher, publisher.url("crl"))
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
        await _got(fetcher, url)


async def test_status(publisher: Publisher, fetcher: Fetcher) -> None:
    """An error page is no content."""

    async def missing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="no")

    publisher.routes["crl"] = missing
    with pytest.raises(FetchError, match="404"):
        await _got(fetcher, publisher.url("crl"))


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


@pytest.mark.parametrize("address", ["64:ff9b:1::8.8.8.8", "64:ff9b:1:2::1"])
def test_local_nat64(address: str) -> None:
    """RFC 8215: what lies behind a local translation prefix only the network's owner knows."""
    assert not may_reach(ipaddress.ip_address(address), ())
    assert may_reach(ipaddress.ip_address(address), networks(["64:ff9b:1::/48"]))


async def test_name_that_changes(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means an address we may reach, and another a moment later: it is resolved once for each fetch, and no more."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    asked: list[str] = []

    def resolve(host: object, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers) if host == "changes.example" else host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    publisher.routes["crl"] = _gives(b"content")
    first, second = (Fetcher(Bounds(1000, 5.0, networks(["127.0.0.1/32"]))) for _ in range(2))
    assert await _got(first, publisher.url("crl", "changes.example")) == b"content"
    with pytest.raises(FetchError, match="no address"):
        await _got(second, publisher.url("crl", "changes.example"))
    await first.close()
    await second.close()
    assert asked.count("changes.example") == 2


async def test_mixed_addresses(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's addresses those that may be reached are connected to, and no others."""

    def resolve(_: object, port: int, *__: object, **___: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port)) for place in ("10.0.0.1", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    names = Names(networks(["127.0.0.0/8"]))
    assert await names.addresses("mixed.example", 80) == [(socket.AF_INET, "127.0.0.1")]
    names.close()


async def test_no_cookies_no_proxy_of_the_environment(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says is not for this, and a server that gives a cookie does not see it again."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        response = web.Response(body=b"content")
        response.set_cookie("who", "it-is-you")
        return response

    publisher.routes["crl"] = answer
    fetcher = Fetcher(Bounds(1000, 5.0, LOOPBACK))
    for _ in range(2):
        assert await _got(fetcher, publisher.url("crl")) == b"content"
    await fetcher.close()
    assert not any({"Cookie", "Authorization", "Referer"} & set(headers) for headers in seen)


async def test_proxy(publisher: Publisher) -> None:
    """A proxy is asked for everything, though it stands in a network of ours; what is asked for may not."""
    fetcher = Fetcher(Bounds(1000, 5.0, proxy=publisher.url("").rstrip("/")))
    publisher.routes["ca.crl"] = _gives(b"content")
    try:
        assert await _got(fetcher, "http://crl.example/ca.crl") == b"content"
        with pytest.raises(FetchError, match="no public network"):
            await fetcher.fetch(_crl("http://10.0.0.1/ca.crl"))
    finally:
        await fetcher.close()
    assert len(publisher.asked) == 1


async def test_proxy_for_https(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS goes through the proxy by CONNECT, with the name as it stands in the URL, and is checked at its end."""
    ca = Ca.root()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ca.gateway("crl.example").write(tmp_path, "server"))
    publisher.routes["ca.crl"] = _gives(b"content")
    server = FaultProxy(through(publisher.port), tls=context)
    await server.start()
    asked: list[bytes] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await through(server.port)(reader, writer)

    proxy = FaultProxy(connect)
    await proxy.start()
    need = _crl("https://crl.example/ca.crl")
    for trusted in (False, True):
        if trusted:
            monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cadata=ca.pem.decode()))
        fetcher = Fetcher(Bounds(1000, 5.0, proxy=f"http://127.0.0.1:{proxy.port}"))
        if trusted:
            assert await fetcher.fetch(need) == (b"content",)
        else:
            with pytest.raises(FetchError) as caught:
                await fetcher.fetch(need)
            assert caught.value.fault is Fault.TLS
        await fetcher.close()
    assert asked == [b"CONNECT crl.example:443 HTTP/1.1"] * 2
    await proxy.stop()
    await server.stop()


async def test_ocsp_is_posted(publisher: Publisher, fetcher: Fetcher) -> None:
    """RFC 6960 A.1: the request as it was given, with its type; a redirect that keeps the method is followed, another is not."""
    seen: list[tuple[str, str, bytes]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.headers["Content-Type"], await request.read()))
        return web.Response(body=b"response", content_type="application/ocsp-response")

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return web.Response(status=int(request.query["status"]), headers={"Location": "/ocsp"})

    publisher.routes |= {"ocsp": answer, "moved": elsewhere}
    ask = Need(NeedKind.OCSP, publisher.url("ocsp"), b"", b"request")
    assert await fetcher.fetch(ask) == (b"response",)
    assert await fetcher.fetch(replace(ask, url=publisher.url("moved?status=307"))) == (b"response",)
    with pytest.raises(FetchError, match="302"):
        await fetcher.fetch(replace(ask, url=publisher.url("moved?status=302")))
    assert seen == [("POST", "application/ocsp-request", b"request")] * 2


async def test_dead_server_costs_one_deadline(publisher: Publisher) -> None:
    """Who asks while a server is silent waits for it; those who come later are told at once, and one tries unwaited for."""
    silent = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await silent.wait()
        return web.Response(body=b"content")

    publisher.routes["crl"] = slow
    seconds = 0.0
    fetcher = Fetcher(Bounds(1000, 0.2, LOOPBACK), Servers(lambda: seconds))
    faults: list[Fault] = []
    for url in ("crl", "crl", "crl?another"):
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(_crl(publisher.url(url)))
        faults.append(caught.value.fault)
    assert faults == [Fault.LATE, Fault.RESTING, Fault.RESTING]
    assert len(publisher.asked) == 1
    seconds += REST_SECONDS
    silent.set()
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(_crl(publisher.url("crl")))
    assert caught.value.fault is Fault.RESTING
    await asyncio.gather(*fetcher._trials)
    assert await _got(fetcher, publisher.url("crl")) == b"content"
    await fetcher.close()


async def test_slow_server_delays_its_own_alone(publisher: Publisher, fetcher: Fetcher) -> None:
    """However many wait for one server, in its own few places, another is asked at once."""
    silent = asyncio.Event()
    full = asyncio.Event()
    waiting: list[str] = []

    async def slow(request: web.Request) -> web.StreamResponse:
        waiting.append(request.path)
        if len(waiting) == AT_ONCE:
            full.set()
        await silent.wait()
        return web.Response(body=b"late")

    other = Publisher()
    await other.start()
    other.routes["crl"] = _gives(b"content")
    publisher.routes |= {f"slow{number}": slow for number in range(50)}
    asking = [asyncio.create_task(_got(fetcher, publisher.url(f"slow{number}"))) for number in range(50)]
    await full.wait()
    assert await _got(fetcher, other.url("crl")) == b"content"
    assert len(waiting) == AT_ONCE
    silent.set()
    assert await asyncio.gather(*asking) == [b"late"] * 50
    await other.stop()


@pytest.mark.parametrize(
    ("url", "kind", "wanted"),
    [
        (
            "ldap://ldap.example/cn=CA,o=Example%20Org?certificateRevocationList;binary",
            NeedKind.CRL,
            LdapUrl("ldap.example", 389, "cn=CA,o=Example Org", ("certificateRevocationList;binary",)),
        ),
        (
            "ldap://[2600::1]:3389/cn=CA?authorityRevocationList?base?objectClass=cRLDistributionPoint",
            NeedKind.CRL,
            LdapUrl("2600::1", 3389, "cn=CA", ("authorityRevocationList;binary",)),
        ),
        (
            "ldap://ldap.example/cn=CA?cACertificate,crossCertificatePair;binary",
            NeedKind.CERTIFICATE,
            LdapUrl("ldap.example", 389, "cn=CA", ("cACertificate;binary",)),
        ),
        (
            "ldaps://ldap.example/cn=CA?deltaRevocationList;binary",
            NeedKind.CRL,
            LdapUrl("ldap.example", 636, "cn=CA", ("deltaRevocationList;binary",), tls=True),
        ),
        ("ldap:///cn=CA?certificateRevocationList?base", NeedKind.CRL, None),
        ("ldaps:///cn=CA?certificateRevocationList?base", NeedKind.CRL, None),
        ("ldap://user:secret@ldap.example/cn=CA", NeedKind.CRL, None),
        ("ldap://ldap.example/cn=CA?userPassword", NeedKind.CRL, None),
        ("ldap://ldap.example/cn=CA?certificateRevocationList?sub", NeedKind.CRL, None),
        ("ldap://ldap.example/cn=CA??base??!bindname=cn=admin", NeedKind.CRL, None),
        ("ldap://ldap.example/?certificateRevocationList", NeedKind.CRL, None),
        ("ldap://ldap.example/cn=CA", NeedKind.OCSP, None),
        ("ldap://ldap.example:99999/cn=CA", NeedKind.CRL, None),
        ("ldap://ldap.example/cn=%ff", NeedKind.CRL, None),
    ],
)
def test_ldap_urls(url: str, kind: NeedKind, wanted: LdapUrl | None) -> None:
    """RFC 4516: one entry of a named server, and of its attributes those that can hold what is needed."""
    if wanted is not None:
        assert read_ldap_url(url, kind) == wanted
        return
    with pytest.raises(FetchError) as caught:
        read_ldap_url(url, kind)
    assert caught.value.fault is Fault.FORBIDDEN


@given(st.text(), st.sampled_from(NeedKind))
def test_any_ldap_url(text: str, kind: NeedKind) -> None:
    """Whatever stands in a certificate behind ``ldap://`` is a place we ask, of a named host, or a refusal."""
    with contextlib.suppress(FetchError):
        found = read_ldap_url("ldap://" + text, kind)
        assert all((found.host, found.entry, found.attributes))


async def test_ldap_stays_out_too() -> None:
    """No LDAP server of our own network is asked, by number or by name; one without a host costs no time at all."""
    fetcher = Fetcher(Bounds(1000, 5.0))
    for url in ("ldap://127.0.0.1/cn=CA", "ldap://localhost/cn=CA", "ldap:///cn=CA"):
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(_crl(url))
        assert caught.value.fault is Fault.FORBIDDEN
    await fetcher.close()
