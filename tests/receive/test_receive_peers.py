"""A peer of a zone is who its certificate says, once the chain is believed; the configuration of the moment decides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.outcome import Defer, Reason, Refuse
from gateway.receive.peers import Client, ZonePeers
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from tests.receive.gatehouse import AT, Pki, configuration


@dataclass
class Judge:
    """Gives one answer, or another about clients, and remembers what it was asked."""

    answer: Trusted | Distrusted
    as_client: Distrusted | None = None
    asked: list[tuple[str, Purpose, int]] = field(default_factory=list)

    async def peer(
        self, zone: str, _chain: Sequence[bytes], purpose: Purpose, at: int, _stapled: bytes = b"", /
    ) -> Trusted | Distrusted:
        self.asked.append((zone, purpose, at))
        return self.as_client if self.as_client is not None and purpose is Purpose.GATEWAY_CLIENT else self.answer


async def test_a_believed_certificate_with_a_listed_name(tmp_path: Path, pki: Pki) -> None:
    """It is judged as what it is: the certificate of a client where the peer came to us, of a server where we went to it."""
    judge, config = Judge(Trusted(())), configuration(tmp_path)
    peers = ZonePeers(judge)
    assert await peers.client(config, "lab", [pki.laboratory.der], AT) == Client("laboratory")
    assert await peers.server(config, "lab", [pki.laboratory.der], AT) == "laboratory"
    assert judge.asked == [("lab", Purpose.GATEWAY_CLIENT, AT), ("lab", Purpose.GATEWAY_SERVER, AT)]


async def test_a_believed_certificate_of_nobody(tmp_path: Path, pki: Pki) -> None:
    answer = await ZonePeers(Judge(Trusted(()))).client(configuration(tmp_path), "lab", [pki.outsider.der], AT)
    assert isinstance(answer, Refuse)
    assert answer.reason is Reason.PEER_UNKNOWN


@pytest.mark.parametrize(
    ("reason", "ending"), [(Reason.REVOKED, Refuse), (Reason.REVOCATION_UNKNOWN, Defer), (Reason.NOT_YET_VALID, Defer)]
)
async def test_a_certificate_that_is_not_believed(tmp_path: Path, pki: Pki, reason: Reason, ending: type[Refuse | Defer]) -> None:
    """Revoked is never; a list that cannot be fetched is later."""
    peers = ZonePeers(Judge(Distrusted(reason, "why")))
    for ask in (peers.client, peers.server):
        assert await ask(configuration(tmp_path), "lab", [pki.laboratory.der], AT) == ending(reason, "why")


async def test_a_reload_counts_from_the_next_question_on(tmp_path: Path, pki: Pki) -> None:
    peers, config = ZonePeers(Judge(Trusted(()))), configuration(tmp_path)
    assert await peers.client(config, "lab", [pki.laboratory.der], AT) == Client("laboratory")
    emptied = config.model_copy(update={"zone": {"lab": config.zone["lab"].model_copy(update={"peer": ()})}})
    assert isinstance(await peers.client(emptied, "lab", [pki.laboratory.der], AT), Refuse)
    gone = config.model_copy(update={"zone": {}})
    assert isinstance(await peers.client(gone, "lab", [pki.laboratory.der], AT), Refuse)


NO_CLIENT = Distrusted(Reason.EKU, "meant for servers")
ALLOWED = {"client_usage": "server-auth-allowed"}


async def test_a_servers_certificate_is_no_clients(tmp_path: Path, pki: Pki) -> None:
    """Refused, unless the peer may show it; then the answer says why it should not have been believed."""
    peers = ZonePeers(Judge(Trusted(()), as_client=NO_CLIENT))
    chain = [pki.laboratory.der]
    assert await peers.client(configuration(tmp_path), "lab", chain, AT) == Refuse(Reason.EKU, "meant for servers")
    allowing = configuration(tmp_path, peer=ALLOWED)
    assert await peers.client(allowing, "lab", chain, AT) == Client("laboratory", "meant for servers")
    assert await peers.server(configuration(tmp_path), "lab", chain, AT) == "laboratory"


@pytest.mark.parametrize("as_server", [Distrusted(Reason.EKU, "for mail"), Distrusted(Reason.REVOKED, "since yesterday")])
async def test_the_allowance_is_for_servers_certificates_alone(tmp_path: Path, pki: Pki, as_server: Distrusted) -> None:
    """What would not do for a server either does not do for a client."""
    peers = ZonePeers(Judge(as_server, as_client=NO_CLIENT))
    answer = await peers.client(configuration(tmp_path, peer=ALLOWED), "lab", [pki.laboratory.der], AT)
    assert answer == Refuse(Reason.EKU, "meant for servers")


async def test_the_allowance_is_for_that_peer_alone(tmp_path: Path, pki: Pki) -> None:
    """Another name below the same authority has none; nor is any other fault passed over."""
    config = configuration(tmp_path, peer=ALLOWED)
    servers = ZonePeers(Judge(Trusted(()), as_client=NO_CLIENT))
    assert await servers.client(config, "lab", [pki.outsider.der], AT) == Refuse(Reason.EKU, "meant for servers")
    expired = Distrusted(Reason.EXPIRED, "yesterday")
    assert await ZonePeers(Judge(Trusted(()), expired)).client(config, "lab", [pki.laboratory.der], AT) == Refuse(
        Reason.EXPIRED, "yesterday"
    )
