"""The figures as a page: medians, ratios, CPU per message, and the machine they were taken on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import psutil

from bench.belief import Belief, belief_goals, belief_lines
from bench.contest import MEGABYTE, SESSIONS, SIZE, Contest, Growth
from bench.crowd import Crowd
from bench.deaddirectory import Dead, dead_goals, dead_lines
from bench.engine import Engine
from bench.enginetable import engine_goals, engine_lines
from bench.goal import Goal
from bench.load import Run
from bench.pipefilter import Filter
from bench.remembered import Remembered, remembered_goals, remembered_lines


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of one figure."""
    return statistics.median(figure(run) for run in runs)


def ratio(contest: Contest, figure: Callable[[Run], float]) -> float:
    """Ours over theirs: the median of each round's ratio, so that what slows the machine for a while slows both."""
    return statistics.median(figure(our) / figure(their) for our, their in zip(contest.ours, contest.theirs, strict=True))


def rate(run: Run) -> float:
    """Messages per second."""
    return run.rate


def cpu_ms(run: Run) -> float:
    """CPU milliseconds per message."""
    return run.cpu_ms


def compared(contests: Mapping[str, Contest]) -> list[str]:
    """The table of what the gateway was measured beside, by name."""
    lines = ["| | messages/s | CPU ms per message | rounds, messages/s |", "|---|---:|---:|---|"]
    ours = next(iter(contests.values())).ours
    for name, runs in (("gateway", ours), *((name, contest.theirs) for name, contest in contests.items())):
        rounds = ", ".join(f"{run.rate:.0f}" for run in runs)
        lines.append(f"| {name} | {median(runs, rate):.0f} | {median(runs, cpu_ms):.2f} | {rounds} |")
    lines += [f"| gateway / {name} | {ratio(each, rate):.2f} | {ratio(each, cpu_ms):.2f} | |" for name, each in contests.items()]
    return lines


def shares(runs: Sequence[Run]) -> list[str]:
    """Which kind of process used the CPU."""
    kinds = sorted({kind for run in runs for kind in run.cpu})
    each = {kind: median(runs, lambda run, kind=kind: run.cpu.get(kind, 0.0) / run.messages * 1000) for kind in kinds}  # type: ignore[misc]
    whole = median(runs, cpu_ms)
    used = sorted(each.items(), key=lambda item: -item[1])
    return ["| process | CPU ms per message | share |", "|---|---:|---:|"] + [
        f"| {kind} | {ms:.2f} | {ms / whole:.0%} |" for kind, ms in used if ms >= whole / 100
    ]


def machine() -> list[str]:
    """What the figures depend on; nothing that names the host."""
    postfix = subprocess.run(["/usr/sbin/postconf", "-d", "-h", "mail_version"], capture_output=True, text=True, check=True)
    softhsm = subprocess.run(["softhsm2-util", "--version"], capture_output=True, text=True, check=True)
    return [
        f"- {os.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GB of memory",
        f"- Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, cryptography {importlib.metadata.version('cryptography')}, "
        f"SQLite {apsw.sqlite_lib_version()}",
        f"- Postfix {postfix.stdout.strip()}, SoftHSM {softhsm.stdout.strip()}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def goals(protect: Contest, relay: Contest, growth: Growth, crowd: Crowd) -> list[Goal]:
    """What was asked, and whether it was reached."""
    return [
        Goal("(a) at least 10 times the documented pipe filter's messages per second", ratio(protect, rate) >= 10),
        Goal("(b) at least 1.5 times Postfix's messages per second", ratio(relay, rate) >= 1.5),
        Goal("(b) under half of Postfix's CPU", ratio(relay, cpu_ms) < 0.5),
        Goal("(c) at most 16 MB of growth each way", max(growth.outbound, growth.inbound) <= 16 * MEGABYTE),
        Goal("(d) a worker's memory under 200 MB", crowd.peak < 200 * MEGABYTE),
        Goal("(d) 99 of 100 NOOPs answered within 50 ms", crowd.p99 < 0.05),
    ]


@dataclass(frozen=True)
class Figures:
    """Everything that was measured. ``parts`` are the shares of CPU time by part, for each of ``protect`` and ``relay``."""

    protect: Mapping[Filter, Contest]
    relay: Contest
    growth: Growth
    crowd: Crowd
    parts: tuple[Mapping[str, float], Mapping[str, float]]
    engine: Engine
    belief: Belief
    remembered: Remembered
    dead: Dead


def parted(protect: Mapping[str, float], relay: Mapping[str, float]) -> list[str]:
    """The table of the shares of CPU time."""
    return ["| part | sign and encrypt | relay |", "|---|---:|---:|"] + [
        f"| {part} | {protect.get(part, 0.0):.0%} | {relay.get(part, 0.0):.0%} |" for part in {**protect, **relay}
    ]


def page(figures: Figures, megabytes: int, command: str) -> str:
    """All of it, in Markdown."""
    protect, relay, growth, crowd = figures.protect, figures.relay, figures.growth, figures.crowd
    documented = protect[Filter.DOCUMENTED]
    filters = {f"{which.name.lower()} pipe filter": each for which, each in protect.items()}
    lines = [
        *("# Measurements", ""),
        f"Made by `{command}`: the systems run side by side, take turns, and are measured from the first connection to the last",
        f"message at the far end. Messages of {SIZE} bytes over {SESSIONS} sessions, smtp-source to smtp-sink, which run on the",
        "same machine and take their share of it. CPU counts the measured system alone. Medians; ratios too",
        "are taken each round, and then their median.",
        *("", *machine()),
        *("", "## (a) Sign and encrypt", ""),
        "Sign with RSA-2048 and encrypt with AES-256-CBC to an RSA-2048 certificate. The gateway's key is in SoftHSM, behind an",
        "agent; the filters' is a file, read by `openssl cms -sign | openssl cms -encrypt`, which pipe(8) starts for each mail.",
        "The documented filter is the simple one of Postfix's FILTER_README: a temporary file, and sendmail(1) to hand the",
        "result back. The lean one is the cheapest we could write: no file, and bash itself speaks SMTP to the port that takes",
        "the result.",
        *(
            "",
            *compared(filters),
            "",
            *shares(documented.ours),
        ),
        *("", "## (b) Relay as it is", "", *compared({"Postfix": relay}), "", *shares(relay.ours)),
        *("", f"## (c) A mail of {megabytes} MB", ""),
        "Growth of a worker's peak memory over its peak after small mails; the mail goes through both gateways, "
        f"in {growth.seconds:.1f} s.",
        *("", "| | MB |", "|---|---:|"),
        f"| outbound: signed, encrypted | {growth.outbound / MEGABYTE:.1f} |",
        f"| inbound: decrypted, verified | {growth.inbound / MEGABYTE:.1f} |",
        *("", f"## (d) {crowd.mails} mails of {crowd.megabytes} MB at once", ""),
        f"Signed and encrypted, each on a connection of its own, in {crowd.seconds:.1f} s; meanwhile other connections say NOOP.",
        *("", "| | |", "|---|---:|"),
        f"| peak memory of the largest worker | {crowd.peak / MEGABYTE:.0f} MB |",
        f"| NOOP, half of them within | {crowd.waits[len(crowd.waits) // 2] * 1000:.1f} ms |",
        f"| NOOP, 99 of 100 within | {crowd.p99 * 1000:.1f} ms |",
        f"| NOOP, all {len(crowd.waits)} within | {crowd.waits[-1] * 1000:.1f} ms |",
        *("", "## (e) What the CPU time is made of", ""),
        "Samples of all processes of the gateway (py-spy), each counted for the innermost of our files in it. A thread",
        "that waits for the disk is taken for busy, which makes the spool's share too large. SMTP in is our own frame;",
        "decision 0003 has what aiosmtpd's would cost in its place.",
        *("", *parted(*figures.parts)),
        *("", *engine_lines(figures.engine)),
        *("", *belief_lines(figures.belief)),
        *("", *remembered_lines(figures.remembered)),
        *("", *dead_lines(figures.dead)),
        *("", "## Goals", ""),
        *(f"- {goal}" for goal in goals(documented, relay, growth, crowd)),
        *(f"- {goal}" for goal in (*engine_goals(figures.engine), *belief_goals(figures.belief))),
        *(f"- {goal}" for goal in (*remembered_goals(figures.remembered), *dead_goals(figures.dead))),
        "",
    ]
    return "\n".join(lines)
