"""What each recipient of an outbound mail gets: what policy asks, what the mail already is, which certificates there are."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from gateway.config.model import Config, Protection
from gateway.flow.already import Already
from gateway.flow.copies import Decision, Make
from gateway.flow.evidence import Unusable, Usable
from gateway.mail.address import Address
from gateway.mail.envelope import Mail, Recipient
from gateway.mail.message import Header
from gateway.outcome import Defer, GatewayError, Hold, Reason, Refuse
from gateway.policy import Known, Plan, Undecided, plan, without_certificate
from gateway.smime.certificate import identified

LOOKUPS: Final = 16  # recipients of one mail whose certificates are looked for at once

Ending = Refuse | Hold | Defer


class RecipientEvidence(Protocol):
    """Finds the certificate to encrypt to."""

    async def recipient(self, organisation: str, zone: str | None, address: Address, at: int, /) -> Usable | Unusable:
        """It, or why there is none."""


async def decide(
    config: Config, evidence: RecipientEvidence, mail: Mail, header: Header, already: Already, at: int
) -> list[tuple[Recipient, Decision | Ending]]:
    """For each recipient of ``mail`` what it gets, or how it ends without a copy. ``at`` in microseconds UTC."""
    gate = asyncio.Semaphore(LOOKUPS)

    async def one(recipient: Recipient) -> tuple[Recipient, Decision | Ending]:
        planned = _plan(config, mail, header, recipient)
        wanted = _wanted(planned, already, recipient) if isinstance(planned, Plan) else planned
        if isinstance(planned, Plan) and isinstance(wanted, Decision) and wanted.make.encrypt:
            async with gate:
                found = await _certificate(evidence, mail.arrival.organisation, planned, recipient, at)
            if isinstance(found, Unusable):
                return recipient, _without_certificate(planned, recipient, found)
            return recipient, Decision(recipient, planned, wanted.make, found)
        return recipient, wanted

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(recipient)) for recipient in mail.envelope.recipients]
    return [task.result() for task in asked]


def _plan(config: Config, mail: Mail, header: Header, recipient: Recipient) -> Plan | Ending:
    arrival, sender = mail.arrival, mail.envelope.sender
    known = Known(
        arrival.organisation, arrival.direction, sender, recipient.address, header, client=arrival.client, zone=arrival.zone
    )
    planned = plan(config, known)
    if isinstance(planned, Undecided):
        return Hold(Reason.POLICY_HOLD, "policy cannot decide although the header is known")
    return planned


def _wanted(planned: Plan, already: Already, recipient: Recipient) -> Decision | Ending:
    """What the rule asks that the sender has not done himself."""
    if already is Already.ENCRYPTED:
        return Decision(recipient, planned, Make(protected=True), kept=True)
    if planned.protection is Protection.UNPROTECTED:
        return Decision(recipient, planned, Make())
    encrypt = planned.protection is not Protection.SIGN
    if planned.protection is Protection.ENCRYPT or already is Already.SIGNED:
        return Decision(recipient, planned, Make(encrypt=encrypt, protected=encrypt), kept=not encrypt)
    if planned.sign_key is None:
        return Defer(Reason.KEY_UNAVAILABLE, f"rule {planned.rule}: no signing key")
    return Decision(recipient, planned, Make(planned.sign_key, encrypt, protected=encrypt))


async def _certificate(
    evidence: RecipientEvidence, organisation: str, planned: Plan, recipient: Recipient, at: int
) -> bytes | Unusable:
    try:
        found = await evidence.recipient(organisation, planned.zone, recipient.address, at)
        if isinstance(found, Usable):
            identified(found.certificate)  # a key that we do not encrypt to is as good as none
            return found.certificate
    except GatewayError as error:
        return Unusable(error.reason, error.detail)
    return found


def _without_certificate(planned: Plan, recipient: Recipient, found: Unusable) -> Decision | Ending:
    """What the rule says about a recipient to whom nothing can be encrypted."""
    ending = without_certificate(planned, found.reason, found.detail)
    return Decision(recipient, planned, Make(), reason=found.reason) if ending is None else ending
