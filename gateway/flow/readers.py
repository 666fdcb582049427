"""For which recipients of a mail its sender's own encryption is believed.

A recipient whose certificates we know must be named by one of them. Of one whose certificates we do not know no more can be known
than that there is a reader left over for him. Whoever fails gets what policy asks, as if the mail were in clear: to encrypt once
more is always safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, Protocol

from gateway.config.words import Protection
from gateway.flow.already import Encrypted
from gateway.flow.choice import Unusable, Usable
from gateway.mail.address import Address
from gateway.mail.envelope import Recipient
from gateway.outcome import GatewayError, Reason
from gateway.policy import TEMPORARY, Plan
from gateway.smime.cms import CertificateId
from gateway.smime.decrypt import names_of
from gateway.trust.ladder import Rung

LOOKUPS: Final = 16  # recipients of one mail whose certificates are looked for at once

# None of the certificates that the mail names speaks for the recipient.
_NOBODY: Final = frozenset({Reason.NO_CERTIFICATE, Reason.ADDRESS_MISMATCH})
# There is one, or there may be; that the mail does not name it then speaks against the mail. What is not valid yet nobody names.
_SOMETHING: Final = (TEMPORARY | {Reason.CERTIFICATE_AMBIGUOUS}) - {Reason.NOT_YET_VALID}


class ReaderEvidence(Protocol):
    """Finds certificates of recipients."""

    async def recipient(
        self, organisation: str, zone: str | None, address: Address, at: int, least: Rung | None, /
    ) -> Usable | Unusable:
        """The certificate to encrypt to, or why there is none."""

    async def reader(
        self,
        organisation: str,
        zone: str | None,
        address: Address,
        named: Callable[[bytes], bool],
        at: int,
        least: Rung | None,
        /,
    ) -> Usable | Unusable:
        """As ``recipient``, among those certificates (DER) alone that ``named`` picks."""


class _Standing(Enum):
    """What is known of one recipient."""

    NAMED = auto()
    PASSED_OVER = auto()  # or perhaps so: it cannot be known now, or the certificate that was named is not to be used
    UNKNOWN = auto()


async def readers_among(
    evidence: ReaderEvidence, organisation: str, encrypted: Encrypted, plans: Mapping[Recipient, Plan], at: int
) -> frozenset[Recipient]:
    """Those of ``plans`` for whom ``encrypted`` is believed. ``at`` in microseconds UTC.

    Where there are fewer readers left over than recipients of whom nothing is known, it is believed for none of these. No
    certificate is asked for where the plan does not encrypt, nor for what names no certificates.
    """
    found: set[CertificateId] = set()

    def named(certificate: bytes) -> bool:
        try:
            names = encrypted.readers.intersection(names_of(certificate))
        except GatewayError:
            return False  # what we cannot read, nobody is named by
        found.update(names)
        return bool(names)

    gate = asyncio.Semaphore(LOOKUPS)

    async def one(recipient: Recipient, planned: Plan) -> _Standing:
        if not encrypted.readers or planned.protection not in (Protection.BOTH, Protection.ENCRYPT):
            return _Standing.UNKNOWN
        async with gate:
            return await _standing(evidence, organisation, planned, recipient.address, named, at)

    async with asyncio.TaskGroup() as tasks:
        asked = {recipient: tasks.create_task(one(recipient, planned)) for recipient, planned in plans.items()}
    standings = {recipient: task.result() for recipient, task in asked.items()}
    unknown = {recipient for recipient, standing in standings.items() if standing is _Standing.UNKNOWN}
    left_over = len(encrypted.readers - found) + encrypted.unnamed
    believed = {recipient for recipient, standing in standings.items() if standing is _Standing.NAMED}
    return frozenset(believed | unknown if len({each.address.key for each in unknown}) <= left_over else believed)


async def _standing(
    evidence: ReaderEvidence, organisation: str, planned: Plan, address: Address, named: Callable[[bytes], bool], at: int
) -> _Standing:
    try:
        found = await evidence.reader(organisation, planned.zone, address, named, at, planned.least)
        if isinstance(found, Usable):
            return _Standing.NAMED
        if found.reason not in _NOBODY:
            return _Standing.PASSED_OVER
        other = await evidence.recipient(organisation, planned.zone, address, at, planned.least)
    except GatewayError:
        return _Standing.PASSED_OVER
    return _Standing.PASSED_OVER if isinstance(other, Usable) or other.reason in _SOMETHING else _Standing.UNKNOWN
