"""What is made to exhaust a reader ends within a second of CPU time and 32 MB, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.smime.hostile import MEGABYTE, MESSAGES, STRUCTURES

ROOT = Path(__file__).parents[2]
SECOND = 1.0
MEMORY = 32 * MEGABYTE


@pytest.mark.parametrize(
    ("name", "end"),
    [*((name, str(end)) for name, (_, end) in STRUCTURES.items()), *((name, end) for name, (_, end) in MESSAGES.items())],
)
def test_it_ends_soon_and_in_little_memory(name: str, end: str) -> None:
    """CPU time, so that a busy machine changes nothing; memory as the growth of its peak over that with the input made."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.smime.hostile", name], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert told.returncode == 0, told.stderr
    seconds, growth, ended = told.stdout.split(maxsplit=2)
    assert ended.strip() == end
    assert float(seconds) < SECOND
    assert int(growth) < MEMORY
