"""The wall clock, as all of our processes read it."""

from __future__ import annotations

import time


def now() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000
