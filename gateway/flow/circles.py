"""Circles of trust: those who are believed on the word of the same anchors. A zone is one; the outside, for each organisation,
is another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.config.correspondents import Correspondents
from gateway.config.model import Config, Organisation, Zone
from gateway.config.revocation import RevocationOf, ZoneRevocationOf
from gateway.mail.address import Address
from gateway.policy.rules import matches
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Assurance, Need, NeedKind, Purpose, Revocation
from gateway.trust.ladder import AfterInvalid, Rung
from gateway.trust.moment import HOUR
from gateway.trust.rules import ANY_POLICY_DOES, Issuers, Policies, Rules
from gateway.trust.sources import Directory
from gateway.trust.zone import Peer, Peers


@dataclass(frozen=True, slots=True)
class Circle:
    """``domains`` are those an administrator bound to members of the circle; only there does an organisation certificate speak
    for everyone. Outside of zones there are none. ``directories`` are asked in order. ``crls`` are where an administrator says that
    CRLs are. ``inbound_anchors`` are those of people who signed what comes in, where those of whom we encrypt to are others;
    ``revocation_of`` what ``revocation`` is for some purposes, where it is not that of the others. ``least`` is the lowest
    rung from which a certificate is taken to encrypt to. ``apart`` are people looked up elsewhere.
    """

    anchors: Anchors
    assurance: Assurance
    revocation: Revocation
    zone: str | None = None
    directories: tuple[Directory, ...] = ()
    domains: frozenset[str] = frozenset()
    peers: Peers = field(default_factory=lambda: Peers(()))
    policies: Policies = ANY_POLICY_DOES
    issuers: Issuers = Issuers.GIVEN
    grace: int = 0
    crls: tuple[Need, ...] = ()
    inbound_anchors: Anchors | None = None
    revocation_of: Mapping[Purpose, Revocation] = field(default_factory=dict)
    least: Rung = Rung.VERIFIED
    after_invalid: AfterInvalid = AfterInvalid.STOP
    apart: tuple[tuple[tuple[str, ...], Circle], ...] = ()

    def around(self, address: Address) -> Circle:
        """The first part that ``address`` is in by its pattern; where there is none, the whole."""
        return next((part for patterns, part in self.apart if any(matches(each, address) for each in patterns)), self)

    def rules(self, purpose: Purpose) -> Rules:
        """How a certificate is judged for ``purpose``. Policies and issuers are those of people: a peer is listed one by one, and
        shows its whole chain (RFC 8446 4.4.2).
        """
        revocation = self.revocation_of.get(purpose, self.revocation)
        if purpose.of_gateways:
            return Rules(self.anchors, purpose, revocation, grace=self.grace)
        inbound = self.inbound_anchors if purpose is Purpose.SMIME_SIGNER else None
        anchors = self.anchors if inbound is None else inbound
        return Rules(anchors, purpose, revocation, self.policies, self.issuers, grace=self.grace)


@dataclass(frozen=True, slots=True)
class Circles:
    """By the names of the configuration. If an organisation has no anchors, nobody outside its zones is believed by a chain."""

    zones: Mapping[str, Circle]
    organisations: Mapping[str, Circle]


def draw_circles(config: Config, directories: Mapping[str, Directory], read_anchors: Callable[[Path], Anchors]) -> Circles:
    """The circles of ``config``, with an adapter for each of its directories. Raises what ``read_anchors`` raises."""
    zones = {
        name: _conditioned(
            Circle(
                read_anchors(zone.anchors),
                Assurance.ZONE,
                Revocation(zone.revocation),
                name,
                tuple(directories[directory] for directory in zone.directories),
                frozenset(domain for peer in zone.peer for domain in peer.domains),
                Peers(Peer(peer.name, peer.names, peer.dn) for peer in zone.peer),
            ),
            zone,
            read_anchors,
        )
        for name, zone in config.zone.items()
    }
    outside = {name: _outside(organisation, directories, read_anchors) for name, organisation in config.organisation.items()}
    return Circles(zones, outside)


def _outside(organisation: Organisation, directories: Mapping[str, Directory], read_anchors: Callable[[Path], Anchors]) -> Circle:
    anchors = read_anchors(organisation.anchors) if organisation.anchors is not None else Anchors(())
    places = tuple(directories[directory] for directory in organisation.directories)
    alike = Circle(anchors, Assurance.PUBLIC_CA, Revocation(organisation.revocation), directories=places)
    circle = _conditioned(alike, organisation, read_anchors)
    return replace(circle, apart=tuple((each.recipient, _part(circle, each, directories)) for each in organisation.correspondents))


def _part(circle: Circle, apart: Correspondents, directories: Mapping[str, Directory]) -> Circle:
    places = circle.directories if apart.directories is None else tuple(directories[each] for each in apart.directories)
    least, after_invalid = apart.least_trust or circle.least, apart.after_invalid or circle.after_invalid
    return replace(circle, directories=places, least=least, after_invalid=after_invalid)


def _conditioned(circle: Circle, section: Organisation | Zone, read_anchors: Callable[[Path], Anchors]) -> Circle:
    """``circle`` with what can be said of both kinds."""
    return replace(
        circle,
        policies=Policies(frozenset(section.policies), explicit=True) if section.policies else ANY_POLICY_DOES,
        issuers=section.issuers,
        grace=int(section.revocation_grace_hours * HOUR),
        crls=tuple(Need(NeedKind.CRL, url, b"") for url in section.crls),
        inbound_anchors=None if section.inbound_anchors is None else read_anchors(section.inbound_anchors),
        revocation_of=_revocation_of(section.revocation_of),
        least=section.least_trust,
        after_invalid=section.after_invalid,
    )


def _revocation_of(said: RevocationOf) -> dict[Purpose, Revocation]:
    words = {Purpose.SMIME_SIGNER: said.signer, Purpose.SMIME_RECIPIENT: said.reader}
    if isinstance(said, ZoneRevocationOf):
        words |= dict.fromkeys((Purpose.GATEWAY_CLIENT, Purpose.GATEWAY_SERVER), said.peer)
    return {purpose: Revocation(word) for purpose, word in words.items() if word is not None}
