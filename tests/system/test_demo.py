"""``make demo`` as a newcomer runs it, set-up aside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parent.parent.parent
PLACES = ("as written", "over the wire", "in the laboratory's mailbox", "time of each step")


def demo(folder: Path, **more: str) -> subprocess.Popen[str]:
    """The demo, with its temporary directory below ``folder``."""
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "120", **more}
    return subprocess.Popen(
        [sys.executable, "-m", "demo"], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def folder() -> Path:
    """Short, since Unix sockets lie below it."""
    return Path(tempfile.mkdtemp(prefix="demo-"))


def test_the_letter_is_shown_at_its_three_places(folder: Path) -> None:
    process = demo(folder)
    shown, _ = process.communicate(timeout=150)
    assert process.returncode == 0, shown
    assert all(place in shown for place in PLACES)
    assert "application/pkcs7-mime" in shown
    assert "smime=pass" in shown
    assert "Traceback" not in shown
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_kept_running_it_says_how_to_use_it_and_ends_clean(folder: Path) -> None:
    process = demo(folder, KEEP="1")
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if "Ctrl-C" in line:
            break
    assert "swaks --server 127.0.0.1:" in shown
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert list(folder.iterdir()) == []
    folder.rmdir()
