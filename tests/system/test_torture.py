"""The torture and the soak in their short forms; ``make torture`` has ten thousand mails and every kind of harm several times."""

from __future__ import annotations

import pytest

from torture.balance import Balance
from torture.run import Plan, torture
from torture.soak import DESCRIPTORS, GROWTH, Report, Sample, soak

pytestmark = [pytest.mark.xdist_group("torture"), pytest.mark.timeout(300)]


def test_nothing_is_lost_in_clear_unexplained_or_left_behind() -> None:
    """The acts of one seed; what they come to is for the report."""
    said: list[str] = []
    report = torture(Plan(mails=120, rate=8, seed=49, longest=1.0, pause=2.0, patience=120), said.append)
    assert report.balance.faults == [], "\n".join([*said, *report.lines()])
    assert report.balance.arrived == report.balance.numbers == 120
    assert len(report.acts) >= 4


def test_a_short_soak_leaves_nothing_and_grows_by_nothing() -> None:
    """A few seconds, and every process of both gateways."""
    report = soak(8, 12.0, 0.5, lambda _: None, warm_up=24)
    assert report.faults() == [], "\n".join(report.lines())
    assert report.balance.arrived == report.balance.numbers == 120
    assert len(report.tracks) == 10


@pytest.mark.parametrize(
    ("memory", "descriptors", "grows"),
    [
        ((0, 1, 1, 1), (9, 9, 9, 9), False),
        ((1, 1, 1, 1 + GROWTH * 2), (9, 9, 9, 9), True),
        ((1, 1, 1, 1), (9, 9, 9, 9 + 2 * DESCRIPTORS), True),
    ],
    ids=["only while warming up", "memory", "descriptors"],
)
def test_what_grows_is_told(memory: tuple[int, ...], descriptors: tuple[int, ...], grows: bool) -> None:
    """The second quarter beside the last."""
    track = [Sample(*pair) for pair in zip(memory, descriptors, strict=True)]
    assert bool(Report(Balance(), 1.0, {"worker": track}, {}).faults()) is grows


def test_a_row_that_is_left_is_told() -> None:
    """And a mail that did not arrive."""
    assert len(Report(Balance(numbers=2, arrived=1), 1.0, {}, {"mail": 1, "body": 0}).faults()) == 2
