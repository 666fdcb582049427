"""A process whose event loop stands still ends, whatever it hangs in, and is not left for somebody to find."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from demo.ports import free_port
from gateway.config.load import load
from gateway.supervise import Kind

# The times of a process that is started as the supervisor starts it, but for what counts as hung
ENTRY = """
from gateway.edge import heartbeat
heartbeat.HUNG_SECONDS = 1.0
from gateway.operate.process import main
main()
"""
# Catastrophic backtracking runs in C, with the interpreter's lock: no signal handler and no thread gets a turn
IN_C = """
import asyncio, re, signal
from gateway.edge import heartbeat
heartbeat.HUNG_SECONDS = 1.0

async def main():
    heartbeat.keep_beating()
    print("hangs", flush=True)
    re.match("(a+)+b", "a" * 60)

signal.signal(signal.SIGTERM, signal.SIG_IGN)
asyncio.run(main())
"""
BEATS = """
import asyncio, signal
from gateway.edge import heartbeat
heartbeat.HUNG_SECONDS = 30.0

async def main():
    heartbeat.keep_beating()
    left = []
    while len(left) < 2 or left[-1] <= left[-2]:
        await asyncio.sleep(0.1)
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])

asyncio.run(main())
"""


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture
def run(site: Path) -> Path:
    """The run directory of a gateway with ports nobody has."""
    text = (site / "gateway.toml").read_text()
    for port in ("2525", "4650"):
        text = text.replace(f"port = {port}", f"port = {free_port()}")
    (site / "gateway.toml").write_text(f"{text}\n[metrics]\nport = {free_port()}\n")
    for name in ("run", "state"):
        (site / name).mkdir()
    (site / "run" / "config.json").write_text(load(site / "gateway.toml", 1).model_dump_json())
    return site / "run"


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_process_ends_once_it_stands_still(run: Path, kind: Kind) -> None:
    with started(ENTRY, kind, "0", str(run)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGSTOP)
        with suppress(subprocess.TimeoutExpired):  # its time runs on, and the signal waits until it goes on
            process.wait(1.5)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == -signal.SIGALRM


def test_what_hangs_in_c_ends() -> None:
    with started(IN_C) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hangs\n"
        assert process.wait(60) == -signal.SIGALRM


def test_a_loop_that_runs_has_its_time_anew() -> None:
    with started(BEATS) as process:
        assert process.wait(60) == 0
