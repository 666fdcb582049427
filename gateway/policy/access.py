"""Who speaks in a session, and for whom and to whom it may send."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.config.model import Config
from gateway.config.users import Hashed
from gateway.mail.address import Address
from gateway.mail.envelope import Direction, Role
from gateway.outcome import Reason, Refuse


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who is at the other end of a session. ``address`` is the network address, ``tls`` the protocol and cipher or "" in clear.

    An ``inside`` speaker has a ``client`` and its ``organisation``, a ``zone`` speaker a ``zone`` and ``peer``, a ``stranger``
    the ``organisation`` of the listener.
    """

    listener: str
    role: Role
    address: str
    tls: str
    organisation: str | None = None
    client: str | None = None
    zone: str | None = None
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A recipient may be accepted; ``organisation`` governs keys, policy and rights of this copy."""

    organisation: str
    direction: Direction


def identify(config: Config, listener: str, address: str, tls: str, peer: str | None, user: str | None = None) -> Speaker | Refuse:
    """Who speaks on ``listener`` from ``address``. ``peer`` is the zone peer its certificate was matched to, if any,
    ``user`` the name it logged in with.

    The addresses in the mail have no say in this.
    """
    place = config.listener.get(listener)
    if place is None:
        return Refuse(Reason.CLIENT_UNKNOWN, f"listener {listener} is no longer configured")
    match place.role:
        case Role.INSIDE:
            client = _client_of(config, address, user) if user is not None else _client_at(config, address)
            if client is None:
                return Refuse(Reason.CLIENT_UNKNOWN, f"{address} is in the networks of no client")
            if user is None and config.client[client].users is not None:
                return Refuse(Reason.LOGIN_REQUIRED, f"client {client} has users")
            return Speaker(listener, place.role, address, tls, config.client[client].organisation, client)
        case Role.ZONE:
            if not tls:
                return Refuse(Reason.TLS_REQUIRED, f"listener {listener} is for zone peers")
            if peer is None:
                return Refuse(Reason.PEER_UNKNOWN, f"{address} showed no certificate of a peer of zone {place.zone}")
            return Speaker(listener, place.role, address, tls, zone=place.zone, peer=peer)
        case Role.STRANGER:
            return Speaker(listener, place.role, address, tls, place.organisation)


def users_at(config: Config, listener: str, address: str) -> dict[str, Hashed]:
    """Who may log in on ``listener`` from ``address``, by name."""
    place = config.listener.get(listener)
    if place is None or place.role is not Role.INSIDE:
        return {}
    return {
        name: hashed
        for client in config.client.values()
        if client.users is not None and (not client.networks or within(address, client.networks))
        for name, hashed in client.users.by_name.items()
    }


def admit_sender(config: Config, speaker: Speaker, sender: Address | None) -> Refuse | None:
    """Whether ``speaker`` may use the reverse-path ``sender``; None means yes. The null reverse-path is that of reports."""
    match speaker.role:
        case Role.INSIDE:
            client = config.client.get(speaker.client or "")
            if client is None:
                return Refuse(Reason.CLIENT_UNKNOWN, f"client {speaker.client} is no longer configured")
            if client.require_tls and not speaker.tls:
                return Refuse(Reason.TLS_REQUIRED, f"client {speaker.client} has require_tls")
            if sender is not None and sender.domain not in client.may_send_for:
                return Refuse(Reason.SENDER_NOT_ALLOWED, f"{sender.domain} is not in may_send_for of client {speaker.client}")
        case Role.ZONE:
            zone = config.zone.get(speaker.zone or "")
            domains = {domain for peer in zone.peer if peer.name == speaker.peer for domain in peer.domains} if zone else set()
            if sender is not None and sender.domain not in domains:
                return Refuse(Reason.DOMAIN_NOT_BOUND, f"{sender.domain} is not a domain of {speaker.zone}/{speaker.peer}")
        case Role.STRANGER:
            if sender is not None and sender.domain in config.owners:
                return Refuse(Reason.SENDER_NOT_ALLOWED, f"{sender.domain} is ours and comes from outside")
    return None


def admit(config: Config, speaker: Speaker, sender: Address | None, recipient: Address) -> Admitted | Refuse:
    """Whether ``speaker`` may send to ``recipient``, and whose mail it is then. ``sender`` has passed ``admit_sender``."""
    refused = admit_sender(config, speaker, sender)
    if refused is not None:
        return refused
    if speaker.role is Role.INSIDE and speaker.organisation is not None:
        return Admitted(speaker.organisation, Direction.OUTBOUND)
    owner = config.owners.get(recipient.domain)
    if owner is None:
        return Refuse(Reason.RELAY_DENIED, f"{recipient.domain} is a domain of no organisation")
    if speaker.role is Role.STRANGER and owner != speaker.organisation:
        return Refuse(Reason.RELAY_DENIED, f"listener {speaker.listener} takes mail for {speaker.organisation} alone")
    return Admitted(owner, Direction.INBOUND)


def within(address: str, networks: Collection[str]) -> bool:
    """Whether ``address`` is in one of ``networks``."""
    place = _place(address) if networks else None
    return place is not None and any(place in _network(text) for text in networks)


@lru_cache(maxsize=8192)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


@lru_cache(maxsize=8192)
def _place(address: str) -> IPv4Address | IPv6Address | None:
    try:
        place = ip_address(re.sub(r"%.*", "", address))
    except ValueError:
        return None
    return place.ipv4_mapped or place if isinstance(place, IPv6Address) else place


def _client_of(config: Config, address: str, user: str) -> str | None:
    """The client with the user ``user``, where it may speak from ``address``: a name is one client's alone."""
    for name, client in config.client.items():
        if client.users is not None and user in client.users.by_name:
            return name if not client.networks or within(address, client.networks) else None
    return None


def _client_at(config: Config, address: str) -> str | None:
    """The client with the narrowest network around ``address``, else one that is known by its login alone."""
    place = _place(address)
    if place is None:
        return None
    best, found = -1, None
    for name, client in config.client.items():
        if best < 0 and not client.networks:
            found = name
        for text in client.networks:
            network = _network(text)
            if place in network and network.prefixlen > best:
                best, found = network.prefixlen, name
    return found
