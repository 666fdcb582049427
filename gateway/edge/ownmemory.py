"""A process keeps its memory to itself: no core dump holds a PIN, and no process of the same user reads it."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_to_ourselves() -> None:
    """Closes our memory and ``/proc/PID/environ`` to all but root (prctl(2)), and forbids core dumps, to our children too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
