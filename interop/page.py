"""The outcomes as a page, which is the same whenever they are: without dates, paths and names of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from interop.case import CASES, Case
from interop.expected import refusal
from interop.outcome import Direction, End, Outcome

Outcomes = Mapping[tuple[Direction, str, Case], Outcome]
"""By direction, name of the peer, case."""

_HEAD: Final = """# Who reads whom

Written by `make interop`: the gateway's S/MIME engine and the programs of others open what the other side writes, with keys of
one test authority. A cell is `ok` where the signature is verified, the content decrypted and the text the one that went in, by
the algorithms of the row; a number where the peer refuses, with its own words, or what it shows, below; `–` where the side that
writes has no way to be asked for such a message. What nobody there writes has no row. `make interop` fails where a cell changes.
"""


def page(peers: Mapping[str, str], outcomes: Outcomes) -> str:
    """All of it, in Markdown. ``peers`` are the versions, by name."""
    notes: list[str] = []
    lines = [_HEAD, "| peer | version |", "|---|---|", *(f"| {name} | {version} |" for name, version in peers.items())]
    for direction in Direction:
        lines += ["", f"## {direction}", "", *_table(direction, list(peers), outcomes, notes)]
    lines += ["", "## What is refused", "", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""]
    return "\n".join(lines)


def _table(direction: Direction, peers: Sequence[str], outcomes: Outcomes, notes: list[str]) -> list[str]:
    lines = [f"| | {' | '.join(peers)} |", f"|---|{':---:|' * len(peers)}"]
    for case in CASES:
        found = {peer: outcomes[direction, peer, case] for peer in peers}
        if any(outcome.end is not End.ABSENT for outcome in found.values()):
            cells = (_cell(direction, peer, case, outcome, notes) for peer, outcome in found.items())
            lines.append(f"| {case.name} | {' | '.join(cells)} |")
    return lines


def _cell(direction: Direction, peer: str, case: Case, outcome: Outcome, notes: list[str]) -> str:
    if outcome.end in (End.OK, End.ABSENT):
        return str(outcome.end)
    known = refusal(direction, peer, case)
    blame = "refused by the peer" if outcome.end is End.REFUSED else "a bug of ours, to be mended"
    note = f"{peer}, {blame}: `{outcome.words}`.{'' if known is None else ' ' + known.why}"
    if note not in notes:
        notes.append(note)
    return str(notes.index(note) + 1)
