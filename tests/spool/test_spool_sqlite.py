"""The contract of the spool, one promise at a time. The model test walks through them in any order."""

import asyncio
import contextlib
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import apsw
import pytest

from gateway.database.migrate import migrations
from gateway.database.thread import Effect, Work
from gateway.events import MailBroken
from gateway.mail.ending import Held
from gateway.mail.envelope import Mail, NextHop, Role, Stage
from gateway.mail.priority import Priority
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import WrappedKey
from gateway.spool import taker
from gateway.spool.epoch import SealingKey
from gateway.spool.files import SEGMENT, BodyDamagedError
from gateway.spool.keeper import LEASE_SECONDS
from gateway.spool.leases import PATIENCE_SECONDS
from gateway.spool.sqlite import SCHEMA, SqliteSpool
from gateway.spool.store import Lease, LeaseLost, Remainder, Row, Settlement, State, Unreadable, Waiting
from tests.doubles import Events
from tests.spool.kit import (
    CARDIOLOGY,
    RADIOLOGY,
    START,
    Clock,
    KeyHolder,
    body_files,
    content,
    crash,
    holder,
    listed,
    make_mail,
    make_spool,
    running,
    spool_key,
)

LARGE = b"0123456789abcdef" * 4097


async def lease_one(spool: SqliteSpool) -> Lease:
    [lease] = await spool.lease(10)
    return lease


async def test_an_accepted_mail_is_leased_as_it_was(tmp_path: Path) -> None:
    """Every field, and the body of a small, a large and an empty one."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        mails = [make_mail(spool, data) for data in (b"small", LARGE, b"")]
        mails[1] = replace(mails[1], stage=Stage.DELIVERY, hop=NextHop("smarthost"), protected=True)
        for mail in mails:
            await spool.accept(mail)
        leases = {lease.mail.arrival.mail: lease for lease in await spool.lease(10)}
        assert len(leases) == 3
        for mail in mails:
            found = leases[mail.arrival.mail]
            assert content(found.mail) == content(mail)
            assert replace(found.mail, body=mail.body) == mail
            assert found.mail.body.size == mail.body.size
            assert found.attempts == 0


async def test_files_are_for_large_bodies_and_all_is_private(tmp_path: Path) -> None:
    """One file for the large body; nothing in the state directory is open to others, and nothing readable."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        await spool.accept(make_mail(spool, b"Diagnosis " * 100))
        await spool.accept(make_mail(spool, b"Diagnosis " * SEGMENT))
        assert len(body_files(tmp_path)) == 1
        for path in tmp_path.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
            assert path.is_dir() or b"Diagnosis" not in path.read_bytes()


async def test_done_mails_leave_nothing(tmp_path: Path) -> None:
    """No row, no file, no body in the database."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        for data in (b"small", LARGE):
            await spool.accept(make_mail(spool, data))
        for lease in await spool.lease(10):
            await spool.replace(lease, Settlement())
        assert not await spool.rows()
        assert not body_files(tmp_path)
    database = apsw.Connection(str(tmp_path / "spool.sqlite"))
    assert database.execute("SELECT count(*) FROM body").get == 0
    database.close()


async def test_a_mail_becomes_its_outputs(tmp_path: Path) -> None:
    """New rows with new bodies; the old row and body are gone."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        await spool.accept(make_mail(spool, LARGE))
        lease = await lease_one(spool)
        parent = lease.mail.arrival.mail
        outputs = [make_mail(spool, data, stage=Stage.DELIVERY, parent=parent) for data in (b"one", LARGE + b"two")]
        await spool.replace(lease, Settlement(tuple(outputs)))
        assert {row.mail.arrival.mail for row in await listed(spool)} == {mail.arrival.mail for mail in outputs}
        leased = await spool.lease(10)
        assert sorted(content(lease.mail) for lease in leased) == sorted([b"one", LARGE + b"two"])
        assert len(body_files(tmp_path)) == 1


@pytest.mark.parametrize("data", [b"as it came", LARGE])
async def test_an_output_may_keep_the_body_it_came_with(tmp_path: Path, data: bytes) -> None:
    """A body shared by rows goes with the last of them."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        await spool.accept(make_mail(spool, data))
        lease = await lease_one(spool)
        outputs = [
            replace(lease.mail, arrival=make_mail(spool).arrival, stage=Stage.DELIVERY, hop=NextHop(name))
            for name in ("one", "two")
        ]
        await spool.replace(lease, Settlement(tuple(outputs)))
        for left in (1, 0):
            [lease] = await spool.lease(1)
            assert content(lease.mail) == data
            await spool.replace(lease, Settlement())
            assert len(await spool.rows()) == left
        assert not body_files(tmp_path)


@pytest.mark.parametrize("data", [b"as it goes out", LARGE])
async def test_an_output_that_was_never_stored_may_leave_remainders(tmp_path: Path, data: bytes) -> None:
    """One under its own identifier, several under new ones: with its body, tried once, while row and body of the mail go."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        for parts in ([(CARDIOLOGY, RADIOLOGY)], [(CARDIOLOGY,), (RADIOLOGY,)]):
            await spool.accept(make_mail(spool, LARGE))
            lease = await lease_one(spool)
            of = make_mail(spool, data, stage=Stage.DELIVERY, parent=lease.mail.arrival.mail)
            waiting = tuple(Waiting(part, clock.now + 1, Reason.HOP_DEFERRED, "450") for part in parts)
            await spool.replace(lease, Settlement(remainders=waiting, of=of))
            spool.discard([of])
            rows = await listed(spool)
            assert [(row.state, row.attempts, row.mail.stage) for row in rows] == [(State.WAITING, 1, Stage.DELIVERY)] * len(parts)
            names = {(row.mail.arrival.mail, row.mail.arrival.parent) for row in rows}
            if len(parts) == 1:
                assert names == {(of.arrival.mail, lease.mail.arrival.mail)}
            else:
                assert {parent for _, parent in names} == {of.arrival.mail}
            clock.advance(1)
            for again in await spool.lease(10):
                assert content(again.mail) == data
                await spool.replace(again, Settlement())
            assert not body_files(tmp_path)


@pytest.mark.parametrize("data", [b"as it goes out", LARGE])
async def test_an_output_that_was_delivered_at_once_leaves_nothing(tmp_path: Path, data: bytes) -> None:
    """Neither row nor file."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        await spool.accept(make_mail(spool, LARGE))
        lease = await lease_one(spool)
        of = make_mail(spool, data, stage=Stage.DELIVERY)
        await spool.replace(lease, Settlement(of=of))
        spool.discard([of])
        assert not await spool.rows()
        assert not body_files(tmp_path)


async def test_a_worker_with_room_gets_at_once_what_its_process_accepts(tmp_path: Path) -> None:
    """Leased by the transaction that stored it, and no more than there is room for."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        assert not await spool.lease(2)
        waiting = asyncio.create_task(spool.wait(2))
        await asyncio.sleep(0)
        mails = [make_mail(spool, data, at=clock.now + number) for number, data in enumerate((b"one", LARGE, b"three"))]
        for mail in mails:
            await spool.accept(mail)
        await asyncio.wait_for(waiting, 5)
        assert [row.state for row in await spool.rows()] == [State.LEASED, State.LEASED, State.WAITING]
        leases = list(await spool.lease(2))
        assert [lease.mail.arrival.mail for lease in leases] == [mail.arrival.mail for mail in mails[:2]]
        assert [content(lease.mail) for lease in leases] == [b"one", LARGE]
        assert [lease.attempts for lease in leases] == [0, 0]
        spool.discard([lease.mail for lease in leases])  # rows name them
        assert [content(lease.mail) for lease in leases] == [b"one", LARGE]
        leases += await spool.lease(2)
        for lease in leases:
            await spool.replace(lease, Settlement())
        assert not await spool.rows()
        assert not body_files(tmp_path)


async def test_what_waits_is_not_overtaken(tmp_path: Path) -> None:
    """A worker that has room but is known to have something due gets nothing past it."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool, b"first"))
        await asyncio.wait_for(spool.wait(1), 5)
        clock.advance(0.001)
        await spool.accept(make_mail(spool, b"second"))
        assert [row.state for row in await spool.rows()] == [State.WAITING] * 2
        (lease,) = await spool.lease(1)
        assert content(lease.mail) == b"first"


async def test_leases_nobody_asked_for_are_given_back(tmp_path: Path) -> None:
    """A process that ends leaves what it was handed to the others, as if never tried."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as other:
        async with running(make_spool(tmp_path, clock)) as spool:
            assert not await spool.lease(1)
            waiting = asyncio.create_task(spool.wait(1))
            await asyncio.sleep(0)
            await spool.accept(make_mail(spool, b"on its way"))
            await asyncio.wait_for(waiting, 5)
            assert [row.state for row in await other.rows()] == [State.LEASED]
        lease = await lease_one(other)
        assert (content(lease.mail), lease.attempts) == (b"on its way", 0)


async def test_one_remainder_keeps_the_row(tmp_path: Path) -> None:
    """Its identifier, body and attempts; fewer recipients, and due later."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        mail = make_mail(spool)
        await spool.accept(mail)
        again = clock.now + 60_000_000
        await spool.replace(
            await lease_one(spool), Settlement(remainders=(Waiting((RADIOLOGY,), again, Reason.HOP_DEFERRED, "450 later"),))
        )
        [row] = await listed(spool)
        assert row.mail.arrival == mail.arrival
        assert row.mail.envelope == replace(mail.envelope, recipients=(RADIOLOGY,))
        assert (row.state, row.next_at, row.attempts) == (State.WAITING, again, 1)
        assert (row.reason, row.detail) == (Reason.HOP_DEFERRED, "450 later")
        assert not await spool.lease(10)
        clock.advance(60)
        lease = await lease_one(spool)
        assert lease.attempts == 1
        assert content(lease.mail) == content(mail)


async def test_several_remainders_become_rows_of_their_own(tmp_path: Path) -> None:
    """New identifiers, the old one as parent, the same body."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        mail = make_mail(spool, LARGE)
        await spool.accept(mail)
        remainders: list[Remainder] = [
            Waiting((CARDIOLOGY,), clock.now + 1, Reason.HOP_UNREACHABLE, "no answer"),
            Held((RADIOLOGY,), Reason.NO_CERTIFICATE, "none"),
        ]
        await spool.replace(await lease_one(spool), Settlement(remainders=tuple(remainders)))
        waiting, held = sorted(await listed(spool), key=lambda row: row.state, reverse=True)
        assert (waiting.state, held.state) == (State.WAITING, State.HELD)
        assert {waiting.mail.arrival.parent, held.mail.arrival.parent} == {mail.arrival.mail}
        assert len({waiting.mail.arrival.mail, held.mail.arrival.mail, mail.arrival.mail}) == 3
        assert (waiting.mail.envelope.recipients, held.mail.envelope.recipients) == ((CARDIOLOGY,), (RADIOLOGY,))
        assert len(body_files(tmp_path)) == 1
        assert await spool.drop(held.mail.arrival.mail)
        clock.advance(1)
        assert content((await lease_one(spool)).mail) == LARGE


async def test_leases_come_by_priority_then_by_time(tmp_path: Path) -> None:
    """The best priority first; among equals, who waits longest."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        names = []
        for priority in (0, 1, -1, 1, 0):
            mail = make_mail(spool, at=clock.now, priority=Priority(priority))
            await spool.accept(mail)
            names.append(mail.arrival.mail)
            clock.advance(1)
        order = []
        for limit in (1, 3, 3):
            order += [lease.mail.arrival.mail for lease in await spool.lease(limit)]
        assert order == [names[index] for index in (1, 3, 0, 4, 2)]


async def test_a_run_does_not_delay_a_letter_nor_wait_for_ever(tmp_path: Path) -> None:
    """A letter that comes behind 300 is in the next lease; and of a flood of letters each eighth look leaves one to the run."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        for _ in range(300):
            await spool.accept(make_mail(spool, at=clock.now, priority=Priority.BULK))
        clock.advance(1)
        letter = make_mail(spool, at=clock.now)
        await spool.accept(letter)
        [first] = await spool.lease(1)
        assert first.mail.arrival.mail == letter.arrival.mail
        assert [lease.mail.priority for lease in await spool.lease(4, 3)] == [Priority.BULK] * 3
        assert not await spool.lease(4, 0)
        for _ in range(20):
            await spool.accept(make_mail(spool, at=clock.now))
        order = [lease.mail.priority for _ in range(16) for lease in await spool.lease(1)]
        assert order.count(Priority.BULK) == 2


async def test_bulk_mail_is_not_waited_for_where_none_is_wanted(tmp_path: Path) -> None:
    """Or a worker with every hand for bulk full would look again and again. Handed over it is not either; a letter is."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        assert not await spool.lease(8)
        waiting = asyncio.ensure_future(spool.wait(8, 0))
        await asyncio.sleep(0)
        await spool.accept(make_mail(spool, at=clock.now, priority=Priority.BULK))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.1)
        letter = make_mail(spool, at=clock.now)
        await spool.accept(letter)
        await asyncio.wait_for(waiting, 5)
        assert [lease.mail.arrival.mail for lease in await spool.lease(8, 0)] == [letter.arrival.mail]


async def test_a_run_goes_on_as_soon_as_there_is_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left of it waits for no further look into the database; a letter goes past it, and more of it does not."""
    monkeypatch.setattr(taker, "POLL_SECONDS", 3600.0)
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        for _ in range(6):
            await spool.accept(make_mail(spool, b"run", at=clock.now, priority=Priority.BULK))
            clock.advance(0.001)
        assert len(await spool.lease(8, 4)) == 4
        await asyncio.wait_for(spool.wait(8, 4), 5)
        await spool.accept(make_mail(spool, b"letter"))
        await spool.accept(make_mail(spool, b"more", at=clock.now, priority=Priority.BULK))
        assert [content(lease.mail) for lease in await spool.lease(1, 1)] == [b"letter"]
        assert [content(lease.mail) for lease in await spool.lease(8, 2)] == [b"run"] * 2
        await asyncio.wait_for(spool.wait(8, 1), 5)
        assert [content(lease.mail) for lease in await spool.lease(8, 1)] == [b"more"]


async def test_a_lease_that_ran_out_is_fenced(tmp_path: Path) -> None:
    """Another process takes the row; whatever the first then wants is refused and changes nothing."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as first, running(make_spool(tmp_path, clock)) as second:
        await first.accept(make_mail(first, LARGE))
        old = await lease_one(first)
        assert not await second.lease(10)
        clock.advance(LEASE_SECONDS)
        new = await lease_one(second)
        assert (new.token > old.token, new.attempts) == (True, 1)
        output = make_mail(first, LARGE, stage=Stage.DELIVERY)
        for attempt in (first.replace(old, Settlement((output,))), first.replace(old, Settlement()), first.break_(old, "x")):
            with pytest.raises(LeaseLost):
                await attempt
        assert (await second.rows())[0].state is State.LEASED
        output.body.writer.discard()  # type: ignore[attr-defined]
        assert len(body_files(tmp_path)) == 1
        await second.replace(new, Settlement())


async def test_a_lease_that_ran_out_and_nobody_took_still_holds(tmp_path: Path) -> None:
    """Being late alone costs nothing."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool))
        lease = await lease_one(spool)
        clock.advance(LEASE_SECONDS * 2)
        await spool.replace(lease, Settlement())
        assert not await spool.rows()


async def test_leases_are_renewed_while_they_are_held(tmp_path: Path) -> None:
    """By the tick of the holder; a lease that could not be settled runs out."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as first, running(make_spool(tmp_path, clock)) as second:
        await first.accept(make_mail(first))
        lease = await lease_one(first)
        clock.advance(LEASE_SECONDS - 1)
        first._keeper.tick()
        await first.rows()  # the renewal is committed before
        clock.advance(LEASE_SECONDS - 1)
        assert not await second.lease(10)
        with pytest.raises(TypeError):
            await first.replace(lease, Settlement((replace(lease.mail, body=b"no body"),)))  # type: ignore[arg-type]
        first.let_go(lease)
        first._keeper.tick()
        await first.rows()
        clock.advance(2)
        assert await second.lease(10)


async def test_a_tick_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of a thread, say: what is in hand is renewed all the same, and what the dead left is taken back later."""
    failed, settled = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("gateway.spool.keeper.TICK_SECONDS", 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda _: failed.set())

    def submit(*_: object) -> object:
        if not failed.is_set():
            raise RuntimeError("can't start new thread")
        settled.set()
        return None

    async with running(make_spool(tmp_path, Clock())) as spool:
        with monkeypatch.context() as patched:
            patched.setattr(spool._disk, "submit", submit)
            async with asyncio.timeout(10):
                await failed.wait()
                await settled.wait()


async def test_a_lease_that_is_let_go_runs_out_however_long_its_process_lives(tmp_path: Path) -> None:
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool))
        lease = await lease_one(spool)
        spool.let_go(lease)
        clock.advance(LEASE_SECONDS - 1)
        spool._keeper.tick()
        assert not await spool.lease(10)
        clock.advance(1)
        [again] = await spool.lease(10)
        assert again.mail.arrival.mail == lease.mail.arrival.mail
        with pytest.raises(LeaseLost):
            await spool.replace(lease, Settlement())


async def test_the_leases_of_a_dead_process_come_back_at_once(tmp_path: Path) -> None:
    """To the next that starts, and to one that runs, at its next tick; nothing has to run out."""
    clock = Clock()
    first, second = make_spool(tmp_path, clock), make_spool(tmp_path, clock)
    await first.start()
    await first.accept(make_mail(first, b"small"))
    await first.accept(make_mail(first, LARGE))
    assert len(await first.lease(10)) == 2
    orphan = first.bodies.create()
    orphan.write(LARGE)
    crash(first)
    assert len(body_files(tmp_path)) == 2
    await second.start()
    assert len(body_files(tmp_path)) == 1
    leases = await second.lease(10)
    assert sorted(content(lease.mail) for lease in leases) == sorted([b"small", LARGE])
    async with running(make_spool(tmp_path, clock)) as third:
        assert not await third.lease(10)
        crash(second)
        third._keeper.tick()
        await third._keeper.settled()
        assert [row.state for row in await third.rows()] == [State.WAITING] * 2
        assert len(list((tmp_path / "workers").iterdir())) == 1


async def test_bodies_a_living_process_writes_are_not_swept(tmp_path: Path) -> None:
    """Another process starts while a mail streams in."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as first:
        writer = first.bodies.create()
        writer.write(LARGE)
        async with running(make_spool(tmp_path, clock)):
            pass
        writer.write(LARGE)
        mail = replace(make_mail(first), body=writer.close())
        await first.accept(mail)
        assert content((await lease_one(first)).mail) == LARGE * 2


async def test_an_orderly_end_gives_leases_back(tmp_path: Path) -> None:
    """As if they had never been taken, and at once."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as first:
        await first.accept(make_mail(first))
        await first.lease(10)
    async with running(make_spool(tmp_path, clock)) as second:
        assert (await lease_one(second)).attempts == 0
    with pytest.raises(GatewayError) as caught:
        await second.rows()
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE


async def test_a_settlement_that_is_cut_off_at_the_end_is_given_back(tmp_path: Path) -> None:
    """It had not begun: the mail is as if it had never been taken, and nobody died of it."""
    clock, going = Clock(), threading.Event()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool))
        lease = await lease_one(spool)
        spool._database.submit(Work(lambda _: going.wait(60), lambda _, __: None, Effect.READ))
        settling = asyncio.create_task(spool.replace(lease, Settlement()))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        going.set()
    async with running(make_spool(tmp_path, clock)) as after:
        again = await lease_one(after)
        assert (again.attempts, again.deaths) == (0, 0)


async def test_broken_rows_wait_for_a_person(tmp_path: Path) -> None:
    """With their body and the administrator's text; released, they are due at once and counted anew."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        mail = make_mail(spool, LARGE)
        await spool.accept(mail)
        await spool.break_(await lease_one(spool), "a fault of ours")
        clock.advance(10_000)
        assert not await spool.lease(10)
        row = await spool.row(mail.arrival.mail)
        assert row is not None
        assert (row.state, row.detail) == (State.BROKEN, "a fault of ours")
        assert await spool.release(mail.arrival.mail)
        lease = await lease_one(spool)
        assert (lease.attempts, content(lease.mail), lease.mail.stage) == (0, LARGE, Stage.FLOW)
        assert not await spool.release(mail.arrival.mail)


async def test_one_that_waits_for_its_next_try_is_tried_at_once_where_a_person_says_so(tmp_path: Path) -> None:
    """Whoever has mended what it waits for need not wait an hour to see it go. Its step is the one it waits for."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        mail = make_mail(spool, LARGE)
        await spool.accept(mail)
        later = Waiting((CARDIOLOGY,), clock.now + 3_600_000_000, Reason.HOP_UNREACHABLE)
        await spool.replace(await lease_one(spool), Settlement(remainders=(later,)))
        assert not await spool.lease(1)
        assert await spool.release(mail.arrival.mail)
        lease = await lease_one(spool)
        assert (lease.attempts, lease.mail.stage) == (0, Stage.FLOW)


async def test_operators_work_from_another_process(tmp_path: Path) -> None:
    """List, count, show, release and drop, with no key and no lock, while a worker runs; the worker sees it by itself."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as worker:
        mails = [make_mail(worker, LARGE, at=clock.now + index) for index in range(3)]
        for mail in mails:
            await worker.accept(mail)
        first, second, third = await worker.lease(10)
        await worker.replace(first, Settlement(remainders=(Held((CARDIOLOGY,), Reason.POLICY_HOLD),)))
        await worker.replace(second, Settlement(remainders=(Held((CARDIOLOGY,), Reason.POLICY_HOLD),)))
        operator = SqliteSpool(tmp_path, now=lambda: clock.now)
        await operator.open()
        try:
            assert [row.mail.arrival.mail for row in await listed(operator)] == [mail.arrival.mail for mail in mails]
            assert len(await operator.rows(State.HELD)) == 2
            assert await operator.count() == {State.WAITING: 0, State.LEASED: 1, State.HELD: 2, State.BROKEN: 0}
            assert not await operator.drop(third.mail.arrival.mail)
            assert not await operator.release(third.mail.arrival.mail)
            assert await operator.drop(second.mail.arrival.mail)
            assert await operator.row(second.mail.arrival.mail) is None
            assert len(body_files(tmp_path)) == 2
            waiting = asyncio.create_task(worker.wait())
            await asyncio.sleep(0)
            assert await operator.release(first.mail.arrival.mail)
            await asyncio.wait_for(waiting, 5)
            again = await lease_one(worker)
            assert (again.mail.arrival.mail, again.mail.stage) == (first.mail.arrival.mail, Stage.RELEASED)
        finally:
            await operator.close()


async def test_wait_ends_with_an_accepted_mail(tmp_path: Path) -> None:
    """At once, not at the next look."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        waiting = asyncio.create_task(spool.wait())
        await spool.rows()
        await asyncio.sleep(0)
        assert not waiting.done()
        await spool.accept(make_mail(spool))
        await asyncio.wait_for(waiting, 5)
        await asyncio.wait_for(spool.wait(), 5)  # still due


async def test_wait_ends_when_the_next_row_is_due(tmp_path: Path) -> None:
    """By the time of the row."""
    spool = make_spool(tmp_path)
    async with running(spool):
        await spool.accept(make_mail(spool))
        lease = await lease_one(spool)
        due = spool._now() + 200_000
        await spool.replace(lease, Settlement(remainders=(Waiting((CARDIOLOGY,), due, Reason.HOP_DEFERRED),)))
        assert not await spool.lease(1)
        await asyncio.wait_for(spool.wait(), 5)
        assert spool._now() >= due
        assert await spool.lease(1)


async def test_accepting_needs_no_token_and_reading_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without its token takes mail and passes over what others wrote, with the reason; later it opens each epoch once."""
    monkeypatch.setattr(taker, "POLL_SECONDS", 0.01)
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as first:
        for data in (b"small", LARGE):
            await first.accept(make_mail(first, data))
    token = holder()
    token.available = False
    async with running(make_spool(tmp_path, clock, token)) as second:
        assert not await second.lease(10)
        rows = await listed(second)
        assert {(row.state, row.reason, row.attempts) for row in rows} == {(State.WAITING, Reason.KEY_UNAVAILABLE, 0)}
        asked = token.asked
        waiting = asyncio.create_task(second.wait())
        own = make_mail(second, b"own", at=clock.now + 1)
        await second.accept(own)
        await asyncio.wait_for(waiting, 5)
        assert content((await lease_one(second)).mail) == b"own"
        assert token.asked == asked  # not asked again before its time
        token.available = True
        clock.advance(5)
        await asyncio.wait_for(second.wait(), 5)
        assert sorted(content(lease.mail) for lease in await second.lease(10)) == sorted([b"small", LARGE])
        assert token.asked == asked + 1


@dataclass
class HangingHolder(KeyHolder):
    """One whose token does not answer until it is ``free``."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        self.begun.set()
        await self.free.wait()
        return await super().unwrap(key, wrapped)


async def left_by_another(state: Path, clock: Clock) -> str:
    """A mail whose body is under the epoch of another process."""
    async with running(make_spool(state, clock)) as spool:
        mail = make_mail(spool, at=clock.now)
        await spool.accept(mail)
        return mail.arrival.mail


async def test_a_token_that_hangs_keeps_no_mail_that_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taker, "OPEN_SECONDS", 0.05)
    clock, unwrapper = Clock(), HangingHolder(holder().keys)
    foreign = await left_by_another(tmp_path, clock)
    async with running(make_spool(tmp_path, clock, unwrapper)) as spool:
        own = make_mail(spool, at=clock.now)
        await spool.accept(own)
        assert [lease.mail.arrival.mail for lease in await asyncio.wait_for(spool.lease(10), 10)] == [own.arrival.mail]
        [row] = await listed(spool, State.WAITING)
        assert (row.mail.arrival.mail, row.reason, row.attempts) == (foreign, Reason.KEY_UNAVAILABLE, 0)
        unwrapper.free.set()
        while foreign not in [lease.mail.arrival.mail for lease in await spool.lease(10)]:
            await asyncio.wait_for(spool.wait(10), 10)
        assert unwrapper.asked == 1


async def test_what_waits_for_a_token_at_the_end_is_given_back(tmp_path: Path) -> None:
    """And counts no death, however often a gateway without its token is started again."""
    clock, unwrapper = Clock(), HangingHolder(holder().keys)
    await left_by_another(tmp_path, clock)
    async with running(make_spool(tmp_path, clock, unwrapper)) as spool:
        leasing = asyncio.create_task(spool.lease(10))
        await unwrapper.begun.wait()
        leasing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leasing
    async with running(make_spool(tmp_path, clock)) as after:
        lease = await lease_one(after)
        assert (lease.attempts, lease.deaths) == (0, 0)


async def test_below_the_floor_no_mail_is_taken_but_the_queue_drains(tmp_path: Path) -> None:
    """SPOOL_FULL for new mail, while flows may still write down to a quarter of the floor."""
    free = 1000 << 20
    clock = Clock()
    spool = SqliteSpool(
        tmp_path,
        sealing=make_spool(tmp_path)._keys._sealing,
        unwrapper=holder(),
        now=lambda: clock.now,
        free_megabytes=200,
        free=lambda: free,
    )
    async with running(spool):
        await spool.accept(make_mail(spool))
        free = 199 << 20
        clock.advance(1)
        with pytest.raises(GatewayError) as caught:
            spool.bodies.create()
        assert caught.value.reason is Reason.SPOOL_FULL
        spool.output_bodies.create()
        await spool.replace(await lease_one(spool), Settlement())
        free = 49 << 20
        clock.advance(1)
        with pytest.raises(GatewayError):
            spool.output_bodies.create()


async def test_strangers_do_not_fill_the_disk_for_everybody(tmp_path: Path) -> None:
    """What of their mail a mailbox refuses is held for a person, who may come tomorrow."""
    free, clock = 0, Clock()
    spool = SqliteSpool(tmp_path, now=lambda: clock.now, free_megabytes=200, free=lambda: free << 20)

    def put_off() -> list[Role]:
        clock.advance(1)
        found = []
        for role in Role:
            try:
                spool.check_room(0, role)
            except GatewayError as error:
                found += [role] if error.reason is Reason.SPOOL_FULL else []
        return found

    told = {}
    for free in (199, 200, 399, 400):
        told[free] = put_off()
    assert told == {199: list(Role), 200: [Role.STRANGER], 399: [Role.STRANGER], 400: []}


async def test_a_full_database_refuses_and_recovers(tmp_path: Path) -> None:
    """SQLITE_FULL is SPOOL_FULL, changes nothing of what was there, and ends when there is space again."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        await spool.accept(make_mail(spool, b"first"))
        pages = await spool._database.run(lambda database: database.execute("PRAGMA page_count").get, Effect.READ)
        await spool._database.run(lambda database: database.execute(f"PRAGMA max_page_count = {pages}").get, Effect.READ)
        mail = make_mail(spool, bytes(60_000))
        with pytest.raises(GatewayError) as caught:
            await spool.accept(mail)
        assert caught.value.reason is Reason.SPOOL_FULL
        assert len(await spool.rows()) == 1
        await spool._database.run(lambda database: database.execute("PRAGMA max_page_count = 1000000").get, Effect.READ)
        await spool.accept(mail)
        assert len(await spool.lease(10)) == 2


@pytest.mark.parametrize("data", [b"small", LARGE])
async def test_a_spool_that_is_closed_takes_nothing_and_says_so(tmp_path: Path, data: bytes) -> None:
    """As any other fault of its own: the body is its caller's still."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        mail = make_mail(spool, data)
    with pytest.raises(GatewayError) as refused:
        await spool.accept(mail)
    assert refused.value.reason is Reason.SPOOL_UNAVAILABLE
    mail.body.writer.discard()  # type: ignore[attr-defined]
    assert not body_files(tmp_path)


async def test_one_bad_accept_spoils_no_other_of_its_batch(tmp_path: Path) -> None:
    """An identifier twice is refused; the mails accepted at the same moment are in."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        good = [make_mail(spool, LARGE) for _ in range(5)]
        twin = replace(make_mail(spool, LARGE), arrival=good[0].arrival)
        results = await asyncio.gather(*(spool.accept(mail) for mail in [*good, twin]), return_exceptions=True)
        assert sum(isinstance(result, ValueError) for result in results) == 1
        assert len(await spool.rows()) == 5
        for mail, result in zip([*good, twin], results, strict=True):
            if result is not None:
                mail.body.writer.discard()  # type: ignore[attr-defined]
        assert len(body_files(tmp_path)) == 5


@pytest.mark.parametrize("data", [b"small", LARGE])
async def test_cancelling_accept_leaves_no_row_without_body(tmp_path: Path, data: bytes) -> None:
    """At any point of it, with the body discarded by the canceller at once: row and body are both there or both gone."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        for turns in range(12):
            mail = make_mail(spool, data)
            task = asyncio.create_task(spool.accept(mail))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            mail.body.writer.discard()  # type: ignore[attr-defined]
        spool._keeper.stop()
        await asyncio.to_thread(spool._disk.shutdown)  # returns when the bodies are on the disk
        await spool.rows()  # and their rows behind them
        leases: Sequence[Lease] = await spool.lease(100)
        assert all(content(lease.mail) == data for lease in leases)
        assert len(body_files(tmp_path)) == (len(leases) if data == LARGE else 0)


DAMAGE = {
    "content": "'{}'",
    "content, no text": "CAST(x'7bff7d' AS TEXT)",
    "content, of another mail": "replace(content, id, '00' || substr(id, 3))",
    "stage": "'of-tomorrow'",
    "stage, no text": "CAST(x'ff' AS TEXT)",
    "priority": "9",
    "body, no text": "CAST(x'ff' AS TEXT)",
    "body, of no name": "'..'",
    "epoch, no text": "CAST(x'ff' AS TEXT)",
    "epoch, of no name": "lower(epoch)",
    "id, no text": "CAST(x'ff' AS TEXT)",
}


UNTOLD = {  # what a worker does without
    "reason": "'OF_TOMORROW'",
    "detail, no text": "CAST(x'ff' AS TEXT)",
    "next_at": "-1",
    "content, a time that is none": "replace(content, ':' || at || ',', ':9' || at || '000,')",
}


async def damage(spool: SqliteSpool, mail: Mail, column: str, value: str) -> None:
    column = column.partition(",")[0]
    await spool._database.run(
        lambda database: database.execute(f"UPDATE mail SET {column} = {value} WHERE id = ?", (mail.arrival.mail,)),  # noqa: S608
        Effect.DURABLE,
    )


@pytest.mark.parametrize("column", DAMAGE)
async def test_a_row_that_cannot_be_read_is_put_aside(tmp_path: Path, column: str) -> None:
    """Not silently, and it does not stop the others; and a body that is gone says so."""
    clock, events = Clock(), Events()
    async with running(make_spool(tmp_path, clock, observer=events)) as spool:
        bad, good = make_mail(spool, b"bad"), make_mail(spool, LARGE)
        await spool.accept(bad)
        await spool.accept(good)
        await damage(spool, bad, column, DAMAGE[column])
        for name in body_files(tmp_path):
            spool._files.delete(name)
        lease = await lease_one(spool)
        assert lease.mail.arrival == good.arrival
        with pytest.raises(BodyDamagedError):
            content(lease.mail)
        assert (await spool.count())[State.BROKEN] == 1
        [event] = events.seen
        assert isinstance(event, MailBroken)
        assert (event.org, event.mail) == ("hospital", "\ufffd" if column.startswith("id") else bad.arrival.mail)
        assert event.detail
        [row] = await spool.rows(State.BROKEN)
        assert isinstance(row, Unreadable)
        assert (row.mail, row.organisation, row.detail) == (event.mail, event.org, event.detail)


async def test_a_row_that_cannot_be_read_takes_no_turn_of_another(tmp_path: Path) -> None:
    """Where it was one of as many as there was room for, the next look into the database is at once."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        bad, good = make_mail(spool, at=START), make_mail(spool, at=START + 1000)
        await spool.accept(bad)
        await spool.accept(good)
        await damage(spool, bad, "content", "'{}'")
        assert not await spool.lease(1)
        await asyncio.wait_for(spool.wait(1), 0.1)
        [lease] = await spool.lease(1)
        assert lease.mail.arrival == good.arrival


@pytest.mark.parametrize(("column", "value"), [*DAMAGE.items(), *UNTOLD.items()])
async def test_a_row_that_cannot_be_read_is_listed_beside_the_others(tmp_path: Path, column: str, value: str) -> None:
    """With its identifier and why. A person may drop it."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        mails = [make_mail(spool, at=START + index) for index in range(3)]
        for mail in mails:
            await spool.accept(mail)
        bad = mails[1]
        await damage(spool, bad, column, value)
        first, second, third = await spool.rows()
        assert isinstance(first, Row)
        assert isinstance(second, Unreadable)
        assert isinstance(third, Row)
        assert second.state is State.WAITING
        assert second.detail
        assert (await spool.rows(State.WAITING))[1] == second
        if column.startswith("id"):
            return
        assert second.mail == bad.arrival.mail
        assert await spool.row(bad.arrival.mail) == second
        assert await spool.drop(bad.arrival.mail)
        assert await spool.row(bad.arrival.mail) is None
        assert [row.mail.arrival for row in await listed(spool)] == [mails[0].arrival, mails[2].arrival]


async def test_what_is_in_a_state_that_is_none_is_broken_until_it_is_released(tmp_path: Path) -> None:
    async with running(make_spool(tmp_path, Clock())) as spool:
        mail = make_mail(spool)
        await spool.accept(mail)
        await damage(spool, mail, "state", "CAST(x'ff' AS TEXT)")
        assert (await spool.count())[State.BROKEN] == 1
        [row] = await listed(spool, State.BROKEN)
        assert row.state is State.BROKEN
        assert not await spool.lease(10)
        assert await spool.release(mail.arrival.mail)
        assert (await lease_one(spool)).mail.arrival == mail.arrival


async def test_what_a_damaged_epoch_sealed_waits_and_stops_nothing(tmp_path: Path) -> None:
    """Nor does a damaged name of a lease's holder stop a start."""
    clock = Clock()
    for sealings in (b"[[]]", b"\xff"):
        async with running(make_spool(tmp_path, clock)) as spool:
            await spool.accept(make_mail(spool))
            await spool._database.run(
                lambda database, to=sealings: database.execute("UPDATE epoch SET sealings = CAST(? AS TEXT)", (to,)),  # type: ignore[misc]
                Effect.DURABLE,
            )
        async with running(make_spool(tmp_path, clock)) as spool:
            await spool.accept(make_mail(spool, b"good"))
            assert content((await lease_one(spool)).mail) == b"good"
            assert Reason.KEY_UNAVAILABLE in [row.reason for row in await listed(spool)]
            await spool._database.run(
                lambda database: database.execute("UPDATE mail SET owner = CAST(x'2fff' AS TEXT) WHERE state = 'leased'"),
                Effect.DURABLE,
            )


async def test_what_an_epoch_sealed_that_is_missing_waits_until_it_is_there(tmp_path: Path) -> None:
    """It may come back, as with a database that somebody mends."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool))
    async with running(make_spool(tmp_path, clock)) as spool:
        run = partial(spool._database.run, effect=Effect.DURABLE)
        [missing] = await run(lambda database: database.execute("DELETE FROM epoch RETURNING *").fetchall())
        assert not await spool.lease(10)
        [row] = await listed(spool)
        assert (row.state, row.reason) == (State.WAITING, Reason.KEY_UNAVAILABLE)
        await run(lambda database: database.execute("INSERT INTO epoch VALUES (?, ?, ?, ?)", missing))
        clock.advance(5)
        await lease_one(spool)


async def test_a_body_of_another_kind_is_a_mistake(tmp_path: Path) -> None:
    """The spool stores only bodies it made."""
    async with running(make_spool(tmp_path, Clock())) as spool:
        mail: Mail = replace(make_mail(spool), body=b"")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await spool.accept(mail)


async def test_epochs_nobody_needs_are_forgotten(tmp_path: Path) -> None:
    """At the next start, but not those of waiting mails."""
    clock = Clock()
    for keep in (False, True, False):
        async with running(make_spool(tmp_path, clock)) as spool:
            await spool.accept(make_mail(spool, at=START))
            if not keep:
                for lease in await spool.lease(1):
                    await spool.replace(lease, Settlement())
    async with running(make_spool(tmp_path, clock)) as spool:
        count = await spool._database.run(lambda db: db.execute("SELECT count(*) FROM epoch").get, Effect.READ)
        assert count == len(await spool.rows()) == 1
        await lease_one(spool)


async def test_what_a_wrong_clock_put_off_comes_back_when_it_is_right_again(tmp_path: Path) -> None:
    """The clock was a day fast for a moment, and a mail was deferred then."""
    clock = Clock()
    spool = SqliteSpool(
        tmp_path,
        sealing=(SealingKey("spool", spool_key().public_key()),),
        unwrapper=KeyHolder({"spool": spool_key()}),
        now=lambda: clock.now,
        boot=lambda: clock.boot,
        longest_pause=lambda: 3600_000_000,
    )
    async with running(spool):
        for pause in (3600, 86_400):
            await spool.accept(make_mail(spool, at=clock.now))
            lease = await lease_one(spool)
            later = Waiting((CARDIOLOGY,), clock.now + pause * 1_000_000, Reason.HOP_DEFERRED)
            await spool.replace(lease, Settlement(remainders=(later,)))
        spool._keeper.tick()
        await spool._keeper.settled()
        assert sorted(row.next_at - clock.now for row in await listed(spool)) == [0, 3600_000_000]


async def test_a_spool_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """With the mails in it."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as spool:
        await spool.accept(make_mail(spool, at=clock.now))
    database = apsw.Connection(str(tmp_path / "spool.sqlite"))
    database.execute("DROP INDEX mail_suspect; ALTER TABLE mail DROP COLUMN deaths; DELETE FROM schema_version WHERE version = 2")
    database.close()
    async with running(make_spool(tmp_path, clock)) as spool:
        assert (await lease_one(spool)).deaths == 0


async def test_a_mail_that_was_in_hand_at_two_deaths_is_taken_alone(tmp_path: Path) -> None:
    """By who has nothing else in hand, so that the next death tells which of them it was."""
    clock = Clock()
    for _ in range(2):
        spool = make_spool(tmp_path, clock)
        await spool.start()
        if not await spool.rows():
            for _ in range(2):
                await spool.accept(make_mail(spool, at=clock.now))
        assert len(await spool.lease(10)) == 2
        crash(spool)
    async with running(make_spool(tmp_path, clock)) as spool, running(make_spool(tmp_path, clock)) as other:
        letter = make_mail(spool, at=clock.now)
        await spool.accept(letter)
        [suspect] = await spool.lease(10)
        assert (suspect.deaths, suspect.alone) == (2, True)
        assert [lease.mail.arrival.mail for lease in await spool.lease(10)] == [letter.arrival.mail]
        [second] = await other.lease(10)
        assert second.alone
        await other.replace(second, Settlement(remainders=(Waiting((CARDIOLOGY,), clock.now, Reason.HOP_DEFERRED),)))
        assert (await lease_one(other)).deaths == 0


async def test_a_suspect_does_not_wait_for_ever_for_a_worker_with_nothing_in_hand(tmp_path: Path) -> None:
    """A gateway that is busy day and night has none. Most likely it is innocent, and its sender hears nothing."""
    clock = Clock()
    async with running(make_spool(tmp_path, clock)) as busy:
        await busy.accept(make_mail(busy, at=clock.now))
        await lease_one(busy)
        suspect = make_mail(busy, at=clock.now)
        await busy.accept(suspect)
        for _ in range(2):
            dying = make_spool(tmp_path, clock)
            await dying.start()
            assert (await lease_one(dying)).mail.arrival.mail == suspect.arrival.mail
            crash(dying)
            busy._keeper.tick()
            await busy._keeper.settled()
        clock.advance(PATIENCE_SECONDS - 1)
        assert not await busy.lease(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(busy.wait(10), 1.0)
        clock.advance(1)
        await asyncio.wait_for(busy.wait(10), 10)
        [lease] = await busy.lease(10)
        assert (lease.mail.arrival.mail, lease.alone) == (suspect.arrival.mail, True)


async def test_a_spool_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """Its schema is not touched, and the detail says both versions."""
    async with running(make_spool(tmp_path, Clock())):
        pass
    database = apsw.Connection(str(tmp_path / "spool.sqlite"))
    assert database.execute("SELECT max(version) FROM schema_version").get == max(migrations(SCHEMA))
    database.execute("INSERT INTO schema_version VALUES (99, 0)")
    database.close()
    with pytest.raises(GatewayError, match="schema 99") as caught:
        await make_spool(tmp_path, Clock()).start()
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE


async def test_a_state_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A file in its place, a database that is none."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "spool.sqlite").write_text("no database, but long enough to be looked at" * 30)
    for state in (tmp_path / "file", tmp_path / "state"):
        with pytest.raises(GatewayError) as caught:
            await make_spool(state, Clock()).open()
        assert caught.value.reason is Reason.SPOOL_UNAVAILABLE
