"""``make soak``: an hour of what a hospital of 5,000 beds sends in its busiest hour; what the gateways hold must not grow.

Before it come as many as fast as they go: a worker grows with its first ten thousand mails, and then no more.
Twenty thousand mails in the hour is our reading of that: four a bed, when a bed is letters, results and bookings. We know of no
published figure; RATE= (mails per second) sets another one, and MINUTES= another length.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import psutil

from bench.load import kind_of
from demo.site import Site
from torture.balance import Balance, balance
from torture.run import drain, paced
from torture.world import World, processes, world

RATE: Final = 20_000 / 3600
GROWTH: Final = 8 << 20  # bytes that a process may hold more in the last quarter than in the second; Python's allocator breathes
DESCRIPTORS: Final = 8
PATIENCE: Final = 120.0  # seconds
WARM_UP: Final = 20_000  # mails


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process holds at a moment: bytes resident, and open files."""

    memory: int
    descriptors: int


Track = Sequence[Sample]


@dataclass(frozen=True)
class Report:
    """What a run came to. ``left``: rows of the tables that must be empty in the end, by site and table."""

    balance: Balance
    seconds: float
    tracks: dict[str, Track]
    left: dict[str, int]

    def faults(self) -> list[str]:
        """Empty where all is well."""
        found = [*self.balance.faults, *(f"{count} rows left: {table}" for table, count in self.left.items() if count)]
        if self.balance.arrived < self.balance.numbers or self.balance.duplicates:
            found.append(f"{self.balance.arrived} of {self.balance.numbers} arrived, {self.balance.duplicates.total()} twice")
        for name, track in self.tracks.items():
            memory, descriptors = grown(track)
            if memory > GROWTH or descriptors > DESCRIPTORS:
                found.append(f"{name} grew by {memory >> 10} KB and {descriptors} descriptors")
        return found

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.balance.arrived} of {self.balance.numbers} mails arrived in {self.seconds:.0f} s"]
        for name, track in sorted(self.tracks.items()):
            memory, files = (quarters(track, of) for of in ("memory", "descriptors"))
            lines.append(f"{name:32} MB by quarters: {', '.join(f'{each / (1 << 20):.1f}' for each in memory)}; files: {files}")
        faults = self.faults()
        return [*lines, *(f"{table}: {count} rows left" for table, count in self.left.items()), f"faults: {len(faults)}", *faults]


def quarters(track: Track, of: Literal["memory", "descriptors"]) -> list[float]:
    """The medians of the four quarters of a run."""
    size = max(1, len(track) // 4)
    figures = [getattr(sample, of) for sample in track]
    return [statistics.median(figures[start : start + size] or figures) for start in range(0, 4 * size, size)]


def grown(track: Track) -> tuple[int, int]:
    """How much more memory and descriptors in the last quarter than in the second, when everything is warm."""
    (_, memory, _, more), (_, files, _, others) = quarters(track, "memory"), quarters(track, "descriptors")
    return int(more - memory), int(others - files)


def soak(seconds: float, rate: float, every: float, say: Callable[[str], None], warm_up: int = WARM_UP) -> Report:
    """``seconds`` of mails at ``rate`` a second, looked at ``every`` so many seconds, behind ``warm_up`` mails."""
    start = time.monotonic()
    with world() as made, ThreadPoolExecutor(1) as pool:
        driver, mails, over = paced(made, rate, warm_up), warm_up + int(seconds * rate), threading.Event()
        try:
            with driver.running(mails):
                driver.wait_for(warm_up, warm_up / 20 + PATIENCE)
                watching = pool.submit(_watch, made, every, over, lambda: say(f"{driver.accepted} accepted"))
                driver.wait_for(mails, seconds + PATIENCE)
        finally:
            over.set()
        tracks = watching.result(PATIENCE)
        drain(made, PATIENCE, say)
        left = {f"{site.name} {table}": count for site in made.sites for table, count in _tables(site).items()}
        return Report(balance(made, driver, ()), time.monotonic() - start, tracks, left)


def _watch(made: World, every: float, over: threading.Event, say: Callable[[], None]) -> dict[str, Track]:
    watched = {f"{site.name} {kind_of(process)} {process.pid}": process for site in made.sites for process in processes(site)}
    tracks: dict[str, list[Sample]] = {name: [] for name in watched}
    while True:
        for name, process in watched.items():
            tracks[name].append(_sample(process))
        if over.wait(every):
            return dict(tracks)
        say()


def _sample(process: psutil.Process) -> Sample:
    with process.oneshot():
        return Sample(process.memory_info().rss, process.num_fds())


def _tables(site: Site) -> dict[str, int]:
    """Rows of mails and of bodies. Looked at from outside, by another SQLite than the gateway's."""
    with sqlite3.connect(f"file:{site.folder / 'state' / 'spool.sqlite'}?mode=ro", uri=True) as database:
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("mail", "body")}  # noqa: S608


def main() -> int:
    """0 where nothing grew and nothing is left."""
    minutes, rate = float(os.environ.get("MINUTES") or "60"), float(os.environ.get("RATE") or str(RATE))
    report = soak(minutes * 60, rate, 30, lambda line: print(line, flush=True))
    print("\n".join(report.lines()))
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
