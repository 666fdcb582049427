"""Recipients of one mail that share an ending, and why. ``detail`` is always for the administrator."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mail.envelope import Recipient
from gateway.outcome import Reason


@dataclass(frozen=True, slots=True)
class Deferred:
    """Recipients to be tried again."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Recipients this mail will never reach; the sender is told."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Recipients for whom the mail waits for a person."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Delayed:
    """Recipients to be tried again, until ``until`` (microseconds UTC) at most; the sender is told."""

    recipients: tuple[Recipient, ...]
    reason: Reason
    until: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Relayed:
    """A recipient for whom ``host`` took the mail, with the words ``reply``, and will send no report of success."""

    recipient: Recipient
    host: str
    reply: str
