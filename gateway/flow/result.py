"""What a flow made of one mail: every recipient of the mail stands in exactly one of the four groups."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mail.envelope import Recipient
from gateway.outcome import Reason
from gateway.spool.store import Held, Mail


@dataclass(frozen=True, slots=True)
class Deferred:
    """Recipients to be tried again. ``detail`` is for the administrator."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Recipients this mail will never reach; the sender is told. ``detail`` is for the administrator."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Flowed:
    """``outputs`` are new mails for ``Stage.DELIVERY``; the other three stay with the input, by what becomes of them."""

    outputs: tuple[Mail, ...] = ()
    held: tuple[Held, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    refused: tuple[Refused, ...] = ()
