"""What each recipient of an outbound mail gets: what policy asks, what the mail already is, which certificates there are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from gateway.config.model import Config, Protection
from gateway.config.words import Mode
from gateway.flow.already import Already, Encrypted, Signed
from gateway.flow.choice import Unusable, Usable
from gateway.flow.copies import Decision, Make
from gateway.flow.readers import LOOKUPS, ReaderEvidence, readers_among
from gateway.mail.address import Address
from gateway.mail.compose import is_layer
from gateway.mail.confidentiality import NOT_PROTECTED
from gateway.mail.envelope import Mail, Recipient
from gateway.mail.message import Header
from gateway.outcome import Defer, GatewayError, Hold, Reason, Refuse
from gateway.policy import Chosen, Known, Plan, Undecided, choose, plan, without_certificate
from gateway.smime.algorithms import ContentCipher
from gateway.smime.capabilities import Capabilities

Ending = Refuse | Hold | Defer


class KnownCapabilities(Protocol):
    """Remembers what programs said of themselves."""

    async def capabilities(self, organisation: str, address: Address, /) -> Capabilities | None:
        """What the program of ``address`` said last to ``organisation``; None where that is not known."""


async def decide(
    config: Config, evidence: ReaderEvidence, known: KnownCapabilities, mail: Mail, header: Header, already: Already, at: int
) -> list[tuple[Recipient, Decision | Ending]]:
    """For each recipient of ``mail`` what it gets, or how it ends without a copy. ``at`` in microseconds UTC."""
    planned = [(recipient, _plan(config, mail, header, recipient)) for recipient in mail.envelope.recipients]
    if any(isinstance(asked, Plan) and asked.headers != NOT_PROTECTED for _, asked in planned) and is_layer(header.before_text):
        planned = [(each, replace(asked, headers=NOT_PROTECTED) if isinstance(asked, Plan) else asked) for each, asked in planned]
    readers: frozenset[Recipient] = frozenset()
    if isinstance(already, Encrypted):
        plans = {recipient: each for recipient, each in planned if isinstance(each, Plan)}
        readers = await readers_among(evidence, mail.arrival.organisation, already, plans, at)
    gate = asyncio.Semaphore(LOOKUPS)

    async def one(recipient: Recipient, asked: Plan | Ending) -> tuple[Recipient, Decision | Ending]:
        if not isinstance(asked, Plan):
            return recipient, asked
        wanted = _wanted(asked, already, recipient, is_reader=recipient in readers)
        if isinstance(wanted, Decision) and wanted.make.cipher is not None:
            async with gate:
                found = await find_reader(config, evidence, known, mail.arrival.organisation, asked, recipient.address, at)
            if isinstance(found, Unusable):
                wanted = _without_certificate(asked, recipient, found)
            else:
                usable, chosen = found
                make = wanted.make if chosen.cipher is wanted.make.cipher else replace(wanted.make, cipher=chosen.cipher)
                wanted = replace(wanted, make=make, found=usable, chosen=chosen)
        return recipient, observed(recipient, asked, wanted) if asked.mode is Mode.OBSERVE else wanted

    if len(planned) == 1:
        return [await one(*planned[0])]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(recipient, asked)) for recipient, asked in planned]
    return [task.result() for task in running]


def observed(recipient: Recipient, planned: Plan, wanted: Decision | Ending) -> Decision:
    """What becomes of a recipient under a rule that only observes: the mail as it came, and what ``wanted`` would have been.

    What the sender had done enough for himself leaves the same either way, and there is nothing to observe.
    """
    if not isinstance(wanted, Decision):
        return Decision(recipient, planned, Make(), reason=wanted.reason, would=type(wanted).__name__.lower())
    if wanted.kept:
        return wanted
    would = planned.protection if wanted.make != Make() else Protection.UNPROTECTED
    return Decision(recipient, planned, Make(), reason=wanted.reason, would=would)


def _plan(config: Config, mail: Mail, header: Header, recipient: Recipient) -> Plan | Ending:
    arrival, sender = mail.arrival, mail.envelope.sender
    known = Known(
        arrival.organisation, arrival.direction, sender, recipient.address, header, client=arrival.client, zone=arrival.zone
    )
    planned = plan(config, known)
    if isinstance(planned, Undecided):
        return Hold(Reason.POLICY_HOLD, "policy cannot decide although the header is known")
    return planned


def _wanted(planned: Plan, already: Already, recipient: Recipient, *, is_reader: bool) -> Decision | Ending:
    """What the rule asks that the sender has not done himself. ``is_reader``: of what he encrypted himself.

    The cipher is only one until the recipient's certificate is known.
    """
    if planned.refusal is not None:
        return planned.refusal
    if is_reader:
        return Decision(recipient, planned, Make(protected=True), kept=True)
    if planned.protection is Protection.UNPROTECTED:
        return Decision(recipient, planned, Make())
    encrypt = planned.protection is not Protection.SIGN
    cipher = ContentCipher.AES256_CBC if encrypt else None
    if planned.protection is Protection.ENCRYPT or isinstance(already, Signed):
        return Decision(recipient, planned, Make(cipher=cipher, protected=encrypt, headers=planned.headers), kept=not encrypt)
    if planned.sign_key is None:
        return Defer(Reason.KEY_UNAVAILABLE, f"rule {planned.rule}: no signing key")
    make = Make(planned.sign_key, cipher, protected=encrypt, headers=planned.headers, signed_form=planned.signed_form)
    return Decision(recipient, planned, make)


async def find_reader(
    config: Config,
    evidence: ReaderEvidence,
    known: KnownCapabilities,
    organisation: str,
    planned: Plan,
    address: Address,
    at: int,
) -> tuple[Usable, Chosen] | Unusable:
    """The certificate of ``address`` and how it is encrypted to by it. One to which we do not encrypt is as good as none."""
    try:
        found = await evidence.recipient(organisation, planned.zone, address, at, planned.least)
        if isinstance(found, Unusable):
            return found
        announced = await known.capabilities(organisation, address)
        return found, choose(config, organisation, address, found.certificate, announced)
    except GatewayError as error:
        return Unusable(error.reason, error.detail)


def _without_certificate(planned: Plan, recipient: Recipient, found: Unusable) -> Decision | Ending:
    """What the rule says about a recipient to whom nothing can be encrypted."""
    ending = without_certificate(planned, found.reason, found.detail)
    return Decision(recipient, planned, Make(), reason=found.reason) if ending is None else ending
