"""Mail exchanges, asked of a name server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gateway.edge.dns import MAX_ADDRESSES, MAX_EXCHANGES, Resolver
from gateway.outcome import Defer, GatewayError, Reason, Refuse

OWN = "gateway.hospital.example"
ZONE = {
    ("laboratory.example.", "MX"): ["20 mx2.laboratory.example.", "10 MX1.laboratory.example."],
    ("mx1.laboratory.example.", "A"): ["127.0.0.1"],
    ("mx1.laboratory.example.", "AAAA"): ["::1"],
    ("mx2.laboratory.example.", "A"): ["127.0.0.2"],
    ("plain.example.", "A"): ["127.0.0.3"],
    ("null.example.", "MX"): ["0 ."],
    ("backup.example.", "MX"): ["10 mx.backup.example.", "20 gateway.hospital.example.", "20 other.example.", "30 last.example."],
    **{
        (f"many{count}.example.", "MX"): [f"{10 + number} mx{number}.example." for number in range(count)]
        for count in (MAX_EXCHANGES, MAX_EXCHANGES + 1)
    },
    **{
        (f"wide{count}.example.", kind): [f"{net}{number}" for number in range(first, count, 2)]
        for count in (MAX_ADDRESSES, MAX_ADDRESSES + 1)
        for kind, net, first in (("AAAA", "2001:db8::", 0), ("A", "192.0.2.", 1))
    },
    ("ours.example.", "MX"): ["10 gateway.hospital.example.", "20 mx.ours.example."],
}
NAMES = {name for name, _ in ZONE} | {"bare.example."}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ``ZONE``; ``broken.example`` with SERVFAIL, ``silent.example`` not at all."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        if name == "silent.example.":
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name == "broken.example.":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in NAMES:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, kind) in ZONE:
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, ZONE[name, kind]))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    try:
        yield Resolver(["127.0.0.1"], port=transport.get_extra_info("sockname")[1], deadline=0.3)
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        ("laboratory.example", ("mx1.laboratory.example", "mx2.laboratory.example")),
        ("plain.example", ("plain.example",)),
        ("backup.example", ("mx.backup.example",)),
    ],
    ids=["by preference", "the domain itself without MX", "only those better than ourselves"],
)
async def test_exchanges(resolver: Resolver, domain: str, hosts: tuple[str, ...]) -> None:
    assert await resolver.exchanges(domain, OWN) == hosts


@pytest.mark.parametrize("count", [MAX_EXCHANGES, MAX_EXCHANGES + 1])
async def test_exchanges_beyond_the_limit_are_left_out(resolver: Resolver, count: int) -> None:
    """The last by preference."""
    assert await resolver.exchanges(f"many{count}.example", OWN) == tuple(f"mx{number}.example" for number in range(MAX_EXCHANGES))


@pytest.mark.parametrize("count", [MAX_ADDRESSES, MAX_ADDRESSES + 1])
async def test_addresses_beyond_the_limit_are_left_out(resolver: Resolver, count: int) -> None:
    found = await resolver.addresses(f"wide{count}.example")
    assert len(found) == len(set(found)) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("domain", "kind", "reason"),
    [
        ("null.example", Refuse, Reason.NO_ROUTE),
        ("missing.example", Refuse, Reason.NO_ROUTE),
        ("ours.example", Refuse, Reason.LOOP),
        ("broken.example", Defer, Reason.HOP_UNREACHABLE),
        ("silent.example", Defer, Reason.HOP_UNREACHABLE),
    ],
)
async def test_a_domain_without_exchanges(resolver: Resolver, domain: str, kind: type, reason: Reason) -> None:
    """RFC 7505 for the null MX; what DNS does not say now may be said later."""
    answer = await resolver.exchanges(domain, OWN)
    assert isinstance(answer, kind)
    assert isinstance(answer, Refuse | Defer)
    assert answer.reason is reason


async def test_addresses_of_both_kinds(resolver: Resolver) -> None:
    assert await resolver.addresses("mx1.laboratory.example") == ("::1", "127.0.0.1")
    assert await resolver.addresses("mx2.laboratory.example") == ("127.0.0.2",)


@pytest.mark.parametrize("host", ["bare.example", "missing.example", "broken.example", "silent.example"])
async def test_a_host_without_addresses(resolver: Resolver, host: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await resolver.addresses(host)
    assert caught.value.reason is Reason.HOP_UNREACHABLE
