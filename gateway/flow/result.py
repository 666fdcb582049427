"""What a flow made of one mail: every recipient of the mail stands in exactly one of the four groups."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mail.ending import Deferred, Held, Refused
from gateway.mail.envelope import Mail


@dataclass(frozen=True, slots=True)
class Flowed:
    """``outputs`` are new mails for ``Stage.DELIVERY``; the other three stay with the input, by what becomes of them."""

    outputs: tuple[Mail, ...] = ()
    held: tuple[Held, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    refused: tuple[Refused, ...] = ()
