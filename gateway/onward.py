"""What becomes of a mail on its way out, as events: what the worker says once a step is settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TypeVar

from gateway.deliver import HopResult
from gateway.events import MailDeferred, MailDelivered, MailFailed, MailHeld
from gateway.mail.ending import Held, Refused
from gateway.mail.envelope import Mail, Recipient
from gateway.spool.store import Waiting

E = TypeVar("E", MailDeferred, MailHeld, MailFailed)


def delivered(mail: Mail, result: HopResult) -> MailDelivered:
    """The next hop took it for one recipient."""
    return MailDelivered(
        org=mail.arrival.organisation,
        mail=mail.arrival.mail,
        parent=mail.arrival.parent,
        route=str(mail.hop),
        host=result.host,
        recipients=_people((result.recipient,)),
        tls=result.tls,
        reply=result.reply,
    )


def deferred(mail: Mail, item: Waiting) -> MailDeferred:
    """It is tried again."""
    return _stopped(MailDeferred, mail, item, until=item.next_at)


def held(mail: Mail, item: Held) -> MailHeld:
    """It waits for a person."""
    return _stopped(MailHeld, mail, item)


def failed(mail: Mail, item: Refused, told: Set[Recipient]) -> MailFailed:
    """It will never arrive. ``told`` are those of whom a report went to the sender."""
    return _stopped(MailFailed, mail, item, reported=any(recipient in told for recipient in item.recipients))


def _stopped(kind: Callable[..., E], mail: Mail, item: Waiting | Held | Refused, **more: object) -> E:
    """What is said alike of all who do not have it now."""
    return kind(
        org=mail.arrival.organisation,
        mail=mail.arrival.mail,
        parent=mail.arrival.parent,
        reason=item.reason,
        recipients=_people(item.recipients),
        detail=item.detail,
        **more,
    )


def _people(recipients: Sequence[Recipient]) -> tuple[str, ...]:
    return tuple(str(recipient.address) for recipient in recipients)
