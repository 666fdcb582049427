"""Whether two ways of one thing take the same time: samples in turn, and a rank test whose rate of false alarms is known.

In each round every way is taken once, in an order drawn anew. Where they do not differ, the difference of two in one round is as
often positive as negative, whatever else the machine does at the time: no assumption about noise, drift or neighbours is needed.
Wilcoxon's signed-rank statistic is then symmetric around 0, and close to normal for hundreds of rounds (its tails are lighter).
"""

from __future__ import annotations

import math
import secrets
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Final

ROUNDS: Final = 500
ALARM: Final = 4.6
"""Standard deviations. Normal: beyond it, on either side, 4.3 times in a million; three questions for each pair of ways.
A run that compares seven pairs raises a false alarm less than once in 10,000 times.
"""

Sample = Callable[[], float]
"""Does it once; how long it took, in seconds."""


def measure(ways: Mapping[str, Sample], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds by way, round by round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    shuffle = secrets.SystemRandom().shuffle
    names = list(ways)
    for _ in range(rounds):
        shuffle(names)
        for name in names:
            taken[name].append(ways[name]())
    return taken


def differ(left: Sequence[float], right: Sequence[float]) -> float:
    """How far apart they are, in standard deviations of what chance would do: the largest of three answers. Two are about place,
    the one finer, the other not to be disturbed where half of the rounds were; the third is about spread.
    """
    middle = statistics.median((*left, *right))
    place = list(zip(left, right, strict=True))
    spread = [(abs(one - middle), abs(other - middle)) for one, other in place]
    return max(abs(signed_rank(place)), abs(sign(place)), abs(signed_rank(spread)))


def sign(pairs: Sequence[tuple[float, float]]) -> float:
    """How much more often the second of a pair is larger than the first, in standard deviations."""
    more, less = sum(other > one for one, other in pairs), sum(other < one for one, other in pairs)
    return (more - less) / math.sqrt(more + less) if more + less else 0.0


def signed_rank(pairs: Sequence[tuple[float, float]]) -> float:
    """Wilcoxon's signed-rank statistic in standard deviations; positive where the second of a pair tends to be larger.

    Equal pairs say nothing and are left out; equal differences share their ranks.
    """
    differences = sorted((other - one for one, other in pairs if one != other), key=abs)
    total = squares = 0.0
    place = 0
    for _, same in groupby(differences, key=abs):
        tied = list(same)
        rank = place + (len(tied) + 1) / 2
        place += len(tied)
        total += rank * sum(math.copysign(1, each) for each in tied)
        squares += rank * rank * len(tied)
    return total / math.sqrt(squares) if squares else 0.0


def noise(samples: Sequence[float]) -> float:
    """The interquartile range, seconds."""
    low, _, high = statistics.quantiles(samples, n=4)
    return high - low
