"""A directory that accepts TCP and never answers TLS, for one domain: how long mail to everybody else takes meanwhile."""

from __future__ import annotations

import itertools
import smtplib
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bench.gatewayside import PROTECT, gateway
from bench.goal import Goal
from bench.load import RECIPIENT, SENDER, sink

WINDOWS: Final = 8  # with mail to the dead domain, and as many without
SECONDS: Final = 5.0
RATE: Final = 40.0  # mails to others, each second
EVERY: Final = 10  # behind so many of these one more: to the dead domain, or to others as well
MARK: Final = 1.1
MAX_ASKED: Final = 16
"""Connections while it rests for the first time: each of two workers has four threads for it, and half a minute is a rest."""

DEAD: Final = "dead.example"
APART = """
[directory.dead]
kind = "ldap"
uri = "ldaps://127.0.0.1:{port}"
base = "dc=dead"
deadline_seconds = 5.0

[[organisation.hospital.correspondents]]
recipient = ["@{domain}"]
directories = ["dead"]
"""


@dataclass(frozen=True)
class Dead:
    """Seconds from taking a mail to its delivery, for mails to others: while some go to the dead domain, and while none does.

    ``asked`` is how often its directory was connected to, for ``deferred`` mails.
    """

    beside: tuple[float, ...]
    alone: tuple[float, ...]
    asked: int
    deferred: int

    @property
    def growth(self) -> float:
        """How many times as long 99 of 100 mails take at most."""
        return p99(self.beside) / p99(self.alone)


def p99(seconds: Sequence[float]) -> float:
    """What 99 of 100 do not take longer than."""
    return statistics.quantiles(seconds, n=100)[98]


@contextmanager
def mute() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port that is connected to, and never says anything; and who is connected."""
    met: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    met.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], met
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in met:
                client.close()


def dying(windows: int = WINDOWS, seconds: float = SECONDS) -> Dead:
    """Windows with and without take turns, in the order ABBA, so that what slows the machine for a while slows both."""
    with ExitStack() as stack:
        far = stack.enter_context(sink())
        port, met = stack.enter_context(mute())
        site = stack.enter_context(gateway(far.port, PROTECT, APART.format(port=port, domain=DEAD)))
        nobody = (f"nobody{number}@{DEAD}" for number in itertools.count())
        spans: dict[bool, list[tuple[datetime, datetime]]] = {True: [], False: []}
        far.expect(_send(site.inside, seconds, itertools.repeat(RECIPIENT)))  # warm, and not counted
        for number in range(2 * windows):
            beside = number % 4 in (1, 2)
            begin = datetime.now(UTC)
            sent = _send(site.inside, seconds, nobody if beside else itertools.repeat(RECIPIENT))
            spans[beside].append((begin, datetime.now(UTC)))
            far.expect(sent)
        waits = list(_waits(site.audit()))
        deferred = len({line["mail"] for line in site.audit("mail_deferred")})  # some more than once
    found = {
        beside: tuple(wait for at, wait in waits if any(begin <= at < end for begin, end in each)) for beside, each in spans.items()
    }
    return Dead(found[True], found[False], len(met), deferred)


def _send(port: int, seconds: float, extra: Iterator[str]) -> int:
    """At a steady rate to others, and behind each EVERY of them one to an ``extra`` recipient. How many went to others."""
    others = 0
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as session:
        begin = time.monotonic()
        for number in range(int(seconds * RATE)):
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            for recipient in (RECIPIENT, *(itertools.islice(extra, 1) if number % EVERY == 0 else ())):
                session.sendmail(SENDER, [recipient], f"From: {SENDER}\r\nTo: {recipient}\r\nSubject: x\r\n\r\nHello\r\n")
                others += recipient == RECIPIENT
    return others


def _waits(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[datetime, float]]:
    """When each mail that was delivered had been taken, and how many seconds lay between."""
    taken: dict[str, datetime] = {}
    origin: dict[str, str] = {}
    for line in lines:
        at = datetime.fromisoformat(line["at"])
        if line["event"] == "mail_accepted":
            taken[line["mail"]] = at
        elif line["event"] == "mail_protected":
            origin[line["copy"]] = line["mail"]
        elif line["event"] == "mail_delivered" and origin.get(line["mail"]) in taken:
            begin = taken[origin[line["mail"]]]
            yield begin, (at - begin).total_seconds()


def dead_lines(dead: Dead) -> list[str]:
    """What is added to the section of the page."""
    return [
        f"One domain's directory accepts TCP and never answers TLS. {RATE:.0f} mails a second go to others, and behind",
        f"each {EVERY} of them one more, to that domain or to others too; windows of each kind take turns. What counts is from",
        "taking a mail to its delivery, for mails to others. The directory was connected to",
        f"{dead.asked} times for {dead.deferred} mails that were put off.",
        *("", "| | half within, ms | 99 of 100 within, ms | mails |", "|---|---:|---:|---:|"),
        *(
            f"| {name} | {statistics.median(each) * 1000:.1f} | {p99(each) * 1000:.1f} | {len(each):,} |"
            for name, each in (("while none goes there", dead.alone), ("while some do", dead.beside))
        ),
        f"| ratio | {statistics.median(dead.beside) / statistics.median(dead.alone):.2f} | {dead.growth:.2f} | |",
    ]


def dead_goals(dead: Dead) -> list[Goal]:
    """What was asked of what was measured."""
    return [Goal("(h) a dead directory of one domain: others' 99 of 100 grow by less than a tenth", dead.growth < MARK)]
