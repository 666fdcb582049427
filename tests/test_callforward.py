"""Recipients known before 250: by asking once, by remembering, by a list."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.callforward import KNOWN_AGE, LAST_RESORT_AGE, MAX_ANSWERS, UNKNOWN_AGE, CallForward
from gateway.config.model import Config, Key, KeyPurpose, Listener, Organisation, Recipients, Route
from gateway.mail.address import Address, parse_address
from gateway.mail.envelope import NextHop, Role
from gateway.outcome import Defer, Deliver, Reason, Refuse
from gateway.smtp.reply import Reply

CARDIOLOGY = parse_address("cardiology@hospital.example")
YES = Reply(250, "2.1.5", ("ok",))
NO = Reply(550, "5.1.1", ("no such user",))
LATER = Reply(450, "4.2.1", ("later",))
SILENT = Defer(Reason.HOP_UNREACHABLE, "connection refused")


@dataclass
class Behind:
    """The mail server behind us: says ``answer``, as long as ``open`` is set."""

    answer: Reply | Defer = YES
    asked: list[tuple[NextHop, Address]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    now: int = 0

    async def probe(self, hop: NextHop, address: Address) -> Reply | Defer:
        self.asked.append((hop, address))
        self.reached.set()
        await self.open.wait()
        return self.answer


def config(recipients: Recipients) -> Config:
    return Config(
        hostname="gateway.hospital.example",
        state=Path("/nowhere"),
        run=Path("/nowhere"),
        spool_key="spool",
        organisation={"hospital": Organisation(domains=("hospital.example",), mail_server="inside", recipients=recipients)},
        key={"spool": Key(purpose=KeyPurpose.SPOOL, public_key=Path("/nowhere"))},
        listener={"inside": Listener(address="127.0.0.1", port=0, role=Role.INSIDE)},
        route={"inside": Route(host="127.0.0.1")},
    )


@pytest.fixture
def behind() -> Behind:
    made = Behind()
    made.open.set()
    return made


def check(behind: Behind, recipients: Recipients | None = None, patience: float = 5.0) -> CallForward:
    tree = config(recipients or Recipients())
    return CallForward(config=lambda: tree, probe=behind.probe, now=lambda: behind.now, patience=patience)


@pytest.mark.parametrize(
    ("answer", "presence"),
    [
        (YES, Deliver()),
        (NO, Refuse(Reason.RECIPIENT_UNKNOWN, "550 5.1.1 no such user")),
        (LATER, Defer(Reason.RECIPIENT_UNCHECKED, "450 4.2.1 later")),
        (SILENT, Defer(Reason.RECIPIENT_UNCHECKED, "connection refused")),
    ],
)
async def test_the_servers_word_is_ours(behind: Behind, answer: Reply | Defer, presence: object) -> None:
    behind.answer = answer
    assert await check(behind).known("hospital", CARDIOLOGY) == presence
    assert behind.asked == [(NextHop("inside"), CARDIOLOGY)]


@pytest.mark.parametrize(("answer", "age"), [(YES, KNOWN_AGE), (NO, UNKNOWN_AGE), (LATER, 0)])
async def test_answers_are_remembered_for_their_age(behind: Behind, answer: Reply, age: int) -> None:
    behind.answer = answer
    known = check(behind)
    await known.known("hospital", CARDIOLOGY)
    behind.now = age - 1
    await known.known("hospital", parse_address("Cardiology@Hospital.example"))
    assert len(behind.asked) == (1 if age else 2)
    behind.now = age
    await known.known("hospital", CARDIOLOGY)
    assert len(behind.asked) == (2 if age else 3)


async def test_a_no_lasts_no_longer_for_a_clock_that_was_set_back(behind: Behind) -> None:
    """Or a mailbox made meanwhile would be refused, for good, for as long as the clock had been wrong."""
    behind.answer, behind.now = NO, 10 * UNKNOWN_AGE
    known = check(behind)
    await known.known("hospital", CARDIOLOGY)
    behind.answer, behind.now = YES, 0
    assert await known.known("hospital", CARDIOLOGY) == Deliver()


async def test_an_old_yes_counts_while_the_server_is_silent_and_an_old_no_does_not(behind: Behind) -> None:
    known = check(behind)
    await known.known("hospital", CARDIOLOGY)
    behind.answer, behind.now = SILENT, LAST_RESORT_AGE - 1
    assert await known.known("hospital", CARDIOLOGY) == Deliver()
    behind.now = LAST_RESORT_AGE
    assert isinstance(await known.known("hospital", CARDIOLOGY), Defer)


async def test_many_who_ask_at_once_are_one_question(behind: Behind) -> None:
    behind.open.clear()
    known = check(behind)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(known.known("hospital", CARDIOLOGY)) for _ in range(10)]
        await behind.reached.wait()
        behind.open.set()
    assert {task.result() for task in asking} == {Deliver()}
    assert len(behind.asked) == 1


async def test_when_the_one_who_asks_goes_away_the_others_are_told_to_come_again(behind: Behind) -> None:
    behind.open.clear()
    known = check(behind)
    first = asyncio.create_task(known.known("hospital", CARDIOLOGY))
    await behind.reached.wait()
    second = asyncio.create_task(known.known("hospital", CARDIOLOGY))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Defer)
    assert first.cancelled()
    behind.open.set()
    assert await known.known("hospital", CARDIOLOGY) == Deliver()


async def test_a_server_that_takes_too_long_is_not_waited_for(behind: Behind) -> None:
    behind.open.clear()
    answer = await check(behind, patience=0.01).known("hospital", CARDIOLOGY)
    assert isinstance(answer, Defer)
    assert answer.reason is Reason.RECIPIENT_UNCHECKED


async def test_as_many_answers_are_remembered_as_the_limit_says(behind: Behind) -> None:
    """For one more, the one is forgotten that was asked for longest ago."""
    known = check(behind)
    people = [parse_address(f"x{number}@hospital.example") for number in range(MAX_ANSWERS + 1)]
    for address in (*people[:-1], people[0]):
        await known.known("hospital", address)
    assert len(behind.asked) == MAX_ANSWERS
    for address in (people[-1], people[0], people[1]):
        await known.known("hospital", address)
    assert [address for _, address in behind.asked[MAX_ANSWERS:]] == [people[-1], people[1]]


async def test_a_list_knows_addresses_and_whole_domains_and_is_read_again(behind: Behind, tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.write_text("# ours\ncardiology@hospital.example  # a ward\n\n@clinic.example\n")
    known = check(behind, Recipients(source="list", file=file))
    assert await known.known("hospital", parse_address("Cardiology@hospital.example")) == Deliver()
    assert await known.known("hospital", parse_address("anyone@clinic.example")) == Deliver()
    radiology = parse_address("radiology@hospital.example")
    assert isinstance(await known.known("hospital", radiology), Refuse)
    file.write_text("radiology@hospital.example\n")
    assert await known.known("hospital", radiology) == Deliver()
    assert isinstance(await known.known("hospital", CARDIOLOGY), Refuse)
    assert behind.asked == []


async def test_a_changed_list_that_is_wrong_leaves_the_one_before_in_force(behind: Behind, tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.write_text("cardiology@hospital.example\n")
    known = check(behind, Recipients(source="list", file=file))
    assert await known.known("hospital", CARDIOLOGY) == Deliver()
    file.write_text("not an address\n")
    assert await known.known("hospital", CARDIOLOGY) == Deliver()
    file.unlink()
    assert await known.known("hospital", CARDIOLOGY) == Deliver()


@pytest.mark.parametrize("content", [None, "not an address\n", "@\n"])
async def test_a_list_that_never_could_be_read_defers(behind: Behind, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "recipients"
    if content is not None:
        file.write_text(content)
    answer = await check(behind, Recipients(source="list", file=file)).known("hospital", CARDIOLOGY)
    assert isinstance(answer, Defer)
    assert answer.reason is Reason.RECIPIENT_UNCHECKED
