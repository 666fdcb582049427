"""The torture in its short form; ``make torture`` has ten thousand mails and every kind of harm several times."""

from __future__ import annotations

import pytest

from torture.run import Plan, torture

pytestmark = [pytest.mark.xdist_group("torture"), pytest.mark.timeout(300)]


def test_nothing_is_lost_in_clear_unexplained_or_left_behind() -> None:
    """The acts of one seed; what they come to is for the report."""
    said: list[str] = []
    report = torture(Plan(mails=120, rate=8, seed=49, longest=1.0, pause=2.0, patience=120), said.append)
    assert report.balance.faults == [], "\n".join([*said, *report.lines()])
    assert report.balance.arrived == report.balance.numbers == 120
    assert len(report.acts) >= 4
