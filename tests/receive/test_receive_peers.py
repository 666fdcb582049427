"""A peer of a zone is who its certificate says, once the chain is believed; the configuration of the moment decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.outcome import Defer, Reason, Refuse
from gateway.receive.peers import ZonePeers
from gateway.trust.judgement import Distrusted, Trusted
from tests.receive.gatehouse import AT, Pki, configuration


@dataclass
class Judge:
    """Gives one answer, and remembers what it was asked."""

    answer: Trusted | Distrusted
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def peer(self, zone: str, _chain: Sequence[bytes], at: int, /) -> Trusted | Distrusted:
        self.asked.append((zone, at))
        return self.answer


async def test_a_believed_certificate_with_a_listed_name(tmp_path: Path, pki: Pki) -> None:
    judge = Judge(Trusted(()))
    peers = ZonePeers(judge)
    assert await peers.who(configuration(tmp_path), "lab", [pki.laboratory.der], AT) == "laboratory"
    assert judge.asked == [("lab", AT)]


async def test_a_believed_certificate_of_nobody(tmp_path: Path, pki: Pki) -> None:
    answer = await ZonePeers(Judge(Trusted(()))).who(configuration(tmp_path), "lab", [pki.outsider.der], AT)
    assert isinstance(answer, Refuse)
    assert answer.reason is Reason.PEER_UNKNOWN


@pytest.mark.parametrize(
    ("reason", "ending"), [(Reason.REVOKED, Refuse), (Reason.REVOCATION_UNKNOWN, Defer), (Reason.NOT_YET_VALID, Defer)]
)
async def test_a_certificate_that_is_not_believed(tmp_path: Path, pki: Pki, reason: Reason, ending: type[Refuse | Defer]) -> None:
    """Revoked is never; a list that cannot be fetched is later."""
    answer = await ZonePeers(Judge(Distrusted(reason, "why"))).who(configuration(tmp_path), "lab", [pki.laboratory.der], AT)
    assert answer == ending(reason, "why")


async def test_a_reload_counts_from_the_next_question_on(tmp_path: Path, pki: Pki) -> None:
    peers, config = ZonePeers(Judge(Trusted(()))), configuration(tmp_path)
    assert await peers.who(config, "lab", [pki.laboratory.der], AT) == "laboratory"
    emptied = config.model_copy(update={"zone": {"lab": config.zone["lab"].model_copy(update={"peer": ()})}})
    assert isinstance(await peers.who(emptied, "lab", [pki.laboratory.der], AT), Refuse)
    gone = config.model_copy(update={"zone": {}})
    assert isinstance(await peers.who(gone, "lab", [pki.laboratory.der], AT), Refuse)
