"""Which peer of a zone a certificate is. The chain has been judged before; here the names decide, and only exact ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.outcome import Reason
from gateway.trust.certificate import CertificateError, facts
from gateway.trust.judgement import Distrusted
from gateway.trust.name import NormalName, common_names, normal_dn


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer is known: ``names`` are DNS names (lower-case A-labels) one of which its certificate shows, ``dn`` its full
    subject (RFC 4514). Where both are given both must hold; where neither is, no certificate is this peer.
    """

    name: str
    names: tuple[str, ...] = ()
    dn: str | None = None


class Peers:
    """The peers of a zone, found by DNS name and by subject. Built once for each list."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        """Raises ValueError for a ``dn`` that is none."""
        self._by_host: dict[str, list[Peer]] = {}
        self._by_dn: dict[NormalName, list[Peer]] = {}
        self._common: set[str] = set()
        for peer in peers:
            for host in peer.names:
                self._by_host.setdefault(host, []).append(peer)
                self._common.add(host)
            if peer.dn is not None:
                dn = normal_dn(peer.dn)
                self._by_dn.setdefault(dn, []).append(peer)
                self._common.update(common_names(dn))

    def match(self, certificate: bytes) -> str | Distrusted:
        """See :func:`match_peer`."""
        try:
            shown = facts(certificate)
        except CertificateError as error:
            return Distrusted(error.reason, error.detail)
        by_host = [peer for host in shown.dns_names for peer in self._by_host.get(host, ())]
        by_dn = self._by_dn.get(shown.subject_name, [])
        for peer in by_host:
            if peer.dn is None or peer in by_dn:
                return peer.name
        for peer in by_dn:
            if not peer.names:
                return peer.name
        if by_host:
            return Distrusted(Reason.DN_NOT_LISTED, f"{by_host[0].name} is listed with another subject than {shown.subject}")
        if by_dn:
            return Distrusted(Reason.PEER_UNKNOWN, f"{by_dn[0].name} is listed with DNS names that {shown.subject} does not show")
        if self._common.intersection(common_names(shown.subject_name)):
            return Distrusted(Reason.CN_ONLY_MATCH, f"only the common name of {shown.subject} is listed")
        return Distrusted(Reason.PEER_UNKNOWN, f"{shown.subject} is not listed")


def match_peer(zone: Peers, certificate: bytes) -> str | Distrusted:
    """The name of the peer that shows ``certificate`` (DER), or PEER_UNKNOWN, DN_NOT_LISTED, CN_ONLY_MATCH.

    A common name never makes a peer: it is a text the subject chose, next to names an authority checked.
    """
    return zone.match(certificate)
