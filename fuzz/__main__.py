"""``make fuzz``: each target for its share of FUZZ_SECONDS (ten minutes), guided by coverage; TARGETS= names some of them.

What was found stays in ``fuzz/found/``, and the inputs that reached something new in ``fuzz/corpus/``: the next run goes on from
them. Ends with 1 where something was found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
FOUND: Final = HERE / "found"
LONGEST: Final = 6000  # bytes of an input
SLOW: Final = 10  # seconds for one input
AT_ONCE: Final = os.cpu_count() or 1


def main() -> None:
    """Run."""
    from fuzz.targets import TARGETS

    names = sys.argv[1:] or list(TARGETS)
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    FOUND.mkdir(exist_ok=True)
    for name in names:
        _sow(HERE / "corpus" / name, TARGETS[name].seeds())
    each = max(1, int(seconds * min(AT_ONCE, len(names)) / len(names)))
    print(f"{len(names)} targets, {each} seconds each, {AT_ONCE} at a time", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        good = list(pool.map(lambda name: _run(name, each), names))
    if not all(good):
        sys.exit(1)


def _sow(folder: Path, seeds: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed[:LONGEST])


def _run(name: str, seconds: int) -> bool:
    """One target in a process of its own; whether nothing was found."""
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOW}", f"-artifact_prefix={FOUND}/{name}-"]
    command: list[str | Path] = [sys.executable, "-m", "fuzz.guided", name, *options, "-rss_limit_mb=1024", HERE / "corpus" / name]
    begun = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=HERE.parent)
    told = done.stderr.splitlines()
    last = next((line for line in reversed(told) if "exec/s" in line), told[-1] if told else "nothing was said")
    print(f"{name:15} {'ok' if not done.returncode else 'FOUND'} {time.monotonic() - begun:5.0f} s  {last}", flush=True)
    if done.returncode:
        print(f"{done.stdout[-4000:]}{done.stderr[-4000:]}", flush=True)
    return not done.returncode


if __name__ == "__main__":
    main()
