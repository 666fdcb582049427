"""When a deferred mail is tried again, and when it is given up. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.config.model import Retry

_SECOND: Final = 1_000_000
_HOUR: Final = 3600 * _SECOND
_MOST_DOUBLINGS: Final = 30  # beyond any real ceiling; keeps the power small


def next_at(attempts: int, first_at: int, now: int, retry: Retry, random: Callable[[], float]) -> int | None:
    """The time (microseconds UTC) of the next try after one that failed at ``now``, or None: the mail is given up.

    ``attempts`` is how many tries came before the failed one, ``first_at`` when the mail arrived. The pause doubles from
    ``first_seconds`` to ``longest_seconds``; ``random`` (from [0, 1)) moves each by up to a quarter either way, so that
    mails deferred together do not come back together. The last try falls on the deadline itself (RFC 5321 4.5.4.1).
    """
    deadline = first_at + int(retry.give_up_hours * _HOUR)
    if now >= deadline:
        return None
    pause = min(retry.first_seconds * 2.0 ** min(attempts, _MOST_DOUBLINGS), retry.longest_seconds)
    return min(now + int(pause * (0.75 + random() / 2) * _SECOND), deadline)
