"""A rule that only observes: the mail leaves as it came, counted as unprotected, and the audit has what would have been."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.events import MailProtected, MailUnprotected
from gateway.flow.choice import Unusable
from gateway.outcome import Reason
from tests.flow.hospital import MESSAGE, Hospital, bytes_of, names
from tests.mail.pgp import armored, encrypted, entity
from tests.pki import Ca, short_rsa

RESULTS, SECOND = "results@laboratory.example", "second@laboratory.example"
OTHER_FROM = MESSAGE.replace(b"cardiology@hospital.example>", b"minister@government.example>")
TWO_FROMS = MESSAGE.replace(b"Subject", b"From: x@hospital.example\r\nSubject")


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture
def hospital(root: Ca) -> Hospital:
    made = Hospital(root)
    made.evidence.known[RESULTS] = root.reader(RESULTS)
    return made


def rule(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": "trial", "mode": "observe", **more}


async def observed(hospital: Hospital, message: bytes = MESSAGE, *to: str) -> MailUnprotected:
    """What was recorded of a mail that left byte for byte as it came."""
    flowed = await hospital.send(message, *to)
    [output] = flowed.outputs
    assert bytes_of(output) == message
    assert not output.protected
    assert (flowed.held, flowed.deferred, flowed.refused) == ((), (), ())
    assert hospital.signer.signed == 0
    assert hospital.bodies.kept == []
    [event] = hospital.events.seen
    assert isinstance(event, MailUnprotected)
    assert (event.rule, event.copy) == ("trial", output.arrival.mail)
    return event


@pytest.mark.parametrize("protect", ["both", "sign", "encrypt"])
async def test_what_would_have_been_protected(hospital: Hospital, protect: str) -> None:
    hospital.rules = [rule(protect=protect)]
    event = await observed(hospital)
    assert (event.would, event.reason, event.recipients) == (protect, None, (RESULTS,))


@pytest.mark.parametrize(("missing", "would"), [("refuse", "refuse"), ("hold", "hold"), ("defer", "defer")])
@pytest.mark.parametrize("reason", [Reason.NO_CERTIFICATE, Reason.REVOKED])
async def test_how_it_would_have_ended(hospital: Hospital, missing: str, would: str, reason: Reason) -> None:
    hospital.rules = [rule(protect="both", missing=missing)]
    hospital.evidence.known[RESULTS] = Unusable(reason)
    event = await observed(hospital)
    assert (event.would, event.reason) == (would, reason)


async def test_that_it_would_have_left_unprotected_anyhow(hospital: Hospital) -> None:
    hospital.rules = [rule(protect="both", missing="unprotected")]
    event = await observed(hospital, MESSAGE, SECOND)
    assert (event.would, event.reason) == ("unprotected", Reason.NO_CERTIFICATE)


@pytest.mark.parametrize(("message", "reason"), [(OTHER_FROM, Reason.SENDER_NOT_ALLOWED), (TWO_FROMS, Reason.FROM_AMBIGUOUS)])
async def test_that_nobody_could_have_signed_it(hospital: Hospital, message: bytes, reason: Reason) -> None:
    hospital.rules = [rule(protect="both")]
    event = await observed(hospital, message)
    assert (event.would, event.reason) == ("refuse", reason)
    assert hospital.evidence.asked == []


async def test_a_certificate_too_weak_is_one_that_is_missing(hospital: Hospital, root: Ca) -> None:
    hospital.rules = [rule(protect="encrypt")]
    hospital.evidence.known[RESULTS] = short_rsa(root)
    assert (await observed(hospital)).reason is Reason.WEAK_ALGORITHM


async def test_an_outage_does_not_stop_what_is_only_observed(hospital: Hospital) -> None:
    hospital.rules = [rule(protect="both")]
    hospital.evidence.known[RESULTS] = Unusable(Reason.DIRECTORY_UNAVAILABLE)
    event = await observed(hospital)
    assert (event.would, event.reason) == ("defer", Reason.DIRECTORY_UNAVAILABLE)


async def test_recipients_of_one_mail_are_told_apart(hospital: Hospital) -> None:
    """One copy leaves; what would have become of each is told of each."""
    hospital.rules = [rule(protect="both")]
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    [output] = flowed.outputs
    assert names(output.envelope.recipients) == [RESULTS, SECOND]
    told = [(each.would, each.reason, each.recipients) for each in hospital.events.seen if isinstance(each, MailUnprotected)]
    assert told == [("both", None, (RESULTS,)), ("refuse", Reason.NO_CERTIFICATE, (SECOND,))]


async def test_it_loosens_nothing_but_its_own_rule(hospital: Hospital) -> None:
    """Beside a recipient of a rule that is enforced, and after an enforced rule that comes first."""
    hospital.rules = [rule(protect="both", when={"recipient": [SECOND]})]
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    bodies = {names(each.envelope.recipients)[0]: bytes_of(each) for each in flowed.outputs}
    assert bodies[SECOND] == MESSAGE
    assert b"application/pkcs7-mime" in bodies[RESULTS]
    hospital.rules = [{"name": "first", "protect": "both"}, rule(protect="both")]
    assert not (await hospital.send(MESSAGE, SECOND)).outputs


@pytest.mark.parametrize(
    ("message", "reason"),
    [(b"Subject: \rbare\r\n\r\nx", Reason.MALFORMED), (b"X: " + b"x" * 300_000 + b"\r\n\r\nx", Reason.LIMIT)],
)
async def test_what_cannot_be_read_is_refused_whatever_observes(hospital: Hospital, message: bytes, reason: Reason) -> None:
    hospital.rules = [rule(protect="both")]
    flowed = await hospital.send(message)
    assert ([each.reason for each in flowed.refused], flowed.outputs) == ([reason], ())


async def test_what_the_sender_encrypted_leaves_the_same_either_way_and_is_protected(hospital: Hospital) -> None:
    hospital.rules = [rule(protect="both")]
    message = MESSAGE[: MESSAGE.index(b"MIME-Version")] + entity(armored(encrypted(1)))
    [output] = (await hospital.send(message)).outputs
    assert (bytes_of(output), output.protected) == (message, True)
    [event] = hospital.events.seen
    assert isinstance(event, MailProtected)
    assert event.protection == "kept"
    hospital.events.seen.clear()
    hospital.evidence.known[SECOND] = hospital.evidence.known[RESULTS]
    assert (await observed(hospital, message, RESULTS, SECOND)).would == "both"  # with a key too few it is encrypted for nobody
