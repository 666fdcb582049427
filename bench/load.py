"""Load and its far end: Postfix's own smtp-source and smtp-sink, and the CPU time of a tree of processes."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from tests.system.postfix import await_port, free_port


@dataclass(frozen=True)
class Run:
    """One measured run."""

    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Messages per second, first connection to last message at the far end."""
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per message of the measured processes alone."""
        return self.cpu_seconds / self.messages * 1000


def tree_cpu(pid: int) -> float:
    """CPU seconds used so far by a process, its living descendants and all their descendants that have ended."""
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def tree_rss(pid: int) -> dict[str, int]:
    """Resident bytes of each living process of a tree, by its command line."""
    found: dict[str, int] = {}
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found[" ".join(process.cmdline()[-4:])] = process.memory_info().rss
    return found


@contextlib.contextmanager
def sink(messages: int, port: int | None = None) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """An smtp-sink that ends by itself after so many messages."""
    port = port or free_port()
    process = subprocess.Popen(
        ["/usr/sbin/smtp-sink", "-u", "nobody", "-M", str(messages), f"127.0.0.1:{port}", "1000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process)
        yield port, process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


def measure(pid: int, port: int, far_end: subprocess.Popen[bytes], *, messages: int, size: int, sessions: int) -> Run:
    """Send ``messages`` of ``size`` bytes over ``sessions`` connections and wait until the far end has them all."""
    before = tree_cpu(pid)
    start = time.perf_counter()
    subprocess.run(
        [
            *["/usr/sbin/smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(size)],
            *["-f", "cardiology@hospital.example", "-t", "results@laboratory.example", "-d"],
            f"127.0.0.1:{port}",
        ],
        check=True,
        timeout=600,
    )
    far_end.wait(600)
    return Run(messages, time.perf_counter() - start, tree_cpu(pid) - before)
