"""The balance of a run: every accepted number arrived whole, every duplicate has a cause, and nothing is left behind."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from demo.site import Site, command
from torture.driver import Driver, Reply
from torture.letters import STRANGER, body, number_of, recipient, reported_number
from torture.saboteur import Act
from torture.sink import Taken
from torture.world import World, rows

# What can come between a hop's 250 and the end of the row that it settles.
_BETWEEN: Final = (
    "kill worker",
    "pause worker",
    "kill supervisor",
    "kill whole gateway",
    "gateway stopped",
    "fsync",
    "full",
    "clock",
)
_AFTERMATH: Final = 90.0  # seconds; a lease must end and the mail be tried again before its second copy arrives


@dataclass
class Balance:
    """``faults`` is empty where all is well. ``reported``: the numbers that were refused, and whose sender was told so: by a
    clock that is a day slow the recipients' certificates are not yet valid.
    """

    numbers: int = 0
    arrived: int = 0
    reported: set[int] = field(default_factory=set)
    duplicates: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def balance(world: World, driver: Driver, acts: Sequence[Act]) -> Balance:
    """Of a healed and drained world."""
    found = Balance(numbers=len(driver.replies))
    copies: dict[int, list[Taken]] = {}
    for taken in (*world.far.taken, *world.near.taken):
        number = number_of(taken.content)
        reported = reported_number(taken.content) if number is None else None
        if reported is not None:
            found.reported.add(reported)
        elif number is None:
            found.faults.append(f"a mail without a number arrived: {taken.content.decode(errors='replace')}")
        else:
            copies.setdefault(number, []).append(taken)
    for number, tries in sorted(driver.replies.items()):
        if tries[-1:] == [Reply.ACCEPTED] and number not in {*copies, *found.reported}:
            found.faults.append(f"{number} was accepted and is lost")
    if found.reported and not any(act.what.startswith("clock") for act in acts):
        found.faults.append(f"refused, and reported to the sender, though no certificate had a reason: {sorted(found.reported)}")
    for number, mails in copies.items():
        found.arrived += 1
        found.faults += [f"{number} arrived changed" for mail in mails if not _whole(world, number, mail)]
        ordered = sorted(mails, key=lambda mail: mail.at)
        for copy, earlier in zip(ordered[1:], ordered, strict=False):
            cause = _cause(driver.replies.get(number, []), earlier, copy, acts)
            found.duplicates[cause or "unexplained"] += 1
            if cause is None:
                found.faults.append(f"{number} arrived twice and nothing explains it: {earlier.trace} {copy.trace}")
    found.faults += [f"in clear: {place}" for place in world.in_clear()]
    for site in world.sites:
        found.faults += _left(site)
    return found


def _cause(tries: Iterable[Reply], earlier: Taken, copy: Taken, acts: Sequence[Act]) -> str | None:
    if earlier.trace.get("hospital") != copy.trace.get("hospital"):
        return "the driver had no answer and sent it again" if Reply.UNANSWERED in tries else None
    if not earlier.answered:
        return "the far end took it and gave no answer"
    repeated = "hospital" if earlier.trace.get("laboratory") != copy.trace.get("laboratory") else "laboratory"
    if "laboratory" not in copy.trace:
        repeated = "hospital"
    for act in acts:
        # The hop that was repeated has two ends: that of the first gateway is cut by a harm to either.
        near = act.where == repeated or repeated == "hospital"
        if near and act.what.startswith(_BETWEEN) and act.begin <= copy.at and act.end >= earlier.at - _AFTERMATH:
            return f"{act.what.partition(' -')[0]}: the row was not ended after the hop's 250"
    return None


def _whole(world: World, number: int, mail: Taken) -> bool:
    if recipient(number) != STRANGER:
        return mail.content.partition(b"\r\n\r\n")[2] == body(number)
    words = ["openssl", "cms", "-decrypt", "-inform", "SMIME", "-recip", str(world.reader), "-inkey", str(world.reader)]
    done = subprocess.run(words, input=mail.content, capture_output=True, check=False)
    return done.returncode == 0 and body(number) in done.stdout


def _left(site: Site) -> list[str]:
    shown = ("mail", "state", "stage", "attempts", "reason", "detail")
    left = [f"a row of {site.name}: {' '.join(str(row[key]) for key in shown)}" for row in rows(site)]
    state = site.folder / "state"
    left += [f"a body of {site.name}: {file.name}" for file in (state / "bodies").rglob("*") if file.is_file()]
    left += [f"a file of {site.name}: {file}" for pattern in ("*.new", "*.tmp", "*.part") for file in state.rglob(pattern)]
    verified = command("audit", "verify", "--config", site.configuration)
    if verified.returncode:
        left.append(f"the audit of {site.name}: {verified.stdout} {verified.stderr}")
    return left
