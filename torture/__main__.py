"""``make torture``: ten thousand mails; SEED= repeats a run's acts, MAILS= sets how many."""

from __future__ import annotations

import os
import random
import sys

from torture.run import Plan, torture


def main() -> int:
    """0 where nothing is lost, in clear, unexplained or left behind."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31))
    mails = int(os.environ.get("MAILS") or "10000")
    print(f"SEED={seed}", flush=True)
    plan = Plan(mails, rate=25, seed=seed, longest=4, pause=6, patience=120)
    report = torture(plan, lambda line: print(line, flush=True))
    print("\n".join(report.lines()))
    return 1 if report.balance.faults else 0


if __name__ == "__main__":
    sys.exit(main())
