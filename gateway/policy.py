"""Who may send, and what becomes of a mail: ``identify`` and ``admit`` in the session, ``plan`` for each recipient.

Pure: a configuration and facts in, a decision out. ``plan`` is asked at RCPT (the header not yet known), after DATA, by the
flows and by ``explain``; it is always the same function. The page for administrators is ``docs/policy.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.config.model import Config, Key, KeyPurpose, Missing, Protection, Rule
from gateway.mail.address import Address, normal_domain
from gateway.mail.envelope import Direction, NextHop, Role
from gateway.mail.message import Header, from_address
from gateway.outcome import GatewayError, Reason, Refuse

DEFAULT_ZONE: Final = "default-zone"
DEFAULT_OUTSIDE: Final = "default-outside"
DEFAULT_UNPROTECTED: Final = "default-outside-unprotected"
DEFAULT_INBOUND: Final = "default-inbound"
REPORT: Final = "report-unprotected"


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


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one recipient's copy of a mail. ``sender`` is the reverse-path, ``header`` None before DATA.

    ``client`` is the inside client that brought the mail, ``zone`` the zone whose peer did: both as in ``Arrival``.
    """

    organisation: str
    direction: Direction
    sender: Address | None
    recipient: Address
    header: Header | None
    client: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``rule`` is its name, ``zone`` that of the recipient, ``sign_key`` a key's name in the configuration.

    ``sign_key`` is None where nothing is signed, and as long as the header is not known: the From chooses the key. Inbound,
    ``protection`` UNPROTECTED means that the mail is left alone, anything else that it is opened and judged.
    """

    rule: str
    protection: Protection
    missing: Missing
    hop: NextHop
    zone: str | None = None
    sign_key: str | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The header must be known first. ``could_be`` is everything it may still become."""

    could_be: tuple[Plan | Refuse, ...]


def identify(config: Config, listener: str, address: str, tls: str, peer: str | None) -> Speaker | Refuse:
    """Who speaks on ``listener`` from ``address``. ``peer`` is the zone peer its certificate was matched to, if any.

    The addresses in the mail have no say in this.
    """
    place = config.listener.get(listener)
    if place is None:
        return Refuse(Reason.CLIENT_UNKNOWN, f"listener {listener} is no longer configured")
    match place.role:
        case Role.INSIDE:
            client = _client_at(config, address)
            if client is None:
                return Refuse(Reason.CLIENT_UNKNOWN, f"{address} is in the networks of no client")
            return Speaker(listener, place.role, address, tls, config.client[client].organisation, client)
        case Role.ZONE:
            if not tls:
                return Refuse(Reason.TLS_REQUIRED, f"listener {listener} is for zone peers")
            if peer is None:
                return Refuse(Reason.PEER_UNKNOWN, f"{address} showed no certificate of a peer of zone {place.zone}")
            return Speaker(listener, place.role, address, tls, zone=place.zone, peer=peer)
        case Role.STRANGER:
            return Speaker(listener, place.role, address, tls, place.organisation)


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


def plan(config: Config, known: Known) -> Plan | Undecided | Refuse:
    """What to do with one recipient's copy.

    With the header unknown the answer is a refusal only where no header could change it.
    """
    if known.organisation not in config.organisation:
        return Refuse(Reason.POLICY_REFUSE, f"organisation {known.organisation} is no longer configured")
    if known.direction is Direction.INBOUND:
        return _inbound(config, known)
    hop, zone = _route(config, known)
    if hop is None:
        return Refuse(Reason.NO_ROUTE, f"{known.recipient.domain} is in no zone, and {known.organisation} has no outbound route")
    if known.direction is Direction.REPORT:
        return Plan(REPORT, Protection.UNPROTECTED, Missing.REFUSE, hop, zone)
    answers = tuple(_finish(config, known, draft) for draft in _drafts(config, known, hop, zone))
    if all(isinstance(answer, Refuse) for answer in answers):
        return answers[-1]
    return answers[0] if len(set(answers)) == 1 else Undecided(answers)


def is_automatic(sender: Address | None, header: Header) -> bool:
    """Whether the mail was sent by a program: a report, an automatic reply (RFC 3834), a mailing list (RFC 2919), bulk."""
    answered = header.first("Auto-Submitted")
    if sender is None or (answered is not None and answered.text.split(";")[0].strip().lower() != "no"):
        return True
    precedence = header.first("Precedence")
    bulk = precedence is not None and precedence.text.strip().lower() in {"bulk", "list", "junk"}
    return bulk or header.first("List-Id") is not None


def _inbound(config: Config, known: Known) -> Plan | Undecided:
    hop = NextHop(config.organisation[known.organisation].mail_server)
    default = Plan(DEFAULT_INBOUND, Protection.BOTH, Missing.REFUSE, hop)
    rules, decided = _matching(config, known, known.zone)
    could_be = [Plan(rule.name, rule.protect, rule.missing, hop) for rule in rules]
    if not decided:
        could_be.append(default)
    return could_be[0] if len(could_be) == 1 else Undecided(tuple(could_be))


def _route(config: Config, known: Known) -> tuple[NextHop | None, str | None]:
    """The next hop of the recipient, and its zone. A report to a mailbox of ours goes to the mail server."""
    organisation = config.organisation[known.organisation]
    if known.direction is Direction.REPORT and known.recipient.domain in organisation.domains:
        return NextHop(organisation.mail_server), None
    found = config.peers.get(known.recipient.domain)
    if found is not None:
        zone, peer = found
        return NextHop(peer, zone), zone
    return (NextHop(organisation.outbound) if organisation.outbound else None), None


def _drafts(config: Config, known: Known, hop: NextHop, zone: str | None) -> Iterator[Plan]:
    """Every plan that may still be the one, in order; exactly one when the header is known."""
    rules, decided = _matching(config, known, zone)
    for rule in rules:
        yield Plan(rule.name, rule.protect, rule.missing, hop, zone)
    if decided:
        return
    if zone is not None:
        yield Plan(DEFAULT_ZONE, Protection.BOTH, Missing.REFUSE, hop, zone)
        return
    # Outside a zone only a certificate that names the From is shown: any other looks like a broken signature to its reader
    if known.header is None:
        personal = known.sender is not None and any(key.addresses for _, key in _sign_keys(config, known.organisation))
    else:
        author = _author(known.header)
        personal = (
            isinstance(author, Address)
            and _personal_key(config, known.organisation, author) is not None
            and not is_automatic(known.sender, known.header)
        )
    if personal:
        yield Plan(DEFAULT_OUTSIDE, Protection.SIGN, Missing.REFUSE, hop)
    if not personal or known.header is None:
        yield Plan(DEFAULT_UNPROTECTED, Protection.UNPROTECTED, Missing.REFUSE, hop)


def _finish(config: Config, known: Known, draft: Plan) -> Plan | Refuse:
    """``draft`` with its signing key, or why it cannot be signed."""
    if draft.protection not in (Protection.BOTH, Protection.SIGN):
        return draft
    keys = tuple(name for name, _ in _sign_keys(config, known.organisation))
    if not keys:
        return Refuse(Reason.KEY_UNAVAILABLE, f"{known.organisation} has no key with purpose = 'sign'")
    if known.header is None:
        return draft
    author = _author(known.header)
    if isinstance(author, Refuse):
        return author
    if author.domain not in _own_domains(config, known):
        return Refuse(
            Reason.SENDER_NOT_ALLOWED, f"From is of {author.domain}, for which {known.client or 'nobody here'} may not sign"
        )
    key = _personal_key(config, known.organisation, author) or _common_key(config, known.organisation)
    if key is None:
        return Refuse(Reason.KEY_UNAVAILABLE, f"no key of {known.organisation} is for this From or for the whole organisation")
    return Plan(draft.rule, draft.protection, draft.missing, draft.hop, draft.zone, key)


def _matching(config: Config, known: Known, zone: str | None) -> tuple[list[Rule], bool]:
    """The rules of which one decides, and whether one certainly does: several only where triggers wait for the header."""
    possible: list[Rule] = []
    for rule in config.rule:
        if not _holds(rule, known, zone):
            continue
        if rule.when.header is None and rule.when.subject is None:
            return [*possible, rule], True
        if known.header is None:
            possible.append(rule)
        elif _triggered(rule, known.header):
            return [rule], True
    return possible, False


def _holds(rule: Rule, known: Known, zone: str | None) -> bool:
    """Whether everything but the triggers holds. A rule that names no direction is about mail that leaves."""
    when = rule.when
    return (
        (when.direction or Direction.OUTBOUND) is known.direction
        and when.organisation in (None, known.organisation)
        and (when.zone is None or (zone is not None and when.zone in ("*", zone)))
        and (not when.sender or (known.sender is not None and any(_matches(text, known.sender) for text in when.sender)))
        and (not when.recipient or any(_matches(text, known.recipient) for text in when.recipient))
    )


def _triggered(rule: Rule, header: Header) -> bool:
    trigger, subject = rule.when.header, rule.when.subject
    if trigger is not None and not any(_contains(field.text, trigger.contains) for field in header.all(trigger.name)):
        return False
    return subject is None or any(_contains(field.text, subject) for field in header.all("Subject"))


def _contains(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


@lru_cache(maxsize=8192)
def _pattern(text: str) -> tuple[str, str]:
    """The local part (folded; "" for any) and the domain (with a leading dot for any domain below it) of an address pattern."""
    local, _, domain = text.rpartition("@")
    below = domain.startswith("*.")
    return local.casefold(), ("." if below else "") + normal_domain(domain.removeprefix("*."))


def _matches(pattern: str, address: Address) -> bool:
    local, domain = _pattern(pattern)
    if local and local != address.local.casefold():
        return False
    return address.domain.endswith(domain) if domain.startswith(".") else address.domain == domain


def _author(header: Header) -> Address | Refuse:
    try:
        return from_address(header)
    except GatewayError as error:
        return Refuse(error.reason, error.detail)


def _own_domains(config: Config, known: Known) -> tuple[str, ...]:
    """The domains that may stand in the From of what we sign: those of the client; without one, those of the organisation."""
    if known.client is None:
        return config.organisation[known.organisation].domains
    client = config.client.get(known.client)
    return client.may_send_for if client else ()


def _sign_keys(config: Config, organisation: str) -> Iterator[tuple[str, Key]]:
    for name, key in config.key.items():
        if key.purpose is KeyPurpose.SIGN and key.organisation == organisation and not key.retired:
            yield name, key


def _personal_key(config: Config, organisation: str, author: Address) -> str | None:
    for name, key in _sign_keys(config, organisation):
        if any(_matches(text, author) for text in key.addresses):
            return name
    return None


def _common_key(config: Config, organisation: str) -> str | None:
    return next((name for name, key in _sign_keys(config, organisation) if not key.addresses), None)


@lru_cache(maxsize=8192)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _client_at(config: Config, address: str) -> str | None:
    """The client with the narrowest network around ``address``."""
    try:
        place = ip_address(re.sub(r"%.*", "", address))
    except ValueError:
        return None
    if isinstance(place, IPv6Address) and place.ipv4_mapped is not None:
        place = place.ipv4_mapped
    best, found = -1, None
    for name, client in config.client.items():
        for text in client.networks:
            network = _network(text)
            if place in network and network.prefixlen > best:
                best, found = network.prefixlen, name
    return found
