"""Recipients, signers and peers: what is found, what is believed, and what is said where neither is."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from dataclasses import dataclass, field, replace

import pytest
from cryptography.x509 import ocsp

from gateway.events import Event, FetchFailed, RevocationStale
from gateway.flow import judging as judging_module
from gateway.flow.choice import Unusable, Usable
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence, Signed
from gateway.flow.inquiry import MAX_CANDIDATES
from gateway.mail.address import Address, parse_address
from gateway.outcome import Reason
from gateway.trust.along import NOTHING_ALONG, Along
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Certificates, Failed, read_answer
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Distrusted, Need, NeedKind, Purpose, Revocation, Trusted
from gateway.trust.kept import Kept, KeptAs
from gateway.trust.ladder import Rung, Way
from gateway.trust.moment import HOUR
from gateway.trust.rules import Issuers, Policies
from gateway.trust.smimea import Association, association
from gateway.trust.sources import DirectoryError, Found, WordUnknown
from gateway.trust.zone import Peer, Peers
from tests import pki
from tests.pki import BEGIN, NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
RESULTS = parse_address("results@laboratory.example")
URL = "http://crl.zone.example/crl"
OUTSIDE_URL = "http://crl.outside.example/crl"
ROOT = Ca.root(crl_urls=[URL])
OUTSIDE = Ca.root("CN=Public Root", crl_urls=[OUTSIDE_URL])


@dataclass
class Shelf:
    """A directory that holds what it is given."""

    name: str
    certificates: list[bytes] = field(default_factory=list)
    others: tuple[bytes, ...] = ()
    remember_seconds: float = 0.0
    down: DirectoryError | None = None
    asked: int = 0
    seconds: float | None = None
    associations: tuple[Association, ...] = ()
    for_domain: tuple[Association, ...] = ()
    unread: tuple[str, ...] = ()
    way: Way = Way.OPEN
    doors: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def find(self, _: Address) -> Found:
        self.asked += 1
        self.reached.set()
        if self.doors is not None:
            await self.doors.wait()
        if self.down is not None:
            raise self.down
        certificates = tuple(self.certificates)
        return Found(certificates, self.others, self.seconds, self.associations, (), self.way, self.for_domain, self.unread)


@dataclass
class Keeper:
    """What we keep ourselves, by address."""

    all: dict[str, list[Kept]] = field(default_factory=dict)
    down: DirectoryError | None = None

    def keep(self, kept_as: KeptAs, *certificates: bytes, address: Address = RESULTS) -> None:
        self.all.setdefault(address.key, []).extend(Kept(each, kept_as, AT) for each in certificates)

    async def kept(self, organisation: str, address: Address, /) -> tuple[Kept, ...]:
        assert organisation == "hospital"
        if self.down is not None:
            raise self.down
        return tuple(self.all.get(address.key, ()))


@dataclass
class Publisher:
    """CRLs by URL; a URL it does not have fails, one in ``silent`` never answers."""

    crls: dict[str, Crl]
    fetched: list[str] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    certificates: dict[str, Certificates] = field(default_factory=dict)
    answers: dict[Need, Answer] = field(default_factory=dict)

    def known(self, need: Need, _: int) -> Answer | None:
        return self.answers.get(need)

    async def fetch(self, need: Need, _: int) -> Answer:
        self.fetched.append(need.url)
        if need.url in self.silent:
            await asyncio.Event().wait()
        self.answers[need] = (self.crls | self.certificates).get(need.url, Failed("connection refused"))
        return self.answers[need]


class World:
    """One zone of the laboratory and the clinic, one organisation with anchors of its own for the outside."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.first, self.second, self.outside = Shelf("first"), Shelf("second"), Shelf("outside")
        self.publisher = Publisher({URL: Crl(ROOT.crl()), OUTSIDE_URL: Crl(OUTSIDE.crl())})
        self.keeper = Keeper()
        self.now = AT
        self.zone = Circle(
            Anchors([ROOT.der]),
            Assurance.ZONE,
            Revocation.HARD,
            "health",
            (self.first, self.second),
            frozenset({"laboratory.example", "clinic.example"}),
            Peers([Peer("laboratory", ("gateway.laboratory.example",))]),
        )
        self.public = Circle(Anchors([OUTSIDE.der]), Assurance.PUBLIC_CA, Revocation.SOFT, directories=(self.outside,))
        self.draw()

    def draw(self) -> None:
        circles = Circles({"health": self.zone}, {"hospital": self.public})
        self.evidence = Evidence(circles, self.publisher, self, lambda: self.now, self.keeper)

    def see(self, event: Event) -> None:
        self.events.append(event)

    async def recipient(
        self, zone: str | None = "health", address: Address = RESULTS, least: Rung | None = None
    ) -> Usable | Unusable:
        return await self.evidence.recipient("hospital", zone, address, AT, least)

    async def reason(self, zone: str | None = "health") -> Reason:
        answer = await self.recipient(zone)
        assert isinstance(answer, Unusable)
        return answer.reason

    async def signer(self, issued: Issued) -> Signed:
        return await self.evidence.signer("hospital", issued.der, Along(issued.intermediates), AT)


@pytest.fixture
def world() -> World:
    return World()


async def test_found_and_judged(world: World) -> None:
    """Found in the first directory, its CRL fetched, believed on the zone's word."""
    reader = ROOT.reader("results@laboratory.example", kind="p256")
    world.first.certificates = [reader.der]
    assert await world.recipient() == Usable(reader.der, "first", Assurance.ZONE)
    assert (world.publisher.fetched, world.second.asked) == ([URL], 0)


async def test_certificates_beyond_the_limit_are_not_judged(world: World) -> None:
    """Whoever may write into a directory may fill it with newer ones of the same address: what was not looked at is no answer."""
    stranger = Ca.root("CN=Stranger")
    junk = [stranger.reader("results@laboratory.example", "p256", not_before=NOW).der for _ in range(MAX_CANDIDATES)]
    reader = ROOT.reader("results@laboratory.example", kind="p256")
    world.first.certificates = [*junk[1:], reader.der]
    assert await world.recipient() == Usable(reader.der, "first", Assurance.ZONE)
    world.first.certificates = [reader.der, *junk]
    world.draw()
    answer = await world.recipient()
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.DIRECTORY_UNAVAILABLE
    assert "first: 1 more" in answer.detail
    world.second.certificates = [reader.der]
    assert await world.recipient() == Usable(reader.der, "second", Assurance.ZONE)


async def test_what_a_directory_holds_and_was_not_read_is_no_answer(world: World) -> None:
    """The certificate may stand behind an expired one, or behind nothing that could be read."""
    world.first.unread = ("an answer cut short by a limit",)
    for held in ([], [pki.expired(ROOT).der]):
        world.first.certificates = held
        answer = await world.recipient()
        assert isinstance(answer, Unusable)
        assert answer.reason is Reason.DIRECTORY_UNAVAILABLE
        assert "first: an answer cut short by a limit" in answer.detail
    reader = ROOT.reader("results@laboratory.example", kind="p256", not_before=NOW)
    world.first.certificates.append(reader.der)
    assert await world.recipient() == Usable(reader.der, "first", Assurance.ZONE)


async def test_what_is_unfit_by_itself_hides_no_other(world: World) -> None:
    unfit = [ROOT.signer("results@laboratory.example", not_before=NOW).der for _ in range(2 * MAX_CANDIDATES)]
    reader = ROOT.reader("results@laboratory.example", kind="p256")
    world.first.certificates = [*unfit, reader.der]
    assert await world.recipient() == Usable(reader.der, "first", Assurance.ZONE)
    world.first.certificates = unfit
    assert await world.reason() is Reason.KEY_USAGE


async def test_what_is_beyond_the_limit_is_the_oldest_of_those_that_could_be_meant(world: World) -> None:
    """In a directory where all that anybody ever had is kept, the newest may stand last."""
    expired = [pki.expired(ROOT).der for _ in range(MAX_CANDIDATES)]
    others = [ROOT.reader(f"p{number}@laboratory.example", "p256").der for number in range(MAX_CANDIDATES)]
    reader = ROOT.reader("results@laboratory.example", "p256", not_before=NOW)
    world.first.certificates = [*others, *expired, reader.der]
    assert await world.recipient() == Usable(reader.der, "first", Assurance.ZONE)
    old = ROOT.reader("results@laboratory.example", "p256", not_before=BEGIN - dt.timedelta(days=1))
    world.first.certificates = [*expired, old.der]
    world.draw()
    named = await world.evidence.reader("hospital", "health", RESULTS, lambda certificate: certificate == old.der, AT)
    assert named == Usable(old.der, "first", Assurance.ZONE)


async def test_order(world: World) -> None:
    """The mailbox's own before its domain's, the newest first; the second directory when the first has nothing usable."""
    domain = ROOT.organisation_reader("laboratory.example", kind="p256", not_before=NOW)
    old = ROOT.reader("results@laboratory.example", kind="p256")
    new = ROOT.reader("results@laboratory.example", kind="p256", not_before=NOW)
    world.first.certificates = [pki.expired(ROOT).der]
    world.second.certificates = [domain.der, old.der, new.der]
    assert await world.recipient() == Usable(new.der, "second", Assurance.ZONE)
    world.second.certificates = [domain.der]
    assert await world.recipient() == Usable(domain.der, "second", Assurance.ZONE)


async def test_intermediates_of_the_directory(world: World) -> None:
    """Authorities found in the directory may complete the path."""
    issuing = ROOT.intermediate("CN=Issuing", crl_urls=[OUTSIDE_URL])
    world.publisher.crls[OUTSIDE_URL] = Crl(issuing.crl())
    reader = issuing.reader("results@laboratory.example", kind="p256")
    world.first.certificates = [reader.der]
    assert await world.reason() is Reason.CHAIN
    world.first.others = (issuing.der,)
    assert isinstance(await world.recipient(), Usable)


async def test_reasons(world: World) -> None:
    """What was found and could not be used is said by its own reason."""
    assert await world.reason() is Reason.NO_CERTIFICATE
    signer = ROOT.signer("results@laboratory.example")
    expired = ROOT.reader("results@laboratory.example", kind="p256", not_after=NOW - dt.timedelta(days=1))
    revoked = ROOT.reader("results@laboratory.example", kind="p256")
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[revoked]))
    for certificates, reason in (
        ([signer.der], Reason.KEY_USAGE),
        ([signer.der, expired.der], Reason.EXPIRED),
        ([revoked.der], Reason.REVOKED),
        ([ROOT.reader("office@laboratory.example", kind="p256").der], Reason.ADDRESS_MISMATCH),
        ([Ca.root().reader("results@laboratory.example", kind="p256").der], Reason.CHAIN),
        ([b"junk"], Reason.MALFORMED),
    ):
        world.first.certificates = certificates
        assert await world.reason() is reason


async def test_directory_down(world: World) -> None:
    """A directory that does not answer: later, not never; but what another one has is used."""
    world.first.down = DirectoryError("first: no answer")
    assert await world.reason() is Reason.DIRECTORY_UNAVAILABLE
    assert world.events == [FetchFailed(org="hospital", kind="directory", source="first", detail="first: no answer")]
    world.second.certificates = [ROOT.reader("results@laboratory.example", kind="p256").der]
    assert isinstance(await world.recipient(), Usable)
    world.second.certificates = [pki.expired(ROOT).der]
    assert await world.reason() is Reason.DIRECTORY_UNAVAILABLE


async def test_resting_directory_is_not_news(world: World) -> None:
    """While a breaker answers for a directory nothing new has failed."""
    world.first.down = DirectoryError("first: did not answer a moment ago", resting=True)
    assert await world.reason() is Reason.DIRECTORY_UNAVAILABLE
    assert world.events == []


async def test_answers_are_remembered(world: World) -> None:
    """For as long as the directory says, and a minute at most where it had nothing; never past a revocation."""
    world.first.remember_seconds = 300
    assert await world.reason() is Reason.NO_CERTIFICATE
    reader = ROOT.reader("results@laboratory.example", kind="p256")
    world.first.certificates = [reader.der]
    world.now += 59_000_000
    assert await world.reason() is Reason.NO_CERTIFICATE
    world.now += 1_000_000
    assert isinstance(await world.recipient(), Usable)
    world.now += 299_000_000
    assert isinstance(await world.recipient(), Usable)
    assert world.first.asked == 2
    world.publisher.answers[Need(NeedKind.CRL, URL, ROOT.der)] = Crl(ROOT.crl(revoked=[reader]))
    assert await world.reason() is Reason.REVOKED
    world.now += 1_000_000
    await world.recipient()
    assert world.first.asked == 3


@pytest.mark.parametrize(("seconds", "asked"), [(30.0, 2), (301.0, 1), (0.0, 2)])
async def test_remembered_no_longer_than_the_source_says(world: World, seconds: float, asked: int) -> None:
    """The shorter of its word and the directory's own limit, as for records of DNS (RFC 1035 3.2.1, TTL)."""
    world.first.remember_seconds, world.first.seconds = 300, seconds
    world.first.certificates = [ROOT.reader("results@laboratory.example", kind="p256").der]
    await world.recipient()
    world.now += 299_000_000
    await world.recipient()
    assert world.first.asked == asked


async def test_one_question_is_asked_once(world: World) -> None:
    """Those who ask meanwhile wait for the same answer; one who gives up takes it from nobody, and a failure is everybody's."""
    world.first.remember_seconds, world.first.doors = 300, asyncio.Event()
    world.first.certificates = [ROOT.reader("results@laboratory.example", kind="p256").der]
    asking = [asyncio.create_task(world.recipient()) for _ in range(3)]
    await world.first.reached.wait()
    asking[0].cancel()
    world.first.doors.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError, Usable, Usable]
    assert world.first.asked == 1


NAMED = ROOT.reader("results@laboratory.example", kind="p256")
UNNAMED = ROOT.reader("results@laboratory.example", kind="p256")


async def test_only_what_the_domain_stands_for(world: World) -> None:
    """What one directory says the domain stands for holds for all that come after it; nothing is decided by what it cannot say."""
    world.first.associations = (association(3, 0, 1, hashlib.sha256(NAMED.der).digest()),)
    world.second.certificates = [UNNAMED.der]
    assert await world.reason() is Reason.CHAIN
    world.second.certificates = [UNNAMED.der, NAMED.der]
    answer = await world.recipient()
    assert isinstance(answer, Usable)
    assert answer.certificate == NAMED.der
    world.first.associations = (association(0, 0, 1, hashlib.sha256(ROOT.der).digest()),)  # PKIX-TA: an authority of the path
    world.second.certificates = [UNNAMED.der]
    assert isinstance(await world.recipient(), Usable)
    world.first.down = WordUnknown("smimea: laboratory.example: NoNameservers")
    assert await world.reason() is Reason.DIRECTORY_UNAVAILABLE
    world.first.down = DirectoryError("first: closed")
    assert isinstance(await world.recipient(), Usable)


async def test_listed_crls(world: World) -> None:
    """A certificate that names no place: the CRL of its authority lies where an administrator says, whoever made it."""
    place = Need(NeedKind.CRL, "ldap://ldap.zone.example/cn=root?certificateRevocationList", b"")
    good, revoked = (ROOT.reader("results@laboratory.example", kind="p256", crl_urls=()) for _ in range(2))
    crl = ROOT.crl(revoked=[revoked])
    answer = read_answer(place, [crl])
    assert isinstance(answer, Crl)
    world.publisher.crls[place.url] = answer
    world.first.certificates = [good.der]
    assert await world.reason() is Reason.REVOCATION_UNKNOWN
    world.zone = replace(world.zone, crls=(place, replace(place, url="http://crl.example/none")))
    world.draw()
    assert isinstance(await world.recipient(), Usable)
    world.first.certificates = [revoked.der]
    assert await world.reason() is Reason.REVOKED


async def test_crl_unavailable(world: World) -> None:
    """Hard: not usable. Soft: usable and marked. That it failed is told by whoever tried."""
    del world.publisher.crls[URL]
    world.first.certificates = [ROOT.reader("results@laboratory.example", kind="p256").der]
    assert await world.reason() is Reason.REVOCATION_UNKNOWN
    assert world.events == []
    world.zone = replace(world.zone, revocation=Revocation.SOFT)
    world.draw()
    answer = await world.recipient()
    assert isinstance(answer, Usable)
    assert answer.marks == (Reason.REVOCATION_UNKNOWN,)


async def test_budget(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that never answers costs the budget, and then counts as failed."""
    monkeypatch.setattr(judging_module, "BUDGET_SECONDS", 0.1)
    world.publisher.silent.add(URL)
    world.first.certificates = [ROOT.reader("results@laboratory.example", kind="p256").der]
    assert await world.reason() is Reason.REVOCATION_UNKNOWN


async def test_outside_zones(world: World) -> None:
    """Outside, the organisation's own anchors decide; there no certificate speaks for a whole domain."""
    reader = OUTSIDE.reader("results@laboratory.example", kind="p256")
    world.outside.certificates = [reader.der]
    assert await world.recipient(zone=None) == Usable(reader.der, "outside", Assurance.PUBLIC_CA)
    world.outside.certificates = [OUTSIDE.organisation_reader("laboratory.example", kind="p256").der]
    assert await world.reason(zone=None) is Reason.ADDRESS_MISMATCH
    answer = await world.evidence.recipient("laboratory", None, RESULTS, AT)
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.NO_CERTIFICATE


async def test_signers(world: World) -> None:
    """A signer of the zone stands on the zone's word, one of the outside on its authority's, a stranger on nobody's."""
    inside = ROOT.organisation_signer("laboratory.example")
    signed = await world.signer(inside)
    assert signed == Signed(Trusted((ROOT.der, inside.der)), Assurance.ZONE, "health", world.zone.domains)
    outside = OUTSIDE.signer("results@laboratory.example")
    assert await world.signer(outside) == Signed(Trusted((OUTSIDE.der, outside.der)), Assurance.PUBLIC_CA)
    stranger = await world.signer(pki.self_signed())
    assert isinstance(stranger.judgement, Distrusted)
    assert (stranger.judgement.reason, stranger.assurance) == (Reason.CHAIN, None)


async def test_signer_of_an_unbound_domain(world: World) -> None:
    """The zone's authority vouches only for domains bound to its peers."""
    signed = await world.signer(ROOT.signer("anyone@elsewhere.example"))
    assert isinstance(signed.judgement, Distrusted)
    assert signed.judgement.reason is Reason.CHAIN


async def test_zone_answer_stands(world: World) -> None:
    """What a zone revoked is not rescued by an organisation that trusts the same authority."""
    issued = ROOT.signer("results@laboratory.example")
    del world.publisher.crls[URL]
    world.public = replace(world.public, anchors=Anchors([ROOT.der]))
    world.draw()
    signed = await world.signer(issued)
    assert isinstance(signed.judgement, Distrusted)
    assert signed.judgement.reason is Reason.REVOCATION_UNKNOWN


async def test_signer_without_certificate(world: World) -> None:
    """Bytes that are no certificate are malformed."""
    signed = await world.evidence.signer("hospital", b"junk", NOTHING_ALONG, AT)
    assert isinstance(signed.judgement, Distrusted)
    assert signed.judgement.reason is Reason.MALFORMED


async def test_peers(world: World) -> None:
    """A gateway of the zone by its chain, then by its name."""
    gateway = ROOT.gateway("gateway.laboratory.example")
    assert isinstance(await world.evidence.peer("health", [gateway.der, ROOT.der], Purpose.GATEWAY_CLIENT, AT), Trusted)
    assert world.evidence.peer_name("health", gateway.der) == "laboratory"
    for chain, reason in (
        ([], Reason.PEER_UNKNOWN),
        ([OUTSIDE.gateway("gateway.laboratory.example").der], Reason.CHAIN),
        ([ROOT.signer("results@laboratory.example").der], Reason.EKU),
    ):
        answer = await world.evidence.peer("health", chain, Purpose.GATEWAY_CLIENT, AT)
        assert isinstance(answer, Distrusted)
        assert answer.reason is reason


async def test_anchors_of_what_comes_in(world: World) -> None:
    """Who signs is believed on the word of one authority, whom we encrypt to on that of another, peers as readers are."""
    world.zone = replace(world.zone, inbound_anchors=Anchors([OUTSIDE.der]))
    world.draw()
    assert isinstance((await world.signer(OUTSIDE.signer(str(RESULTS)))).judgement, Trusted)
    refused = (await world.signer(ROOT.signer(str(RESULTS)))).judgement
    assert isinstance(refused, Distrusted)
    assert refused.reason is Reason.CHAIN
    world.first.certificates = [OUTSIDE.reader(str(RESULTS)).der]
    assert await world.reason() is Reason.CHAIN
    world.first.certificates = [ROOT.reader(str(RESULTS)).der]
    assert isinstance(await world.recipient(), Usable)
    for purpose in (Purpose.GATEWAY_CLIENT, Purpose.GATEWAY_SERVER):
        chain = [ROOT.gateway("gateway.laboratory.example").der]
        assert isinstance(await world.evidence.peer("health", chain, purpose, AT), Trusted)


async def test_zone_that_is_gone(world: World) -> None:
    """A zone that a new configuration no longer has believes nobody."""
    gateway = ROOT.gateway("gateway.laboratory.example")
    judged = await world.evidence.peer("old", [gateway.der], Purpose.GATEWAY_CLIENT, AT)
    for answer in (judged, world.evidence.peer_name("old", gateway.der)):
        assert isinstance(answer, Distrusted)
        assert answer.reason is Reason.PEER_UNKNOWN
    assert await world.reason("old") is Reason.NO_CERTIFICATE


# Those a sender has encrypted to himself


async def test_only_what_is_named_is_looked_at(world: World) -> None:
    """Not the best certificate of the recipient but one of those he names, and that one must be good as well."""
    old = ROOT.reader("results@laboratory.example", kind="p256")
    new = ROOT.reader("results@laboratory.example", kind="p256", not_before=NOW)
    gone = ROOT.reader("results@laboratory.example", kind="p256", not_after=NOW - dt.timedelta(days=1))
    other = ROOT.reader("somebody@laboratory.example", kind="p256")
    world.first.certificates = [new.der, gone.der, other.der]
    world.second.certificates = [old.der]

    async def named(*people: Issued) -> Usable | Unusable:
        chosen = {each.der for each in people}
        return await world.evidence.reader("hospital", "health", RESULTS, lambda each: each in chosen, AT)

    assert await named(old) == Usable(old.der, "second", Assurance.ZONE)
    assert await named(gone, old) == Usable(old.der, "second", Assurance.ZONE)
    reasons = []
    for people in ((), (gone,), (other,), (gone, other)):
        answer = await named(*people)
        assert isinstance(answer, Unusable)
        reasons.append(answer.reason)
    assert reasons == [Reason.NO_CERTIFICATE, Reason.EXPIRED, Reason.ADDRESS_MISMATCH, Reason.EXPIRED]
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[old]))
    world.publisher.answers.clear()
    answer = await named(old)
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.REVOKED
    world.second.down = DirectoryError("no answer")
    answer = await named(old)
    assert isinstance(answer, Unusable)
    assert answer.reason is Reason.DIRECTORY_UNAVAILABLE


async def test_grace(world: World) -> None:
    """A CRL out of date counts while the configured grace lasts; each time is told."""
    world.first.certificates.append(ROOT.reader(str(RESULTS)).der)
    world.publisher.crls[URL] = Crl(ROOT.crl(at=NOW - dt.timedelta(days=7, hours=1)))
    assert await world.reason() is Reason.REVOCATION_UNKNOWN
    world.zone = replace(world.zone, grace=2 * HOUR)
    world.draw()
    usable = await world.recipient()
    assert isinstance(usable, Usable)
    assert usable.marks == (Reason.REVOCATION_STALE,)
    stale = [event for event in world.events if isinstance(event, RevocationStale)]
    assert [(event.kind, event.zone) for event in stale] == [("smime-recipient", "health")]


async def test_policies_of_people(world: World) -> None:
    """Where a policy is asked for, a person's certificate has it; a gateway's need not."""
    world.zone = replace(world.zone, policies=Policies(frozenset({"1.2.250.1.213.1"}), explicit=True))
    world.draw()
    world.first.certificates.append(ROOT.reader(str(RESULTS)).der)
    assert await world.reason() is Reason.CHAIN
    world.first.certificates.append(ROOT.reader(str(RESULTS), policy="1.2.250.1.213.1").der)
    assert isinstance(await world.recipient(), Usable)
    gateway = ROOT.gateway("gateway.laboratory.example")
    assert isinstance(await world.evidence.peer("health", [gateway.der], Purpose.GATEWAY_SERVER, AT), Trusted)


async def test_missing_issuer(world: World) -> None:
    """Where issuers may be fetched, a directory need not hold them."""
    issuing = ROOT.intermediate(crl_urls=[OUTSIDE_URL])
    place = "http://aia.zone.example/issuing"
    reader = issuing.reader(str(RESULTS), issuer_url=place)
    world.first.certificates.append(reader.der)
    world.publisher.crls[OUTSIDE_URL] = Crl(issuing.crl())
    world.publisher.certificates[place] = Certificates((issuing.der,))
    assert await world.reason() is Reason.CHAIN
    world.zone = replace(world.zone, issuers=Issuers.FETCHED)
    world.draw()
    assert isinstance(await world.recipient(), Usable)
    assert place in world.publisher.fetched


async def test_an_issuer_that_cannot_be_fetched_now_is_waited_for(world: World) -> None:
    """Whether the certificate leads to an anchor is not known then: no rule is to be asked what becomes of a mail without one."""
    issuing = ROOT.intermediate(crl_urls=[OUTSIDE_URL])
    reader = issuing.reader(str(RESULTS), issuer_url="http://aia.zone.example/issuing")
    world.first.certificates.append(reader.der)
    world.publisher.crls[OUTSIDE_URL] = Crl(issuing.crl())
    world.zone = replace(world.zone, issuers=Issuers.FETCHED)
    world.draw()
    for _ in range(2):  # asked, then known to have failed
        answer = await world.recipient()
        assert isinstance(answer, Unusable)
        assert answer.reason is Reason.DIRECTORY_UNAVAILABLE
        assert "http://aia.zone.example/issuing" in answer.detail
    world.first.way = Way.GUARDED  # where it needs lead nowhere, nobody waits for it
    assert isinstance(await world.recipient(least=Rung.DISCOVERED), Usable)
    signer = issuing.signer(str(RESULTS), issuer_url="http://aia.zone.example/issuing")
    signed = await world.evidence.signer("hospital", signer.der, NOTHING_ALONG, AT)
    assert isinstance(signed.judgement, Distrusted)
    assert signed.judgement.reason is Reason.CHAIN


async def test_stapled(world: World) -> None:
    """A CRL that came with the message counts where its publisher is down; it does not spare asking him."""
    signer = ROOT.signer("results@laboratory.example")
    along = Along(revocations=(ROOT.crl(),))
    del world.publisher.crls[URL]
    signed = await world.evidence.signer("hospital", signer.der, along, AT)
    assert isinstance(signed.judgement, Trusted)
    world.publisher.answers.clear()
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[signer]))
    signed = await world.evidence.signer("hospital", signer.der, along, AT)
    assert isinstance(signed.judgement, Distrusted)
    assert signed.judgement.reason is Reason.REVOKED


GATEWAY = ROOT.gateway("gateway.laboratory.example")
OTHER = ROOT.gateway("gateway.clinic.example")


async def judged(world: World, answer: bytes) -> Reason | None:
    """Why the laboratory's gateway, which staples ``answer``, is not believed; None where it is."""
    said = await world.evidence.peer("health", [GATEWAY.der], Purpose.GATEWAY_SERVER, AT, answer)
    return said.reason if isinstance(said, Distrusted) else None


async def test_stapled_to_a_handshake(world: World) -> None:
    """What a peer staples counts where the publisher is down, and never against what he says."""
    del world.publisher.crls[URL]
    assert await judged(world, b"") is Reason.REVOCATION_UNKNOWN
    assert await judged(world, ROOT.ocsp(GATEWAY)) is None
    assert await judged(world, ROOT.ocsp(GATEWAY, ocsp.OCSPCertStatus.REVOKED)) is Reason.REVOKED
    world.publisher.answers.clear()
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[GATEWAY]))
    assert await judged(world, ROOT.ocsp(GATEWAY)) is Reason.REVOKED


@pytest.mark.parametrize(
    "answer",
    [
        b"junk",
        b"\x30\x03\x0a\x01\x06",  # a responder that says unauthorized
        ROOT.ocsp(GATEWAY)[:-1],
        ROOT.ocsp(GATEWAY) + b"\0" * 300_000,
        ROOT.ocsp(OTHER),
        OUTSIDE.ocsp(GATEWAY),
        ROOT.ocsp(GATEWAY, at=NOW - dt.timedelta(days=9)),
    ],
    ids=["junk", "refusal", "cut off", "huge", "another's", "foreign", "expired"],
)
async def test_a_bad_answer_changes_nothing(world: World, answer: bytes) -> None:
    """Neither for better nor for worse."""
    assert await judged(world, answer) is None
    world.publisher.answers.clear()
    del world.publisher.crls[URL]
    assert await judged(world, answer) is Reason.REVOCATION_UNKNOWN
