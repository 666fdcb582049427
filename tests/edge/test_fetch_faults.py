"""What a fetch comes to behind a proxy of faults: how it is named, and within what time. The mails of it are in tests/system."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.edge.fetch import Fetcher
from gateway.edge.fetcherror import Bounds, Fault, FetchError
from gateway.edge.reachable import networks
from gateway.trust.judgement import Need, NeedKind
from tests.faultproxy import Behaviour, Door, FaultProxy, dripping, redirecting, saying, silent, through, truncated
from tests.pki import Ca
from tests.publisher import Publisher

DEADLINE = 0.5
CONTENT = b"content" * 1000
HUGE = 500 << 20
BODY = f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode()
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
LDAP_BODY = b"\x30\x84" + HUGE.to_bytes(4)  # an LDAPMessage of that length (RFC 4511 4.1.1)


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    publisher = Publisher()

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=CONTENT)

    publisher.routes["crl"] = answer
    await publisher.start()
    yield publisher
    await publisher.stop()


async def _fault(proxy: FaultProxy, url: str) -> tuple[Fault | None, float]:
    fetcher = Fetcher(Bounds(1 << 20, DEADLINE, networks(["127.0.0.0/8"])))
    await proxy.start()
    began = time.monotonic()
    try:
        await fetcher.fetch(Need(NeedKind.CRL, url.format(port=proxy.port), b""))
    except FetchError as error:
        return error.fault, time.monotonic() - began
    finally:
        await fetcher.close()
        await proxy.stop()
    return None, time.monotonic() - began


@pytest.mark.parametrize(
    ("name", "door", "fault"),
    [
        ("none", Door.OPEN, None),
        ("refused", Door.SHUT, Fault.UNREACHABLE),
        ("no-tcp", Door.BLACK_HOLE, Fault.LATE),
        ("silent", Door.OPEN, Fault.LATE),
        ("truncated", Door.OPEN, Fault.BROKEN),
        ("dripping", Door.OPEN, Fault.LATE),
        ("huge", Door.OPEN, Fault.TOO_LARGE),
        ("endless", Door.OPEN, Fault.TOO_LARGE),
        ("inwards", Door.OPEN, Fault.FORBIDDEN),
        ("no-http", Door.OPEN, Fault.BROKEN),
    ],
)
async def test_http(publisher: Publisher, name: str, door: Door, fault: Fault | None) -> None:
    """Before an HTTP publisher."""
    port = publisher.port
    behaviours = {
        "none": through(port),
        "truncated": truncated(port, 1000),
        "dripping": dripping(port),
        "huge": saying(BODY, HUGE),
        "endless": saying(ENDLESS, HUGE),
        "inwards": redirecting("http://169.254.169.254/latest/"),
        "no-http": saying(b"220 mail.example ESMTP\r\n"),
    }
    found, seconds = await _fault(FaultProxy(behaviours.get(name, silent), door), "http://127.0.0.1:{port}/crl")
    assert found is fault
    assert seconds < DEADLINE + 0.5


@pytest.mark.parametrize(
    ("name", "fault"), [("wrong-certificate", Fault.TLS), ("before-handshake", Fault.LATE), ("behind-handshake", Fault.LATE)]
)
async def test_https(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault) -> None:
    """Before a publisher behind TLS: a certificate of nobody we know, silence in place of the handshake, and behind it."""
    ca = Ca.root()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ca.gateway("localhost").write(tmp_path, "server"))
    if name == "behind-handshake":
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cadata=ca.pem.decode()))
    tls = None if name == "before-handshake" else context
    behave = through(publisher.port) if name == "wrong-certificate" else silent
    found, seconds = await _fault(FaultProxy(behave, tls=tls), "https://localhost:{port}/crl")
    assert found is fault
    assert seconds < DEADLINE + 0.5


@pytest.mark.parametrize(
    ("behave", "door", "fault"),
    [
        (silent, Door.SHUT, Fault.UNREACHABLE),
        (silent, Door.BLACK_HOLE, Fault.LATE),
        (silent, Door.OPEN, Fault.LATE),
        (saying(LDAP_BODY, HUGE), Door.OPEN, Fault.TOO_LARGE),
        (saying(LDAP_BODY[:3]), Door.OPEN, Fault.BROKEN),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Door.OPEN, Fault.BROKEN),
    ],
    ids=["refused", "no-tcp", "silent", "huge", "truncated", "no-ldap"],
)
async def test_ldap(behave: Behaviour, door: Door, fault: Fault) -> None:
    """Before an LDAP server, which these faults never reach."""
    found, seconds = await _fault(FaultProxy(behave, door), "ldap://127.0.0.1:{port}/cn=CA?certificateRevocationList")
    assert found is fault
    assert seconds < DEADLINE + 0.7


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("refused", Fault.UNREACHABLE),
        ("no-tcp", Fault.LATE),
        ("before-handshake", Fault.LATE),
        ("no-tls", Fault.TLS),
        ("of-nobody-we-know", Fault.TLS),
        ("of-another-host", Fault.TLS),
        ("behind-handshake", Fault.LATE),
        ("truncated", Fault.BROKEN),
        ("huge", Fault.TOO_LARGE),
    ],
)
async def test_ldaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault) -> None:
    """Before an LDAP server behind TLS, which these faults never reach: before the handshake, within it, behind it."""
    ca = Ca.root()
    host = "elsewhere.example" if name == "of-another-host" else "localhost"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ca.gateway(host).write(tmp_path, "server"))
    if name != "of-nobody-we-know":
        (tmp_path / "ca.pem").write_bytes(ca.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    doors = {"refused": Door.SHUT, "no-tcp": Door.BLACK_HOLE}
    behaviours = {
        "no-tls": saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "truncated": saying(LDAP_BODY[:3]),
        "huge": saying(LDAP_BODY, HUGE),
    }
    tls = None if name in {*doors, "before-handshake", "no-tls"} else context
    proxy = FaultProxy(behaviours.get(name, silent), doors.get(name, Door.OPEN), tls)
    found, seconds = await _fault(proxy, "ldaps://localhost:{port}/cn=CA?certificateRevocationList")
    assert found is fault
    assert seconds < DEADLINE + 0.7


async def test_dead_server_delays_nobody_else(publisher: Publisher) -> None:
    """While ten servers are silent, one that answers does so at once: nobody waits for the deadline of another."""
    proxies = [FaultProxy() for _ in range(10)]
    fetcher = Fetcher(Bounds(1 << 20, 60.0, networks(["127.0.0.0/8"])))
    for proxy in proxies:
        await proxy.start()
    needs = [
        Need(NeedKind.CRL, f"{scheme}://127.0.0.1:{proxy.port}/cn=CA", b"") for proxy in proxies for scheme in ("http", "ldap")
    ]
    dead = [asyncio.create_task(fetcher.fetch(need)) for need in needs]
    await asyncio.sleep(0)
    assert await fetcher.fetch(Need(NeedKind.CRL, publisher.url("crl"), b"")) == (CONTENT,)
    assert not any(task.done() for task in dead)
    for proxy in proxies:
        await proxy.stop()  # which hangs up on all of them
    assert all(isinstance(answer, FetchError) for answer in await asyncio.gather(*dead, return_exceptions=True))
    await fetcher.close()
