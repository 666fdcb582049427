"""Load and its far end: Postfix's own smtp-source and smtp-sink, and the CPU time and memory of a tree of processes."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.ports import free_port
from tests.system.postfix import await_port

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds: what the system counts CPU time in (proc(5))
PATIENCE = 300.0  # seconds for one run; a run that takes longer has failed
SENDER = "cardiology@hospital.example"
RECIPIENT = "results@laboratory.example"

_COUNTED = re.compile(rb"mesg=\s*(\d+)")


@dataclass(frozen=True)
class Run:
    """One measured run. ``cpu`` is CPU seconds by kind of process, of the measured processes alone."""

    messages: int
    seconds: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Messages per second, first connection to last message at the far end."""
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per message. A run too short for the system's clock to count anything has used up to one tick."""
        return max(sum(self.cpu.values()), TICK) / self.messages * 1000


def tree_cpu(pid: int) -> dict[str, float]:
    """CPU seconds used so far by a process, its living descendants and all their descendants that have ended, by kind."""
    total: dict[str, float] = {}
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used = times.user + times.system + times.children_user + times.children_system
            kind = kind_of(process)
            total[kind] = total.get(kind, 0.0) + used
    return total


def kind_of(process: psutil.Process) -> str:
    """What kind of process it is: the gateway's by their own name, all others by their program's."""
    words = process.cmdline()
    if "gateway.operate.process" in words:
        return str(words[words.index("gateway.operate.process") + 1])
    name = str(process.name())
    return "supervisor" if name.startswith("python") else name


def children(pid: int, kind: str) -> list[int]:
    """The process ids of the children of one kind."""
    return [child.pid for child in psutil.Process(pid).children() if kind_of(child) == kind]


def peak_rss(pid: int) -> int:
    """The most memory the process has ever had resident, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


class Sink:
    """A running smtp-sink, which says how many messages it has taken."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process
        self._taken = 0
        self._before = 0

    def expect(self, messages: int) -> None:
        """Return when ``messages`` more have come since the last call."""
        if self._process.stdout is None:
            raise RuntimeError("the far end says nothing")
        deadline = time.monotonic() + PATIENCE
        wanted = self._before + messages
        while self._taken < wanted:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            told = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not told:
                raise TimeoutError(f"{self._taken - self._before} of {messages} messages arrived")
            found = _COUNTED.findall(told)
            self._taken = int(found[-1]) if found else self._taken
        self._before = wanted


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """An smtp-sink that takes everything."""
    port = free_port()
    process = subprocess.Popen(
        ["/usr/sbin/smtp-sink", "-c", "-u", "nobody", f"127.0.0.1:{port}", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process)
        yield Sink(port, process)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def load(port: int, *, messages: int, size: int, sessions: int) -> Sequence[str]:
    """The command that sends ``messages`` of ``size`` bytes over ``sessions`` connections, each mail on a connection kept open."""
    return [
        *["/usr/sbin/smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(size)],
        *["-f", SENDER, "-t", RECIPIENT, "-d", f"127.0.0.1:{port}"],
    ]


def measure(pid: int, port: int, far_end: Sink, *, messages: int, size: int, sessions: int) -> Run:
    """Send and wait until the far end has all of it; ``pid`` is the root of the measured processes."""
    before = tree_cpu(pid)
    start = time.perf_counter()
    command = load(port, messages=messages, size=size, sessions=sessions)
    source = subprocess.Popen(command)
    try:
        far_end.expect(messages)  # while they are sent: a far end whose count nobody reads stands still with a full pipe
        seconds = time.perf_counter() - start
        if source.wait(PATIENCE) != 0:
            raise subprocess.CalledProcessError(source.returncode, command)
    finally:
        source.kill()
    after = tree_cpu(pid)
    kinds = before.keys() | after.keys()  # what a process used that has ended since is counted with its parent's kind
    return Run(messages, seconds, {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in kinds})
