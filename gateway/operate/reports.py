"""What our processes report to the control process: cumulative counters, tagged with process and epoch (its start).

It comes from another process, so it is read strictly: a name or a label that is none of ours would be one in ``/metrics``, and
some would take every other away there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from gateway import events
from gateway.edge.observe import shape

MAX_EPOCHS: Final = 10_000
_ENDED: Final = ("", 0)

_LABELS: Final = {
    shape(kind).name: shape(kind).labels
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
}

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """The counters of one process epoch so far, and how many there were beside them that can be none of ours."""

    process: str
    epoch: int
    counters: dict[Series, float]
    impossible: int = 0


def read_report(request: dict[str, Any]) -> Report:
    """What is possible of it. Raises ValueError, KeyError, TypeError or ArithmeticError where it is no report at all."""
    process = str(request["process"])
    process.encode()
    counters, impossible = {}, 0
    for told in request["counters"]:
        try:
            series, value = _counter(*told)
        except (ValueError, TypeError, OverflowError):
            impossible += 1
        else:
            counters[series] = value
    return Report(process, int(request["epoch"]), counters, impossible)


def _counter(name: str, labels: list[tuple[str, str]], value: float) -> tuple[Series, float]:
    pairs = tuple((label, text) for label, text in labels)
    if _LABELS.get(name) != tuple(label for label, _ in pairs) or not 0 <= value < math.inf:
        raise ValueError(name)
    for _, text in pairs:
        str.encode(text)  # half a character (a lone surrogate, RFC 8259 8.2) cannot be
    return (name, pairs), float(value)


@dataclass(slots=True)
class Snapshots:
    """The latest counters of every process epoch. What an ended epoch counted stays counted."""

    counters: dict[tuple[str, int], dict[Series, float]] = field(default_factory=dict)
    seen_at: dict[str, int] = field(default_factory=dict)
    impossible: dict[str, int] = field(default_factory=dict)

    def take(self, report: Report, now: int) -> None:
        """The newest report of one process epoch."""
        if (report.process, report.epoch) not in self.counters and len(self.counters) >= MAX_EPOCHS:
            self._fold()
        self.counters[report.process, report.epoch] = report.counters
        self.seen_at[report.process] = now
        self.impossible[report.process] = report.impossible

    def _fold(self) -> None:
        """All epochs but the last of each process become one."""
        last = {which[0]: which for which in sorted(self.counters) if which != _ENDED}.values()
        ended: defaultdict[Series, float] = defaultdict(float)
        for which in self.counters.keys() - last:
            for series, value in self.counters[which].items():
                ended[series] += value
        self.counters = {_ENDED: dict(ended), **{which: self.counters[which] for which in last}}

    def totals(self) -> dict[Series, float]:
        """Every series, summed over processes and epochs. Any thread may ask."""
        totals: defaultdict[Series, float] = defaultdict(float)
        for counters in tuple(self.counters.values()):
            for series, value in counters.items():
                totals[series] += value
        return dict(totals)
