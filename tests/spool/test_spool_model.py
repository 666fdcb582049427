"""The spool against a model of its contract: two workers and an operator, in any order, with crashes at any moment between."""

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.mail.ending import Held
from gateway.mail.envelope import Mail, Recipient
from gateway.mail.identifier import MailId, make_mail_id
from gateway.mail.priority import Priority
from gateway.outcome import Reason
from gateway.spool.keeper import LEASE_SECONDS
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.store import SUSPECT, Lease, LeaseLost, Remainder, Settlement, State, Waiting
from tests.spool.kit import CARDIOLOGY, RADIOLOGY, Clock, body_files, content, crash, listed, make_mail, make_spool

T = TypeVar("T")
WORKERS = st.sampled_from([0, 1])
DATA = {False: b"small body", True: b"large body " * 7000}


@dataclass
class Entry:
    """What the model knows of a row."""

    recipients: tuple[Recipient, ...]
    large: bool
    body: str
    priority: Priority
    next_at: int
    state: State = State.WAITING
    attempts: int = 0
    deaths: int = 0
    lease: Lease | None = None
    owner: int = -1
    until: float = 0.0
    parent: MailId | None = None


@dataclass
class Held_:  # noqa: N801 - a lease in a worker's hand
    worker: int
    lease: Lease


@dataclass
class Model:
    rows: dict[MailId, Entry] = field(default_factory=dict)
    leases: list[Held_] = field(default_factory=list)
    turns: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.state = Path(self.folder.name)
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model()
        self.workers = [self.start(), self.start()]
        self.operator = SqliteSpool(self.state, now=lambda: self.clock.now)
        self.run(self.operator.open())

    def run(self, work: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await work

        return self.loop.run_until_complete(wrapped())

    def start(self) -> SqliteSpool:
        spool = make_spool(self.state, self.clock)
        self.run(spool.start())
        spool._keeper.stop()  # renewals come by rule, not by the real clock
        return spool

    def teardown(self) -> None:
        for spool in (*self.workers, self.operator):
            self.run(spool.close())
        self.loop.close()
        self.folder.cleanup()

    def make(self, worker: int, data: bytes, *, priority: Priority = Priority.NORMAL, parent: MailId | None = None) -> Mail:
        """A mail whose identifier is the same whenever the same steps are run."""
        identifier = make_mail_id(self.clock.now, self.clock.random(10))
        return make_mail(self.workers[worker], data, at=self.clock.now, priority=priority, parent=parent, identifier=identifier)

    def add(self, mail: Mail, *, large: bool) -> None:
        self.model.rows[mail.arrival.mail] = Entry(
            mail.envelope.recipients,
            large,
            mail.body.name,  # type: ignore[attr-defined]
            mail.priority,
            self.clock.now,
            parent=mail.arrival.parent,
        )

    @rule(worker=WORKERS, large=st.booleans(), priority=st.sampled_from(Priority))
    def accept(self, worker: int, large: bool, priority: Priority) -> None:
        mail = self.make(worker, DATA[large], priority=priority)
        self.run(self.workers[worker].accept(mail))
        self.add(mail, large=large)

    def wanted(self, worker: int, bulk: int) -> list[MailId]:
        """What is due, in the order a worker is to get it: each eighth time one of the lowest priority first."""
        self.model.turns[worker] += 1
        everything = {name: row for name, row in self.model.rows.items() if row.state is State.WAITING}
        due = {name: row for name, row in everything.items() if row.next_at <= self.clock.now and row.deaths < SUSPECT}
        order = sorted(due, key=lambda name: (-due[name].priority, due[name].next_at, name))
        run = [name for name in order if due[name].priority is Priority.BULK]
        order = [name for name in order if name not in run[bulk:]]
        lowest = min((row.priority for row in everything.values()), default=None)
        first = [name for name in order if due[name].priority == lowest][: self.model.turns[worker] % 8 == 0]
        return first + [name for name in order if name not in first]

    @rule(worker=WORKERS, limit=st.integers(1, 4), bulk=st.integers(0, 4))
    def lease(self, worker: int, limit: int, bulk: int) -> None:
        free = not self.workers[worker]._keeper.held()
        waiting = self.wanted(worker, bulk)
        expired = [name for name, row in self.model.rows.items() if row.state is State.LEASED and row.until <= self.clock.boot]
        suspects = {name for name in expired if self.model.rows[name].deaths >= SUSPECT}
        for name, row in self.model.rows.items():
            if row.state is State.WAITING and row.next_at <= self.clock.now and row.deaths >= SUSPECT:
                suspects.add(name)
        expired = [name for name in expired if name not in suspects]
        leases = self.run(self.workers[worker].lease(limit, bulk))
        names = [lease.mail.arrival.mail for lease in leases]
        if free and suspects:  # one alone, by who has nothing else in hand
            assert len(names) == 1
            assert names[0] in suspects
        else:
            assert len(set(names)) == len(names) == min(limit, len(waiting) + len(expired))
            if not expired:
                assert names == waiting[:limit]
            assert set(names) <= {*waiting, *expired}
        for lease in leases:
            row = self.model.rows[lease.mail.arrival.mail]
            assert (lease.attempts, lease.deaths) == (row.attempts, row.deaths)
            assert row.lease is None or lease.token > row.lease.token
            assert content(lease.mail) == DATA[row.large]
            assert lease.mail.envelope.recipients == row.recipients
            assert lease.mail.arrival.parent == row.parent
            row.state, row.lease, row.owner, row.until = State.LEASED, lease, worker, lease.until
            row.attempts += 1
            self.model.leases.append(Held_(worker, lease))

    def pick(self, data: st.DataObject) -> tuple[int, Lease, Entry | None]:
        """A lease somebody holds or believes to hold, and its row if it still counts."""
        held = data.draw(st.sampled_from(self.model.leases))
        self.model.leases.remove(held)
        row = self.model.rows.get(held.lease.mail.arrival.mail)
        valid = row is not None and row.state is State.LEASED and row.lease is held.lease
        return held.worker, held.lease, row if valid else None

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), count=st.integers(0, 2), same_body=st.booleans(), large=st.booleans())
    def replace_with_outputs(self, data: st.DataObject, count: int, same_body: bool, large: bool) -> None:
        worker, lease, row = self.pick(data)
        spool = self.workers[worker]
        outputs = [self.make(worker, DATA[large and not same_body], parent=lease.mail.arrival.mail) for _ in range(count)]
        if same_body:
            outputs = [replace(mail, body=lease.mail.body) for mail in outputs]
        if row is None:
            with pytest.raises(LeaseLost):
                self.run(spool.replace(lease, Settlement(tuple(outputs))))
            if not same_body:
                for mail in outputs:
                    mail.body.writer.discard()  # type: ignore[attr-defined]
            return
        self.run(spool.replace(lease, Settlement(tuple(outputs))))
        del self.model.rows[lease.mail.arrival.mail]
        for mail in outputs:
            self.add(mail, large=row.large if same_body else large)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), later=st.integers(0, 5), held=st.booleans())
    def keep_one_remainder(self, data: st.DataObject, later: int, held: bool) -> None:
        worker, lease, row = self.pick(data)
        spool = self.workers[worker]
        next_at = self.clock.now + later * 1_000_000
        remainder: Remainder = (
            Held((CARDIOLOGY,), Reason.POLICY_HOLD) if held else Waiting((CARDIOLOGY,), next_at, Reason.HOP_DEFERRED)
        )
        if row is None:
            with pytest.raises(LeaseLost):
                self.run(spool.replace(lease, Settlement(remainders=(remainder,))))
            return
        self.run(spool.replace(lease, Settlement(remainders=(remainder,))))
        row.recipients, row.lease = (CARDIOLOGY,), row.lease
        row.state = State.HELD if held else State.WAITING
        row.next_at, row.deaths = next_at, 0

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def split_into_remainders(self, data: st.DataObject) -> None:
        worker, lease, row = self.pick(data)
        spool = self.workers[worker]
        remainders: list[Remainder] = [
            Waiting((CARDIOLOGY,), self.clock.now, Reason.HOP_DEFERRED),
            Held((RADIOLOGY,), Reason.NO_CERTIFICATE),
        ]
        if row is None:
            with pytest.raises(LeaseLost):
                self.run(spool.replace(lease, Settlement(remainders=tuple(remainders))))
            return
        before = set(self.model.rows)
        self.run(spool.replace(lease, Settlement(remainders=tuple(remainders))))
        parent = lease.mail.arrival.mail
        del self.model.rows[parent]
        fresh = [found for found in self.run(listed(spool)) if found.mail.arrival.mail not in before]
        assert len(fresh) == 2
        for found in fresh:
            state = State.WAITING if found.mail.envelope.recipients == (CARDIOLOGY,) else State.HELD
            self.model.rows[found.mail.arrival.mail] = replace(
                row,
                recipients=found.mail.envelope.recipients,
                state=state,
                next_at=self.clock.now,
                lease=None,
                deaths=0,
                parent=parent,
            )

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def break_(self, data: st.DataObject) -> None:
        worker, lease, row = self.pick(data)
        if row is None:
            with pytest.raises(LeaseLost):
                self.run(self.workers[worker].break_(lease, "fault"))
            return
        self.run(self.workers[worker].break_(lease, "fault"))
        row.state, row.deaths = State.BROKEN, 0

    @rule(seconds=st.sampled_from([0.5, 3.0, LEASE_SECONDS / 2, LEASE_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(worker=WORKERS)
    def renew(self, worker: int) -> None:
        async def tick() -> None:
            self.workers[worker]._keeper.tick()
            await self.workers[worker]._keeper.settled()

        self.run(tick())
        mine = [held.lease for held in self.model.leases if held.worker == worker]
        for row in self.model.rows.values():
            if row.state is State.LEASED and row.owner == worker and row.lease in mine:
                row.until = self.clock.boot + LEASE_SECONDS

    @rule(worker=WORKERS)
    def crash(self, worker: int) -> None:
        crash(self.workers[worker])
        for row in self.model.rows.values():
            if row.state is State.LEASED and row.owner == worker:
                row.deaths += 1
        self.workers[worker] = self.start()
        self.model.turns[worker] = 0
        self.free(worker)

    @rule(worker=WORKERS)
    def restart_in_order(self, worker: int) -> None:
        self.run(self.workers[worker].close())
        self.workers[worker] = self.start()
        self.model.turns[worker] = 0
        for row in self.model.rows.values():
            if row.state is State.LEASED and row.owner == worker:
                row.attempts -= 1
        self.free(worker)

    def free(self, worker: int) -> None:
        """The process is another one: whoever held a lease of the old one holds nothing."""
        self.model.leases = [held for held in self.model.leases if held.worker != worker]
        for row in self.model.rows.values():
            if row.state is State.LEASED and row.owner == worker:
                row.state, row.owner = State.WAITING, -1

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.rows)))
        row = self.model.rows[name]
        possible = row.state is not State.LEASED
        assert self.run(self.operator.release(name)) == possible
        if possible:
            row.state, row.next_at, row.attempts = State.WAITING, self.clock.now, 0

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.rows)))
        possible = self.model.rows[name].state is not State.LEASED
        assert self.run(self.operator.drop(name)) == possible
        if possible:
            del self.model.rows[name]

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        found = {row.mail.arrival.mail: row for row in self.run(listed(self.operator))}
        assert found.keys() == self.model.rows.keys()
        for name, entry in self.model.rows.items():
            row = found[name]
            assert (row.state, row.attempts) == (entry.state, entry.attempts)
            assert row.mail.envelope.recipients == entry.recipients
            if entry.state is State.WAITING:
                assert row.next_at == entry.next_at

    @invariant()
    def files_are_those_of_large_bodies(self) -> None:
        assert body_files(self.state) == {entry.body for entry in self.model.rows.values() if entry.large}


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestSpool = SpoolMachine.TestCase
