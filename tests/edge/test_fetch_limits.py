"""Limits of fetching and of what is kept of it, at their edge."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from ldap3.core.exceptions import LDAPSocketOpenError

from gateway.edge.evidencecache import MAX_KNOWN, MAX_KNOWN_BYTES, EvidenceCache, _Kept
from gateway.edge.fetcherror import Bounds, Fault, FetchError
from gateway.edge.http import MAX_AT_ONCE, Http
from gateway.edge.ldap import MAX_ANSWER
from gateway.edge.ldapfetch import MAX_TRIED, MAX_VALUES, LdapFetch
from gateway.edge.ldapquestion import Question, TooLarge
from gateway.edge.ldapurl import LdapUrl
from gateway.edge.reachable import Names, networks
from gateway.edge.servers import MAX_SERVERS, Servers
from gateway.edge.shelf import MAX_HEAD, MAX_KEPT, MAX_KEPT_BYTES, Note, Shelf
from gateway.events import Event
from gateway.trust.answer import Failed
from gateway.trust.judgement import Need, NeedKind
from tests.pki import NOW, microseconds

AT = microseconds(NOW)
BOUNDS = Bounds(1000, 5.0, networks(["127.0.0.0/8"]))


def need(name: object, issuer: bytes = b"") -> Need:
    return Need(NeedKind.CRL, f"http://ca.example/{name}", issuer)


def filled(folder: Path, sizes: list[int]) -> None:
    """Files of somebody, the first of them used last; large ones are holes."""
    for age, size in enumerate(sizes, 1):
        path = folder / f"{age}.kept"
        with path.open("wb") as file:
            file.truncate(size)
        os.utime(path, (age, -age + 1_000_000))


def kept(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_files_that_are_kept(tmp_path: Path) -> None:
    """One more takes the place of the one that was not used for longest."""
    shelf = Shelf(tmp_path)
    filled(tmp_path, [0] * (MAX_KEPT - 1))
    shelf.write(Note(need(1)), (b"crl",), AT, "")
    assert kept(tmp_path) == MAX_KEPT
    shelf.write(Note(need(2)), (b"crl",), AT, "")
    assert kept(tmp_path) == MAX_KEPT
    assert not (tmp_path / f"{MAX_KEPT - 1}.kept").exists()
    assert shelf.peek(need(1)) is not None
    assert shelf.peek(need(2)) is not None


@pytest.mark.parametrize(("beyond", "left"), [(0, 3), (1, 2)])
def test_bytes_that_are_kept(tmp_path: Path, beyond: int, left: int) -> None:
    """The contents that come are counted with what is there."""
    shelf, content = Shelf(tmp_path), b"crl"
    filled(tmp_path, [MAX_KEPT_BYTES // 2, MAX_KEPT_BYTES // 2 - len(content) + beyond])
    shelf.write(Note(need(1)), (content,), AT, "")
    assert kept(tmp_path) == left


def test_what_a_file_says_of_its_contents(tmp_path: Path) -> None:
    """What is longer is as good as nothing."""
    shelf = Shelf(tmp_path)
    fits, too_long = (Note(need(1), detail="x" * size) for size in (MAX_HEAD - 1000, MAX_HEAD))
    shelf.write(fits, (b"crl",), AT, "")
    assert shelf.read(fits.need) is not None
    shelf.write(too_long, (b"crl",), AT, shelf.peek(fits.need).digest)  # type: ignore[union-attr] # it was just read
    assert shelf.read(fits.need) is None


class Nobody:
    """Is asked nothing."""

    async def fetch(self, _: Need) -> tuple[bytes, ...]:
        raise FetchError(Fault.UNREACHABLE, "nobody is there")

    def see(self, event: Event) -> None:
        """Nothing happens."""


def test_answers_that_are_known(tmp_path: Path) -> None:
    """For one more, the one that was looked at first is forgotten."""
    cache = EvidenceCache(Nobody(), Shelf(tmp_path), Nobody())
    for number in range(MAX_KNOWN + 1):
        assert cache.known(need(0), AT) is not None or number == 0
        cache._remember(_Kept(Note(need(number)), Failed("no")), AT)
    assert cache.known(need(0), AT) is None
    assert all(cache.known(need(number), AT) is not None for number in range(1, MAX_KNOWN + 1))


def test_bytes_that_are_known(tmp_path: Path) -> None:
    """By the size of what they were read from."""
    cache = EvidenceCache(Nobody(), Shelf(tmp_path), Nobody())
    for number, size in enumerate((MAX_KNOWN_BYTES // 2, MAX_KNOWN_BYTES // 2, 1)):
        assert cache.known(need(0), AT) is not None or number == 0
        cache._remember(_Kept(Note(need(number)), Failed("no"), size), AT)
    assert [cache.known(need(number), AT) is None for number in range(3)] == [True, False, False]


def test_servers_that_are_known() -> None:
    """For one more, the one that was asked longest ago is forgotten."""
    servers = Servers()
    first, second = servers.named("0"), servers.named("1")
    for number in range(2, MAX_SERVERS):
        servers.named(str(number))
    assert servers.named("0") is first
    servers.named("one more")
    assert servers.named("0") is first
    assert servers.named("1") is not second


async def test_connections_at_once() -> None:
    """aiohttp counts them."""
    names = Names(())
    http = Http(BOUNDS, names)
    connector = http._connected().connector
    assert connector is not None
    assert connector.limit == MAX_AT_ONCE
    await http.close()
    names.close()


def test_the_answer_of_a_directory() -> None:
    """To the byte."""
    question = Question(MAX_ANSWER)
    question.spend(MAX_ANSWER)
    with pytest.raises(TooLarge):
        question.spend(1)


async def test_addresses_that_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host with one more the last is not connected to."""
    numbers = [f"127.0.0.{number}" for number in range(1, MAX_TRIED + 2)]
    tried: list[str] = []

    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 389)) for number in numbers]

    def refuse(_: object, address: str, *__: object) -> tuple[bytes, ...]:
        tried.append(address)
        raise LDAPSocketOpenError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(LdapFetch, "_ask_at", refuse)
    names = Names(BOUNDS.allow_private)
    ldap = LdapFetch(BOUNDS, names)
    with pytest.raises(FetchError) as caught:
        await ldap.ask("ldap://many.example/cn=CA", NeedKind.CRL)
    assert caught.value.fault is Fault.UNREACHABLE
    assert tried == numbers[:MAX_TRIED]
    await ldap.close()
    names.close()


async def test_values_of_an_entry() -> None:
    """What is beyond them is left."""
    names = Names(())
    ldap = LdapFetch(BOUNDS, names)
    values = [bytes([number]) for number in range(MAX_VALUES + 1)]
    entry = {"type": "searchResEntry", "raw_attributes": {"certificateRevocationList;binary": values}}
    answer = SimpleNamespace(search=lambda *_, **__: None, result={"description": "success"}, response=[entry])
    assert ldap._read(answer, LdapUrl("ldap.example", 389, "cn=CA", ())) == tuple(values[:MAX_VALUES])
    await ldap.close()
    names.close()
