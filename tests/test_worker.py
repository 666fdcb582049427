# ruff: noqa: ASYNC110 - what is awaited is a count in a double, which has no event
"""The worker: whatever a step ends in, every recipient is in exactly one of a new row, done, waiting, held."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.model import Config, Retry
from gateway.deliver import HopResult
from gateway.events import Event, MailBroken, MailDeferred, MailDelivered, MailFailed, MailHeld
from gateway.flow.result import Flowed
from gateway.mail.address import Address
from gateway.mail.ending import Deferred, Held, Refused
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.identifier import make_mail_id
from gateway.mail.priority import Priority
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.report import Reporter
from gateway.spool.files import BodyDamagedError
from gateway.spool.store import Lease, LeaseLost, Remainder, Row, Settlement, State, Waiting
from gateway.worker import BULK, CONCURRENT, GUILTY, Worker
from tests.doubles import Events, MemoryBody, MemorySpool
from tests.policy.world import world

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND
SENDER = Address("cardiology", "hospital.example")
FIRST, SECOND_READER, THIRD = (Recipient(Address(name, "laboratory.example")) for name in ("first", "second", "third"))
PEER = NextHop("lab", "health")
CONFIG = world(retry={"first_seconds": 60, "longest_seconds": 3600, "warn_hours": 4, "give_up_hours": 10})

_drawn = itertools.count(1)


def random_bytes(length: int) -> bytes:
    return next(_drawn).to_bytes(length)


def a_mail(
    *recipients: Recipient,
    sender: Address | None = SENDER,
    role: Role = Role.INSIDE,
    stage: Stage = Stage.FLOW,
    direction: Direction | None = None,
    at: int = NOW,
) -> Mail:
    direction = direction or (Direction.OUTBOUND if role is Role.INSIDE else Direction.INBOUND)
    arrival = Arrival(make_mail_id(at, random_bytes(10)), at, "hospital", direction, role, "inside")
    return Mail(
        arrival=replace(arrival, zone="health", peer="lab") if role is Role.ZONE else arrival,
        envelope=Envelope(sender, recipients or (FIRST, SECOND_READER, THIRD)),
        body=MemoryBody(b"Subject: x\r\n\r\nbody\r\n"),
        stage=stage,
        hop=PEER if stage is Stage.DELIVERY else None,
    )


def output(mail: Mail, *recipients: Recipient) -> Mail:
    """What a flow makes for some of the recipients."""
    arrival = replace(mail.arrival, mail=make_mail_id(NOW, random_bytes(10)), parent=mail.arrival.mail)
    return replace(mail, arrival=arrival, envelope=replace(mail.envelope, recipients=recipients), stage=Stage.DELIVERY, hop=PEER)


@dataclass
class Settled:
    """The arguments of one ``replace`` that was committed."""

    lease: Lease
    outputs: list[Mail]
    remainders: list[Remainder]
    of: Mail | None = None

    @property
    def new(self) -> list[Mail]:
        return [mail for mail in self.outputs if mail.arrival.direction is not Direction.REPORT]

    @property
    def reports(self) -> list[Mail]:
        return [mail for mail in self.outputs if mail.arrival.direction is Direction.REPORT]

    @property
    def waiting(self) -> list[Waiting]:
        return [each for each in self.remainders if isinstance(each, Waiting)]

    @property
    def held(self) -> list[Held]:
        return [each for each in self.remainders if isinstance(each, Held)]


@dataclass
class LeasingSpool(MemorySpool):
    """Hands out leases and remembers how each was settled. ``errors`` are raised by ``replace``, one after the other."""

    due: list[Lease] = field(default_factory=list)
    leased: int = 0
    handed_over: int = 0
    settled: list[Settled] = field(default_factory=list)
    discarded: list[Mail] = field(default_factory=list)
    broken: list[tuple[Lease, str]] = field(default_factory=list)
    let_go_of: list[Lease] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    lease_errors: list[Exception] = field(default_factory=list)
    break_error: Exception | None = None
    asked: list[int] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, *mails: Mail, attempts: int = 0, due: int | None = None) -> None:
        numbered = enumerate(mails, len(self.due) + 1)
        self.due += [Lease(mail, number, 0.0, attempts, mail.arrival.at if due is None else due) for number, mail in numbered]
        self.came.set()

    async def lease(self, limit: int, bulk: int | None = None) -> Sequence[Lease]:
        self.asked.append(limit)
        if self.lease_errors:
            raise self.lease_errors.pop(0)
        run = [lease for lease in self.due if lease.mail.priority is Priority.BULK]
        others = [lease for lease in self.due if lease.mail.priority is not Priority.BULK]
        most = max(limit if bulk is None else bulk, self.handed_over)
        self.handed_over = 0
        taken = [*others, *run[:most]][:limit]
        self.due = [lease for lease in self.due if lease not in taken]
        self.leased += len(taken)
        return taken

    async def wait(self, room: int = 0, bulk: int | None = None) -> None:  # noqa: ARG002
        self.came.clear()
        await self.came.wait()

    async def replace(self, lease: Lease, settlement: Settlement) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.settled.append(Settled(lease, list(settlement.outputs), list(settlement.remainders), settlement.of))

    def discard(self, outputs: Sequence[Mail]) -> None:
        self.discarded += outputs

    async def break_(self, lease: Lease, detail: str) -> None:
        if self.break_error is not None:
            raise self.break_error
        self.broken.append((lease, detail))

    def let_go(self, lease: Lease) -> None:
        self.let_go_of.append(lease)

    async def rows(self, state: State | None = None) -> Sequence[Row]:
        raise NotImplementedError

    async def row(self, mail: str) -> Row | None:
        raise NotImplementedError

    async def release(self, mail: str) -> bool:
        raise NotImplementedError

    async def drop(self, mail: str) -> bool:
        raise NotImplementedError


Step = Callable[[Mail], Awaitable[Any]]


@dataclass
class Stub:
    """A flow and a delivery that do what the test says: ``delivering`` after a flow, else ``step``."""

    step: Step
    delivering: Step | None

    async def run(self, mail: Mail, /) -> Flowed:
        answer: Flowed = await self.step(mail)
        return answer

    async def deliver(self, mail: Mail, /) -> Sequence[HopResult]:
        answer: Sequence[HopResult] = await (self.delivering or self.step)(mail)
        return answer


def answers(what: object) -> Step:
    async def step(_: Mail) -> object:
        if isinstance(what, BaseException):
            raise what
        return what

    return step


@dataclass
class Bench:
    """A worker over memory."""

    step: Step
    delivering: Step | None = None
    spool: LeasingSpool = field(default_factory=LeasingSpool)
    events: Events = field(default_factory=Events)
    now: int = NOW
    config: Config = CONFIG

    def __post_init__(self) -> None:
        flow = Stub(self.step, self.delivering)
        self.worker = Worker(
            config=lambda: self.config,
            spool=self.spool,
            flows={Direction.OUTBOUND: flow, Direction.INBOUND: flow},
            delivery=flow,
            reporter=Reporter(config=lambda: self.config, bodies=self.spool.bodies, now=lambda: self.now, random=random_bytes),
            observer=self.events,
            now=lambda: self.now,
            random=lambda: 0.5,  # the middle: a pause is what the schedule says
        )

    async def work(self, *mails: Mail, attempts: int = 0) -> LeasingSpool:
        """Everything that is due, and everything in hand, to its end."""
        self.spool.add(*mails, attempts=attempts)
        stopping = asyncio.Event()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(self.worker.run(stopping))
            while self.spool.due:
                await asyncio.sleep(0)
            stopping.set()
        return self.spool

    async def one(self, mail: Mail, attempts: int = 0) -> Settled:
        """The only settlement of one mail."""
        (settled,) = (await self.work(mail, attempts=attempts)).settled
        return settled

    def seen(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events.seen if type(event) is kind]


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What was logged, rather than the terminal."""
    text = StringIO()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(default=str)],
        logger_factory=structlog.PrintLoggerFactory(file=text),
        cache_logger_on_first_use=False,
    )
    yield text
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.worker.PAUSES", (0.0,) * 3)


pytestmark = pytest.mark.usefixtures("log")


def logged(log: StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in log.getvalue().splitlines()]


# Each recipient's end


async def test_outputs_of_a_flow_become_rows_and_nothing_remains() -> None:
    mail = a_mail()
    made = [output(mail, recipient) for recipient in mail.envelope.recipients]
    bench = Bench(answers(Flowed(outputs=tuple(made))), delivering=answers(AssertionError("before it is stored")))
    settled = await bench.one(mail)
    assert settled.outputs == made
    assert (settled.remainders, settled.of) == ([], None)
    assert bench.events.seen == []


async def test_an_only_output_is_delivered_at_once() -> None:
    """And never stored: the row of the mail it was made of goes when it has been delivered."""
    mail = a_mail(FIRST)
    made = output(mail, FIRST)
    delivered: list[Mail] = []

    async def deliver(of: Mail) -> Sequence[HopResult]:
        assert not bench.spool.settled
        delivered.append(of)
        return [HopResult(FIRST, Deliver(), "lab.example:465")]

    bench = Bench(answers(Flowed((made,))), delivering=deliver)
    settled = await bench.one(mail)
    assert delivered == [made]
    assert (settled.lease.mail, settled.outputs, settled.remainders) == (mail, [], [])
    assert [(event.mail, event.parent) for event in bench.seen(MailDelivered)] == [(made.arrival.mail, mail.arrival.mail)]
    assert bench.spool.discarded == [made]


async def test_what_could_not_be_delivered_at_once_is_stored_as_it_was_made() -> None:
    """Protected once, and not again for each try; the pause is that after a first try."""
    mail = a_mail()
    made = output(mail, *mail.envelope.recipients)
    results = [
        HopResult(FIRST, Deliver()),
        HopResult(SECOND_READER, Defer(Reason.HOP_DEFERRED, "450 4.2.1 later")),
        HopResult(THIRD, Refuse(Reason.HOP_REFUSED, "550 5.1.1 nobody")),
    ]
    bench = Bench(answers(Flowed((made,))), delivering=answers(results))
    settled = await bench.one(mail, attempts=5)
    assert settled.of == made
    assert settled.remainders == [Waiting((SECOND_READER,), NOW + 60 * SECOND, Reason.HOP_DEFERRED, "450 4.2.1 later")]
    (report,) = settled.outputs
    assert report.arrival.parent == made.arrival.mail
    assert b"third@laboratory.example" in b"".join(report.body.chunks())
    for kind in (MailDelivered, MailDeferred, MailFailed):
        assert [(event.mail, event.parent) for event in bench.seen(kind)] == [(made.arrival.mail, mail.arrival.mail)]


async def test_a_copy_that_is_held_says_whose() -> None:
    mail = a_mail(FIRST, sender=None)
    made = output(mail, FIRST)
    bench = Bench(answers(Flowed((made,))), delivering=answers([HopResult(FIRST, Refuse(Reason.HOP_REFUSED, "550 no"))]))
    await bench.one(mail)
    assert [(event.mail, event.parent) for event in bench.seen(MailHeld)] == [(made.arrival.mail, mail.arrival.mail)]


async def test_an_only_output_is_stored_where_others_of_the_mail_ended_otherwise() -> None:
    mail = a_mail(FIRST, SECOND_READER)
    made = output(mail, FIRST)
    flowed = Flowed((made,), held=(Held((SECOND_READER,), Reason.POLICY_HOLD),))
    settled = await Bench(answers(flowed), delivering=answers(AssertionError("before it is stored"))).one(mail)
    assert (settled.outputs, settled.of) == ([made], None)


@pytest.mark.parametrize("error", [GatewayError(Reason.NO_ROUTE), LeaseLost("other"), ValueError("wrong")])
async def test_an_output_that_comes_to_nothing_leaves_nothing_behind(error: Exception) -> None:
    mail = a_mail(FIRST)
    made = output(mail, FIRST)
    bench = Bench(answers(Flowed((made,))), delivering=answers(error))
    await bench.work(mail)
    assert bench.spool.discarded == [made]


async def test_each_part_of_an_answer_is_settled_in_one_transaction() -> None:
    mail = a_mail(*(Recipient(Address(f"reader{number}", "laboratory.example")) for number in range(4)))
    a, b, c, d = mail.envelope.recipients
    flowed = Flowed(
        (output(mail, a),),
        (Held((b,), Reason.POLICY_HOLD, "why b"),),
        (Deferred((c,), Reason.DIRECTORY_UNAVAILABLE, "why c"),),
        (Refused((d,), Reason.NO_CERTIFICATE, "why d"),),
    )
    bench = Bench(answers(flowed))
    settled = await bench.one(mail)
    assert [each.envelope.recipients for each in settled.new] == [(a,)]
    assert settled.held == [Held((b,), Reason.POLICY_HOLD, "why b")]
    assert settled.waiting == [Waiting((c,), NOW + 60 * SECOND, Reason.DIRECTORY_UNAVAILABLE, "why c")]
    (report,) = settled.reports
    assert report.envelope.sender is None
    assert [recipient.address for recipient in report.envelope.recipients] == [SENDER]
    (held,) = bench.seen(MailHeld)
    assert (held.reason, held.recipients, held.detail) == (Reason.POLICY_HOLD, (str(b.address),), "why b")
    (deferred,) = bench.seen(MailDeferred)
    assert (deferred.reason, deferred.recipients, deferred.until) == (
        Reason.DIRECTORY_UNAVAILABLE,
        (str(c.address),),
        NOW + 60 * SECOND,
    )
    (failed,) = bench.seen(MailFailed)
    assert (failed.reason, failed.recipients, failed.reported, failed.detail) == (
        Reason.NO_CERTIFICATE,
        (str(d.address),),
        True,
        "why d",
    )


async def test_what_was_delivered_is_done() -> None:
    mail = a_mail(FIRST, stage=Stage.DELIVERY)
    bench = Bench(answers([HopResult(FIRST, Deliver(), "lab.example:465", "TLSv1.3", "250 2.0.0 queued")]))
    settled = await bench.one(mail)
    assert (settled.outputs, settled.remainders) == ([], [])
    (event,) = bench.events.seen
    assert event == MailDelivered(
        org="hospital",
        mail=mail.arrival.mail,
        route="peer:health/lab",
        host="lab.example:465",
        recipients=("first@laboratory.example",),
        tls="TLSv1.3",
        reply="250 2.0.0 queued",
    )


async def test_a_delivery_has_one_end_for_each_recipient() -> None:
    mail = a_mail(stage=Stage.DELIVERY)
    results = [
        HopResult(FIRST, Deliver()),
        HopResult(SECOND_READER, Defer(Reason.HOP_DEFERRED, "450 4.2.1 later")),
        HopResult(THIRD, Refuse(Reason.HOP_REFUSED, "550 5.1.1 nobody")),
    ]
    bench = Bench(answers(results))
    settled = await bench.one(mail)
    assert [each.recipients for each in settled.waiting] == [(SECOND_READER,)]
    assert settled.held == []
    (report,) = settled.reports
    text = b"".join(report.body.chunks())
    assert b"third@laboratory.example" in text
    assert b"550 5.1.1 nobody" in text
    assert b"first@" not in text
    assert b"second@" not in text


async def test_a_report_about_recipients_of_a_stranger_is_not_written_they_are_held() -> None:
    mail = a_mail(role=Role.STRANGER, sender=Address("anybody", "elsewhere.example"))
    bench = Bench(answers(Flowed(refused=(Refused(mail.envelope.recipients, Reason.LOOP, "why"),))))
    settled = await bench.one(mail)
    assert settled.outputs == []
    assert settled.held == [Held(mail.envelope.recipients, Reason.LOOP, "why")]
    assert bench.seen(MailFailed) == []
    assert [event.reason for event in bench.seen(MailHeld)] == [Reason.LOOP]


@pytest.mark.parametrize("role", list(Role))
async def test_what_has_a_null_sender_is_held_never_reported(role: Role) -> None:
    mail = a_mail(FIRST, role=role, sender=None, stage=Stage.DELIVERY)
    settled = await Bench(answers([HopResult(FIRST, Refuse(Reason.HOP_REFUSED, "550 no"))])).one(mail)
    assert settled.outputs == []
    assert [each.recipients for each in settled.held] == [(FIRST,)]


async def test_a_report_that_is_refused_is_held() -> None:
    mail = a_mail(Recipient(SENDER), sender=None, stage=Stage.DELIVERY, direction=Direction.REPORT)
    settled = await Bench(answers([HopResult(Recipient(SENDER), Refuse(Reason.HOP_REFUSED, "550 no"))])).one(mail)
    assert settled.outputs == []
    assert [each.reason for each in settled.held] == [Reason.HOP_REFUSED]


async def test_a_released_mail_goes_through_its_flow_again() -> None:
    mail = a_mail(FIRST, stage=Stage.RELEASED)
    made = output(mail, FIRST)
    bench = Bench(answers(Flowed((made,))), delivering=answers([HopResult(FIRST, Deliver())]))
    await bench.one(mail)
    assert [event.mail for event in bench.seen(MailDelivered)] == [made.arrival.mail]


# Later, by itself


@pytest.mark.parametrize("reason", [Reason.KEY_UNAVAILABLE, Reason.SPOOL_FULL, Reason.DIRECTORY_UNAVAILABLE, Reason.MALFORMED])
@pytest.mark.parametrize("stage", list(Stage))
async def test_an_error_of_ours_makes_everybody_wait(reason: Reason, stage: Stage) -> None:
    mail = a_mail(stage=stage)
    bench = Bench(answers(GatewayError(reason, "the token is away")))
    settled = await bench.one(mail)
    assert settled.outputs == []
    assert settled.remainders == [Waiting(mail.envelope.recipients, NOW + 60 * SECOND, reason, "the token is away")]
    (event,) = bench.seen(MailDeferred)
    assert (event.reason, event.until, event.mail) == (reason, NOW + 60 * SECOND, mail.arrival.mail)


@pytest.mark.parametrize(("attempts", "pause"), [(0, 60), (1, 120), (3, 480), (6, 3600), (500, 3600)])
async def test_the_pause_doubles_with_every_attempt_up_to_a_ceiling(attempts: int, pause: int) -> None:
    bench = Bench(answers(GatewayError(Reason.KEY_UNAVAILABLE)))
    settled = await bench.one(a_mail(), attempts)
    assert [each.next_at for each in settled.waiting] == [NOW + pause * SECOND]


async def test_the_schedule_is_that_of_the_configuration_in_force() -> None:
    bench = Bench(answers(GatewayError(Reason.KEY_UNAVAILABLE)))
    bench.config = world(retry={"first_seconds": 7})
    settled = await bench.one(a_mail())
    assert [each.next_at for each in settled.waiting] == [NOW + 7 * SECOND]


@pytest.mark.parametrize("raised", [True, False])
async def test_what_waited_long_enough_is_given_up_and_reported(raised: bool) -> None:
    mail = a_mail(stage=Stage.DELIVERY, at=NOW - 10 * HOUR)
    why = Reason.KEY_UNAVAILABLE if raised else Reason.HOP_UNREACHABLE
    results = [HopResult(recipient, Defer(why, "nobody answers")) for recipient in mail.envelope.recipients]
    bench = Bench(answers(GatewayError(why, "nobody answers") if raised else results))
    settled = await bench.one(mail, attempts=40)
    assert settled.remainders == []
    (report,) = settled.reports
    text = b"".join(report.body.chunks())
    for recipient in mail.envelope.recipients:
        assert b"Final-Recipient: rfc822; " + str(recipient.address).encode() in text
    assert b"Status: 5.4.7\r\n" in text  # RFC 3463 3.5: delivery time expired
    assert b"nobody answers" not in text
    failed = bench.seen(MailFailed)
    assert {(event.reason, event.detail, event.reported) for event in failed} == {(Reason.GAVE_UP, f"{why}: nobody answers", True)}


@pytest.mark.parametrize("stage", [Stage.FLOW, Stage.DELIVERY])
@pytest.mark.parametrize(("due", "told"), [(4 * HOUR, True), (5 * HOUR, False), (3 * HOUR, True)])
async def test_the_sender_hears_once_that_his_mail_waits(stage: Stage, due: int, told: bool) -> None:
    """After the try that was to be made four hours after the mail came, or that was late."""
    arrived = NOW - 5 * HOUR
    bench = Bench(answers(GatewayError(Reason.HOP_UNREACHABLE, "nobody answers")))
    bench.spool.add(a_mail(FIRST, stage=stage, at=arrived), attempts=9, due=arrived + due)
    [settled] = (await bench.work()).settled
    assert [each.recipients for each in settled.waiting] == [(FIRST,)]
    assert len(settled.reports) == told
    for report in settled.reports:
        text = b"".join(report.body.chunks())
        assert b"Action: delayed\r\n" in text
        assert b"Will-Retry-Until: Fri, 15 Jan 2027 13:00:00 +0000\r\n" in text
    assert bench.seen(MailFailed) == []


async def test_mail_to_a_peer_has_the_schedule_of_its_zone() -> None:
    """A zone may be known to be down each night, or to be urgent."""
    patient = CONFIG.zone["health"].model_copy(update={"retry": Retry(first_seconds=7, warn_hours=1, give_up_hours=2)})
    config = CONFIG.model_copy(update={"zone": {**CONFIG.zone, "health": patient}})

    async def settled(mail: Mail) -> Settled:
        return await Bench(answers(GatewayError(Reason.HOP_UNREACHABLE)), config=config).one(mail)

    assert [each.next_at for each in (await settled(a_mail(stage=Stage.DELIVERY))).waiting] == [NOW + 7 * SECOND]
    assert (await settled(a_mail(stage=Stage.DELIVERY, at=NOW - 2 * HOUR))).waiting == []


@pytest.mark.parametrize(("reports", "told"), [(False, ["first@laboratory.example"]), (True, [])])
async def test_who_asked_hears_of_success_from_us_where_the_hop_says_nothing(reports: bool, told: list[str]) -> None:
    """RFC 3461 5.2.2: a hop without DSN sends no report of success."""
    asked = replace(FIRST, notify=frozenset({"SUCCESS"}))
    mail = a_mail(asked, SECOND_READER, stage=Stage.DELIVERY)
    bench = Bench(answers([HopResult(reader, Deliver(), reports=reports) for reader in (asked, SECOND_READER)]))
    settled = await bench.one(mail)
    text = b"".join(b"".join(report.body.chunks()) for report in settled.reports).decode()
    assert re.findall(r"^Final-Recipient: rfc822; (\S+)\r\nAction: relayed\r$", text, re.MULTILINE) == told
    assert settled.remainders == []


async def test_what_a_stranger_sent_and_is_given_up_is_held() -> None:
    mail = a_mail(role=Role.STRANGER, stage=Stage.DELIVERY, at=NOW - 11 * HOUR)
    settled = await Bench(answers(GatewayError(Reason.HOP_UNREACHABLE))).one(mail)
    assert settled.outputs == []
    assert settled.remainders == [Held(mail.envelope.recipients, Reason.GAVE_UP, f"{Reason.HOP_UNREACHABLE}: ")]


async def test_a_settlement_that_fails_is_tried_once_more_as_waiting() -> None:
    mail = a_mail(FIRST, SECOND_READER)
    made = (output(mail, FIRST), output(mail, SECOND_READER))
    bench = Bench(answers(Flowed(made)))
    bench.spool.errors = [GatewayError(Reason.SPOOL_FULL, "no room")]
    settled = await bench.one(mail)
    assert (settled.outputs, settled.of) == ([], None)
    assert [(each.recipients, each.reason) for each in settled.waiting] == [((FIRST, SECOND_READER), Reason.SPOOL_FULL)]
    assert bench.spool.discarded == list(made)


async def test_a_spool_that_takes_nothing_leaves_the_lease_to_run_out(log: StringIO) -> None:
    bench = Bench(answers(Flowed()))
    bench.spool.errors = [GatewayError(Reason.SPOOL_UNAVAILABLE)] * 2
    spool = await bench.work(a_mail())
    assert (spool.settled, spool.broken, bench.events.seen) == ([], [], [])
    assert logged(log) == ["settle_failed"]


def full() -> None:
    raise GatewayError(Reason.SPOOL_FULL, "no room")


@pytest.mark.parametrize(("waited", "reason"), [(4 * HOUR, Reason.KEY_UNAVAILABLE), (11 * HOUR, Reason.SPOOL_FULL)])
async def test_what_no_report_finds_room_for_waits(monkeypatch: pytest.MonkeyPatch, waited: int, reason: Reason) -> None:
    """That it waits, and that it was given up."""
    mail = a_mail(FIRST, at=NOW - waited)
    bench = Bench(answers(GatewayError(Reason.KEY_UNAVAILABLE)))
    monkeypatch.setattr(bench.spool.bodies, "create", full)
    settled = await bench.one(mail)
    [waiting] = settled.waiting
    assert (settled.outputs, settled.held, waiting.recipients, waiting.reason) == ([], [], (FIRST,), reason)
    assert NOW < waiting.next_at <= NOW + HOUR
    assert bench.seen(MailFailed) == []


async def test_what_was_delivered_is_not_sent_again_for_want_of_room_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    mail = a_mail(FIRST, SECOND_READER, stage=Stage.DELIVERY)
    results = [HopResult(FIRST, Deliver()), HopResult(SECOND_READER, Refuse(Reason.HOP_REFUSED, "550 no"))]
    bench = Bench(answers(results))
    monkeypatch.setattr(bench.spool.bodies, "create", full)
    settled = await bench.one(mail)
    assert [(each.recipients, each.reason) for each in settled.waiting] == [((SECOND_READER,), Reason.SPOOL_FULL)]


DELIVERED = [HopResult(FIRST, Deliver()), HopResult(SECOND_READER, Defer(Reason.HOP_DEFERRED, "451 later"))]


@pytest.mark.parametrize("stage", [Stage.FLOW, Stage.DELIVERY])
@pytest.mark.parametrize("failures", [1, 3, 4])
async def test_what_was_delivered_is_not_sent_again_for_a_settlement_that_failed(stage: Stage, failures: int) -> None:
    """A database that is busy for a moment, or a disk that is full: it is asked again, and then for less."""
    mail = a_mail(FIRST, SECOND_READER, stage=stage)
    made = output(mail, FIRST, SECOND_READER)
    bench = Bench(answers(Flowed((made,)) if stage is Stage.FLOW else DELIVERED), answers(DELIVERED))
    bench.spool.errors = [GatewayError(Reason.SPOOL_UNAVAILABLE, "busy")] * failures
    settled = await bench.one(mail)
    reason = Reason.HOP_DEFERRED if failures < 4 else Reason.SPOOL_UNAVAILABLE
    assert [(each.recipients, each.reason) for each in settled.waiting] == [((SECOND_READER,), reason)]
    assert settled.of == (made if stage is Stage.FLOW and failures < 4 else None)


async def test_what_was_delivered_to_all_is_done_however_late() -> None:
    mail = a_mail(FIRST, stage=Stage.DELIVERY)
    bench = Bench(answers([HopResult(FIRST, Deliver())]))
    bench.spool.errors = [GatewayError(Reason.SPOOL_FULL, "no room")] * 4
    settled = await bench.one(mail)
    assert (settled.outputs, settled.remainders) == ([], [])


async def test_a_lease_that_comes_to_no_settlement_is_let_go() -> None:
    mail = a_mail()
    bench = Bench(answers(Flowed()))
    bench.spool.errors = [GatewayError(Reason.SPOOL_UNAVAILABLE)] * 2
    spool = await bench.work(mail)
    assert [lease.mail for lease in spool.let_go_of] == [mail]


# Leases that are another's, faults of ours


@pytest.mark.parametrize("errors", [[LeaseLost()], [GatewayError(Reason.SPOOL_FULL), LeaseLost()]])
async def test_a_lost_lease_changes_nothing_and_says_nothing(log: StringIO, errors: list[Exception]) -> None:
    bench = Bench(answers(Flowed(held=(Held((FIRST,), Reason.POLICY_HOLD),))))
    bench.spool.errors = errors
    spool = await bench.work(a_mail(FIRST))
    assert (spool.settled, spool.broken, bench.events.seen) == ([], [], [])
    assert logged(log) == ["lease_lost"]


async def test_after_a_lost_lease_the_next_mail_is_worked_on() -> None:
    mails = [a_mail(FIRST) for _ in range(5)]
    bench = Bench(answers(Flowed()))
    bench.spool.errors = [LeaseLost()]
    spool = await bench.work(*mails)
    assert len(spool.settled) == 4


class Unforeseen(Exception):
    """Whatever a bug raises."""


async def test_an_unforeseen_error_puts_the_mail_aside_and_pages_operations(log: StringIO) -> None:
    mail = a_mail()
    bench = Bench(answers(Unforeseen("Subject: a patient's name")))
    spool = await bench.work(mail)
    assert [(lease.mail, detail) for lease, detail in spool.broken] == [(mail, "Unforeseen")]
    assert spool.settled == []
    assert bench.events.seen == [MailBroken(org="hospital", mail=mail.arrival.mail, detail="Unforeseen")]
    assert logged(log) == ["mail_broken"]


async def test_a_damaged_body_is_put_aside_with_what_is_wrong() -> None:
    mail = a_mail()
    bench = Bench(answers(BodyDamagedError("segment 3 does not open")))
    spool = await bench.work(mail)
    assert [detail for _, detail in spool.broken] == ["segment 3 does not open"]
    assert spool.settled == []
    assert [event.detail for event in bench.seen(MailBroken)] == ["segment 3 does not open"]


async def test_a_mail_its_workers_die_of_is_put_aside() -> None:
    """Two of the deaths with nothing else in hand: it is not taken up a fifth time."""
    mail = a_mail()
    bench = Bench(answers(AssertionError("it was worked on")))
    bench.spool.due = [Lease(mail, 1, 0.0, GUILTY, NOW, deaths=GUILTY)]
    spool = await bench.work()
    assert [detail for _, detail in spool.broken] == ["its worker died 4 times"]
    assert [event.detail for event in bench.seen(MailBroken)] == ["its worker died 4 times"]


async def test_beside_a_suspect_nothing_is_taken() -> None:
    """Whatever is due: should this worker die, it is known of what."""
    gate, begun = asyncio.Event(), list[Mail]()

    async def slow(mail: Mail) -> Flowed:
        begun.append(mail)
        await gate.wait()
        return Flowed(refused=(Refused(mail.envelope.recipients, Reason.LOOP),))

    bench, suspect, other = Bench(slow), a_mail(), a_mail()
    bench.spool.due = [Lease(suspect, 1, 0.0, 2, NOW, deaths=GUILTY - 1)]
    stopping = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.worker.run(stopping))
        while not begun:
            await asyncio.sleep(0)
        bench.spool.add(other)
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == [suspect]
        gate.set()
        while len(bench.spool.settled) < 2:
            bench.spool.came.set()
            await asyncio.sleep(0)
        stopping.set()


async def test_a_suspect_that_is_slow_does_not_keep_its_worker_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever died with it in hand did so at once; a hop may keep it waiting for an hour."""
    monkeypatch.setattr("gateway.worker.ALONE_SECONDS", 0.05)
    gate, stopping = asyncio.Event(), asyncio.Event()
    suspect, other = a_mail(), a_mail()

    async def step(mail: Mail) -> Flowed:
        if mail is suspect:
            await gate.wait()
        return Flowed(refused=(Refused(mail.envelope.recipients, Reason.LOOP),))

    bench = Bench(step)
    bench.spool.due = [Lease(suspect, 1, 0.0, 2, NOW, deaths=GUILTY - 1)]
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.worker.run(stopping))
        while bench.spool.due:
            await asyncio.sleep(0)
        bench.spool.add(other)
        while not bench.spool.settled:
            bench.spool.came.set()
            await asyncio.sleep(0)
        assert [settled.lease.mail for settled in bench.spool.settled] == [other]
        gate.set()
        stopping.set()


async def test_a_mail_for_which_there_is_no_flow_is_put_aside() -> None:
    bench = Bench(answers(Flowed()))
    spool = await bench.work(a_mail(direction=Direction.REPORT))
    assert [detail for _, detail in spool.broken] == ["KeyError"]


async def test_mail_of_an_organisation_that_is_no_longer_there_waits_for_it() -> None:
    """Renamed, perhaps by mistake, with mail on its way: nothing is wrong with the mail, nor with us."""
    mail = a_mail(FIRST)
    mail = replace(mail, arrival=replace(mail.arrival, organisation="renamed"))
    bench = Bench(answers(AssertionError("its flow would look for the organisation")))
    settled = await bench.one(mail)
    assert [(each.recipients, each.reason, each.detail) for each in settled.waiting] == [
        ((FIRST,), Reason.NO_ROUTE, "no such organisation: renamed")
    ]


@pytest.mark.parametrize("error", [LeaseLost(), GatewayError(Reason.SPOOL_UNAVAILABLE)])
async def test_what_cannot_even_be_put_aside_is_left_to_its_lease(log: StringIO, error: Exception) -> None:
    bench = Bench(answers(Unforeseen()))
    bench.spool.break_error = error
    spool = await bench.work(a_mail())
    assert (spool.settled, spool.broken, bench.events.seen) == ([], [], [])
    assert logged(log) == ["mail_broken", "break_failed"]


async def test_an_unforeseen_error_while_making_a_mail_wait_puts_it_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second step of two that can fail: it must not end the worker, which would meet the same mail when started again."""
    mail = a_mail(at=NOW - 11 * HOUR)
    bench = Bench(answers(GatewayError(Reason.KEY_UNAVAILABLE)))

    def fail(*_: object) -> None:
        raise Unforeseen

    monkeypatch.setattr(Reporter, "report", fail)
    spool = await bench.work(mail)
    assert [(lease.mail, detail) for lease, detail in spool.broken] == [(mail, "Unforeseen")]
    assert len(bench.seen(MailBroken)) == 1


# Many mails, and the end


async def test_no_more_mails_are_in_hand_than_a_worker_may_hold() -> None:
    hands = most = 0
    gate = asyncio.Event()

    async def step(_: Mail) -> Flowed:
        nonlocal hands, most
        hands += 1
        most = max(most, hands)
        await gate.wait()
        hands -= 1
        return Flowed()

    bench = Bench(step)
    bench.spool.add(*(a_mail() for _ in range(CONCURRENT + 10)))
    stopping = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.worker.run(stopping))
        while hands < CONCURRENT:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (hands, len(bench.spool.due)) == (CONCURRENT, 10)
        gate.set()
        while len(bench.spool.settled) < CONCURRENT + 10:
            await asyncio.sleep(0)
        stopping.set()
    assert most == CONCURRENT
    assert max(bench.spool.asked) <= CONCURRENT


async def test_a_run_goes_on_after_more_of_it_was_handed_over_than_asked_for() -> None:
    """What is stored here may come with its lease between two questions. The first form of this stood still for ever then."""
    gate = asyncio.Event()

    async def slow(_: Mail) -> Sequence[HopResult]:
        await gate.wait()
        return [HopResult(FIRST, Deliver())]

    bench = Bench(slow)
    run = [replace(a_mail(FIRST, stage=Stage.DELIVERY), priority=Priority.BULK) for _ in range(BULK + 5)]
    bench.spool.add(*run)
    bench.spool.handed_over = BULK + 2
    stopping = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.worker.run(stopping))
        while bench.spool.leased < BULK + 2:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        while len(bench.spool.settled) < len(run):
            await asyncio.sleep(0)
        stopping.set()


async def test_a_run_never_has_every_hand() -> None:
    """Its mails wait for a slow server; a letter finds a hand free, and a hand that comes free takes the next mail of it."""
    gate, running = asyncio.Event(), [0]
    run = [replace(a_mail(FIRST, stage=Stage.DELIVERY), priority=Priority.BULK) for _ in range(BULK + 5)]

    async def slow(mail: Mail) -> Sequence[HopResult]:
        running[0] += mail.priority is Priority.BULK
        assert running[0] <= BULK
        if mail.priority is Priority.BULK:
            await gate.wait()
            running[0] -= 1
        return [HopResult(FIRST, Deliver())]

    bench = Bench(slow)
    bench.spool.add(*run)
    stopping = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.worker.run(stopping))
        while running[0] < BULK:
            await asyncio.sleep(0)
        assert len(bench.spool.due) == 5
        letter = a_mail(FIRST, stage=Stage.DELIVERY)
        bench.spool.add(letter)
        while not bench.spool.settled:
            await asyncio.sleep(0)
        assert bench.spool.settled[0].lease.mail == letter
        gate.set()
        while len(bench.spool.settled) < len(run) + 1:
            await asyncio.sleep(0)
        stopping.set()


async def test_stop_waits_for_the_mails_in_hand_and_takes_no_more() -> None:
    begun, gate, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step(_: Mail) -> Flowed:
        begun.set()
        await gate.wait()
        return Flowed()

    bench = Bench(step)
    bench.spool.add(a_mail(), a_mail())
    running = asyncio.create_task(bench.worker.run(stopping))
    async with asyncio.timeout(10):
        await begun.wait()
        stopping.set()
        for _ in range(20):
            await asyncio.sleep(0)
        bench.spool.add(a_mail())
        assert not running.done()
        assert bench.spool.settled == []
        gate.set()
        await running
    assert len(bench.spool.settled) == 2
    assert len(bench.spool.due) == 1


async def test_a_worker_at_rest_takes_what_comes_and_stops_at_once() -> None:
    bench = Bench(answers(Flowed()))
    stopping = asyncio.Event()
    running = asyncio.create_task(bench.worker.run(stopping))
    async with asyncio.timeout(10):
        for _ in range(20):
            await asyncio.sleep(0)
        bench.spool.add(a_mail())
        while not bench.spool.settled:
            await asyncio.sleep(0)
        stopping.set()
        await running


# Whatever a step answers

READERS = tuple(Recipient(Address(f"reader{number}", "laboratory.example")) for number in range(12))
PARTS = st.sampled_from(["output", "held", "deferred", "refused"])
GROUPS = st.lists(st.tuples(PARTS, st.integers(1, 4), st.sampled_from(list(Reason))), min_size=1, max_size=6)


def divided(mail: Mail, groups: Sequence[tuple[str, int, Reason]]) -> tuple[Mail, Flowed]:
    """A mail with as many recipients as there are places in ``groups``, and the answer that divides them so."""
    left = iter(READERS)
    parts: dict[str, list[Any]] = {"output": [], "held": [], "deferred": [], "refused": []}
    everybody: tuple[Recipient, ...] = ()
    for part, size, reason in groups:
        people = tuple(itertools.islice(left, size))
        if not people:
            break
        everybody += people
        if part == "output":
            parts[part].append(output(mail, *people))
        else:
            parts[part].append({"held": Held, "deferred": Deferred, "refused": Refused}[part](people, reason, f"{reason}"))
    whole = replace(mail, envelope=replace(mail.envelope, recipients=everybody))
    return whole, Flowed(tuple(parts["output"]), tuple(parts["held"]), tuple(parts["deferred"]), tuple(parts["refused"]))


def told(settled: Settled) -> list[str]:
    """Of whose failure the reports speak."""
    text = b"".join(b"".join(report.body.chunks()) for report in settled.reports).decode()
    return re.findall(r"^Final-Recipient: [\w-]+; (\S+)\r\nAction: failed\r$", text, re.MULTILINE)


def accounted(settled: Settled) -> Counter[str]:
    """Every recipient that is in a new row, waiting, held, or in a report."""
    rows = [recipient for mail in settled.new for recipient in mail.envelope.recipients]
    rows += [recipient for remainder in settled.remainders for recipient in remainder.recipients]
    return Counter([str(recipient.address) for recipient in rows] + told(settled))


@settings(max_examples=150, deadline=None)
@given(
    groups=GROUPS,
    role=st.sampled_from(list(Role)),
    sender=st.sampled_from([SENDER, None]),
    hours=st.sampled_from([0, 9, 10, 20]),
    failures=st.integers(0, 1),
)
def test_no_recipient_is_lost_or_counted_twice_after_a_flow(
    groups: list[tuple[str, int, Reason]], role: Role, sender: Address | None, hours: int, failures: int
) -> None:
    mail, flowed = divided(a_mail(role=role, sender=sender, at=NOW - hours * HOUR), groups)

    async def nobody_answers(mail: Mail) -> Sequence[HopResult]:
        return [HopResult(recipient, Defer(Reason.HOP_UNREACHABLE)) for recipient in mail.envelope.recipients]

    async def scenario() -> Settled:
        bench = Bench(answers(flowed), delivering=nobody_answers)
        bench.spool.errors = [GatewayError(Reason.SPOOL_FULL)] * failures
        return await bench.one(mail)

    settled = asyncio.run(scenario())
    assert accounted(settled) == Counter(str(recipient.address) for recipient in mail.envelope.recipients)
    if sender is None or role is Role.STRANGER:
        assert settled.reports == []


@settings(max_examples=150, deadline=None)
@given(
    ends=st.lists(st.sampled_from([Deliver, Defer, Refuse]), min_size=1, max_size=12),
    reason=st.sampled_from(list(Reason)),
    role=st.sampled_from(list(Role)),
    sender=st.sampled_from([SENDER, None]),
    hours=st.sampled_from([0, 9, 10, 20]),
)
def test_no_recipient_is_lost_or_counted_twice_after_a_delivery(
    ends: list[type[Deliver | Defer | Refuse]], reason: Reason, role: Role, sender: Address | None, hours: int
) -> None:
    people = READERS[: len(ends)]
    mail = a_mail(*people, role=role, sender=sender, stage=Stage.DELIVERY, at=NOW - hours * HOUR)
    outcomes = [Deliver() if end is Deliver else end(reason, "550 5.0.0 x") for end in ends]  # type: ignore[call-arg]
    results = [HopResult(recipient, outcome) for recipient, outcome in zip(people, outcomes, strict=True)]
    bench = Bench(answers(results))
    settled = asyncio.run(bench.one(mail))
    done = [name for event in bench.seen(MailDelivered) for name in event.recipients]
    assert accounted(settled) + Counter(done) == Counter(str(recipient.address) for recipient in people)


@settings(max_examples=100, deadline=None)
@given(
    step=st.sampled_from(["waits", "breaks", "damaged", "flows", "lost"]),
    replace_errors=st.lists(st.sampled_from([GatewayError(Reason.SPOOL_FULL), LeaseLost(), Unforeseen()]), max_size=3),
)
def test_whatever_fails_a_mail_is_settled_put_aside_or_left_to_its_lease(step: str, replace_errors: list[Exception]) -> None:
    mail = a_mail(FIRST)
    what = {
        "waits": GatewayError(Reason.KEY_UNAVAILABLE),
        "breaks": Unforeseen(),
        "damaged": BodyDamagedError("x"),
        "flows": Flowed((output(mail, FIRST),)),
        "lost": LeaseLost(),
    }[step]
    bench = Bench(answers(what), delivering=answers([HopResult(FIRST, Deliver())]))
    bench.spool.errors = list(replace_errors)
    with contextlib.redirect_stdout(StringIO()):
        spool = asyncio.run(bench.work(mail))
    assert len(spool.settled) + len(spool.broken) <= 1
    assert len(bench.seen(MailBroken)) == len(spool.broken)
    if not replace_errors and step != "lost":
        assert len(spool.settled) + len(spool.broken) == 1
