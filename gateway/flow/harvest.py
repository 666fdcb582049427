"""What is learned from inbound mail: only from what is verified, only about its author, and only what can be put in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.flow.opening import Opened
from gateway.mail.address import Address
from gateway.outcome import GatewayError
from gateway.smime.capabilities import read_capabilities

AHEAD: Final = 5 * 60 * 1_000_000  # microseconds; a signing time beyond would keep out everything until its day has come


@dataclass(frozen=True, slots=True)
class Heard:
    """The program of ``address`` said ``capabilities`` (DER of SMIMECapabilities) at ``signed_at`` (microseconds UTC)."""

    address: Address
    capabilities: bytes
    signed_at: int


class Harvest(Protocol):
    """Remembers what programs say of themselves."""

    def learn(self, organisation: str, address: Address, capabilities: bytes, signed_at: int, /) -> None:
        """As in :class:`Heard`, said to ``organisation``. Does not block, and raises nothing."""


def heard(opened: Opened, at: int) -> Heard | None:
    """What the author of a mail said of his program, where the verdict is ``verified``. ``at`` is now, microseconds UTC."""
    signer, author = opened.signer, opened.author
    if signer is None or author is None or signer.capabilities is None or signer.time is None or signer.time > at + AHEAD:
        return None
    try:
        read_capabilities(signer.capabilities)
    except GatewayError:
        return None
    return Heard(author, signer.capabilities, signer.time)
