"""``check --live`` and ``peer test`` try the real parts; ``status`` asks the real control process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.edge.counting import control_socket
from gateway.operate.control import Control
from gateway.operate.reports import Report, Snapshots
from gateway.spool.sqlite import SqliteSpool
from gateway.state.certificates import CertificateCounts
from gateway.state.state import open_state

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]


@contextmanager
def served(make: Callable[[asyncio.Event], Any]) -> Iterator[None]:
    """Runs what ``make`` answers beside the test, until the end of the block."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    stopping = asyncio.Event()

    async def run() -> None:
        task = loop.create_task(make(stopping))
        started.set()
        await task

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


def smtp_server(port: list[int], ready: threading.Event) -> Callable[[asyncio.Event], Any]:
    """A next hop that greets and knows EHLO and QUIT, on a free port that it puts into ``port``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            writer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n")
            if line.upper().startswith(b"QUIT"):
                break
        writer.close()

    async def serve(stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await stopping.wait()

    return serve


def test_every_part_is_tried_and_each_says_how_it_is(site: Path, ask: Ask, world: dict[str, bytes]) -> None:
    port: list[int] = []
    ready = threading.Event()
    (site / "keys/spool.key").write_bytes(world["keys/decrypt.key"])
    with served(smtp_server(port, ready)):
        assert ready.wait(10)
        text = (site / "gateway.toml").read_text()
        (site / "gateway.toml").write_text(text.replace('host = "127.0.0.1"\n\n', f'host = "127.0.0.1"\nport = {port[0]}\n\n', 1))
        status, told = ask("check", "--live")
    assert status == 3
    parts = {each["part"]: (each["ok"], each["detail"]) for each in told["live"]}
    assert parts["key:sign"] == (True, "opens")
    assert parts["directory:folder"] == (True, "answers")
    assert parts["route:mailserver"] == (True, f"127.0.0.1:{port[0]} answers, in clear")
    assert not parts["route:smarthost"][0]
    assert parts["peer:health/laboratory"][1].startswith("HOP_UNREACHABLE")


def test_a_key_that_does_not_open_is_named(site: Path, ask: Ask) -> None:
    (site / "keys/sign.key").write_bytes(b"no key")
    _, told = ask("check", "--live")
    parts = {each["part"]: each for each in told["live"]}
    assert not parts["key:sign"]["ok"]
    assert "sign.key" in parts["key:sign"]["detail"]


def test_a_peer_that_does_not_answer_ends_with_3(run: Run, ask: Ask) -> None:
    assert run("peer", "test", "laboratory").exit_code == 3
    status, told = ask("peer", "test", "health/laboratory")
    assert (status, told["ok"]) == (3, False)
    assert told["detail"] == "HOP_UNREACHABLE: 127.0.0.1:1: Connection refused"  # as the gateway says it, on another event loop


def test_status_tells_what_the_control_process_knows(site: Path, run: Run, ask: Ask) -> None:
    (site / "run").mkdir()
    at, ready = 1_772_366_400_000_000, threading.Event()

    async def control(stopping: asyncio.Event) -> None:
        spool = SqliteSpool(site / "state", now=lambda: at)
        await spool.open()
        state = open_state(site / "state", lambda: at)
        snapshots = Snapshots()
        snapshots.take(Report("worker-0", 1, {("mail_accepted", (("org", "hospital"),)): 3.0}), at - 2_000_000)
        try:
            served = Control(
                snapshots=snapshots, spool=spool, certificates=CertificateCounts(state), now=lambda: at, generation=lambda: 7
            )
            await served.serve(control_socket(site / "run"), stopping, ready.set)
        finally:
            state.close()
            await spool.close()

    with served(control):
        assert ready.wait(10)
        people = run("status")
        status, told = ask("status")
    assert (people.exit_code, status) == (0, 0)
    assert "running, configuration 7" in people.stdout
    assert "worker-0  2.0 s ago" in people.stdout
    assert "waiting       0" in people.stdout
    assert told["certificates"] == {"pinned": 0, "imported": 0, "harvested": 0, "waiting": 0}
    assert told["running"]
    assert told["counters"] == [{"name": "mail_accepted", "labels": {"org": "hospital"}, "value": 3.0}]


@pytest.mark.parametrize("command", [["status"], ["check"], ["peer", "list"], ["queue", "list"]])
def test_no_command_writes_where_it_only_looks(site: Path, run: Run, command: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    run(*command)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before


@pytest.mark.parametrize(
    ("error", "running"),
    [
        (FileNotFoundError(2, "No such file or directory"), False),
        (ConnectionRefusedError(111, "Connection refused"), False),
        (PermissionError(13, "Permission denied"), None),
        (TimeoutError("timed out"), None),
    ],
)
def test_status_calls_nothing_dead_that_it_may_not_ask(
    run: Run, ask: Ask, monkeypatch: pytest.MonkeyPatch, error: OSError, running: bool | None
) -> None:
    """Whoever is no member of its group, or asks one that is slow to answer, is not to believe that it is down."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("gateway.operate.status.ask", fail)
    status, told = ask("status")
    assert (status, told["running"]) == (3, running)
    assert ("not running" in run("status").stdout) == (running is False)
