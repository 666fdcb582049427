"""The balance of a run: every accepted number arrived whole, every duplicate has a cause, and nothing is left behind."""

from __future__ import annotations

import re
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
_MARK: Final = re.compile(rb"^X-Gateway-Security: (.*(?:\r\n[ \t].*)*)", re.MULTILINE)
_AFTERMATH: Final = 90.0  # seconds; a lease must end and the mail be tried again before its second copy arrives


@dataclass
class Balance:
    """``faults`` is empty where all is well. Two things a wrong clock may bring about, and nothing else: ``reported`` are the
    numbers that were refused, and whose sender was told so (to a clock that is a day slow the recipients' certificates are not
    yet valid); ``doubted`` those that arrived with their signature still on, marked as not verified (nor is the sender's).
    """

    numbers: int = 0
    arrived: int = 0
    reported: set[int] = field(default_factory=set)
    doubted: set[int] = field(default_factory=set)
    duplicates: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def balance(world: World, driver: Driver, acts: Sequence[Act]) -> Balance:
    """Of a healed and drained world."""
    found = Balance(numbers=len(driver.replies))
    copies = _copies(world, found)
    for number, tries in sorted(driver.replies.items()):
        if tries[-1:] == [Reply.ACCEPTED] and number not in {*copies, *found.reported}:
            found.faults.append(f"{number} was accepted and is lost")
    for number, mails in copies.items():
        found.arrived += 1
        for mail in mails:
            _look(world, number, mail, found)
        ordered = sorted(mails, key=lambda mail: mail.at)
        for copy, earlier in zip(ordered[1:], ordered, strict=False):
            cause = _cause(driver.replies.get(number, []), earlier, copy, acts)
            found.duplicates[cause or "unexplained"] += 1
            if cause is None:
                found.faults.append(f"{number} arrived twice and nothing explains it: {earlier.trace} {copy.trace}")
    if not any(act.what.startswith("clock") for act in acts):
        found.faults += [f"{number} was refused, and no clock was wrong" for number in sorted(found.reported)]
        found.faults += [f"{number} was not verified, and no clock was wrong" for number in sorted(found.doubted)]
    found.faults += [f"in clear: {place}" for place in world.in_clear()]
    for site in world.sites:
        found.faults += _left(site)
    return found


def _copies(world: World, found: Balance) -> dict[int, list[Taken]]:
    """What arrived, by number. The reports among it are noted in ``found``."""
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
    return copies


def _look(world: World, number: int, mail: Taken, found: Balance) -> None:
    if _whole(world, number, mail):
        return
    if _doubted(number, mail):
        found.doubted.add(number)
    else:
        found.faults.append(f"{number} arrived changed: {_mark(mail)}")


def _cause(tries: Iterable[Reply], earlier: Taken, copy: Taken, acts: Sequence[Act]) -> str | None:
    if earlier.trace.get("hospital") != copy.trace.get("hospital"):
        return "the driver had no answer and sent it again" if Reply.UNANSWERED in tries else None
    if not earlier.answered:
        return "the far end took it and gave no answer"
    repeated = "hospital" if earlier.trace.get("laboratory") != copy.trace.get("laboratory") else "laboratory"
    if "laboratory" not in copy.trace:
        repeated = "hospital"
    possible = [
        act
        for act in acts
        # The hop that was repeated has two ends: that of the first gateway is cut by a harm to either.
        if (act.where == repeated or repeated == "hospital")
        and act.what.startswith(_BETWEEN)
        and act.begin <= copy.at
        and act.end >= earlier.at - _AFTERMATH
    ]
    if not possible:
        return None
    nearest = min(possible, key=lambda act: max(act.begin - earlier.at, earlier.at - act.end, 0.0))
    return f"{nearest.what.partition(' -')[0]}: the row was not ended after the hop's 250"


def _whole(world: World, number: int, mail: Taken) -> bool:
    if recipient(number) != STRANGER:
        return mail.content.partition(b"\r\n\r\n")[2] == body(number)
    words = ["openssl", "cms", "-decrypt", "-inform", "SMIME", "-recip", str(world.reader), "-inkey", str(world.reader)]
    done = subprocess.run(words, input=mail.content, capture_output=True, check=False)
    return done.returncode == 0 and body(number) in done.stdout


def _doubted(number: int, mail: Taken) -> bool:
    """Whether the mail is whole inside a signature that the second gateway left on, and marked as not verified."""
    return "verdict=signed-unverified" in _mark(mail) and body(number) in mail.content


def _mark(mail: Taken) -> str:
    found = _MARK.search(mail.content.partition(b"\r\n\r\n")[0])
    return found[1].decode() if found else "no mark"


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
