"""The control process: what it sums up, shows and answers, and what does not end it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, ItemsView, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gateway.edge.counting import CounterReports
from gateway.edge.observe import Audit, Observe
from gateway.events import KeyUsed
from gateway.operate.control import CONVERSATIONS, LINE_SECONDS, MAX_LINE, Control, Counted, GatewayCollector, ask
from gateway.operate.reports import MAX_EPOCHS, Report, Series, Snapshots
from gateway.outcome import GatewayError, Reason
from gateway.spool.store import State
from gateway.trust.kept import KeptAs

AT = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC
ACCEPTED = ("mail_accepted", (("org", "hospital"),))
HELD = ("mail_held", (("org", "hospital"), ("reason", "NO_CERTIFICATE")))

REPORTS = st.lists(st.tuples(st.sampled_from(["worker-0", "worker-1"]), st.integers(1, 3), st.integers(0, 50)), max_size=20)


@given(REPORTS)
def test_totals_are_the_last_word_of_each_epoch(reports: list[tuple[str, int, int]]) -> None:
    """Counters are cumulative within an epoch, a restart begins a new one, and nothing is counted twice or forgotten."""
    snapshots = Snapshots()
    last: dict[tuple[str, int], int] = {}
    for process, epoch, count in reports:
        snapshots.take(Report(process, epoch, {ACCEPTED: float(count)}), AT)
        last[process, epoch] = count
    assert snapshots.totals().get(ACCEPTED, 0.0) == sum(last.values())


def test_metrics_as_they_are_scraped() -> None:
    snapshots = Snapshots()
    snapshots.take(Report("worker-0", 1, {ACCEPTED: 3.0, HELD: 1.0}), AT - 2_500_000)
    snapshots.take(Report("worker-1", 1, {ACCEPTED: 4.0}, impossible=2), AT)
    registry = CollectorRegistry()
    counted = Counted({"held": 2}, {"waiting": 1})
    registry.register(GatewayCollector(snapshots, lambda: counted, lambda: AT, expiries=lambda: {"key.sign": AT - 1_500_000}))
    lines = generate_latest(registry).decode().splitlines()
    assert {line for line in lines if not line.startswith("#")} >= {
        'smime_gateway_mail_accepted_total{org="hospital"} 7.0',
        'smime_gateway_mail_held_total{org="hospital",reason="NO_CERTIFICATE"} 1.0',
        'smime_gateway_spool_rows{state="held"} 2.0',
        'smime_gateway_certificates_kept{kept_as="waiting"} 1.0',
        'smime_gateway_certificate_expires_seconds{section="key.sign"} -1.5',
        'smime_gateway_process_seen_seconds{process="worker-0"} 2.5',
        'smime_gateway_process_seen_seconds{process="worker-1"} 0.0',
        'smime_gateway_process_series_impossible{process="worker-0"} 0.0',
        'smime_gateway_process_series_impossible{process="worker-1"} 2.0',
    }


@dataclass
class Rows:
    """The rows of a database, which may fail."""

    rows: Mapping[State, int] | Mapping[KeptAs, int]
    fails: bool = False

    async def count(self) -> Mapping[State, int] | Mapping[KeptAs, int]:
        if self.fails:
            raise GatewayError(Reason.SPOOL_UNAVAILABLE, "disk gone")
        return self.rows


@dataclass
class Heard(Snapshots):
    """Snapshots that say when there is one."""

    taken: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, report: Report, now: int) -> None:
        Snapshots.take(self, report, now)
        self.taken.set()


@dataclass
class Served:
    path: Path
    snapshots: Heard
    spool: Rows
    certificates: Rows
    stopping: asyncio.Event

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.path, request)

    async def in_time(self, request: dict[str, Any]) -> dict[str, Any]:
        """As ``ask``, again for as long as there is no place."""
        while True:
            with suppress(ConnectionError, ValueError):
                return await self.ask(request)


@asynccontextmanager
async def served(folder: Path, *, most: int = CONVERSATIONS, line_seconds: float = LINE_SECONDS) -> AsyncIterator[Served]:
    rows = Rows({State.HELD: 2}), Rows({KeptAs.WAITING: 1})
    world = Served(folder / "control.sock", Heard(), *rows, asyncio.Event())
    control = Control(
        snapshots=world.snapshots,
        spool=world.spool,
        certificates=world.certificates,
        now=lambda: AT,
        generation=lambda: 7,
        most=most,
        line_seconds=line_seconds,
    )
    ready = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(control.serve(world.path, world.stopping, ready.set))
        await ready.wait()
        try:
            yield world
        finally:
            world.stopping.set()


def report(process: str, count: float, epoch: int = 1) -> dict[str, Any]:
    return {"verb": "report", "process": process, "epoch": epoch, "counters": [["mail_delivered", [["org", "hospital"]], count]]}


async def test_reports_and_status(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert await world.ask(report("worker-0", 3)) == {"ok": True}
        assert await world.ask(report("worker-0", 5)) == {"ok": True}
        assert await world.ask(report("worker-0", 1, epoch=2)) == {"ok": True}
        told = await world.ask({"verb": "status"})
        assert (told["generation"], told["spool"], told["certificates"]) == (7, {"held": 2}, {"waiting": 1})
        assert told["processes"] == {"worker-0": {"seen_seconds": 0.0}}
        assert told["counters"] == [{"name": "mail_delivered", "labels": {"org": "hospital"}, "value": 6.0}]
        assert "error" in await world.ask({"verb": "shutdown"})


async def test_the_socket_is_for_our_group_alone_and_goes_with_us(tmp_path: Path) -> None:
    """One that a killed predecessor left behind is no obstacle."""
    (tmp_path / "control.sock").touch()
    async with served(tmp_path) as world:
        assert stat.S_IMODE(world.path.stat().st_mode) == 0o660
        assert stat.S_ISSOCK(world.path.stat().st_mode)
    assert not world.path.exists()


NONSENSE = {
    "no json": b"no json\n",
    "no object": b"[]\n",
    "no verb": b"{}\n",
    "nothing reported": b'{"verb": "report"}\n',
    "other types": b'{"verb": "report", "process": 1, "epoch": "x", "counters": 3}\n',
    "no end": b'{"verb": "report", "process": "x", "epoch": 1e999, "counters": []}\n',
    "no name": b'{"verb": "report", "process": "\\ud800", "epoch": 1, "counters": []}\n',
    "too deep": b"[" * 100_000 + b"\n",
    "too long": b"x" * (MAX_LINE + 10),
}


@pytest.mark.parametrize("line", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_ends_its_own_connection_and_nothing_else(tmp_path: Path, line: bytes) -> None:
    async with served(tmp_path) as world:
        reader, writer = await asyncio.open_unix_connection(world.path)
        with suppress(ConnectionError):
            writer.write(line)
            await writer.drain()
            assert await reader.read() == b""
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert (await world.ask({"verb": "status"}))["processes"] == {}


IMPOSSIBLE = {
    "no name of ours": ["mail_eaten", [["org", "hospital"]], 1],
    "half a character in the name": ["mail_delivered\ud800", [["org", "hospital"]], 1],
    "no label of ours": ["mail_delivered", [["\ud800", "hospital"]], 1],
    "a label too many": ["mail_delivered", [["org", "hospital"], ["peer", "x"]], 1],
    "a label too few": ["mail_delivered", [], 1],
    "half a character": ["mail_delivered", [["org", "\ud800"]], 1],
    "a label of another type": ["mail_delivered", [["org", 5]], 1],
    "less than nothing": ["mail_delivered", [["org", "hospital"]], -1],
    "no number": ["mail_delivered", [["org", "hospital"]], float("nan")],
    "without end": ["mail_delivered", [["org", "hospital"]], float("inf")],
    "too much": ["mail_delivered", [["org", "hospital"]], 10**400],
    "another type": ["mail_delivered", [["org", "hospital"]], "1"],
    "a name of another type": [["mail_delivered"], [["org", "hospital"]], 1],
    "no labels": ["mail_delivered", None, 1],
    "a part too few": ["mail_delivered"],
    "no parts": None,
}


@pytest.mark.parametrize("counter", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
async def test_a_counter_that_can_be_none_of_ours_is_left_out(tmp_path: Path, counter: object) -> None:
    """And said to be; all others are shown."""
    registry = CollectorRegistry()
    async with served(tmp_path) as world:
        registry.register(GatewayCollector(world.snapshots, Counted, lambda: AT))
        told = report("worker-0", 3)
        told["counters"] = [counter, *told["counters"]]
        assert await world.ask(told) == {"ok": True}
        assert await world.ask(report("worker-1", 4)) == {"ok": True}
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if "mail" in line and line[0] != "#"] == [
        'smime_gateway_mail_delivered_total{org="hospital"} 7.0'
    ]
    assert 'smime_gateway_process_series_impossible{process="worker-0"} 1.0' in lines
    assert 'smime_gateway_process_series_impossible{process="worker-1"} 0.0' in lines


@pytest.mark.parametrize("which", ["spool", "certificates"])
async def test_a_database_that_fails_is_no_reason_to_be_silent(tmp_path: Path, which: str) -> None:
    """Just then somebody asks: the counters and processes are told, and of the rows what was last known."""
    async with served(tmp_path) as world:
        await world.ask(report("worker-0", 3))
        before = (await world.ask({"verb": "status"}))[which]
        rows: Rows = getattr(world, which)
        rows.fails, rows.rows = True, {State.HELD: 3}
        told = await world.ask({"verb": "status"})
        assert told["processes"] == {"worker-0": {"seen_seconds": 0.0}}
        assert told[which] == before
        rows.fails = False
        assert (await world.ask({"verb": "status"}))[which] == {"held": 3}


async def test_an_open_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Key agents keep theirs until they end, and they end after us. No task of ours is left either."""
    before = asyncio.all_tasks()
    async with served(tmp_path) as world:
        reader, writer = await asyncio.open_unix_connection(world.path)
        writer.write(json.dumps(report("sign-agent-0", 1)).encode() + b"\n")
        assert json.loads(await reader.readline()) == {"ok": True}
    assert asyncio.all_tasks() == before
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_who_does_not_read_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Its answer is longer than what lies in sockets."""
    async with asyncio.timeout(20), served(tmp_path) as world:
        counters: dict[Series, float] = {("mail_accepted", (("org", str(number)),)): 1.0 for number in range(20_000)}
        world.snapshots.take(Report("worker-0", 1, counters), AT)
        _, writer = await asyncio.open_unix_connection(world.path)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b'{"verb": "status"}\n' * 2)
        assert "counters" in await world.ask({"verb": "status"})
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_holds_places_holds_only_so_many(tmp_path: Path) -> None:
    """One beyond them is told nothing, and those who were there before are."""
    async with served(tmp_path, most=2, line_seconds=600) as world:
        connections = [await asyncio.open_unix_connection(world.path) for _ in range(3)]
        for reader, writer in connections[:2]:
            writer.write(json.dumps(report("worker-0", 1)).encode() + b"\n")
            assert json.loads(await reader.readline()) == {"ok": True}
        assert await connections[2][0].read() == b""
        connections[0][1].close()
        await connections[0][1].wait_closed()
        assert "counters" in await world.in_time({"verb": "status"})
        for _, writer in connections[1:]:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("said", [b"", b'{"verb": "sta'], ids=["nothing", "half a line"])
async def test_who_does_not_say_his_line_is_not_waited_for(tmp_path: Path, said: bytes) -> None:
    async with served(tmp_path, line_seconds=0.05) as world:
        reader, writer = await asyncio.open_unix_connection(world.path)
        writer.write(said)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_who_does_not_read_his_answer_is_not_waited_for(tmp_path: Path) -> None:
    """And leaves his place to others."""
    async with served(tmp_path, most=1, line_seconds=0.2) as world:
        counters: dict[Series, float] = {("mail_accepted", (("org", str(number)),)): 1.0 for number in range(20_000)}
        world.snapshots.take(Report("worker-0", 1, counters), AT)
        _, writer = await asyncio.open_unix_connection(world.path)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b'{"verb": "status"}\n')
        assert "counters" in await world.in_time({"verb": "status"})
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def test_metrics_are_read_by_another_thread_than_counts_them() -> None:
    """A process that reports for the first time meanwhile."""
    snapshots = Snapshots()

    class Meanwhile(dict[Series, float]):
        def items(self) -> ItemsView[Series, float]:  # type: ignore[override]
            snapshots.take(Report("worker-1", len(snapshots.counters), {ACCEPTED: 1.0}), AT)
            return super().items()

    snapshots.take(Report("worker-0", 1, Meanwhile({ACCEPTED: 3.0})), AT)
    snapshots.take(Report("sign-agent-0", 1, {HELD: 1.0}), AT)
    assert snapshots.totals() == {ACCEPTED: 3.0, HELD: 1.0}


async def test_what_a_process_counts_arrives_also_at_the_next_control(tmp_path: Path) -> None:
    """A thread of the process reports by itself; a control process that begins anew is told everything again."""
    observe = Observe(Audit(tmp_path / "audit", "worker-0", lambda: AT))
    observe.see(KeyUsed(key="sign", operation="sign"))
    with CounterReports(tmp_path / "control.sock", "worker-0", observe, lambda: AT):
        for expected in (1.0, 2.0):
            async with served(tmp_path) as world:
                await world.snapshots.taken.wait()
                assert list(world.snapshots.totals().values()) == [expected]
            observe.see(KeyUsed(key="sign", operation="sign"))
    observe.close()


def test_a_process_that_was_started_very_often_is_still_seen_and_counted() -> None:
    """Every two seconds for a night, say: whoever is paged by morning is to see what there is."""
    snapshots, series = Snapshots(), ("mail_accepted", ())
    snapshots.take(Report("supervisor", 0, {series: 1.0}), 0)
    for epoch in range(1, 2 * MAX_EPOCHS + 50):
        snapshots.take(Report("worker-0", epoch, {series: 1.0}), epoch)
    snapshots.take(Report("supervisor", 0, {series: 2.0}), 7)
    assert snapshots.totals() == {series: 2.0 + 2 * MAX_EPOCHS + 49}
    assert snapshots.seen_at == {"supervisor": 7, "worker-0": 2 * MAX_EPOCHS + 49}
    assert len(snapshots.counters) <= MAX_EPOCHS
