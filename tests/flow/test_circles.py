"""Circles as they are drawn from a configuration: whose word counts for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.model import Config
from gateway.config.revocation import RevocationOf, ZoneRevocationOf
from gateway.config.words import Revocation as Word
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


SAID = {"signer": Word.SOFT, "reader": Word.UNSAFE_OFF}


@pytest.mark.parametrize("said", [{}, SAID, SAID | {"peer": Word.SOFT}])
def test_revocation(tmp_path: Path, said: dict[str, Word]) -> None:
    """One word for every purpose, or another for some; an organisation has no peers."""
    config = configuration(tmp_path)
    zone = config.zone["lab"].model_copy(update={"revocation_of": ZoneRevocationOf.model_validate(said)})
    own = {"anchors": tmp_path / "others.pem", "revocation": Word.HARD}
    own |= {"revocation_of": RevocationOf.model_validate({each: said[each] for each in said if each != "peer"})}
    hospital = config.organisation["hospital"].model_copy(update=own)
    changed = config.model_copy(update={"zone": {"lab": zone}, "organisation": {"hospital": hospital}})
    of = {Purpose.SMIME_SIGNER: "signer", Purpose.SMIME_RECIPIENT: "reader"}
    gateways = {Purpose.GATEWAY_CLIENT: "peer", Purpose.GATEWAY_SERVER: "peer"}
    in_zone, outside = drawn(changed)
    for purpose in Purpose:
        assert in_zone.rules(purpose).revocation.value == said.get((of | gateways).get(purpose, ""), Word.HARD).value
        assert outside.rules(purpose).revocation.value == said.get(of.get(purpose, ""), Word.HARD).value
