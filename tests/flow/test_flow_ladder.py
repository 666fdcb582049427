"""From which rung of the ladder of trust a certificate is taken, in which order sources are asked, and what ends the search."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.edge.keyfile import FileKeys
from gateway.events import KeyShared
from gateway.flow.choice import Unusable, Usable, outdone
from gateway.flow.evidence import MAX_PINS_ASKED, Signed
from gateway.flow.opening import open_message
from gateway.flow.sharedkeys import MAX_KEYS, MAX_OWNERS
from gateway.mail.address import parse_address
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime.known import Strength
from gateway.trust.along import NOTHING_ALONG, Along
from gateway.trust.certificate import binds, facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Distrusted, Purpose, Revocation, Trusted
from gateway.trust.kept import KeptAs
from gateway.trust.ladder import AfterInvalid, Rung, Way
from gateway.trust.smimea import Usage, association
from gateway.trust.sources import DirectoryError, WordUnknown
from gateway.trust.suitability import unusable
from tests.doubles import MemoryBodies, MemoryBody
from tests.flow.opened import HEADER, PLAIN, as_message, sign
from tests.flow.test_evidence import AT, RESULTS, ROOT, URL, Shelf, World
from tests.pki import NOW, Ca, Issued

LATER = AT + 10 * 365 * 86_400 * 1_000_000  # openssl signs with the time of this machine, years from the certificates' NOW
ADDRESS = "results@laboratory.example"
DAY = dt.timedelta(days=1)
STRANGER = Ca.root("CN=Stranger")
FOREIGN = STRANGER.reader(ADDRESS, "p256")
OWN = ROOT.reader(ADDRESS, "p256", not_before=NOW - DAY)
TWIN = ROOT.reader(ADDRESS, "p256", not_before=NOW - DAY)  # as good as OWN in everything
EXPIRED = ROOT.reader(ADDRESS, "p256", not_after=NOW - DAY)
EARLY = ROOT.reader(ADDRESS, "p256", not_before=NOW + DAY)
WEAK = ROOT.reader(ADDRESS, "rsa1024")
REVOKED = ROOT.reader(ADDRESS, "p256")
SIGNING = ROOT.signer(ADDRESS)
ELSEWHERE = ROOT.reader("somebody@laboratory.example", "p256")


@pytest.fixture
def world() -> World:
    return World()


def taken(answer: Usable | Unusable) -> tuple[bytes, str, Rung]:
    assert isinstance(answer, Usable), answer
    return answer.certificate, answer.source, answer.rung


def refused(answer: Usable | Unusable) -> Reason:
    assert isinstance(answer, Unusable), answer
    return answer.reason


def after(world: World, after_invalid: AfterInvalid) -> None:
    world.zone = replace(world.zone, after_invalid=after_invalid)
    world.draw()


WAYS = {Way.GUARDED: Rung.DISCOVERED, Way.OPEN: Rung.UNVERIFIED, Way.DNSSEC: Rung.VERIFIED}


@pytest.mark.parametrize("least", Rung)
@pytest.mark.parametrize("way", WAYS)
async def test_what_leads_nowhere_stands_where_it_came_from(world: World, way: Way, least: Rung) -> None:
    world.first.certificates, world.first.way = [FOREIGN.der], way
    answer = await world.recipient(least=least)
    if WAYS[way].reaches(least):
        assert taken(answer) == (FOREIGN.der, "first", WAYS[way])
        assert isinstance(answer, Usable)
        assert answer.assurance is None  # nobody gives his word but the place
    else:
        assert refused(answer) is Reason.CHAIN


@pytest.mark.parametrize("way", WAYS)
async def test_what_leads_to_an_anchor_is_verified_wherever_it_came_from(world: World, way: Way) -> None:
    world.first.certificates, world.first.way = [OWN.der], way
    assert await world.recipient() == Usable(OWN.der, "first", Assurance.ZONE)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (EXPIRED, Reason.EXPIRED),
        (EARLY, Reason.NOT_YET_VALID),
        (WEAK, Reason.WEAK_ALGORITHM),
        (REVOKED, Reason.REVOKED),
        (SIGNING, Reason.KEY_USAGE),
    ],
)
@pytest.mark.parametrize("kept_as", [KeptAs.PINNED, KeptAs.IMPORTED, KeptAs.HARVESTED])
async def test_what_is_unfit_stands_nowhere(world: World, certificate: Issued, reason: Reason, kept_as: KeptAs) -> None:
    """Not even by the word of an administrator: he pinned it when it was good."""
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[REVOKED]))
    world.keeper.keep(kept_as, certificate.der)
    assert refused(await world.recipient(least=Rung.UNVERIFIED)) is reason
    world.first.certificates, world.first.way = [certificate.der], Way.DNSSEC
    world.keeper.all.clear()
    assert refused(await world.recipient(least=Rung.UNVERIFIED)) is reason


async def test_what_is_critical_and_unknown_is_made_up_for_by_nothing(world: World) -> None:
    """RFC 5280 4.2. It has the reason of what leads nowhere, which a way may make up for."""
    odd = STRANGER.reader(ADDRESS, "p256", critical="1.2.3.4")
    for way in WAYS:
        world.first.certificates, world.first.way = [odd.der], way
        assert refused(await world.recipient(least=Rung.UNVERIFIED)) is Reason.CHAIN
    for kept_as in (KeptAs.HARVESTED, KeptAs.IMPORTED, KeptAs.PINNED):
        world.keeper.keep(kept_as, odd.der)
        assert refused(await world.recipient(least=Rung.UNVERIFIED)) is Reason.CHAIN


async def test_a_pin_is_first_and_needs_no_chain_and_no_name(world: World) -> None:
    other = STRANGER.reader("archive@other.example", "p256")
    world.first.certificates = [OWN.der]
    world.keeper.keep(KeptAs.PINNED, other.der)
    assert await world.recipient() == Usable(other.der, "pinned", Assurance.PINNED, (), Rung.PINNED)
    assert world.first.asked == 0
    world.publisher.crls.clear()  # the zone is hard: without revocation nobody else would be believed
    world.keeper.all.clear()
    world.keeper.keep(KeptAs.PINNED, OWN.der)
    assert await world.recipient() == Usable(OWN.der, "pinned", Assurance.PINNED, (Reason.REVOCATION_UNKNOWN,), Rung.PINNED)


async def test_the_newest_of_several_pins(world: World) -> None:
    old = STRANGER.reader(ADDRESS, "p256", subject="CN=x,O=One")
    new = STRANGER.reader(ADDRESS, "p256", subject="CN=x,O=Two", not_before=NOW)
    for order in ([old, new], [new, old]):
        world.keeper.all.clear()
        world.keeper.keep(KeptAs.PINNED, *(each.der for each in order))
        assert taken(await world.recipient()) == (new.der, "pinned", Rung.PINNED)
        assert (await world.evidence.inquire("hospital", "health", RESULTS, AT)).answer == await world.recipient()


async def test_a_pin_that_cannot_be_read_is_waited_for(world: World) -> None:
    """Among what is kept may be the certificate that is to be taken instead of all others."""
    world.keeper.down = DirectoryError("the state cannot be read")
    world.first.certificates = [OWN.der]
    assert refused(await world.recipient()) is Reason.DIRECTORY_UNAVAILABLE
    assert world.first.asked == 0


async def test_imported_before_directories_and_harvested_behind_them(world: World) -> None:
    world.keeper.keep(KeptAs.IMPORTED, OWN.der)
    assert taken(await world.recipient()) == (OWN.der, "imported", Rung.VERIFIED)
    assert world.first.asked == 0
    world.keeper.all.clear()
    world.keeper.keep(KeptAs.HARVESTED, OWN.der)
    assert taken(await world.recipient()) == (OWN.der, "harvested", Rung.VERIFIED)
    assert (world.first.asked, world.second.asked) == (1, 1)
    world.keeper.all.clear()
    world.keeper.keep(KeptAs.HARVESTED, FOREIGN.der)
    answer = await world.recipient(least=Rung.HARVESTED)
    assert answer == Usable(FOREIGN.der, "harvested", Assurance.HARVESTED, (), Rung.HARVESTED)
    assert refused(await world.recipient()) is Reason.CHAIN


async def test_a_better_rung_is_looked_for_and_a_tie_goes_to_the_earlier(world: World) -> None:
    newer = STRANGER.reader(ADDRESS, "p256", not_before=NOW)
    world.first.certificates, world.first.way = [FOREIGN.der], Way.GUARDED
    world.second.certificates, world.second.way = [OWN.der], Way.OPEN
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (OWN.der, "second", Rung.VERIFIED)
    world.second.certificates, world.second.way = [newer.der], Way.GUARDED
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (FOREIGN.der, "first", Rung.DISCOVERED)
    world.first.certificates = [newer.der, FOREIGN.der]
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (newer.der, "first", Rung.DISCOVERED)
    world.second.down = DirectoryError("second: closed")  # what is good enough needs not wait for what might be better
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (newer.der, "first", Rung.DISCOVERED)


async def test_the_reason_says_how_high_it_stands(world: World) -> None:
    world.first.certificates, world.first.way = [FOREIGN.der], Way.OPEN
    answer = await world.recipient(least=Rung.DISCOVERED)
    assert refused(answer) is Reason.CHAIN
    assert isinstance(answer, Unusable)
    assert answer.detail.endswith("it stands at unverified, and the least that is taken is discovered")


@pytest.mark.parametrize("invalid", [EXPIRED, EARLY, WEAK, REVOKED])
async def test_only_invalid_is_an_answer(world: World, invalid: Issued) -> None:
    """Unless it is configured otherwise: whoever keeps the good ones back must not choose where else we look."""
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[REVOKED]))
    world.first.certificates, world.second.certificates = [invalid.der], [OWN.der]
    assert isinstance(await world.recipient(), Unusable)
    assert world.second.asked == 0
    after(world, AfterInvalid.NEXT)
    assert taken(await world.recipient()) == (OWN.der, "second", Rung.VERIFIED)


@pytest.mark.parametrize("other", [SIGNING, ELSEWHERE, FOREIGN])
async def test_what_is_for_something_else_or_too_low_is_no_answer(world: World, other: Issued) -> None:
    world.first.certificates, world.second.certificates = [other.der], [OWN.der]
    assert taken(await world.recipient()) == (OWN.der, "second", Rung.VERIFIED)


async def test_only_invalid_ends_no_search_that_could_only_get_better(world: World) -> None:
    """There is an answer already, a low one; who kept the good one back would choose nothing by it."""
    third = Shelf("third", [OWN.der])
    world.first.certificates, world.first.way, world.second.certificates = [FOREIGN.der], Way.GUARDED, [EXPIRED.der]
    world.zone = replace(world.zone, directories=(world.first, world.second, third))
    world.draw()
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (OWN.der, "third", Rung.VERIFIED)
    assert refused(await world.recipient()) is Reason.EXPIRED


async def test_a_domain_and_its_mailbox_may_name_different_organisations(world: World) -> None:
    """What counts is the mailbox's own, and the other contradicts nothing."""
    own = ROOT.reader(ADDRESS, "p256", subject="CN=x,O=Laboratory")
    domain = ROOT.organisation_reader("laboratory.example", "p256", subject="CN=x,O=Group", not_before=NOW)
    world.first.certificates = [domain.der, own.der]
    assert taken(await world.recipient()) == (own.der, "first", Rung.VERIFIED)


async def test_different_organisations_for_one_address(world: World) -> None:
    """Each is fit, and they cannot both be right: a person decides."""
    one = ROOT.reader(ADDRESS, "p256", subject="CN=x,O=Clinic,C=FR")
    same = ROOT.reader(ADDRESS, "p256", subject="CN=y,OU=Ward,O=CLINIC\\ ,C=FR", not_before=NOW)
    unnamed = ROOT.reader(ADDRESS, "p256", not_before=NOW)
    two = ROOT.reader(ADDRESS, "p256", subject="CN=x,O=Laboratory,C=FR")
    world.first.certificates = [one.der, same.der, unnamed.der]
    assert isinstance(await world.recipient(), Usable)
    for order in ([one, two], [two, one], [unnamed, two, one]):
        world.first.certificates = [each.der for each in order]
        answer = await world.recipient()
        assert refused(answer) is Reason.CERTIFICATE_AMBIGUOUS
        assert isinstance(answer, Unusable)
        assert answer.detail == "first: of different organisations: clinic, laboratory"
    gone = ROOT.reader(ADDRESS, "p256", subject="CN=x,O=Laboratory,C=FR", not_after=NOW - DAY)
    world.first.certificates = [one.der, gone.der]
    assert taken(await world.recipient())[0] == one.der
    world.first.certificates = [one.der, two.der]
    world.keeper.keep(KeptAs.PINNED, two.der)
    assert taken(await world.recipient()) == (two.der, "pinned", Rung.PINNED)


async def test_different_organisations_on_a_low_rung_hide_no_better_certificate(world: World) -> None:
    """That two contradict each other is the answer only where nobody behind them has one that stands higher."""
    rivals = [STRANGER.reader(ADDRESS, "p256", subject=f"CN=x,O={name}") for name in ("Clinic", "Laboratory")]
    world.first.certificates, world.first.way = [each.der for each in rivals], Way.GUARDED
    assert refused(await world.recipient(least=Rung.DISCOVERED)) is Reason.CERTIFICATE_AMBIGUOUS
    world.second.certificates = [OWN.der]
    assert taken(await world.recipient(least=Rung.DISCOVERED)) == (OWN.der, "second", Rung.VERIFIED)
    world.second.certificates, world.second.way = [STRANGER.reader(ADDRESS, "p256", subject="CN=x,O=Third").der], Way.GUARDED
    world.first.certificates = [rivals[0].der]
    assert refused(await world.recipient(least=Rung.DISCOVERED)) is Reason.CERTIFICATE_AMBIGUOUS


async def test_what_waits_for_approval_is_not_used_and_told(world: World) -> None:
    world.keeper.keep(KeptAs.WAITING, OWN.der)
    assert refused(await world.recipient(least=Rung.UNVERIFIED)) is Reason.APPROVAL_PENDING
    world.keeper.keep(KeptAs.HARVESTED, ROOT.reader(ADDRESS, "p256").der)
    assert isinstance(await world.recipient(), Usable)


async def test_what_waits_is_told_also_where_another_was_chosen(world: World) -> None:
    world.keeper.keep(KeptAs.WAITING, OWN.der)
    answer = await world.evidence.reader("hospital", "health", RESULTS, lambda certificate: certificate == TWIN.der, AT)
    assert refused(answer) is Reason.APPROVAL_PENDING


@pytest.mark.parametrize("before", [EXPIRED, FOREIGN, SIGNING])
async def test_what_waits_is_told_rather_than_what_it_would_replace(world: World, before: Issued) -> None:
    """The one there was has run out, or is too little, and a person can settle it with one command."""
    world.keeper.keep(KeptAs.HARVESTED, before.der)
    world.keeper.keep(KeptAs.WAITING, OWN.der)
    assert refused(await world.recipient()) is Reason.APPROVAL_PENDING


@pytest.mark.parametrize("other", [FOREIGN, EXPIRED, REVOKED, WEAK, SIGNING])
async def test_what_passes_by_itself_is_waited_for_whatever_else_there_is(world: World, other: Issued) -> None:
    """Nobody can say now whether OWN is revoked. Beside it is one that is never to be used, of which ``missing`` must not be asked:
    it may say ``unprotected``.
    """
    newer = STRANGER.reader(ADDRESS, "p256", not_before=NOW)
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[REVOKED]))
    lost = ROOT.intermediate(crl_urls=["http://crl.lost.example/crl"])
    own, world.first.others = lost.reader(ADDRESS, "p256", not_before=NOW - DAY), (lost.der,)
    world.second.others = world.first.others
    for first, second in (([other], [own]), ([own], [other]), ([newer, own, other], []), ([other, newer, own], [])):
        world.first.certificates = [each.der for each in first]
        world.second.certificates = [each.der for each in second]
        for after_invalid in AfterInvalid:
            after(world, after_invalid)
            if after_invalid is AfterInvalid.STOP and first == [other] and other in (EXPIRED, REVOKED, WEAK):
                continue  # there the search ends, before OWN is found
            assert refused(await world.recipient()) is Reason.REVOCATION_UNKNOWN
    world.first.certificates, world.second.certificates = [EARLY.der], [other.der]
    after(world, AfterInvalid.NEXT)
    assert refused(await world.recipient()) is Reason.NOT_YET_VALID
    world.keeper.keep(KeptAs.WAITING, FOREIGN.der)
    world.first.certificates, world.second.certificates = [own.der], []
    assert refused(await world.recipient()) is Reason.REVOCATION_UNKNOWN


async def test_whom_two_contradict_a_source_that_is_away_may_settle(world: World) -> None:
    rivals = [STRANGER.reader(ADDRESS, "p256", subject=f"CN=x,O={name}") for name in ("Clinic", "Laboratory")]
    world.first.certificates, world.first.way = [each.der for each in rivals], Way.GUARDED
    world.second.down = DirectoryError("second: closed")
    assert refused(await world.recipient(least=Rung.DISCOVERED)) is Reason.DIRECTORY_UNAVAILABLE


@pytest.mark.parametrize(("waiting", "reason"), [(EXPIRED, Reason.EXPIRED), (SIGNING, Reason.KEY_USAGE)])
async def test_nobody_is_asked_to_approve_what_could_not_be_used(world: World, waiting: Issued, reason: Reason) -> None:
    world.keeper.keep(KeptAs.WAITING, waiting.der)
    assert refused(await world.recipient()) is reason


def sha256(usage: Usage, issued: Issued | Ca) -> tuple[int, int, int, bytes]:
    return usage, 0, 1, hashlib.sha256(issued.der).digest()


async def test_the_domain_vouches_for_a_certificate(world: World) -> None:
    """DANE-EE and DANE-TA need no anchor of ours (RFC 6698 2.1.1); the others name one of a path that leads to ours."""
    world.first.certificates = [FOREIGN.der]
    for usage, expected in ((Usage.DANE_EE, True), (Usage.PKIX_EE, False)):
        world.first.associations = (association(*sha256(usage, FOREIGN)),)
        answer = await world.recipient()
        assert isinstance(answer, Usable) is expected, usage
    world.first.others = (STRANGER.der,)
    world.first.associations = (association(*sha256(Usage.DANE_TA, STRANGER)),)
    assert refused(await world.recipient()) is Reason.REVOCATION_UNKNOWN  # its authority publishes no CRL, and the zone is hard
    world.zone = replace(world.zone, revocation=Revocation.SOFT)
    world.draw()
    for usage, expected in ((Usage.DANE_TA, True), (Usage.PKIX_TA, False)):
        world.first.associations = (association(*sha256(usage, STRANGER)),)
        answer = await world.recipient()
        assert isinstance(answer, Usable) is expected, usage
        assert isinstance(answer, Unusable) or answer.assurance is None  # the domain's word, and not that of the zone
    world.first.associations = (association(*sha256(Usage.DANE_TA, Ca.root("CN=Another"))),)
    assert isinstance(await world.recipient(), Unusable)


async def test_the_domain_vouches_for_what_another_directory_has(world: World) -> None:
    world.first.associations = (association(*sha256(Usage.DANE_EE, FOREIGN)),)
    world.second.certificates = [OWN.der, FOREIGN.der]
    answer = await world.recipient()
    assert answer == Usable(FOREIGN.der, "second", None)


async def test_the_word_of_the_domain_counts_for_what_was_found_before(world: World) -> None:
    """What stands too low to end the search must be what the domain stands for in the end."""
    world.first.certificates, world.first.way = [FOREIGN.der], Way.GUARDED
    world.second.associations = (association(*sha256(Usage.DANE_EE, OWN)),)
    assert refused(await world.recipient(least=Rung.DISCOVERED)) is Reason.CHAIN
    world.second.down = WordUnknown("second: silent")
    assert refused(await world.recipient(least=Rung.DISCOVERED)) is Reason.DIRECTORY_UNAVAILABLE


@pytest.mark.parametrize("kept_as", [None, KeptAs.IMPORTED, KeptAs.HARVESTED])
async def test_the_domain_vouches_wherever_the_certificate_was_found(world: World, kept_as: KeptAs | None) -> None:
    """And whoever was asked first, for people as for mail; of dates it says nothing."""
    source = kept_as or "first"
    for certificate in (FOREIGN, STRANGER.reader(ADDRESS, "p256", not_after=NOW - DAY)):
        if kept_as is None:
            world.first.certificates, world.first.way = [certificate.der], Way.OPEN
        else:
            world.keeper.keep(kept_as, certificate.der)
        world.second.associations = (association(*sha256(Usage.PKIX_EE, certificate)),)
        assert isinstance(await world.recipient(), Unusable)
        world.second.associations = (association(*sha256(Usage.DANE_EE, certificate)),)
        answer = await world.recipient()
        if certificate is FOREIGN:
            assert answer == Usable(FOREIGN.der, source, None)
        else:
            assert refused(answer) is Reason.EXPIRED
        told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
        assert told.answer == answer
        world.keeper.all.clear()


async def test_everything_is_told(world: World) -> None:
    """All sources, also those behind the answer, and every certificate in them."""
    world.first.certificates = [OWN.der, EXPIRED.der, ELSEWHERE.der, b"no certificate"]
    world.second.certificates, world.second.way = [FOREIGN.der], Way.GUARDED
    world.keeper.keep(KeptAs.WAITING, FOREIGN.der)
    told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
    assert told.answer == Usable(OWN.der, "first", Assurance.ZONE)
    assert (told.needed, [each.source for each in told.looked]) == (1, ["first", "second", "harvested"])
    doubts = [each.doubt.reason if each.doubt else None for looked in told.looked for each in looked.candidates]
    assert doubts == [
        Reason.ADDRESS_MISMATCH,
        Reason.MALFORMED,
        None,
        Reason.EXPIRED,
        Reason.CHAIN,
        Reason.APPROVAL_PENDING,
    ]
    assert [each.rung for each in told.looked[1].candidates] == [Rung.DISCOVERED]
    assert await world.evidence.recipient("hospital", "health", RESULTS, AT) == told.answer


CLINIC, LABORATORY = (ROOT.reader(ADDRESS, "p256", subject=f"CN=x,O={name}", not_before=NOW - DAY) for name in ("Clinic", "Lab"))
DOMAIN = ROOT.organisation_reader("laboratory.example", "p256")


async def test_of_what_could_be_used_it_is_told_by_what_it_is_outdone(world: World) -> None:
    older = ROOT.reader(ADDRESS, "p256", not_before=NOW - 2 * DAY)
    domain = ROOT.organisation_reader("laboratory.example", "p256", not_before=NOW)
    world.first.certificates, world.first.way = [OWN.der, older.der, domain.der, FOREIGN.der, EXPIRED.der], Way.GUARDED
    world.second.certificates = [TWIN.der]
    told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
    assert isinstance(told.answer, Usable)
    words = {
        each.certificate: outdone(each, looked.source, told.answer, told.looked)
        for looked in told.looked
        for each in looked.candidates
        if each.rung is not None and each.certificate != OWN.der
    }
    assert told.answer.certificate == OWN.der
    assert words == {
        older.der: "another is newer, or as new",
        domain.der: "the mailbox has one of its own",
        FOREIGN.der: "it stands at discovered, and the one that is taken at verified",
        TWIN.der: "first comes before second",
    }


async def test_people_are_told_what_the_domain_does_not_stand_for(world: World) -> None:
    """It leads to an anchor, and is refused: what is shown says the same."""
    world.first.associations = (association(*sha256(Usage.DANE_EE, FOREIGN)),)
    world.second.certificates = [OWN.der]
    told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
    assert refused(told.answer) is Reason.CHAIN
    [candidate] = told.looked[1].candidates
    assert candidate.rung is None
    assert candidate.doubt is not None
    assert candidate.doubt.detail.endswith("the domain's SMIMEA records name others")


async def test_what_was_not_needed_changes_nothing_of_what_people_are_told(world: World) -> None:
    """The mail was encrypted to it before anybody asked what the domain stands for."""
    world.first.certificates = [OWN.der]
    world.second.certificates, world.second.associations = [TWIN.der], (association(*sha256(Usage.DANE_EE, FOREIGN)),)
    told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
    assert (told.needed, taken(told.answer)) == (1, (OWN.der, "first", Rung.VERIFIED))
    assert [[each.rung for each in looked.candidates] for looked in told.looked] == [[Rung.VERIFIED], [None]]
    assert await world.recipient() == told.answer


async def test_the_domain_vouches_for_the_certificate_of_all_of_it(world: World) -> None:
    """Where the zone binds the domain, and beside a mailbox's own certificate, of which it says nothing."""
    domain = STRANGER.organisation_reader("laboratory.example", "p256")
    world.first.certificates = [domain.der]
    assert refused(await world.recipient()) is Reason.CHAIN
    world.first.for_domain = (association(*sha256(Usage.DANE_EE, domain)),)
    assert taken(await world.recipient()) == (domain.der, "first", Rung.VERIFIED)
    world.second.certificates = [OWN.der]
    assert taken(await world.recipient()) == (domain.der, "first", Rung.VERIFIED)
    world.first.certificates = [FOREIGN.der]  # its word on the authority is none on a mailbox
    world.first.for_domain = (association(*sha256(Usage.DANE_EE, FOREIGN)),)
    assert taken(await world.recipient()) == (OWN.der, "second", Rung.VERIFIED)
    world.zone = replace(world.zone, domains=frozenset())
    world.draw()
    world.first.certificates, world.second.certificates = [domain.der], []
    world.first.for_domain = (association(*sha256(Usage.DANE_EE, domain)),)
    assert refused(await world.recipient()) is Reason.ADDRESS_MISMATCH


async def test_which_of_two_equals_is_taken_people_are_told(world: World) -> None:
    for _ in range(8):
        world.first.certificates = [ROOT.reader(ADDRESS, "p256", not_before=NOW - DAY).der, TWIN.der]
        told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
        assert await world.recipient() == told.answer


POOL = [OWN, TWIN, CLINIC, LABORATORY, FOREIGN, EXPIRED, EARLY, WEAK, SIGNING, ELSEWHERE, DOMAIN]
HELD = st.lists(st.sampled_from(POOL), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=HELD,
    second=HELD,
    imported=HELD,
    harvested=HELD,
    ways=st.tuples(st.sampled_from(list(WAYS)), st.sampled_from(list(WAYS))),
    least=st.sampled_from(list(Rung)),
    after_invalid=st.sampled_from(AfterInvalid),
)
async def test_whatever_sources_hold_what_is_taken_is_fit_and_high_enough(
    first: list[Issued],
    second: list[Issued],
    imported: list[Issued],
    harvested: list[Issued],
    ways: tuple[Way, Way],
    least: Rung,
    after_invalid: AfterInvalid,
) -> None:
    world = World()
    after(world, after_invalid)
    world.keeper.keep(KeptAs.IMPORTED, *(each.der for each in imported))
    world.keeper.keep(KeptAs.HARVESTED, *(each.der for each in harvested))
    for shelf, held, way in ((world.first, first, ways[0]), (world.second, second, ways[1])):
        shelf.certificates, shelf.way = [each.der for each in held], way
    answer = await world.recipient(least=least)
    told = await world.evidence.inquire("hospital", "health", RESULTS, AT)
    if least is Rung.VERIFIED:
        assert told.answer == answer
    for shelf in (world.first, world.second):
        shelf.certificates.reverse()
    world.keeper.all.get(RESULTS.key, []).reverse()
    world.draw()
    again = await world.recipient(least=least)
    if isinstance(answer, Unusable):
        assert refused(again) is answer.reason
    else:
        assert again == answer
        found = facts(answer.certificate)
        assert answer.rung.reaches(least)
        assert unusable(found, Purpose.SMIME_RECIPIENT, AT) is None
        assert binds(found, RESULTS, world.zone.domains) is not None


async def test_one_key_of_two_organisations_raises_an_alarm(world: World) -> None:
    """Whoever holds it reads for both; it is told once for each, and refuses nobody."""
    here = ROOT.reader(ADDRESS, "p256", subject="CN=x,O=Laboratory")
    there = ROOT.reader("office@clinic.example", "p256", subject="CN=x,O=Clinic", key=here.key)
    again = ROOT.reader(ADDRESS, "p256", subject="CN=y,O=laboratory", key=here.key)
    world.first.certificates = [here.der, there.der]
    assert isinstance(await world.recipient(), Usable)
    world.first.certificates = [again.der, there.der]
    assert isinstance(await world.recipient(), Usable)
    assert world.events == []
    assert isinstance(await world.recipient(address=parse_address("office@clinic.example")), Usable)
    alarm = KeyShared(org="hospital", subject="CN=x,O=Clinic", other="CN=y,O=laboratory")
    assert world.events == [alarm]
    for address in (RESULTS, parse_address("office@clinic.example")):
        assert isinstance(await world.recipient(address=address), Usable)
    assert world.events == [alarm]  # mails that go to both by turns are no news
    world.events.clear()
    for number in range(MAX_OWNERS):
        other = ROOT.reader(ADDRESS, "p256", subject=f"CN=x,O={number}", key=here.key)
        world.first.certificates = [other.der]
        for _ in range(2):
            assert isinstance(await world.recipient(), Usable)
    assert len(world.events) == MAX_OWNERS + 2  # each once, and every time the two for which there was no room
    for number in range(MAX_KEYS):
        world.evidence._shared._owners[number.to_bytes(4, "big")] = ("", frozenset())
    assert isinstance(await world.recipient(), Usable)
    assert len(world.evidence._shared._owners) == MAX_KEYS


async def test_people_looked_up_elsewhere(world: World) -> None:
    """The first pattern with the address decides; signers and everybody else are as they were."""
    part = replace(world.public, directories=(world.second,), least=Rung.DISCOVERED)
    world.public = replace(world.public, apart=((("office@other.example", "@laboratory.example"), part),))
    world.draw()
    world.second.certificates, world.second.way = [FOREIGN.der], Way.GUARDED
    assert taken(await world.recipient(None)) == (FOREIGN.der, "second", Rung.DISCOVERED)
    assert refused(await world.recipient(None, parse_address("results@clinic.example"))) is Reason.NO_CERTIFICATE
    assert (world.outside.asked, world.second.asked) == (1, 1)


# Signers


async def test_a_pinned_signer_is_believed_for_the_pinned_mailbox_alone(world: World) -> None:
    issued = STRANGER.signer(ADDRESS, emails=[ADDRESS, "other@laboratory.example"])
    assert isinstance((await world.signer(issued)).judgement, Distrusted)
    world.keeper.keep(KeptAs.HARVESTED, issued.der)
    assert isinstance((await world.signer(issued)).judgement, Distrusted)
    world.keeper.keep(KeptAs.PINNED, issued.der)
    signed = await world.signer(issued)
    many = [f"{number}@laboratory.example" for number in range(MAX_PINS_ASKED)]
    for number, believed in ((MAX_PINS_ASKED - 1, True), (MAX_PINS_ASKED, False)):
        another = STRANGER.signer(ADDRESS, emails=[*many[:number], ADDRESS])
        world.keeper.keep(KeptAs.PINNED, another.der)
        assert isinstance((await world.signer(another)).judgement, Trusted) is believed
    assert isinstance(signed.judgement, Trusted)
    assert (signed.assurance, signed.zone, signed.domains) == (Assurance.PINNED, None, frozenset())
    assert signed.pinned == frozenset({RESULTS.key})
    world.keeper.down = DirectoryError("the state cannot be read")
    assert isinstance((await world.signer(issued)).judgement, Distrusted)


async def test_a_pin_makes_no_bad_signer_good(world: World) -> None:
    world.publisher.crls[URL] = Crl(ROOT.crl(revoked=[revoked := ROOT.signer(ADDRESS)]))
    for issued, reason in (
        (STRANGER.signer(ADDRESS, not_after=NOW - DAY), Reason.EXPIRED),
        (revoked, Reason.REVOKED),
        (STRANGER.reader(ADDRESS), Reason.KEY_USAGE),
    ):
        world.keeper.keep(KeptAs.PINNED, issued.der)
        signed = await world.evidence.signer("hospital", issued.der, NOTHING_ALONG, AT)
        assert isinstance(signed.judgement, Distrusted)
        assert signed.judgement.reason is reason


async def test_what_a_pinned_signer_signed(world: World, tmp_path: Path) -> None:
    """Verified on the word of whoever pinned it; but not when it says that it is from another mailbox that it names as well."""
    issued = STRANGER.signer(ADDRESS, emails=[ADDRESS, "other@laboratory.example"])
    world.keeper.keep(KeptAs.PINNED, issued.der)

    async def judge(certificate: bytes, along: Along, at: int, /) -> Signed:
        return await world.evidence.signer("hospital", certificate, along, at)

    for author, expected in (
        (ADDRESS, (Judged.VERIFIED, (), Assurance.PINNED)),
        ("other@laboratory.example", (Judged.SIGNED_UNVERIFIED, (Reason.FROM_MISMATCH,), None)),
    ):
        header = HEADER.replace(b"<results@laboratory.example>\r\nTo", b"<%b>\r\nTo" % author.encode())
        result = await open_message(
            MemoryBody(as_message(sign(tmp_path, PLAIN, issued), header)),
            MemoryBodies(),
            unwrapper=FileKeys({}),
            keys={},
            judge=judge,
            at=LATER,
            hostname="gateway.hospital.example",
            keep_signature=False,
            strength=Strength.MODERN,
        )
        assert (result.verdict.judged, result.verdict.reasons, result.verdict.assurance) == expected


def with_an_unknown_key(issued: Issued) -> bytes:
    """The same, its key labelled id-ecMQV (RFC 5480 2.1.2), which the library does not load."""
    certificate = asn1_x509.Certificate.load(issued.der)
    certificate["tbs_certificate"]["subject_public_key_info"]["algorithm"]["algorithm"] = "1.3.132.1.13"
    changed: bytes = certificate.dump(force=True)
    return changed


@pytest.mark.parametrize("usage", [Usage.DANE_TA, Usage.DANE_EE])
async def test_a_key_nobody_can_read_is_in_nobodys_way(world: World, usage: Usage) -> None:
    """A domain that names a key beside a certificate with one we cannot load must not stop mail, nor choose what is taken."""
    world.first.associations = (association(usage, 1, 1, hashlib.sha256(b"another key").digest()),)
    odd = with_an_unknown_key(ROOT.reader(ADDRESS, "p256"))
    world.first.certificates = [odd if usage is Usage.DANE_EE else FOREIGN.der]
    world.first.others = (with_an_unknown_key(Issued(Ca.root("CN=Odd").certificate, FOREIGN.key, ())),)
    reason = Reason.UNSUPPORTED if usage is Usage.DANE_EE else Reason.CHAIN
    assert refused(await world.recipient(least=Rung.UNVERIFIED)) is reason


@pytest.mark.parametrize("named", [False, True])
async def test_what_stands_too_low_for_a_pin_to_be_asked_is_no_nothing(world: World, named: bool) -> None:
    """Verified, and only what is pinned is taken: we know his certificate, and nobody may take him for somebody unknown."""
    world.first.certificates = [OWN.der]
    if named:
        answer = await world.evidence.reader("hospital", "health", RESULTS, lambda _: True, AT, Rung.PINNED)
    else:
        answer = await world.recipient(least=Rung.PINNED)
    assert refused(answer) is Reason.CHAIN
    assert isinstance(answer, Unusable)
    assert "stands at verified" in answer.detail
