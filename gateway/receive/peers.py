"""Who a peer of a zone is, by the certificate it showed: the chain is judged first, then the name is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.config.model import Config
from gateway.config.zone import Zone
from gateway.outcome import Defer, Reason, Refuse
from gateway.trust.judgement import Distrusted, Trusted
from gateway.trust.zone import Peer, Peers, match_peer

# What time alone may mend: a CRL that cannot be had now, and one of two clocks
_FOR_LATER: Final = frozenset({Reason.REVOCATION_UNKNOWN, Reason.NOT_YET_VALID})


class PeerEvidence(Protocol):
    """Judges a chain for a peer of a zone, with revocation."""

    async def peer(self, zone: str, chain: Sequence[bytes], at: int, /) -> Trusted | Distrusted:
        """``chain`` is DER, leaf first; ``at`` microseconds UTC."""


class ZonePeers:
    """Answers from the configuration given with each question: a peer that a reload took away is unknown at its next mail."""

    def __init__(self, evidence: PeerEvidence) -> None:
        self._evidence = evidence
        self._known: dict[str, tuple[Zone, Peers]] = {}

    async def who(self, config: Config, zone: str, chain: Sequence[bytes], at: int, /) -> str | Refuse | Defer:
        """The name of the peer of ``zone`` that showed ``chain``, or why it is none. What time may mend is for later."""
        section = config.zone.get(zone)
        if section is None:
            return Refuse(Reason.PEER_UNKNOWN, f"zone {zone} is no longer configured")
        judged = await self._evidence.peer(zone, chain, at)
        if isinstance(judged, Distrusted):
            later = judged.reason in _FOR_LATER
            return Defer(judged.reason, judged.detail) if later else Refuse(judged.reason, judged.detail)
        found = match_peer(self._peers(zone, section), chain[0])
        return Refuse(found.reason, found.detail) if isinstance(found, Distrusted) else found

    def _peers(self, name: str, section: Zone) -> Peers:
        known = self._known.get(name)
        if known is None or known[0] is not section:
            peers = Peers(Peer(peer.name, tuple(peer.names), peer.dn) for peer in section.peer)
            known = self._known[name] = (section, peers)
        return known[1]
