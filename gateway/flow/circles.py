"""Circles of trust: those who are believed on the word of the same anchors. A zone is one; the outside, for each organisation,
is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.model import Config
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Assurance, Revocation
from gateway.trust.sources import Directory
from gateway.trust.zone import Peer, Peers


@dataclass(frozen=True, slots=True)
class Circle:
    """``domains`` are those an administrator bound to members of the circle; only there does an organisation certificate speak
    for everyone. Outside of zones there are none. ``directories`` are asked in order.
    """

    anchors: Anchors
    assurance: Assurance
    revocation: Revocation
    zone: str | None = None
    directories: tuple[Directory, ...] = ()
    domains: frozenset[str] = frozenset()
    peers: Peers = field(default_factory=lambda: Peers(()))


@dataclass(frozen=True, slots=True)
class Circles:
    """By the names of the configuration. An organisation without anchors believes nobody outside its zones: it has no circle."""

    zones: Mapping[str, Circle]
    organisations: Mapping[str, Circle]


def draw_circles(config: Config, directories: Mapping[str, Directory], read_anchors: Callable[[Path], Anchors]) -> Circles:
    """The circles of ``config``, with an adapter for each of its directories. Raises what ``read_anchors`` raises."""
    zones = {
        name: Circle(
            read_anchors(zone.anchors),
            Assurance.ZONE,
            Revocation(zone.revocation),
            name,
            tuple(directories[directory] for directory in zone.directories),
            frozenset(domain for peer in zone.peer for domain in peer.domains),
            Peers(Peer(peer.name, peer.names, peer.dn) for peer in zone.peer),
        )
        for name, zone in config.zone.items()
    }
    organisations = {
        name: Circle(
            read_anchors(organisation.anchors),
            Assurance.PUBLIC_CA,
            Revocation(organisation.revocation),
            directories=tuple(directories[directory] for directory in organisation.directories),
        )
        for name, organisation in config.organisation.items()
        if organisation.anchors is not None
    }
    return Circles(zones, organisations)
