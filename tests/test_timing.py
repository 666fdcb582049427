"""The rank test by which times are compared: against published numbers, and against chance."""

from __future__ import annotations

import random

import pytest

from tests.timing import ALARM, differ, measure, noise, signed_rank


def test_it_is_wilcoxons() -> None:
    """The heights of Darwin's maize, crossed and self-fertilised (Fisher, The Design of Experiments, 1935, III): W+ = 96, W- = 24
    for 15 pairs, so that z = (96 - 24) / sqrt(15 * 16 * 31 / 6) = 2.045.
    """
    crossed = (188, 96, 168, 176, 153, 172, 177, 163, 146, 173, 186, 168, 177, 184, 96)
    selfed = (139, 163, 160, 160, 147, 149, 149, 122, 132, 144, 130, 144, 102, 124, 144)
    assert signed_rank(list(zip(selfed, crossed, strict=True))) == pytest.approx(2.045, abs=0.005)
    assert signed_rank(list(zip(crossed, selfed, strict=True))) == pytest.approx(-2.045, abs=0.005)
    assert signed_rank([(1.0, 1.0)] * 20) == 0


def test_chance_raises_no_alarm_and_a_difference_does() -> None:
    """Noise as machines make it, with a long tail: 500 rounds, a hundred times. What is found is half of its spread."""
    source = random.Random(4)  # noqa: S311 - noise
    highest = 0.0
    for _ in range(100):
        left, right = ([source.lognormvariate(0, 1) + source.random() for _ in range(500)] for _ in range(2))
        highest = max(highest, differ(left, right))
        assert differ(left, [each + noise(left) / 2 for each in right]) > ALARM
        assert differ(left, [each * 2 for each in right]) > ALARM
        disturbed = [[each + 100 * source.random() * (source.random() < 0.3) for each in one] for one in (left, right)]
        assert differ(disturbed[0], [each + 5 for each in disturbed[1]]) > ALARM
    assert 2 < highest < ALARM


def test_every_way_is_taken_as_often_and_in_any_order() -> None:
    order: list[str] = []

    def take(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = measure({"a": lambda: take("a"), "b": lambda: take("b")}, 200)
    assert (len(taken["a"]), len(taken["b"]), order.count("a")) == (200, 200, 200)
    first = sum(one < other for one, other in zip(taken["a"], taken["b"], strict=True))
    assert 60 < first < 140  # beyond, once in 10**8
