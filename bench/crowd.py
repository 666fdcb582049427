"""Twenty large mails at once: what a worker holds in memory, and how long a small command waits meanwhile."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.contest import MEGABYTE, SESSIONS, SIZE, WARM_UP
from bench.gatewayside import PROTECT, ROOM, gateway, pid_of
from bench.load import children, measure, peak_rss, sink

PROBES: Final = 8  # the kernel shares connections out among the workers: each is to have some
EVERY: Final = 0.02  # seconds between two NOOPs of one connection


@dataclass(frozen=True)
class Crowd:
    """``peak`` memory of the largest worker in bytes; ``waits`` for the answers to NOOP in seconds, sorted; seconds it all took."""

    mails: int
    megabytes: int
    peak: int
    waits: tuple[float, ...]
    seconds: float

    @property
    def p99(self) -> float:
        """Seconds that 99 of 100 NOOPs did not wait longer than."""
        return statistics.quantiles(self.waits, n=100)[98]


class Probe(threading.Thread):
    """One connection that says NOOP until ``done``."""

    def __init__(self, port: int, done: threading.Event) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._port = port
        self._done = done

    def run(self) -> None:
        """Ask, wait, note."""
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(512)
            while not self._done.wait(EVERY):
                asked = time.perf_counter()
                connection.sendall(b"NOOP\r\n")
                if not connection.recv(512):
                    raise ConnectionError("the gateway hung up on a probe")
                self.waits.append(time.perf_counter() - asked)


def crowding(mails: int, megabytes: int) -> Crowd:
    """``mails`` of ``megabytes`` at the same time, each on a connection of its own, signed and encrypted."""
    with ExitStack() as stack:
        far = stack.enter_context(sink())
        site = stack.enter_context(gateway(far.port, PROTECT, ROOM))
        pid = pid_of(site)
        measure(pid, site.inside, far, messages=WARM_UP, size=SIZE, sessions=SESSIONS)
        done = threading.Event()
        probes = [Probe(site.inside, done) for _ in range(PROBES)]
        for probe in probes:
            probe.start()
        try:
            run = measure(pid, site.inside, far, messages=mails, size=megabytes * MEGABYTE, sessions=mails)
        finally:
            done.set()
            for probe in probes:
                probe.join()
        peak = max(peak_rss(worker) for worker in children(pid, "worker"))
        return Crowd(mails, megabytes, peak, tuple(sorted(wait for probe in probes for wait in probe.waits)), run.seconds)
