"""Circles as they are drawn from a configuration: whose word counts for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.model import Config
from gateway.flow.circles import Circle, draw_circles
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Purpose
from tests.pki import Ca
from tests.receive.gatehouse import configuration

FILES = {name: Anchors([Ca.root().der]) for name in ("anchors.pem", "others.pem", "inbound.pem")}
INWARDS = (Purpose.SMIME_SIGNER,)
OUTWARDS = tuple(purpose for purpose in Purpose if purpose not in INWARDS)


def drawn(config: Config) -> list[Circle]:
    """That of the zone, then that of the hospital."""
    circles = draw_circles(config, {}, lambda path: FILES[path.name])
    return [circles.zones["lab"], circles.organisations["hospital"]]


@pytest.mark.parametrize("inbound", [None, "inbound.pem"])
def test_anchors(tmp_path: Path, inbound: str | None) -> None:
    """One file for everything; or another for who signs what comes in, and for nothing else."""
    config = configuration(tmp_path)
    separate = {} if inbound is None else {"inbound_anchors": tmp_path / inbound}
    zone = config.zone["lab"].model_copy(update=separate)
    hospital = config.organisation["hospital"].model_copy(update={"anchors": tmp_path / "others.pem", **separate})
    changed = config.model_copy(update={"zone": {"lab": zone}, "organisation": {"hospital": hospital}})
    for circle, usual in zip(drawn(changed), ("anchors.pem", "others.pem"), strict=True):
        assert all(circle.rules(purpose).anchors is FILES[usual] for purpose in OUTWARDS)
        assert all(circle.rules(purpose).anchors is FILES[inbound or usual] for purpose in INWARDS)
