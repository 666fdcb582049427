"""``make interop``: tries every case with every peer, both ways, and writes docs/interop.md."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from interop.case import CASES, Case
from interop.expected import surprise
from interop.ours import sides
from interop.outcome import Direction, Outcome, tried
from interop.page import page
from interop.peers import everybody
from interop.people import People

PAGE = Path(__file__).parent.parent / "docs" / "interop.md"


def main() -> int:
    """0 where every cell is as expected."""
    outcomes: dict[tuple[Direction, str, Case], Outcome] = {}
    with TemporaryDirectory(prefix="interop") as work:
        people = People.make(Path(work))
        ours = sides(Path(work), people)
        with everybody(Path(work), people) as peers:
            for peer in peers:
                print(f"{peer.name} {peer.version}", flush=True)
                for direction in Direction:
                    for case in CASES:
                        outcomes[direction, peer.name, case] = tried(direction, peer, ours, people, case)
            PAGE.write_text(page({peer.name: peer.version for peer in peers}, outcomes))
    print(f"{PAGE} is written")
    surprises = [
        f"{direction}: {peer}: {case.name}: {what}"
        for (direction, peer, case), outcome in outcomes.items()
        if (what := surprise(direction, peer, case, outcome))
    ]
    print("\n".join(surprises))
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
