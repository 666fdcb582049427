"""What believing costs, in CPU time: the figures of ``make bench``, twice over, since the machine has other work here."""

from __future__ import annotations

import pytest

from bench.belief import MARKS, Belief, Work, believing


@pytest.fixture(scope="module")
def belief() -> Belief:
    return believing(5, chains=10, turns=200)


@pytest.mark.parametrize("work", MARKS)
def test_goal(belief: Belief, work: Work) -> None:
    """The fastest of several rounds keeps to twice the goal."""
    assert min(belief.rounds[work]) < 2 * MARKS[work]
