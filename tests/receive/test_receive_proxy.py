"""A load balancer in front: the PROXY header decides whose connection it is, and only where it must come."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.events import MailAccepted, PeerRejected
from gateway.outcome import Reason
from gateway.receive import introduction
from tests.receive.gatehouse import House, Pki, house

HEADER = b"PROXY TCP4 127.9.9.9 127.0.0.1 56324 25\r\n"


@asynccontextmanager
async def balanced(
    folder: Path, pki: Pki, limits: dict[str, Any] | None = None, proxy: str = "127.0.0.1/32"
) -> AsyncIterator[House]:
    async with house(folder, pki, limits) as gatehouse:
        listeners = {name: place.model_copy(update={"proxy": (proxy,)}) for name, place in gatehouse.config.listener.items()}
        gatehouse.config = gatehouse.config.model_copy(update={"listener": listeners})
        yield gatehouse


@pytest.mark.parametrize("pieces", [1, len(HEADER)])
async def test_the_named_address_is_the_client_everywhere(tmp_path: Path, pki: Pki, pieces: int) -> None:
    async with balanced(tmp_path, pki) as gatehouse, gatehouse.client(greeted=False) as client:
        for start in range(0, len(HEADER), len(HEADER) // pieces):
            await client.send(HEADER[start : start + len(HEADER) // pieces])
        assert (await client.reply()).startswith("220 ")
        await client.ask("EHLO mail.hospital.example")
        await client.mail()
        assert (await client.data(b"From: <cardiology@hospital.example>\r\n\r\nText\r\n.\r\n")).startswith("250 ")
        assert [event.address for event in gatehouse.seen(MailAccepted)] == ["127.9.9.9"]


async def test_a_named_address_of_no_client_is_a_stranger(tmp_path: Path, pki: Pki) -> None:
    async with balanced(tmp_path, pki) as gatehouse, gatehouse.client(greeted=False) as client:
        await client.send(HEADER.replace(b"127.9.9.9", b"192.0.2.7"))
        await client.reply()
        await client.ask("EHLO mail.hospital.example")
        assert (await client.ask("MAIL FROM:<cardiology@hospital.example>")).startswith("550 5.7.1 ")


@pytest.mark.parametrize("first", [b"EHLO mail.hospital.example\r\n", b"PROXY TCP4 1.2.3.4\r\n", b""])
async def test_without_a_header_nothing_is_said(tmp_path: Path, pki: Pki, first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introduction, "PROXY_SECONDS", 5.0 if first else 0.05)
    async with balanced(tmp_path, pki) as gatehouse, gatehouse.client(greeted=False) as client:
        await client.send(first)
        with suppress(ConnectionResetError):
            assert await client.reader.read() == b""
        assert [(event.address, event.reason) for event in gatehouse.seen(PeerRejected)] == [("127.0.0.1", Reason.MALFORMED)]


async def test_from_elsewhere_a_header_is_a_syntax_error(tmp_path: Path, pki: Pki) -> None:
    async with balanced(tmp_path, pki, proxy="10.0.0.0/8") as gatehouse, gatehouse.client() as client:
        assert (await client.ask(HEADER.decode().rstrip())).startswith("500 5.5.")


async def test_the_limit_counts_the_named_address(tmp_path: Path, pki: Pki) -> None:
    async with balanced(tmp_path, pki, {"connections_per_address": 1}) as gatehouse, gatehouse.client(greeted=False) as first:
        await first.send(HEADER)
        assert (await first.reply()).startswith("220 ")
        async with gatehouse.client(greeted=False) as same, gatehouse.client(greeted=False) as other:
            await same.send(HEADER)
            assert await same.reply() == "421 4.7.0 Too many connections"
            await other.send(HEADER.replace(b"9.9.9", b"9.9.8"))
            assert (await other.reply()).startswith("220 ")
        assert [(event.address, event.reason) for event in gatehouse.seen(PeerRejected)] == [("127.9.9.9", Reason.TOO_MANY)]


async def test_the_header_comes_before_tls(tmp_path: Path, pki: Pki) -> None:
    async with balanced(tmp_path, pki) as gatehouse, gatehouse.client("zone", greeted=False) as client:
        await client.send(HEADER)
        await client.writer.start_tls(gatehouse.client_tls(pki.laboratory), server_hostname="gateway.hospital.example")
        assert (await client.reply()).startswith("220 ")
