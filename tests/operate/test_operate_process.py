"""What every process of ours does, whatever its kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway.config.load import load

# As a vendor's PKCS#11 module may: it writes past Python, and more than a pipe holds
CHATTY = """
import os
from gateway.operate import process

def run(child, run_directory, observer, ready):
    for _ in range(20):
        os.write(1, b"C_OpenSession\\n" * 1000)
    ready()
    os.write(1, b"C_Sign\\n" * 100_000)
    return 7

process.run = run
process.main()
"""


def test_who_writes_to_standard_output_is_neither_taken_for_ready_nor_stopped(site: Path) -> None:
    """The supervisor reads one line of it, and nothing more: all else is for the log."""
    (site / "run").mkdir()
    (site / "run" / "config.json").write_text(load(site / "gateway.toml", 1).model_dump_json())
    command = [sys.executable, "-c", CHATTY, "sign-agent", "0", str(site / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            assert running.wait(60) == 7
        finally:
            running.kill()
