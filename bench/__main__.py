"""``make bench``: measures and writes RESULTS.md. BENCH_ROUNDS is how often each side has its turn."""

from __future__ import annotations

import os
from pathlib import Path

from bench.belief import believing
from bench.contest import growing, protecting, relaying
from bench.crowd import crowding
from bench.deaddirectory import dying
from bench.engine import engine
from bench.gatewayside import PROTECT, RELAY
from bench.parts import profile
from bench.remembered import remembering
from bench.results import Figures, page

MESSAGES = 2000
FILTERED = 200  # the pipe filter is slow: as many seconds as messages of ours, about
MEGABYTES = 50
CROWD = 20
CROWD_MEGABYTES = 25
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Measure everything."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    print(f"(a) sign and encrypt, {rounds} rounds", flush=True)
    protect = protecting(rounds, MESSAGES, FILTERED)
    print(f"(b) relay, {rounds} rounds", flush=True)
    relay = relaying(rounds, MESSAGES)
    print(f"(c) {MEGABYTES} MB", flush=True)
    growth = growing(MEGABYTES)
    print(f"(d) {CROWD} mails of {CROWD_MEGABYTES} MB at once", flush=True)
    crowd = crowding(CROWD, CROWD_MEGABYTES)
    print("(e) parts", flush=True)
    parts = (profile(PROTECT, MESSAGES), profile(RELAY, MESSAGES))
    print(f"(f) the S/MIME engine, {rounds} rounds", flush=True)
    smime = engine(rounds)
    print(f"(g) believing a certificate, {rounds} rounds", flush=True)
    belief = believing(rounds)
    print("(h) finding certificates", flush=True)
    finding = (remembering(), dying())
    text = page(
        Figures(protect, relay, growth, crowd, parts, smime, belief, *finding), MEGABYTES, f"BENCH_ROUNDS={rounds} make bench"
    )
    RESULTS.write_text(text)
    print(f"\n{text}\n{RESULTS} is written")


if __name__ == "__main__":
    main()
