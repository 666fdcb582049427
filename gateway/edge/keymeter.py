"""How much one key may be used: so many operations a second, and so many a day (UTC). Pure.

A worker that was taken over can ask for signatures as fast as it likes; these ceilings bound what it gets, and the counts
show it. They lie far above what a gateway's mail needs.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

PER_SECOND: Final = 10_000
PER_DAY: Final = 20_000_000
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND


class Meter:
    """Counts operations by key. Times are microseconds UTC."""

    def __init__(self, per_second: int = PER_SECOND, per_day: int = PER_DAY) -> None:
        self._per_second = per_second
        self._per_day = per_day
        self._day = self._second = -1
        self._this_second: Counter[str] = Counter()
        self._today: Counter[str] = Counter()
        self.total: Counter[str] = Counter()

    def exceeded(self, key: str, now: int) -> str | None:
        """Count one operation, or say which ceiling forbids it."""
        if now // _SECOND != self._second:
            self._second = now // _SECOND
            self._this_second.clear()
        if now // _DAY != self._day:
            self._day = now // _DAY
            self._today.clear()
        if self._today[key] >= self._per_day:
            return f"key {key!r} was used {self._per_day} times today, its ceiling"
        if self._this_second[key] >= self._per_second:
            return f"key {key!r} was used {self._per_second} times this second, its ceiling"
        for counts in (self._this_second, self._today, self.total):
            counts[key] += 1
        return None
