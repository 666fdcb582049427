"""What an event is, and the port of whoever takes note of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.mail.identifier import MailId


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened. ``org`` and ``mail`` are empty where the event belongs to neither."""

    org: str = ""
    mail: MailId | None = None


class Observer(Protocol):
    """Sees every event. Must not block and must not raise."""

    def see(self, event: Event, /) -> None:
        """Take note of ``event``."""
