"""Runs a program, and makes of its failure what it says."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from interop.peer import Refused


def run(*arguments: str | Path, data: bytes = b"", environment: Mapping[str, str] | None = None, noise: str = r"(?!)") -> bytes:
    """Its standard output. Raises :class:`Refused` where it does not end well, with the first line of its standard error
    that ``noise`` does not match.
    """
    words = list(map(str, arguments))
    done = subprocess.run(
        words, input=data, capture_output=True, timeout=60, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines()]
        raise Refused(next((line for line in lines if line and not re.search(noise, line)), f"ended with {done.returncode}"))
    return done.stdout
