"""When a deferred mail is tried again, when its sender hears of it, and when it is given up. Pure; microseconds UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.config.model import Config, Retry

_SECOND: Final = 1_000_000
_HOUR: Final = 3600 * _SECOND
_MOST_DOUBLINGS: Final = 30  # beyond any real ceiling; keeps the power small


def longest_pause(config: Config) -> int:
    """Microseconds beyond which no next try of ``config`` lies."""
    retries = (config.retry, *(zone.retry for zone in config.zone.values() if zone.retry is not None))
    return int(max(retry.longest_seconds for retry in retries) * 1.25 * _SECOND)


def gives_up_at(first_at: int, retry: Retry) -> int:
    """When a mail that arrived at ``first_at`` is tried for the last time."""
    return first_at + int(retry.give_up_hours * _HOUR)


def next_at(attempts: int, first_at: int, now: int, retry: Retry, random: Callable[[], float]) -> int | None:
    """The time of the next try after one that failed at ``now``, or None: the mail is given up.

    ``attempts`` is how many tries came before the failed one, ``first_at`` when the mail arrived. The pause doubles from
    ``first_seconds`` to ``longest_seconds``; ``random`` (from [0, 1)) moves each by up to a quarter either way, so that
    mails deferred together do not come back together. The last try falls on the deadline itself (RFC 5321 4.5.4.1), and
    one on the time when the sender is to hear of the delay.
    """
    deadline, warning = gives_up_at(first_at, retry), _warns_at(first_at, retry)
    if now >= deadline:
        return None
    pause = min(retry.first_seconds * 2.0 ** min(attempts, _MOST_DOUBLINGS), retry.longest_seconds)
    again = now + int(pause * (0.75 + random() / 2) * _SECOND)
    return min(again, warning if warning is not None and now < warning else deadline)


def warns(due: int, first_at: int, now: int, retry: Retry) -> bool:
    """Whether the try that was ``due`` then and failed at ``now`` is the one whose failure the sender hears of.

    No try is planned across the time of the warning, so this is true of one try alone, and needs no mark in the spool that a
    crash could lose.
    """
    warning = _warns_at(first_at, retry)
    return warning is not None and due <= warning <= now


def _warns_at(first_at: int, retry: Retry) -> int | None:
    return first_at + int(retry.warn_hours * _HOUR) if retry.warn_hours else None
