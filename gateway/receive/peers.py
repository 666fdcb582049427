"""Who a peer of a zone is, by the certificate it showed: the chain is judged first, then the name is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.config.model import Config
from gateway.config.words import ClientUsage
from gateway.config.zone import Zone
from gateway.outcome import Defer, Reason, Refuse
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from gateway.trust.zone import Peer, Peers, match_peer

# What time alone may mend: a CRL that cannot be had now, and one of two clocks
_FOR_LATER: Final = frozenset({Reason.REVOCATION_UNKNOWN, Reason.NOT_YET_VALID})


class PeerEvidence(Protocol):
    """Judges a chain for a peer of a zone, with revocation."""

    async def peer(
        self, zone: str, chain: Sequence[bytes], purpose: Purpose, at: int, stapled: bytes = b"", /
    ) -> Trusted | Distrusted:
        """``chain`` is DER, leaf first; ``purpose`` the side of TLS the peer is on; ``at`` microseconds UTC; ``stapled`` the OCSP
        answer it sent along (DER, not read yet), empty where it sent none.
        """


@dataclass(frozen=True, slots=True)
class Client:
    """A peer that has connected to us. ``allowed``: why its certificate is no client's, and it is let in all the same, on the
    administrator's word (``client_usage``); "" for a certificate that is one.
    """

    name: str
    allowed: str = ""


class ZonePeers:
    """Answers from the configuration given with each question: a peer that a reload took away is unknown at its next mail."""

    def __init__(self, evidence: PeerEvidence) -> None:
        self._evidence = evidence
        self._known: dict[str, tuple[Zone, Peers]] = {}

    async def server(
        self, config: Config, zone: str, chain: Sequence[bytes], at: int, stapled: bytes = b"", /
    ) -> str | Refuse | Defer:
        """The name of the peer of ``zone`` we have connected to, which showed ``chain`` and sent the OCSP answer
        ``stapled`` along, or why it is none.
        """
        found = await self._who(config, zone, chain, Purpose.GATEWAY_SERVER, at, stapled)
        return _ending(found) if isinstance(found, Distrusted) else found

    async def client(self, config: Config, zone: str, chain: Sequence[bytes], at: int, /) -> Client | Refuse | Defer:
        """The peer of ``zone`` that has connected to us and showed ``chain``, or why it is none.

        Public authorities no longer issue for clients (the Chrome Root Program forbids it). A peer that the administrator lets
        show a server's certificate is judged as one, in everything else as ever.
        """
        found = await self._who(config, zone, chain, Purpose.GATEWAY_CLIENT, at)
        if not isinstance(found, Distrusted):
            return Client(found)
        if found.reason is Reason.EKU:
            server = await self._who(config, zone, chain, Purpose.GATEWAY_SERVER, at)
            if not isinstance(server, Distrusted) and _may_show_a_servers(config.zone[zone], server):
                return Client(server, found.detail)
        return _ending(found)

    async def _who(
        self, config: Config, zone: str, chain: Sequence[bytes], purpose: Purpose, at: int, stapled: bytes = b""
    ) -> str | Distrusted:
        section = config.zone.get(zone)
        if section is None:
            return Distrusted(Reason.PEER_UNKNOWN, f"zone {zone} is no longer configured")
        judged = await self._evidence.peer(zone, chain, purpose, at, stapled)
        return judged if isinstance(judged, Distrusted) else match_peer(self._peers(zone, section), chain[0])

    def _peers(self, name: str, section: Zone) -> Peers:
        known = self._known.get(name)
        if known is None or known[0] is not section:
            peers = Peers(Peer(peer.name, tuple(peer.names), peer.dn) for peer in section.peer)
            known = self._known[name] = (section, peers)
        return known[1]


def _may_show_a_servers(section: Zone, name: str) -> bool:
    return any(peer.name == name and peer.client_usage is ClientUsage.SERVER_AUTH_ALLOWED for peer in section.peer)


def _ending(why: Distrusted) -> Refuse | Defer:
    """What time may mend is for later."""
    return (Defer if why.reason in _FOR_LATER else Refuse)(why.reason, why.detail)
