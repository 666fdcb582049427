"""Moments as numbers: microseconds since 1970, UTC."""

from __future__ import annotations

import datetime as dt
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
TOLERANCE: Final = 5 * MINUTE
"""How far two clocks may differ, in microseconds."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def microseconds(moment: dt.datetime) -> int:
    """``moment``, which knows its zone, as a number."""
    return (moment - _EPOCH) // _MICROSECOND


def as_datetime(at: int) -> dt.datetime:
    """``at`` in UTC."""
    return _EPOCH + dt.timedelta(microseconds=at)


def as_text(at: int) -> str:
    """``at`` to the second, RFC 3339."""
    return as_datetime(at).strftime("%Y-%m-%dT%H:%M:%SZ")
