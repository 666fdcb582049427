"""The measurements: each system beside what it is compared to, in turn, round after round."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.gatewayside import PROTECT, RELAY, gateway, pair, pid_of
from bench.load import Run, Sink, children, measure, peak_rss, sink
from bench.pipefilter import Filter, pipe_filter, plain_relay

SIZE = 5 * 1024
SESSIONS = 10
WARM_UP = 50  # messages before the first round: certificates judged, connections open, processes started

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Contest:
    """What both sides did, a run a round."""

    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]


@dataclass(frozen=True)
class Side:
    """A system that runs: the root of its processes, its port, and how many messages make a run."""

    pid: int
    port: int
    far_end: Sink
    messages: int

    def run(self, messages: int | None = None) -> Run:
        """One run."""
        count = messages or self.messages
        return measure(self.pid, self.port, self.far_end, messages=count, size=SIZE, sessions=SESSIONS)


def contest(ours: Side, *others: Side, rounds: int) -> list[Contest]:
    """Warm all up, then measure them in turn. One contest for each of the others; our own runs are the same in each."""
    sides = (ours, *others)
    for side in sides:
        side.run(min(WARM_UP, side.messages))
    own, *foreign = zip(*([side.run() for side in sides] for _ in range(rounds)), strict=True)
    return [Contest(own, theirs) for theirs in foreign]


@contextlib.contextmanager
def filter_keys() -> Iterator[Path]:
    """A folder with the signer's and the recipient's RSA-2048 keys and certificates, for the pipe filter."""
    with tempfile.TemporaryDirectory(prefix="gateway-filter-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for who in ("signer", "recipient"):
            subject = ["-subj", f"/CN={who}", "-days", "30"]
            files = ["-keyout", f"{folder}/{who}.key", "-out", f"{folder}/{who}.pem"]
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject], check=True, capture_output=True
            )
            (folder / f"{who}.key").chmod(0o644)  # the filter runs as nobody
        yield folder


def protecting(rounds: int, messages: int, filtered: int) -> dict[Filter, Contest]:
    """Sign and encrypt: the gateway with SoftHSM against each pipe filter, which gets ``filtered`` messages a run."""
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(sink())
        site = stack.enter_context(gateway(far.port, PROTECT))
        keys = stack.enter_context(filter_keys())
        filters = []
        for which in Filter:
            far_too = stack.enter_context(sink())
            postfix, port = stack.enter_context(pipe_filter(keys, far_too.port, which))
            filters.append(Side(postfix.process.pid, port, far_too, filtered))
        contests = contest(Side(pid_of(site), site.inside, far, messages), *filters, rounds=rounds)
        return dict(zip(Filter, contests, strict=True))


def relaying(rounds: int, messages: int) -> Contest:
    """Relay as it is: the gateway against Postfix."""
    with sink() as far, sink() as far_too, gateway(far.port, RELAY) as site, plain_relay(far_too.port) as postfix:
        ours = Side(pid_of(site), site.inside, far, messages)
        theirs = Side(postfix.process.pid, postfix.port, far_too, messages)
        return contest(ours, theirs, rounds=rounds)[0]


@dataclass(frozen=True)
class Growth:
    """How much the peak memory of the largest worker grew over that of a small mail, in bytes; and the seconds it took."""

    outbound: int
    inbound: int
    seconds: float


def growing(megabytes: int) -> Growth:
    """One large mail, signed and encrypted by one gateway, decrypted and verified by the next. Both start anew for it."""
    with sink() as far, pair(far.port) as sites:
        hospital = sites[0]
        workers = [children(pid_of(site), "worker") for site in sites]
        first = pid_of(hospital)
        for _ in range(4):  # the kernel shares connections out among the workers: each gets to see a small mail
            measure(first, hospital.inside, far, messages=WARM_UP, size=SIZE, sessions=SESSIONS)
        before = [{pid: peak_rss(pid) for pid in pids} for pids in workers]
        run = measure(first, hospital.inside, far, messages=1, size=megabytes * MEGABYTE, sessions=1)
        outbound, inbound = (max(peak_rss(pid) - rss for pid, rss in known.items()) for known in before)
        return Growth(outbound, inbound, run.seconds)
