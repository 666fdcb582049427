"""Which mail goes first where not all can go at once. Pure."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

MANY: Final = 50  # recipients beyond which a mail is one of a run by itself

_FIELD: Final = re.compile(
    rb"^(precedence|list-id|importance|priority|x-priority)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_RUN: Final = frozenset({b"bulk", b"list", b"junk"})
_URGENT: Final = {b"importance": (b"high",), b"priority": (b"urgent",), b"x-priority": (b"1", b"2")}


class Priority(IntEnum):
    """Greater goes first."""

    BULK = -1
    NORMAL = 0
    URGENT = 1


def priority_of(header: bytes, recipients: int, *, known: bool, running: bool) -> Priority:
    """The priority of a mail with ``header`` (as it came) to so many ``recipients``.

    ``known``: its sender is one of ours or a peer; nobody else raises his own mail. ``running``: it is one of many from the same
    sender, which lowers it by one: a run that calls each of its mails urgent delays no letter. Automatic mail is not lowered for
    being automatic (RFC 3834): a laboratory's alarm is.
    """
    urgent = False
    for name, value in _FIELD.findall(header):
        word = value.partition(b" ")[0].strip().lower()
        if name.lower() == b"list-id" or (name.lower() == b"precedence" and word in _RUN):
            return Priority.BULK
        urgent = urgent or word in _URGENT.get(name.lower(), ())
    if recipients > MANY:
        return Priority.BULK
    raised = urgent and known
    return Priority(raised - running)


class Runs:
    """Knows who sends a run: more than ``MANY`` mails within ``seconds``. Holds at most ``people`` of the latest senders."""

    def __init__(self, seconds: int = 600, people: int = 10_000) -> None:
        self._microseconds = seconds * 1_000_000
        self._people = people
        self._counts: dict[str, tuple[int, int]] = {}

    def running(self, sender: str, now: int) -> bool:
        """Counts one more mail of ``sender`` at ``now`` (microseconds UTC): whether he is at it."""
        since, count = self._counts.pop(sender, (now, 0))
        if not 0 <= now - since < self._microseconds:
            since, count = now, 0
        self._counts[sender] = (since, count + 1)
        if len(self._counts) > self._people:
            del self._counts[next(iter(self._counts))]
        return count >= MANY
