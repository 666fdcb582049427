"""One run of the torture, from the first mail to the balance."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from torture.balance import Balance, balance
from torture.driver import Driver
from torture.saboteur import Act, Saboteur
from torture.world import NeverHappened, World, rows, until, world


@dataclass(frozen=True)
class Plan:
    """``rate``: mails per second at most, so that harm and mails share the time; ``longest``, ``pause``, ``patience``: seconds."""

    mails: int
    rate: float
    seed: int
    longest: float
    pause: float
    patience: float


@dataclass(frozen=True)
class Report:
    """What a run came to."""

    plan: Plan
    seconds: float
    acts: Sequence[Act]
    balance: Balance
    answers: dict[str, int]

    def lines(self) -> list[str]:
        """For people."""
        found = self.balance
        return [
            f"seed {self.plan.seed}, {self.seconds:.0f} s, {found.numbers} mails, {found.arrived} arrived, "
            f"{len(found.reported)} were reported to their sender, {len(found.doubted)} are marked as not verified",
            *(f"  {count:4} x {what}" for what, count in sorted(Counter(act.what for act in self.acts).items())),
            f"duplicates: {found.duplicates.total()}",
            *(f"  {count:4} x {cause}" for cause, count in sorted(found.duplicates.items())),
            "refusals that the driver heard:",
            *(f"  {count:4} x {said}" for said, count in sorted(self.answers.items())),
            f"faults: {len(found.faults)}",
            *(f"  {fault[:300]}" for fault in found.faults[:50]),
        ]


def paced(made: World, rate: float, at_once: int = 0) -> Driver:
    """A driver of the first gateway that has no more accepted than ``rate`` mails per second, once the first were, ``at_once``."""
    begun = time.monotonic()

    def pace(accepted: int) -> None:
        nonlocal begun
        if accepted <= at_once:
            begun = time.monotonic()
        else:
            time.sleep(max(0.0, begun + (accepted - at_once) / rate - time.monotonic()))

    return Driver(made.first.inside, 8, pace)


def drain(made: World, seconds: float, say: Callable[[str], None]) -> None:
    """Wait until nothing lies in a queue any more, or the time is over; then the balance names what does."""
    try:
        until(lambda: not any(rows(site) for site in made.sites), "the queues are empty", seconds)
    except NeverHappened:
        say("not drained: the balance names the rows")
    else:
        say("drained")


def torture(plan: Plan, say: Callable[[str], None]) -> Report:
    """Raises :class:`NeverHappened` where the gateways are not there again after it was healed."""
    start = time.monotonic()
    with world() as made, ThreadPoolExecutor(1) as pool:
        driver = paced(made, plan.rate)
        saboteur = Saboteur(made, plan.seed, plan.longest, plan.pause, say)
        over = threading.Event()
        harm = pool.submit(saboteur.run, over)
        try:
            with driver.running(plan.mails):
                driver.wait_for(plan.mails, plan.mails / plan.rate * 3 + plan.patience)
        finally:
            over.set()
        harm.result(plan.patience)
        say(f"{driver.accepted} accepted, healed; now it drains")
        drain(made, plan.patience, say)
        return Report(plan, time.monotonic() - start, saboteur.acts, balance(made, driver, saboteur.acts), driver.answers)
