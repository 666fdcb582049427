"""Which rule holds for a mail. Pure; the actions of rules are ``policy``."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.config.model import Config, Rule
from gateway.mail.address import Address, normal_domain, normal_local
from gateway.mail.envelope import Direction
from gateway.mail.message import Field, Header

_PIECE: Final = 1000


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


def matching(config: Config, known: Known, zone: str | None) -> tuple[list[Rule], bool]:
    """The rules of which one decides, in order, and whether one of them certainly does.

    There are several, or an uncertain one, only where a trigger waits for the header. ``zone`` is the recipient's; for inbound
    mail that of the peer which brought it.
    """
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
        and (not when.sender or (known.sender is not None and any(matches(text, known.sender) for text in when.sender)))
        and (not when.recipient or any(matches(text, known.recipient) for text in when.recipient))
    )


def _triggered(rule: Rule, header: Header) -> bool:
    trigger, subject = rule.when.header, rule.when.subject
    if trigger is not None and not any(_contains(field, trigger.contains) for field in header.all(trigger.name)):
        return False
    return subject is None or any(_contains(field, subject) for field in header.all("Subject"))


def _contains(field: Field, part: str) -> bool:
    """Whether a reader finds ``part`` in ``field``: case, and how an accent or a space was typed, make no difference to him."""
    wanted = _folded(part)
    return any(wanted in _folded(reading) for reading in field.readings)


def _folded(text: str) -> str:
    """By pieces: accents, one upon the other, take time that grows with the square."""
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", piece).casefold()) for piece in pieces)


@lru_cache(maxsize=8192)
def _pattern(text: str) -> tuple[str, str]:
    """The local part (as compared; "" for any) and the domain (with a leading dot for any domain below it) of a pattern."""
    local, _, domain = text.rpartition("@")
    below = domain.startswith("*.")
    return normal_local(local), ("." if below else "") + normal_domain(domain.removeprefix("*."))


def matches(pattern: str, address: Address) -> bool:
    """Whether ``address`` is the one, or among those, that ``pattern`` (local@domain, @domain, @*.domain) names."""
    local, domain = _pattern(pattern)
    if local and local != normal_local(address.local):
        return False
    return address.domain.endswith(domain) if domain.startswith(".") else address.domain == domain
