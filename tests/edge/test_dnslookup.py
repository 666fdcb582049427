"""Questions to a name server that misbehaves: what it costs, and whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest

from gateway.edge.dnscertificates import Cert, Smimea, cert_names
from gateway.edge.dnslookup import Lookup, LookupSettings, Question
from gateway.edge.ldapsrv import Target, in_order
from gateway.mail.address import parse_address
from gateway.trust.sources import DirectoryError


class NameServer(asyncio.DatagramProtocol):
    """Knows no name, and says so to those it answers; ``hostile`` makes the answers of some domains."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.flags: list[int] = []
        self.waiting = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text().lower()
        self.asked[name] += 1
        self.flags.append(query.flags)
        self.waiting.set()
        if "silent" not in name:
            self.transport.sendto(hostile(query, name), addr)


def hostile(query: dns.message.Message, name: str) -> bytes:
    """The answer (wire format)."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    kind = dns.rdatatype.to_text(query.question[0].rdtype)
    wire = answer.to_wire()
    if "loop" in name:
        # Compression that points to itself (RFC 1035 4.1.4), as the owner of an answer
        return wire[:6] + b"\0\1" + wire[8:10] + b"\0\0" + wire[12 : 12 + len(name) + 1 + 4] + b"\xc0" + bytes([16 + len(name) + 1])
    if "chain" in name:
        links = [f"{number}.{name}" for number in range(40)]
        for owner, target in zip([name, *links], [*links, name], strict=True):
            answer.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target))
    if "foreign" in name:
        texts = "3 0 0 00" if kind == "SMIMEA" else "PKIX 0 0 AA=="
        answer.answer.append(dns.rrset.from_text("somebody.else.example.", 60, "IN", kind, texts))
    if "short" in name:
        broken = dns.rrset.from_text(name, 60, "IN", f"TYPE{int(query.question[0].rdtype)}", r"\# 1 00")
        answer.answer.append(broken)
    return answer.to_wire()


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
def settings(server: NameServer) -> LookupSettings:
    return LookupSettings(("127.0.0.1",), server.transport.get_extra_info("sockname")[1], 0.3)


async def test_asks_for_validation(server: NameServer, settings: LookupSettings) -> None:
    """AD in a question says that its answer is understood (RFC 6840 5.7)."""
    await Cert(Lookup("cert", settings)).find(parse_address("a@laboratory.example"))
    assert all(flags & dns.flags.AD for flags in server.flags)


async def test_a_silent_domain_costs_one_deadline_and_nobody_else(server: NameServer, settings: LookupSettings) -> None:
    cert = Cert(Lookup("cert", settings))
    waiting = asyncio.create_task(cert.find(parse_address("a@silent.example")))
    await server.waiting.wait()
    assert not (await cert.find(parse_address("a@laboratory.example"))).certificates
    assert not waiting.done()
    with pytest.raises(DirectoryError) as late:
        await waiting
    asked = server.asked.total()
    with pytest.raises(DirectoryError) as resting:
        await cert.find(parse_address("b@silent.example"))
    assert (late.value.resting, resting.value.resting, server.asked.total()) == (False, True, asked)
    assert not (await cert.find(parse_address("a@laboratory.example"))).certificates


async def test_given_up_tells_the_breaker_nothing(server: NameServer, settings: LookupSettings) -> None:
    """Whoever gives up has seen no failure: the next one asks."""
    lookup = Lookup("cert", replace(settings, deadline_seconds=5.0))
    question = Question(dns.name.from_text("silent.example."), "CERT")
    waiting = asyncio.create_task(lookup.ask("laboratory.example", [question]))
    await server.waiting.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (answer,) = await lookup.ask("laboratory.example", [replace(question, name=dns.name.from_text("laboratory.example."))])
    assert answer.values == ()


@pytest.mark.parametrize("kind", [Cert, Smimea])
@pytest.mark.parametrize("domain", ["loop.example", "chain.example", "short.example"])
async def test_what_cannot_be_read_is_an_error_of_the_directory(
    settings: LookupSettings, domain: str, kind: type[Cert | Smimea]
) -> None:
    """Compression in a loop, aliases in a circle, a record that breaks off: told by kind, quoted nowhere."""
    directory = kind(Lookup("directory", replace(settings, dnssec_required=kind is Smimea)))
    with pytest.raises(DirectoryError, match=f": {domain}: [A-Za-z0-9. ]+$") as error:
        await directory.find(parse_address(f"a@{domain}"))
    assert not error.value.resting


@pytest.mark.parametrize("kind", [Cert, Smimea])
async def test_records_of_another_name_are_not_looked_at(settings: LookupSettings, kind: type[Cert | Smimea]) -> None:
    found = await kind(Lookup("directory", settings)).find(parse_address("a@foreign.example"))
    assert (found.certificates, found.passed_over) == ((), ())


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("a@laboratory.example", ["a.laboratory.example.", "laboratory.example."]),
        ("a.b@x.example", [r"a\.b.x.example.", "a.b.x.example.", "x.example."]),
        (f"{'a' * 64}@x.example", ["x.example."]),
        ('"a..b"@x.example', [r"\"a..b\".x.example.".replace("..", r"\.\."), "x.example."]),
    ],
    ids=["plain", "as RFC 1035 and as Direct write a dot", "longer than a label", "an empty label"],
)
def test_cert_names(address: str, names: list[str]) -> None:
    """RFC 4398 3.1, RFC 1035 8: the local part is one label."""
    assert [name.to_text() for name in cert_names(parse_address(address))] == names


def test_srv_order() -> None:
    """RFC 2782: the lowest priority first; within one, a server comes first as often as its weight says, and weight 0 seldom."""
    last, heavy, light, zero = (Target(priority, weight, str(weight), 389) for priority, weight in ((2, 9), (1, 3), (1, 1), (1, 0)))
    first: Counter[Target] = Counter()
    for number in range(5):
        ordered = in_order([last, heavy, light, zero], lambda most, number=number: min(number, most))  # type: ignore[misc]
        assert ordered[-1] is last
        first[ordered[0]] += 1
    assert first == {zero: 1, light: 1, heavy: 3}
