"""Certificates of a domain in DNS and in the LDAP servers it names: Direct's cases D1 to D18, and DNSSEC.

Real servers: NSD with signed zones, Unbound, two slapds.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from demo.ports import free_port
from gateway.config.model import Directory, DirectoryKind
from gateway.edge.clock import now
from gateway.edge.directories import make_directory
from gateway.edge.dns import Resolver
from gateway.edge.dnscertificates import Cert, Smimea
from gateway.edge.dnslookup import MAX_RECORDS, PAYLOAD, Lookup, LookupSettings
from gateway.edge.evidencecache import EvidenceCache
from gateway.edge.fetch import Fetcher
from gateway.edge.fetcherror import Bounds
from gateway.edge.ldapsrv import MAX_TARGETS, LdapSrv
from gateway.edge.reachable import networks
from gateway.edge.shelf import Shelf
from gateway.events import Event, FetchFailed
from gateway.flow.choice import Unusable, Usable
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence
from gateway.mail.address import Address, parse_address
from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Assurance, Revocation
from gateway.trust.ladder import AfterInvalid, Rung
from gateway.trust.rules import Issuers
from gateway.trust.smimea import local_label
from gateway.trust.sources import Directory as Port
from gateway.trust.sources import DirectoryError
from tests.pki import BEGIN, Ca, Issued
from tests.publisher import Handler, Publisher
from tests.system.nameservers import RESOLVER, NameServers, record
from tests.system.slapd import Slapd

LOOPBACK: Final = networks(["127.0.0.0/8"])
EXPIRED: Final = BEGIN + dt.timedelta(days=1)
DEADLINE: Final = 2.0


@dataclass
class World:
    """``certificates`` by their name in a case; the servers hold them as ``publish`` laid them out."""

    home: Path
    ca: Ca = field(default_factory=Ca.root)
    certificates: dict[str, Issued] = field(default_factory=dict)
    records: list[str] = field(default_factory=lambda: ["ldap A 127.0.0.1"])
    people: list[tuple[int, str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    web_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        certificate, key = self.ca.gateway("localhost").write(self.home, "server")
        self.slapds = [Slapd(self.home / f"slapd{number}", certificate, key) for number in (0, 1)]
        self.dead, self.silent = free_port(), free_port()
        self.crl_url = f"http://127.0.0.1:{self.web_port}/crl"
        self.issuer_url = f"http://127.0.0.1:{self.web_port}/issuer"
        self.hidden = self.ca.intermediate("CN=Hidden,O=Zone,C=FR")
        self._issue()

    def _issue(self) -> None:
        stranger = Ca.root("CN=Stranger")
        for case in (1, 3, 9, 10, 15, 16):
            self.certificates[f"d{case}"] = self.ca.reader(f"a@d{case}.direct.example")
        for case in (2, 4):
            self.certificates[f"d{case}"] = self.ca.reader("", emails=[], dns=[f"d{case}.direct.example"], subject="CN=Domain")
        for case in (5, 7, 9):
            self.certificates[f"expired{case}"] = self.ca.reader(f"a@d{case}.direct.example", not_after=EXPIRED)
        for case in (6, 8):
            named = f"d{case}.direct.example"
            self.certificates[f"stranger{case}"] = stranger.reader("", emails=[], dns=[named], subject="CN=Domain")
        for name in ("near", "far"):
            self.certificates[name] = self.ca.reader(f"a@{name}.direct.example")
        for name in "ab":
            self.certificates[f"silent-{name}"] = self.ca.reader(f"{name}@silent.direct.example")
        for case in (15, 16):
            self.certificates[f"other{case}"] = self.ca.reader(f"a@d{case}.direct.example")
        # Larger than what fits over UDP with EDNS, not only than the 512 bytes of RFC 1035
        many = [f"a{number}@d14.direct.example" for number in range(40)]
        self.certificates["d14"] = self.ca.reader("a@d14.direct.example", "rsa3072", emails=["a@d14.direct.example", *many])
        self.certificates["revoked17"] = self.ca.reader("a@d17.direct.example", crl_urls=[self.crl_url])
        self.certificates["d18"] = self.hidden.reader("a@d18.direct.example", issuer_url=self.issuer_url)

    def cert(self, name: str, certificate: str) -> None:
        self.records.append(record(name, "CERT", self.certificates[certificate].der))

    def ldap(self, number: int, domain: str, mail: str, certificate: str) -> None:
        """A person of slapd ``number``, whom its domain's SRV record leads to."""
        self.people.append((number, mail, certificate))
        self.srv(domain, self.slapds[number].port)

    def srv(self, domain: str, port: int, priority: int = 10, weight: int = 0) -> None:
        self.records.append(f"_ldap._tcp.{domain} SRV {priority} {weight} {port} ldap")

    def fill(self) -> None:
        """What each case of Direct's has where."""
        for case in (1, 14, 18):
            self.cert(f"a.d{case}", f"d{case}")
        self.cert("d2", "d2")
        self.ldap(0, "d3", "a@d3.direct.example", "d3")
        self.ldap(0, "d4", "d4.direct.example", "d4")
        self.cert("a.d5", "expired5")
        self.cert("d6", "stranger6")
        self.ldap(0, "d7", "a@d7.direct.example", "expired7")
        self.ldap(0, "d8", "d8.direct.example", "stranger8")
        self.cert("a.d9", "expired9")
        self.cert("a.d9", "d9")
        self.srv("d10", self.dead, priority=1)
        self.ldap(0, "d10", "a@d10.direct.example", "d10")
        for name in "ab":
            self.ldap(0, "silent", f"{name}@silent.direct.example", f"silent-{name}")
        self.srv("silent", self.silent, priority=1)
        for domain, dead in (("near", MAX_TARGETS - 1), ("far", MAX_TARGETS)):
            for port in [free_port() for _ in range(dead)]:
                self.srv(domain, port, priority=1)
            self.ldap(0, domain, f"a@{domain}.direct.example", domain)
        self.srv("d12", self.dead)
        self.srv("d5", self.slapds[0].port)
        self.srv("d13", self.slapds[0].port)
        for case, numbers in ((15, ((1, 0), (2, 0))), (16, ((1, 100), (1, 0)))):
            for slapd, (priority, weight), name in zip(self.slapds, numbers, (f"d{case}", f"other{case}"), strict=True):
                self.people.append((self.slapds.index(slapd), f"a@d{case}.direct.example", name))
                self.srv(f"d{case}", slapd.port, priority, weight)
        self.cert("a.d17", "revoked17")
        for number, mail, name in self.people:
            self.slapds[number].add_person(name, mail, [self.certificates[name].der])

    def see(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("discovery"))
    with world.slapds[0], world.slapds[1]:
        world.fill()
        yield world


@pytest.fixture(scope="module")
def servers(world: World) -> Iterator[NameServers]:
    """Direct's cases, and the domains of the tests below."""
    one, two = (world.ca.reader("a@secure.example") for _ in range(2))
    lone, alone = (Ca.root("CN=Stranger").reader(f"{name}@secure.example") for name in ("lone", "alone"))
    world.certificates |= {"secure": one, "other": two, "lone": lone, "alone": alone}
    label = f"{local_label('a')}._smimecert"
    secure = [
        record(label, "SMIMEA", one.der),
        record("a", "CERT", two.der),
        record(f"{local_label('wrong')}._smimecert", "SMIMEA", one.der),
        f"{local_label('digest')}._smimecert SMIMEA 3 1 1 {'00' * 32}",
        record("digest", "CERT", world.ca.reader("digest@secure.example").der),
        f"{local_label('odd')}._smimecert SMIMEA 3 0 0 0400",
        f"{local_label('odd')}._smimecert SMIMEA 9 9 9 00",
        "odd CERT URI 0 0 aHR0cDovL3gv",
        f"{local_label('elsewhere')}._smimecert CNAME {label}",
        record(f"{local_label('lone')}._smimecert", "SMIMEA", lone.der),
        record("alone", "CERT", alone.der),
        record("*", "CERT", one.der),
        *(record("huge", "CERT", bytes([number]) * 400) for number in range(100)),
    ]
    plain = world.certificates["unsigned"] = world.ca.reader("a@unsigned.example")
    unsigned = [record(label, "SMIMEA", plain.der), record("a", "CERT", plain.der), "_ldap._tcp SRV 0 0 0 ."]
    whole = world.certificates["whole"] = Ca.root("CN=Stranger").organisation_reader("whole.example")
    authority = [record(f"{local_label('domain-confidentiality-authority')}._smimecert", "SMIMEA", whole.der)]
    zones = {"direct.example": world.records, "secure.example": secure, "whole.example": authority}
    zones["expired.example"] = [record(label, "SMIMEA", one.der)]
    with NameServers(world.home / "dns", zones, {"unsigned.example": unsigned}, ["expired.example"]) as running:
        yield running


class Asking:
    """Evidence of one zone, with the directories that ``names`` picks; the zone binds every domain of the cases."""

    def __init__(
        self, world: World, servers: NameServers, source: EvidenceCache, names: Sequence[str], after_invalid: AfterInvalid
    ) -> None:
        settings = LookupSettings((RESOLVER,), servers.port, DEADLINE)
        srv = LdapSrv(Lookup("srv", settings), Resolver([RESOLVER], servers.port), LOOPBACK, lambda most: most)
        self.all: dict[str, Port] = {
            "cert": Cert(Lookup("cert", settings)),
            "srv": srv,
            "smimea": Smimea(Lookup("smimea", replace(settings, dnssec_required=True))),
            "signed": Cert(Lookup("signed", replace(settings, dnssec_required=True))),
        }
        self.circle = Circle(
            Anchors([world.ca.der]),
            Assurance.ZONE,
            Revocation.SOFT,
            "direct",
            tuple(self.all[name] for name in names),
            frozenset({"whole.example", *(f"d{number}.direct.example" for number in range(1, 19))}),
            issuers=Issuers.FETCHED,
            after_invalid=after_invalid,
        )
        self.srv = srv
        self.evidence = Evidence(Circles({"direct": self.circle}, {}), source, world, now)

    async def recipient(self, address: str) -> Usable | Unusable:
        return await self.evidence.recipient("hospital", "direct", parse_address(address), now())


@contextlib.asynccontextmanager
async def asking(
    world: World, servers: NameServers, *names: str, after_invalid: AfterInvalid = AfterInvalid.STOP
) -> AsyncIterator[Asking]:
    fetcher = Fetcher(Bounds(1 << 20, 5, LOOPBACK, None))
    source = EvidenceCache(fetcher, Shelf(world.home / "shelf"), world)
    publisher = Publisher()
    publisher.port = world.web_port
    publisher.routes = {
        "crl": _serving(world.ca.crl([world.certificates["revoked17"]], at=dt.datetime.now(dt.UTC))),
        "issuer": _serving(world.hidden.der),
    }
    await publisher.start()
    ask = Asking(world, servers, source, names, after_invalid)
    try:
        yield ask
    finally:
        await ask.srv.close()
        await source.close()
        await fetcher.close()
        await publisher.stop()


def _serving(body: bytes) -> Handler:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body)

    return serve


# Direct's discovery cases (DCDT), by their published names: the certificate that is taken, or why nothing is sent
DIRECT: Final[Mapping[str, str | Reason]] = {
    "D1 valid address-bound certificate in DNS": "d1",
    "D2 valid domain-bound certificate in DNS": "d2",
    "D3 valid address-bound certificate in LDAP": "d3",
    "D4 valid domain-bound certificate in LDAP": "d4",
    "D5 invalid address-bound certificate in DNS": Reason.EXPIRED,
    "D6 invalid domain-bound certificate in DNS": Reason.CHAIN,
    "D7 invalid address-bound certificate in LDAP": Reason.EXPIRED,
    "D8 invalid domain-bound certificate in LDAP": Reason.CHAIN,
    "D9 valid address-bound certificate over an invalid one in DNS": "d9",
    "D10 one unavailable LDAP server": "d10",
    "D11 no CERT records and no SRV records": Reason.NO_CERTIFICATE,
    "D12 no CERT records and no available LDAP servers": Reason.DIRECTORY_UNAVAILABLE,
    "D13 nothing in CERT records or LDAP servers": Reason.NO_CERTIFICATE,
    "D14 a certificate larger than 512 bytes in DNS": "d14",
    "D15 SRV priority": "d15",
    "D16 SRV weight": "d16",
    "D17 revoked by CRL": Reason.REVOKED,
    "D18 an intermediate fetched by AIA": "d18",
}


@pytest.mark.parametrize("case", DIRECT)
async def test_direct(world: World, servers: NameServers, case: str) -> None:
    number, expected = case.split()[0].lower(), DIRECT[case]
    async with asking(world, servers, "cert", "srv") as ask:
        answer = await ask.recipient(f"a@{number}.direct.example")
    if isinstance(expected, Reason):
        assert isinstance(answer, Unusable)
        assert answer.reason is expected
    else:
        assert isinstance(answer, Usable), answer
        assert answer.certificate == world.certificates[expected].der


async def test_more_than_a_datagram(world: World, servers: NameServers) -> None:
    """D14 is one only if the answer does not fit."""
    assert len(world.certificates["d14"].der) > PAYLOAD


async def test_smimea(world: World, servers: NameServers) -> None:
    """The certificate of a signed domain; an alias of its name leads to it, but it does not name the other address."""
    async with asking(world, servers, "smimea") as ask:
        answer = await ask.recipient("a@secure.example")
        assert isinstance(answer, Usable)
        assert answer.certificate == world.certificates["secure"].der
        for address in ("wrong@secure.example", "elsewhere@secure.example"):
            wrong = await ask.recipient(address)
            assert isinstance(wrong, Unusable)
            assert wrong.reason is Reason.ADDRESS_MISMATCH
        other_case = await ask.recipient("A@secure.example")
        assert isinstance(other_case, Unusable)
        assert other_case.reason is Reason.NO_CERTIFICATE


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("unsigned.example", Reason.NO_CERTIFICATE),
        ("expired.example", Reason.DIRECTORY_UNAVAILABLE),
    ],
    ids=["unsigned counts as nothing", "bogus is SERVFAIL"],
)
async def test_smimea_without_dnssec(world: World, servers: NameServers, domain: str, reason: Reason) -> None:
    async with asking(world, servers, "smimea") as ask:
        answer = await ask.recipient(f"a@{domain}")
    assert isinstance(answer, Unusable)
    assert answer.reason is reason


async def test_cert_counts_unsigned_unless_dnssec_is_required(world: World, servers: NameServers) -> None:
    async with asking(world, servers) as ask:
        for name in ("cert", "signed"):
            assert (await ask.all[name].find(parse_address("a@secure.example"))).certificates == (world.certificates["other"].der,)
        plain = await ask.all["cert"].find(parse_address("a@unsigned.example"))
        assert plain.certificates == (world.certificates["unsigned"].der,)
        signed = await ask.all["signed"].find(parse_address("a@unsigned.example"))
        assert (signed.certificates, signed.passed_over) == ((), ("a record without DNSSEC (1)",))


async def test_certificates_from_elsewhere_must_be_those_smimea_names(world: World, servers: NameServers) -> None:
    """The CERT record of the same address holds another certificate: alone it would do, behind SMIMEA it does not."""
    async with asking(world, servers, "cert") as ask:
        assert isinstance(await ask.recipient("digest@secure.example"), Usable)
    async with asking(world, servers, "smimea", "cert") as ask:
        answer = await ask.recipient("digest@secure.example")
    assert isinstance(answer, Unusable)
    assert (answer.reason, "SMIMEA" in answer.detail) == (Reason.CHAIN, True)


@pytest.mark.parametrize(
    ("directory", "name", "expected"),
    [
        ("smimea", "lone", Rung.VERIFIED),
        ("signed", "alone", Rung.DISCOVERED),  # its name may have been delegated to somebody else
        ("cert", "alone", Rung.UNVERIFIED),
        ("smimea", "whole", Rung.VERIFIED),
    ],
)
async def test_the_domains_own_word_needs_no_anchor(
    world: World, servers: NameServers, directory: str, name: str, expected: Rung
) -> None:
    """Of nobody we know, and published by its domain for a mailbox or for all: DNSSEC says so, else anybody might have."""
    async with asking(world, servers, directory) as ask:
        address = parse_address("anybody@whole.example" if name == "whole" else f"{name}@secure.example")
        answers = {rung: await ask.evidence.recipient("hospital", "direct", address, now(), rung) for rung in Rung}
    for rung, answer in answers.items():
        if expected.reaches(rung):
            assert isinstance(answer, Usable)
            assert (answer.certificate, answer.rung) == (world.certificates[name].der, expected)
        else:
            assert isinstance(answer, Unusable)
            assert answer.reason is Reason.CHAIN


async def test_a_source_with_invalid_certificates_alone_is_the_last(world: World, servers: NameServers) -> None:
    """An expired certificate in DNS, and a good one in the directory behind: the rule says whether that is asked."""
    world.slapds[0].add_person("behind", "a@d5.direct.example", [world.ca.reader("a@d5.direct.example").der])
    async with asking(world, servers, "cert", "srv") as ask:
        answer = await ask.recipient("a@d5.direct.example")
        assert isinstance(answer, Unusable)
        assert answer.reason is Reason.EXPIRED
    async with asking(world, servers, "cert", "srv", after_invalid=AfterInvalid.NEXT) as ask:
        answer = await ask.recipient("a@d5.direct.example")
        assert isinstance(answer, Usable)
        assert answer.source == "srv"


async def test_bogus_smimea_lets_nobody_else_answer(world: World, servers: NameServers) -> None:
    """Whoever breaks a domain's signatures does not choose that its CERT records are taken instead."""
    async with asking(world, servers, "smimea", "srv") as ask:
        answer = await ask.recipient("a@expired.example")
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.DIRECTORY_UNAVAILABLE
    assert "srv" not in answer.detail


async def test_what_cannot_be_used_is_counted_and_named(world: World, servers: NameServers) -> None:
    for name, told in (
        ("smimea", "an SMIMEA record that cannot be used (1); what is no certificate (1)"),
        ("cert", "a CERT record of another type than PKIX (1)"),
    ):
        world.events.clear()
        async with asking(world, servers, name) as ask:
            answer = await ask.recipient("odd@secure.example")
        assert isinstance(answer, Unusable)
        assert [(each.result, each.detail) for each in world.events if isinstance(each, FetchFailed)] == [
            ("unusable", f"secure.example: {told}")
        ]


async def test_wildcard_names_nobody(world: World, servers: NameServers) -> None:
    """Whoever is not in the zone gets the wildcard's certificate, which does not name him."""
    async with asking(world, servers, "cert") as ask:
        answer = await ask.recipient("nobody@secure.example")
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.ADDRESS_MISMATCH


async def test_huge_set(world: World, servers: NameServers) -> None:
    """Of a hundred records over TCP the first are looked at, and it is told how many are not."""
    async with asking(world, servers) as ask:
        found = await ask.all["cert"].find(parse_address("huge@secure.example"))
    assert found.certificates == ()
    assert found.passed_over == (f"a record above what is read ({100 - MAX_RECORDS})", f"what is no certificate ({MAX_RECORDS})")
    assert found.unread == ("a record above what is read",)


async def test_no_such_domain_and_not_available(world: World, servers: NameServers) -> None:
    """NXDOMAIN, and an SRV record whose target is the root (RFC 2782), are nothing found."""
    async with asking(world, servers) as ask:
        for name, address in (("cert", "a@no.direct.example"), ("srv", "a@no.direct.example"), ("srv", "a@unsigned.example")):
            found = await ask.all[name].find(parse_address(address))
            assert (found.certificates, found.passed_over) == ((), ())


@pytest.mark.parametrize(("domain", "reason"), [("near", None), ("far", Reason.DIRECTORY_UNAVAILABLE)])
async def test_servers_that_are_tried(world: World, servers: NameServers, domain: str, reason: Reason | None) -> None:
    """As many as MAX_TARGETS; the one that would answer is the last of them, or behind them."""
    async with asking(world, servers, "srv") as ask:
        answer = await ask.recipient(f"a@{domain}.direct.example")
    assert (answer.reason if isinstance(answer, Unusable) else None) is reason


async def test_a_server_inside_is_not_asked(world: World, servers: NameServers) -> None:
    """A domain's SRV record leads to loopback, which nobody allowed."""
    lookup = Lookup("srv", LookupSettings((RESOLVER,), servers.port))
    srv = LdapSrv(lookup, Resolver([RESOLVER], servers.port), (), lambda most: most)
    with pytest.raises(DirectoryError, match=r"fetching\.allow_private"):
        await srv.find(Address("a", "d3.direct.example"))


async def test_a_directory_that_is_silent_costs_half_a_deadline_once(world: World, servers: NameServers) -> None:
    """It accepts TCP and never answers; its domain names another behind it, which does."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await reader.read()
        writer.close()

    taken: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(silent, "127.0.0.1", world.silent)
    clock = asyncio.get_running_loop().time
    async with asking(world, servers, "srv") as ask:
        begun = clock()
        assert isinstance(await ask.recipient("a@silent.direct.example"), Usable)
        first, begun = clock() - begun, clock()
        assert isinstance(await ask.recipient("b@silent.direct.example"), Usable)
        second = clock() - begun
    listening.close()
    await listening.wait_closed()
    assert (len(taken), first >= DEADLINE / 2, second < DEADLINE / 2) == (1, True, True)


@pytest.mark.parametrize(
    ("kind", "address", "certificate"),
    [
        (DirectoryKind.SMIMEA, "a@secure.example", "secure"),
        (DirectoryKind.CERT, "a@d1.direct.example", "d1"),
        (DirectoryKind.LDAP_SRV, "a@d3.direct.example", "d3"),
    ],
)
async def test_as_configured(world: World, servers: NameServers, kind: DirectoryKind, address: str, certificate: str) -> None:
    directory = make_directory("dns", Directory(kind=kind, resolvers=(RESOLVER,), resolver_port=servers.port), {}, LOOPBACK)
    try:
        assert (await directory.find(parse_address(address))).certificates == (world.certificates[certificate].der,)
    finally:
        if isinstance(directory, LdapSrv):
            await directory.close()
