"""What comes of one case with one peer, in one direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from interop.case import By, Case, Twist
from interop.letter import EIGHT_BIT, SEVEN_BIT, SUBJECT, TEXT, header, subject_and_text
from interop.ours import Ours, Wrong
from interop.peer import NotOffered, Peer, Refused
from interop.people import People

_LATE: Final = 2 * 3600
_SOMEBODY: Final = "doctor@laboratory.example"


class Direction(StrEnum):
    """Who writes."""

    OURS = "The peer opens what we write"
    THEIRS = "We open what the peer writes"


class End(StrEnum):
    """How it ends. ``ABSENT``: who should write it has no way to; ``WRONG``: a bug of ours until proven otherwise."""

    OK = "ok"
    REFUSED = "refused"
    ABSENT = "–"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``words`` are what who refused it said, or what is wrong."""

    end: End
    words: str = ""


def tried(direction: Direction, peer: Peer, ours: Mapping[By, Ours], people: People, case: Case) -> Outcome:
    """One cell of the table."""
    if case.twist and direction is Direction.THEIRS:
        return Outcome(End.ABSENT, "it is about what we write")
    sender = _SOMEBODY if case.twist is Twist.ORGANISATION else people.signer(case.signing).address
    recipient = people.reading(case.encryption)[0].address if case.encryption else "somebody@hospital.example"
    fields = header(sender, recipient, _LATE if case.twist is Twist.LATE else 0)
    try:
        if direction is Direction.OURS:
            shown = peer.open(case, ours[case.by].make(case, fields, EIGHT_BIT))
        else:
            shown = ours[case.by].open(case, peer.make(case, fields, SEVEN_BIT))
    except NotOffered as error:
        return Outcome(End.ABSENT, str(error))
    except Refused as error:
        return Outcome(End.REFUSED, str(error))
    except Wrong as error:
        return Outcome(End.WRONG, str(error))
    subject, text = subject_and_text(shown)
    if case.twist in (Twist.PROTECTED, Twist.REPEATED) and subject is None:
        return Outcome(End.WRONG, "no Subject inside")
    wanted = f"Subject: {SUBJECT}\n\n{TEXT}" if case.twist is Twist.REPEATED else TEXT
    return Outcome(End.OK) if text == wanted else Outcome(End.WRONG, f"shown is {text!r}")
