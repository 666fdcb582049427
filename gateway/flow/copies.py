"""Which recipients of a mail share one copy of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.flow.besides import Besides
from gateway.flow.choice import Usable
from gateway.mail.address import MAX_ADDRESS, AddressError, parse_address
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection
from gateway.mail.envelope import NextHop, Recipient
from gateway.mail.message import Header
from gateway.outcome import Reason
from gateway.policy import Chosen, Plan
from gateway.smime.algorithms import ContentCipher
from gateway.smime.message import SignedForm
from gateway.smime.recipients import Reader

_NAMED_IN: Final = ("To", "Cc", "Resent-To", "Resent-Cc")
_BETWEEN: Final = re.compile(r'[\s<>(),;:"]+')


@dataclass(frozen=True, slots=True)
class Make:
    """What a copy is made with: signed by ``sign_key`` and encrypted by ``cipher``, each or both; with neither its bytes stay as
    they came.

    ``headers``: what becomes of its header fields. ``protected``: nobody on the way can read it, by our work or by the sender's.
    """

    sign_key: str | None = None
    cipher: ContentCipher | None = None
    protected: bool = False
    headers: HeaderProtection = NOT_PROTECTED
    signed_form: SignedForm = SignedForm.CLEAR

    @property
    def changes(self) -> bool:
        """Whether its bytes are others than came."""
        return self.sign_key is not None or self.cipher is not None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one recipient gets. ``found``, the certificate, and ``chosen`` are there exactly where it is encrypted.

    ``kept``: the sender had done himself what the rule asks. ``reason``: why a rule that asks for more let it out unprotected.
    ``would``: what a rule that only observes would have done, a protection or the name of an ending, with ``reason`` why.
    """

    recipient: Recipient
    plan: Plan
    make: Make
    found: Usable | None = None
    chosen: Chosen | None = None
    kept: bool = False
    reason: Reason | None = None
    would: str = ""

    @property
    def certificate(self) -> bytes | None:
        """The one it is encrypted to (DER)."""
        return None if self.found is None else self.found.certificate


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy and whom it is for. All agree in ``make`` and ``hop``. ``besides`` are others who can read it."""

    make: Make
    hop: NextHop
    decisions: tuple[Decision, ...]
    besides: tuple[Besides, ...] = ()

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """Whom it is for."""
        return tuple(decision.recipient for decision in self.decisions)

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Whom it is encrypted to, each certificate once."""
        found: dict[bytes, Reader] = {}
        for decision in self.decisions:
            if decision.certificate is not None and decision.chosen is not None:
                found.setdefault(decision.certificate, decision.chosen.reader(decision.certificate))
        for each in self.besides:
            found.setdefault(each.reader.certificate, each.reader)
        return tuple(found.values())


def copies_of(decisions: Sequence[Decision], header: Header) -> tuple[Copy, ...]:
    """``decisions`` put together by what is made and where it goes.

    What is encrypted lists its readers: who stands in no To or Cc of ``header`` gets a copy alone, so that no other learns of it.
    """
    if len(decisions) == 1:
        return (Copy(decisions[0].make, decisions[0].plan.hop, tuple(decisions)),)
    named = named_in(header) if any(decision.make.cipher for decision in decisions) else frozenset()
    groups: dict[tuple[Make, NextHop, str | None, str], list[Decision]] = {}
    for decision in decisions:
        address = decision.recipient.address.key
        alone = address if decision.make.cipher is not None and address not in named else ""
        key = (decision.make, decision.plan.hop, decision.plan.zone, alone)
        groups.setdefault(key, []).append(decision)
    return tuple(Copy(make, hop, tuple(members)) for (make, hop, _, _), members in groups.items())


def named_in(header: Header) -> frozenset[str]:
    """The addresses, by their keys, that stand anywhere in To and Cc. What is not recognised there is only taken for unnamed."""
    found: set[str] = set()
    for name in _NAMED_IN:
        for field in header.all(name):
            for word in _BETWEEN.split(field.value.decode("utf-8", "replace")):
                if "@" in word and len(word) <= MAX_ADDRESS:
                    try:
                        found.add(parse_address(word).key)
                    except AddressError:
                        continue
    return frozenset(found)
