"""The measurements in a short form: that they run, and that the memory holds. Their speed is for ``make bench``."""

from __future__ import annotations

import pytest

from bench.contest import MEGABYTE, growing, protecting, relaying
from bench.pipefilter import Filter
from bench.results import page

pytestmark = [pytest.mark.xdist_group("bench"), pytest.mark.timeout(300)]


def test_every_measurement_yields_its_figures() -> None:
    """A few messages each way, one round; and a large mail that neither gateway's workers hold in memory."""
    protect = protecting(1, 20, 5)
    ours = protect[Filter.DOCUMENTED].ours
    filters = [run for each in protect.values() for run in each.theirs]
    relay = relaying(1, 20)
    growth = growing(10)
    for run in (*ours, *filters, *relay.ours, *relay.theirs):
        assert run.rate > 0
        assert run.cpu_ms >= 0  # counted in hundredths of a second, so a short run may round to nothing
    assert {"worker", "sign-agent"} <= ours[0].cpu.keys()
    assert 0 <= growth.outbound <= 16 * MEGABYTE
    assert 0 <= growth.inbound <= 16 * MEGABYTE
    text = page(protect, relay, growth, 10, "a test")
    for part in ("(a) Sign and encrypt", "(b) Relay", "(c) A mail of 10 MB", "sign-agent"):
        assert part in text
