"""What verified mail teaches of its author's certificate, and what nobody can make it teach: replay, poisoning, downgrade.

Each mail goes through the inbound flow with real evidence: a zone that binds laboratory.example, and anchors for the outside.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import core

from gateway.config.model import Config
from gateway.database.thread import Database, Effect
from gateway.edge.keyfile import FileKey, FileKeys
from gateway.events import CertificateHarvested, CertificateWaiting, MailOpened
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence
from gateway.flow.harvest import AHEAD
from gateway.flow.incoming import Incoming
from gateway.mail.address import Address, parse_address
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.identifier import make_mail_id
from gateway.state.byhand import approve as approve_
from gateway.state.byhand import entries, forget, put_in
from gateway.state.capabilities import HeardCapabilities
from gateway.state.certificates import KeptCertificates
from gateway.state.state import open_state
from gateway.trust.anchors import Anchors
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Revocation
from gateway.trust.kept import KeptAs
from gateway.trust.moment import HOUR
from tests import pki
from tests.doubles import Events, MemoryBodies, MemoryBody
from tests.flow.opened import HEADER, PLAIN, READER, SENDER, encrypt, sign
from tests.flow.shown import by_key, by_recipient_key, by_serial, signed_mail
from tests.flow.test_evidence import Publisher
from tests.pki import NOW, Ca, Issued, microseconds
from tests.policy.world import WORLD, world

AT = microseconds(NOW)
SECOND = 10**6
MINUTE = 60 * SECOND
URL, OUTSIDE_URL = "http://crl.zone.example/crl", "http://crl.outside.example/crl"
ZONE = Ca.root(crl_urls=[URL])
OUTSIDE = Ca.root("CN=Public Root", crl_urls=[OUTSIDE_URL])
BOTH = ("digital_signature", "key_encipherment")
AUTHOR = parse_address(SENDER)
OPENS = ZONE.organisation_reader("hospital.example")
LAB = "CN=Results,O=Laboratory,C=FR"


def both(ca: Ca = ZONE, email: str = SENDER, **more: object) -> Issued:
    """One certificate with which its owner signs and is written to, as most mail programs have it."""
    return ca.leaf(**({"subject": LAB, "emails": [email], "ku": BOTH, "kind": "rsa2048"} | more))  # type: ignore[arg-type]


class House:
    """The hospital with real evidence and a real database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.harvest: str | None = None
        self.at = AT
        self.events = Events()
        zone = Circle(Anchors([ZONE.der]), Assurance.ZONE, Revocation.HARD, "health", domains=frozenset({"laboratory.example"}))
        public = Circle(Anchors([OUTSIDE.der]), Assurance.PUBLIC_CA, Revocation.SOFT)
        self.publisher = Publisher({URL: Crl(ZONE.crl()), OUTSIDE_URL: Crl(OUTSIDE.crl())})
        self.evidence = Evidence(Circles({"health": zone}, {"hospital": public}), self.publisher, self.events, lambda: self.at)
        self.kept = KeptCertificates(database, self.events, lambda: self.at)

    @property
    def config(self) -> Config:
        said = {} if self.harvest is None else {"harvest": self.harvest}
        return world(organisation=WORLD["organisation"] | {"hospital": WORLD["organisation"]["hospital"] | said})

    async def receive(self, message: bytes) -> str:
        """The verdict; what was learned is on its way to the database, before whatever is asked of it next."""
        flow = Incoming(
            config=lambda: self.config,
            certificates=lambda: {"opens": (OPENS.der,)},
            evidence=lambda: self.evidence,
            unwrapper=FileKeys({"opens": FileKey(OPENS.key)}),
            harvest=HeardCapabilities(self.database, lambda: self.at),
            keeping=self.kept,
            bodies=MemoryBodies(),
            observer=self.events,
            now=lambda: self.at,
            random=os.urandom,
        )
        identifier = make_mail_id(AT, bytes(10))
        arrival = Arrival(identifier, AT, "hospital", Direction.INBOUND, Role.ZONE, "zone", "192.0.2.1", zone="health", peer="lab")
        envelope = Envelope(parse_address(SENDER), (Recipient(parse_address(READER)),))
        await flow.run(Mail(arrival, envelope, MemoryBody(message), Stage.FLOW))
        await self.kept.kept("nobody", AUTHOR)  # behind the change, in the order of the database
        return [each for each in self.events.seen if isinstance(each, MailOpened)][-1].verdict

    async def learned(self, address: Address = AUTHOR) -> dict[bytes, KeptAs]:
        """What a process finds that remembers nothing."""
        kept = await KeptCertificates(self.database, self.events, lambda: self.at).kept("hospital", address)
        return {each.certificate: each.kept_as for each in kept}

    @property
    def told(self) -> list[CertificateHarvested | CertificateWaiting]:
        return [each for each in self.events.seen if isinstance(each, CertificateHarvested | CertificateWaiting)]

    @property
    def why(self) -> list[str]:
        """Why each waits that waits."""
        return [each.kind for each in self.told if isinstance(each, CertificateWaiting)]

    def approve(self) -> None:
        for entry in self.database.call(lambda database: entries(database, kept_as=KeptAs.WAITING), 0):  # type: ignore[arg-type]
            self.database.call(lambda database, entry=entry: approve_(database, entry, self.at), Effect.CHANGE)  # type: ignore[misc]

    def forget(self) -> None:
        for entry in self.database.call(entries, 0):  # type: ignore[arg-type]
            self.database.call(lambda database, entry=entry: forget(database, entry, self.at), Effect.CHANGE)  # type: ignore[misc]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = open_state(tmp_path, lambda: AT)
    yield House(database)
    database.close()


# What is learned


async def test_the_certificate_of_a_verified_author_is_kept_for_those_it_was_sent_to(house: House) -> None:
    author = both()
    assert await house.receive(signed_mail(author, AT - MINUTE)) == "verified"
    [kept] = await house.kept.kept("hospital", parse_address("Results@Laboratory.example"))
    assert (kept.certificate, kept.kept_as, kept.since) == (author.der, KeptAs.HARVESTED, AT - MINUTE)
    assert await house.kept.kept("clinic", AUTHOR) == ()
    [told] = house.told
    assert isinstance(told, CertificateHarvested)
    assert (told.org, told.mail, told.address, told.zone) == ("hospital", make_mail_id(AT, bytes(10)), SENDER, "health")


async def test_what_lies_between_it_and_its_anchor_is_kept_with_it(house: House) -> None:
    """Or it could not be believed the day it is used: no directory has it."""
    issuing = ZONE.intermediate()
    author = both(issuing, crl_urls=[URL])
    zone = replace(house.evidence._circles.zones["health"], revocation=Revocation.UNSAFE_OFF)
    house.evidence._circles = Circles({"health": zone}, {})
    assert await house.receive(signed_mail(author, AT, issuing.der)) == "verified"
    [kept] = await house.kept.kept("hospital", AUTHOR)
    assert (kept.certificate, kept.above) == (author.der, (issuing.der,))


async def test_from_behind_encryption_too(house: House, tmp_path: Path) -> None:
    author = both()
    signed = signed_mail(author, AT).removeprefix(HEADER)
    assert await house.receive(HEADER + encrypt(tmp_path, signed, OPENS)) == "verified"
    assert await house.learned() == {author.der: KeptAs.HARVESTED}


async def test_a_signature_around_encryption_teaches_nothing(house: House, tmp_path: Path) -> None:
    """Poisoning: anybody may put his around what another encrypted; it proves nothing of the author."""
    inside = encrypt(tmp_path, b"Content-Type: text/plain\r\n\r\nx\r\n", OPENS)
    assert await house.receive(HEADER + sign(tmp_path, inside, both())) != "verified"
    assert await house.learned() == {}


@pytest.mark.parametrize("preference", [by_serial, by_key, by_recipient_key])
async def test_the_certificate_he_names_is_the_one_to_write_to(house: House, preference: Callable[[bytes], bytes]) -> None:
    """RFC 8551 2.5.3.1: he signs with the one and decrypts with the other, and says so, in each of the three forms."""
    reader = ZONE.leaf("CN=k", emails=[SENDER], ku=["key_encipherment"], kind="rsa2048")
    assert await house.receive(signed_mail(both(), AT, reader.der, preferences=[preference(reader.der)])) == "verified"
    assert await house.learned() == {reader.der: KeptAs.HARVESTED}


async def test_who_can_only_sign_teaches_nothing(house: House) -> None:
    assert await house.receive(signed_mail(ZONE.signer(SENDER), AT)) == "verified"
    assert await house.learned() == {}


async def test_a_certificate_of_the_whole_domain_is_nobodys_mailbox(house: House) -> None:
    """It is found by other ways, and what it opens is the domain's word, not that of one author."""
    domain = both(email="domain-signing-authority@laboratory.example")
    assert await house.receive(signed_mail(domain, AT)) == "verified"
    assert await house.learned() == {}
    assert await house.learned(parse_address("domain-signing-authority@laboratory.example")) == {}


async def test_nothing_is_kept_where_the_organisation_says_so(house: House) -> None:
    house.harvest = "off"
    assert await house.receive(signed_mail(both(), AT)) == "verified"
    assert await house.learned() == {}


# Order and replay


async def test_a_renewed_certificate_with_the_same_key_is_used_at_once(house: House) -> None:
    author = both()
    renewed = both(key=author.key)
    for number, each in enumerate((author, renewed)):
        assert await house.receive(signed_mail(each, AT + number * SECOND)) == "verified"
    assert list(await house.learned()) == [renewed.der, author.der]
    assert set((await house.learned()).values()) == {KeptAs.HARVESTED}


async def test_an_old_mail_that_comes_again_brings_nothing_back(house: House) -> None:
    """Replay: somebody captured a mail of before the author changed his certificate, and sends it once more."""
    house.harvest = "keep"
    old, new = both(), both()
    for author, signed_at in ((new, AT - MINUTE), (old, AT - 2 * MINUTE)):
        assert await house.receive(signed_mail(author, signed_at)) == "verified"
    assert await house.learned() == {new.der: KeptAs.HARVESTED}


@pytest.mark.parametrize("mine_at", [(1, 5), (5, 1)])
async def test_a_mail_kept_back_between_two_of_the_newer_one_brings_nothing_back(house: House, mine_at: tuple[int, int]) -> None:
    """Replay: the mail signed in between is older than the last word of the certificate in use, not only than its first; and an
    old mail of its own does not turn its clock back.
    """
    house.harvest = "keep"
    mine, other = both(), both()
    for author, minutes in (*((mine, each) for each in mine_at), (other, 3)):
        assert await house.receive(signed_mail(author, AT - 10 * MINUTE + minutes * MINUTE)) == "verified"
    assert await house.learned() == {mine.der: KeptAs.HARVESTED}


async def test_what_was_forgotten_is_not_taught_again_by_a_mail_of_before(house: House) -> None:
    """Replay, after an administrator took the certificate out because its key was lost."""
    author = both()
    old = signed_mail(author, AT - MINUTE)
    await house.receive(old)
    house.forget()
    assert await house.receive(old) == "verified"
    assert await house.learned() == {}
    house.at += MINUTE
    await house.receive(signed_mail(author, AT + MINUTE))
    assert await house.learned() == {author.der: KeptAs.HARVESTED}


async def test_what_was_forgotten_beside_another_is_not_taught_again_either(house: House) -> None:
    """Replay: the one that is left was heard of long before, and what lies between was signed with the key that is lost."""
    house.harvest = "keep"
    left, lost = both(), both()
    for author, minutes in ((left, 5), (lost, 4)):
        await house.receive(signed_mail(author, AT - minutes * MINUTE))
    [entry] = [each for each in house.database.call(entries, Effect.READ) if each.kept.certificate == lost.der]
    house.database.call(lambda database: forget(database, entry, house.at), Effect.CHANGE)
    await house.receive(signed_mail(lost, AT - 3 * MINUTE))
    assert await house.learned() == {left.der: KeptAs.HARVESTED}


async def test_two_mails_of_one_moment_the_first_stays(house: House) -> None:
    house.harvest = "keep"
    first, second = both(), both()
    for author in (first, second):
        await house.receive(signed_mail(author, AT))
    assert await house.learned() == {first.der: KeptAs.HARVESTED}


# Poisoning


@pytest.mark.parametrize("minutes", [4, 6])
async def test_a_signing_time_ahead_teaches_nothing(house: House, minutes: int) -> None:
    """Poisoning: such a mail, once taken, would keep out everything until its day has come."""
    author = both()
    assert await house.receive(signed_mail(author, AT + minutes * MINUTE)) == "verified"
    assert (author.der in await house.learned()) is (minutes * MINUTE <= AHEAD)


async def test_a_mail_without_a_signing_time_teaches_nothing(house: House) -> None:
    """Poisoning: it could not be put in order with others, and so be sent again for ever."""
    assert await house.receive(signed_mail(both(), None)) == "verified"
    assert await house.learned() == {}


@pytest.mark.parametrize("case", ["signer is another", "believed by nobody", "changed", "revoked", "unsigned", "two From"])
async def test_what_is_not_verified_teaches_nothing(house: House, case: str) -> None:
    """Poisoning: whoever is believed only half is not believed about keys."""
    author, header = both(), HEADER
    message = signed_mail(author, AT)
    match case:
        case "signer is another":
            message = signed_mail(both(email="boss@laboratory.example"), AT)
        case "believed by nobody":
            message = signed_mail(both(Ca.root("CN=Elsewhere")), AT)
        case "changed":
            message = message.replace(b"From: Results", b"From: Boss <boss@laboratory.example>\r\nReply-To: x")
        case "revoked":
            house.publisher.crls[URL] = Crl(ZONE.crl([author]))
        case "unsigned":
            message = HEADER + PLAIN
        case "two From":
            message = signed_mail(author, AT, header=header + b"From: boss@laboratory.example\r\n")
    assert await house.receive(message) != "verified"
    everybody = house.database.call(entries, Effect.READ)
    assert everybody == []


@pytest.mark.parametrize(
    "case",
    [
        "another address",
        "another's authority",
        "not in the mail",
        "revoked",
        "expired",
        "weak key",
        "an authority",
        "not for encryption",
        "said twice",
        "no preference at all",
    ],
)
async def test_a_preference_that_names_what_is_not_his_teaches_nothing(house: House, case: str) -> None:
    """Poisoning by a good signer: he may name no certificate but his own, which whoever vouches for him vouches for too. Nor is
    his signing certificate taken in its place: he said that he wants another.
    """
    good = {"subject": "CN=k", "emails": [SENDER], "ku": ["key_encipherment"], "kind": "rsa2048"}
    wanted = ZONE.leaf(**good)  # type: ignore[arg-type]
    others: tuple[bytes, ...] | None = None
    preferences: list[bytes] = []
    match case:
        case "another address":
            wanted = ZONE.leaf(**good | {"emails": ["boss@laboratory.example"]})  # type: ignore[arg-type]
        case "another's authority":
            wanted = OUTSIDE.leaf(**good)  # type: ignore[arg-type]
        case "not in the mail":
            others = ()
        case "revoked":
            house.publisher.crls[URL] = Crl(ZONE.crl([wanted]))
        case "expired":
            wanted = ZONE.reader(SENDER, not_after=NOW - dt.timedelta(days=1))
        case "weak key":
            wanted = pki.short_rsa(ZONE)
        case "an authority":
            preferences, others = [by_serial(ZONE.der)], (ZONE.der,)
        case "not for encryption":
            wanted = ZONE.signer(SENDER)
        case "said twice":
            preferences = [by_serial(wanted.der), by_serial(both().der)]
        case "no preference at all":
            preferences = [core.OctetString(b"what is this").dump()]
    preferences = preferences or [by_serial(wanted.der)]
    await house.receive(signed_mail(both(), AT, *((wanted.der,) if others is None else others), preferences=preferences))
    learned = await house.learned()
    if case == "said twice":  # RFC 8551 2.5.3: not as it must be, and so as if it were not there
        assert wanted.der not in learned
    else:
        assert learned == {}


async def test_who_is_believed_as_a_signer_alone_is_not_written_to(house: House) -> None:
    """Poisoning: a zone may believe signers on the word of authorities by whose word nobody is encrypted to."""
    zone = replace(house.evidence._circles.zones["health"], inbound_anchors=Anchors([OUTSIDE.der]))
    house.evidence._circles = Circles({"health": zone}, {})
    assert await house.receive(signed_mail(both(OUTSIDE), AT)) == "verified"
    assert await house.learned() == {}


# Changed keys, and downgrade


async def test_another_key_waits_and_the_old_one_stays_in_use(house: House) -> None:
    """What an organisation gets that says nothing: whoever obtains a certificate for the address gets no mail by it alone."""
    old, new = both(), both()
    for number, each in enumerate((old, new, new)):
        assert await house.receive(signed_mail(each, AT + number * SECOND)) == "verified"
    assert await house.learned() == {old.der: KeptAs.HARVESTED, new.der: KeptAs.WAITING}
    assert house.why == ["key"]
    house.approve()
    assert await house.learned() == {old.der: KeptAs.HARVESTED, new.der: KeptAs.HARVESTED}
    renewed = both(key=new.key)
    await house.receive(signed_mail(renewed, AT + 3 * SECOND))
    assert (await house.learned())[renewed.der] is KeptAs.HARVESTED


async def test_another_key_is_used_at_once_where_the_organisation_says_so(house: House) -> None:
    house.harvest = "keep"
    old, new = both(), both()
    for number, each in enumerate((old, new)):
        await house.receive(signed_mail(each, AT + number * SECOND))
    assert list((await house.learned()).items()) == [(new.der, KeptAs.HARVESTED), (old.der, KeptAs.HARVESTED)]


async def test_another_key_than_a_pinned_one_waits(house: House) -> None:
    pinned, other = both(), both()
    house.database.call(
        lambda database: put_in(database, "hospital", AUTHOR, pinned.der, (), KeptAs.PINNED, AT),
        Effect.CHANGE,
    )
    await house.receive(signed_mail(other, AT + SECOND))
    assert await house.learned() == {pinned.der: KeptAs.PINNED, other.der: KeptAs.WAITING}


async def test_what_waits_alone_lets_nothing_in_beside_it(house: House) -> None:
    """The one in use was taken out by a person while another waited: a third does not profit by it."""
    old, new, third = both(), both(), both()
    for number, each in enumerate((old, new)):
        await house.receive(signed_mail(each, AT + number * SECOND))
    [entry] = [each for each in house.database.call(entries, 0) if each.kept.certificate == old.der]  # type: ignore[arg-type]
    house.database.call(lambda database: forget(database, entry, AT + 2 * SECOND), Effect.CHANGE)
    house.at += MINUTE
    await house.receive(signed_mail(third, AT + 3 * SECOND))
    assert await house.learned() == {new.der: KeptAs.WAITING, third.der: KeptAs.WAITING}


@pytest.mark.parametrize("harvest", ["keep", "approve"])
async def test_outside_the_zone_nobody_takes_the_place_of_one_a_zone_vouched_for(house: House, harvest: str) -> None:
    """Downgrade: any public authority that certifies the address is believed outside, and the zone is stricter. Whatever the
    organisation says of changed keys, and even with the same key, a person decides.
    """
    house.harvest = harvest
    member, public = both(), both(OUTSIDE)
    again = both(OUTSIDE, key=member.key)
    for number, each in enumerate((member, public, again)):
        assert await house.receive(signed_mail(each, AT + number * SECOND)) == "verified"
    assert await house.learned() == {member.der: KeptAs.HARVESTED, public.der: KeptAs.WAITING, again.der: KeptAs.WAITING}
    assert house.why == ["assurance", "assurance"]


@pytest.mark.parametrize("harvest", ["keep", "approve"])
async def test_a_certificate_of_another_organisation_waits(house: House, harvest: str) -> None:
    """Side by side they would be refused as contradictory, and so one mail could stop all mail to its author."""
    house.harvest = harvest
    mine, other = both(), both(subject="CN=Results,O=Somebody Else,C=FR")
    for number, each in enumerate((mine, other)):
        await house.receive(signed_mail(each, AT + number * SECOND))
    assert await house.learned() == {mine.der: KeptAs.HARVESTED, other.der: KeptAs.WAITING}
    assert house.why == ["organisation"]
    house.approve()
    assert await house.learned() == {other.der: KeptAs.HARVESTED}


async def test_a_weak_certificate_is_never_taken(house: House) -> None:
    """Downgrade: the newest is not taken for being the newest."""
    house.harvest = "keep"
    good, weak = both(), pki.short_rsa(ZONE)
    await house.receive(signed_mail(good, AT))
    await house.receive(signed_mail(good, AT + SECOND, weak.der, preferences=[by_serial(weak.der)]))
    assert await house.learned() == {good.der: KeptAs.HARVESTED}


async def test_what_expired_on_its_way_is_not_taken(house: House) -> None:
    """The mail is verified, because it was signed in time; to write to it is too late."""
    late = both(OUTSIDE, not_after=NOW - dt.timedelta(hours=1))
    assert await house.receive(signed_mail(late, AT - 2 * HOUR)) == "verified"
    assert await house.learned() == {}
