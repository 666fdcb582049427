"""Reports: by what way they go back, whom nobody may be told of, and what of a mail they show."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

import pytest

from gateway.config.model import Config
from gateway.mail.address import Address
from gateway.mail.ending import Delayed, Refused, Relayed
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.identifier import is_mail_id, make_mail_id
from gateway.outcome import GatewayError, Reason
from gateway.report import Reported, Reporter
from tests.doubles import MemoryBody, MemorySpool
from tests.policy.world import world

ARRIVED = 1_800_000_000_000_000
NOW = ARRIVED + 3_600_000_000
SENDER = Address("cardiology", "hospital.example")
FIRST, SECOND = (Recipient(Address(name, "laboratory.example")) for name in ("first", "second"))
SUBJECT = b"HIV test of Jeanne Martin"
BODY = MemoryBody(b"From: cardiology@hospital.example\r\nSubject: " + SUBJECT + b"\r\nX-Ward: 7\r\n\r\nher result\r\n")
REFUSED = Refused((FIRST, SECOND), Reason.HOP_REFUSED, "550 5.1.1 Jeanne Martin is unknown")


class Broken:
    """A body that cannot be read."""

    size = 0

    def chunks(self) -> Iterator[bytes]:
        raise GatewayError(Reason.SPOOL_UNAVAILABLE, "the disk")


def a_mail(
    *,
    direction: Direction = Direction.OUTBOUND,
    role: Role = Role.INSIDE,
    sender: Address | None = SENDER,
    recipients: tuple[Recipient, ...] = (FIRST, SECOND),
    stage: Stage = Stage.DELIVERY,
    protected: bool = False,
    require_tls: bool = False,
    organisation: str = "hospital",
    peer: str | None = None,
    body: MemoryBody | Broken = BODY,
) -> Mail:
    return Mail(
        Arrival(make_mail_id(ARRIVED, bytes(10)), ARRIVED, organisation, direction, role, "in", zone=peer and "health", peer=peer),
        Envelope(sender, recipients, envid="QQ+2B1", require_tls=require_tls),
        body,
        stage,
        NextHop("lab", "health") if stage is Stage.DELIVERY else None,
        protected,
    )


@dataclass
class Desk:
    """A reporter over memory."""

    spool: MemorySpool
    config: Config

    def reporter(self) -> Reporter:
        drawn = itertools.count(1)
        return Reporter(
            config=lambda: self.config,
            bodies=self.spool.bodies,
            now=lambda: NOW,
            random=lambda length: next(drawn).to_bytes(length),
        )

    def report(self, mail: Mail, *refused: Refused) -> Reported:
        return self.reporter().report(mail, refused or (REFUSED,))

    def one(self, mail: Mail, *refused: Refused) -> Mail:
        told = self.report(mail, *refused)
        assert told.unreported == ()
        (report,) = told.reports
        return report


@pytest.fixture
def desk() -> Desk:
    return Desk(MemorySpool(), world())


def text(report: Mail) -> bytes:
    return b"".join(report.body.chunks())


def parts(report: Mail) -> list[Message]:
    """The parts of the report, as another's parser reads them."""
    message = message_from_bytes(text(report))
    assert message.get_content_type() == "multipart/report"
    found = message.get_payload()
    assert isinstance(found, list)
    return [part for part in found if isinstance(part, Message)]


# The way back


def test_our_own_people_are_told_by_way_of_their_mail_server(desk: Desk) -> None:
    mail = a_mail()
    report = desk.one(mail)
    assert report.hop == NextHop("mailbox")
    assert report.stage is Stage.DELIVERY
    assert report.envelope.sender is None  # RFC 3461 6: a report causes no report
    assert [recipient.address for recipient in report.envelope.recipients] == [SENDER]
    assert report.arrival.direction is Direction.REPORT
    assert report.arrival.parent == mail.arrival.mail
    assert report.arrival.organisation == "hospital"
    assert report.arrival.at == NOW
    assert is_mail_id(report.arrival.mail)
    assert report.arrival.mail != mail.arrival.mail


def test_a_peer_of_a_zone_is_told_by_the_link_to_that_peer(desk: Desk) -> None:
    sender = Address("results", "laboratory.example")
    report = desk.one(a_mail(direction=Direction.INBOUND, role=Role.ZONE, peer="lab", sender=sender))
    assert report.hop == NextHop("lab", "health")
    assert [recipient.address for recipient in report.envelope.recipients] == [sender]


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(a_mail(direction=Direction.INBOUND, role=Role.STRANGER), id="stranger"),
        pytest.param(a_mail(direction=Direction.OUTBOUND, role=Role.STRANGER), id="stranger-whatever-the-direction"),
        pytest.param(a_mail(direction=Direction.INBOUND, role=Role.ZONE, peer=None), id="no-peer"),
        pytest.param(a_mail(direction=Direction.REPORT), id="report"),
        pytest.param(a_mail(direction=Direction.REPORT, role=Role.ZONE, peer="lab"), id="report-to-a-peer"),
        pytest.param(a_mail(sender=None), id="null-sender"),
        pytest.param(a_mail(sender=None, direction=Direction.INBOUND, role=Role.ZONE, peer="lab"), id="null-sender-of-a-peer"),
        pytest.param(a_mail(organisation="closed"), id="organisation-gone-from-the-configuration"),
    ],
)
def test_whom_nobody_may_be_told_of_stays_for_the_administrator(desk: Desk, mail: Mail) -> None:
    other = Refused((SECOND,), Reason.LOOP, "why")
    assert desk.report(mail, REFUSED, other) == Reported((), (REFUSED, other))
    assert desk.spool.bodies.writers == []


def test_the_way_is_that_of_the_configuration_in_force(desk: Desk) -> None:
    moved = desk.config.organisation["hospital"].model_copy(update={"mail_server": "smarthost"})
    desk.config = desk.config.model_copy(update={"organisation": {"hospital": moved}})
    assert desk.one(a_mail()).hop == NextHop("smarthost")


def test_nothing_refused_nothing_said(desk: Desk) -> None:
    reporter = Reporter(config=lambda: desk.config, bodies=desk.spool.bodies, now=lambda: NOW, random=bytes)
    assert reporter.report(a_mail(), ()) == Reported()
    assert reporter.report(a_mail(sender=None), ()) == Reported()
    assert desk.spool.bodies.writers == []


# Who wants to hear


def test_a_recipient_with_notify_never_is_not_reported_nor_held(desk: Desk) -> None:
    silent = Recipient(FIRST.address, frozenset({"NEVER"}))  # RFC 3461 4.1
    told = desk.report(a_mail(recipients=(silent,)), Refused((silent,), Reason.LOOP))
    assert told == Reported()
    assert desk.spool.bodies.writers == []


@pytest.mark.parametrize("notify", [{"SUCCESS"}, {"DELAY"}, {"SUCCESS", "DELAY"}, {"NEVER"}])
def test_only_those_who_want_to_hear_of_failure_stand_in_it(desk: Desk, notify: set[str]) -> None:
    silent = Recipient(FIRST.address, frozenset(notify))
    wants = Recipient(SECOND.address, frozenset({"FAILURE"}))
    report = desk.one(a_mail(recipients=(silent, wants)), Refused((silent, wants), Reason.LOOP))
    assert b"second@laboratory.example" in text(report)
    assert b"first@laboratory.example" not in text(report)


def test_one_report_speaks_of_all_that_failed(desk: Desk) -> None:
    third = Recipient(Address("third", "radiology.example"))
    report = desk.one(a_mail(), REFUSED, Refused((third,), Reason.NO_CERTIFICATE, "nothing in the folder"))
    status = [part for part in parts(report) if part.get_content_type() == "message/delivery-status"]
    blocks = status[0].get_payload()
    assert isinstance(blocks, list)
    per_mail, *per_recipient = (block for block in blocks if isinstance(block, Message))
    assert per_mail["Reporting-MTA"] == "dns; gateway.hospital.example"
    assert per_mail["Original-Envelope-Id"] == "QQ+1"  # RFC 3461 4.4: xtext
    finals = [block["Final-Recipient"] for block in per_recipient]
    assert finals == [f"rfc822; {each.address}" for each in (FIRST, SECOND, third)]
    assert {block["Action"] for block in per_recipient} == {"failed"}
    assert all(block["Status"].startswith("5.") for block in per_recipient)


def test_a_detail_of_ours_is_for_the_administrator_alone(desk: Desk) -> None:
    for reason in Reason:
        if reason is not Reason.HOP_REFUSED:
            report = desk.one(a_mail(), Refused((FIRST,), reason, "550 5.1.1 /state/keys/pin of patient Martin"))
            assert b"patient Martin" not in text(report), reason


# What is shown of the mail


def test_of_a_mail_that_left_in_clear_a_few_fields_come_back(desk: Desk) -> None:
    report = desk.one(a_mail())
    _, _, returned = parts(report)
    assert returned.get_content_type() == "text/rfc822-headers"
    assert SUBJECT in text(report)
    assert b"X-Ward" not in text(report)
    assert b"her result" not in text(report)
    assert b"550 5.1.1 Jeanne Martin is unknown" in text(report)


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(a_mail(protected=True), id="protected"),
        pytest.param(a_mail(protected=True, stage=Stage.FLOW), id="protected-in-its-flow"),
        pytest.param(a_mail(stage=Stage.FLOW), id="not-yet-protected"),
        pytest.param(a_mail(require_tls=True), id="by-tls-alone"),
        pytest.param(a_mail(stage=Stage.RELEASED), id="released"),
        pytest.param(a_mail(direction=Direction.INBOUND, role=Role.ZONE, peer="lab", protected=True), id="opened"),
    ],
)
def test_of_a_mail_that_was_or_will_be_protected_nothing_is_shown(desk: Desk, mail: Mail) -> None:
    report = desk.one(mail)
    assert [part.get_content_type() for part in parts(report)] == ["text/plain", "message/delivery-status"]
    whole = text(report)
    for secret in (SUBJECT, b"Jeanne", b"Martin", b"her result", b"is unknown"):
        assert secret not in whole
    assert b"550 5.1.1" in whole  # the next hop's numbers, without its words


def test_a_body_that_cannot_be_read_is_reported_without_its_header(desk: Desk) -> None:
    report = desk.one(a_mail(body=Broken()))
    assert [part.get_content_type() for part in parts(report)] == ["text/plain", "message/delivery-status"]


def test_the_body_of_a_report_is_closed_before_it_is_named(desk: Desk) -> None:
    desk.one(a_mail())
    (writer,) = desk.spool.bodies.writers
    assert writer.closed


def test_a_report_to_somebody_beyond_ascii_asks_for_smtputf8(desk: Desk) -> None:
    report = desk.one(a_mail(sender=Address("cœur", "hospital.example")))
    assert report.envelope.smtputf8
    assert not desk.one(a_mail()).envelope.smtputf8


# Delay and success


def statuses(report: Mail) -> list[Message]:
    """The groups of the recipients in the part for programs."""
    blocks = parts(report)[1].get_payload()
    assert isinstance(blocks, list)
    return [block for block in blocks[1:] if isinstance(block, Message)]


def test_who_waits_for_long_is_told_until_when(desk: Desk) -> None:
    """RFC 3464 2.3.9. Nothing is held: the mail waits, whether or not anybody may be told."""
    delayed = Delayed((FIRST,), Reason.HOP_UNREACHABLE, 1_800_000_000_000_000, "connection refused at 10.0.0.7")
    told = desk.reporter().report(a_mail(), (), (delayed,))
    [report] = told.reports
    [status] = statuses(report)
    assert (status["Action"], status["Status"]) == ("delayed", "4.4.1")
    assert status["Will-Retry-Until"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert b"10.0.0.7" not in text(report)
    stranger = a_mail(direction=Direction.INBOUND, role=Role.STRANGER)
    assert desk.reporter().report(stranger, (), (delayed,)) == Reported()


def test_success_is_reported_where_the_next_hop_will_not_do_so(desk: Desk) -> None:
    """RFC 3461 5.2.2: action "relayed", for those alone who asked."""
    asked = Recipient(FIRST.address, frozenset({"SUCCESS", "FAILURE"}), "rfc822;First+40laboratory.example")
    relayed = [Relayed(each, "mx.laboratory.example:25", "250 2.0.0 Jeanne Martin accepted") for each in (asked, SECOND)]
    told = desk.reporter().report(a_mail(recipients=(asked, SECOND), protected=True), (), (), relayed)
    [report] = told.reports
    [status] = statuses(report)
    assert (status["Action"], status["Status"]) == ("relayed", "2.0.0")
    assert status["Original-Recipient"] == "rfc822; First@laboratory.example"
    assert status["Remote-MTA"] == "dns; mx.laboratory.example"
    assert b"Martin" not in text(report)
    assert told.failed == frozenset()


def test_a_report_says_whose_failure_it_speaks_of(desk: Desk) -> None:
    """For the audit, which must not say "reported" of a recipient whose failure nobody wanted to hear of."""
    silent = Recipient(FIRST.address, frozenset({"SUCCESS"}))
    told = desk.report(a_mail(recipients=(silent, SECOND)), Refused((silent, SECOND), Reason.LOOP))
    assert told.failed == {SECOND}
