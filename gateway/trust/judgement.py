"""What ``judge`` answers, and for what purpose it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.outcome import Reason


class Purpose(StrEnum):
    """What a certificate is to be believed for; each has its own rules."""

    SMIME_SIGNER = "smime-signer"
    SMIME_RECIPIENT = "smime-recipient"
    GATEWAY_PEER = "gateway-peer"


class Assurance(StrEnum):
    """On whose word an identity stands, best first."""

    ZONE = "zone"
    PINNED = "pinned"
    PUBLIC_CA = "public-ca"
    HARVESTED = "harvested"


@dataclass(frozen=True, slots=True)
class Trusted:
    """Believed. ``path`` is DER, anchor first, leaf last; ``marks`` are reasons that do not deny trust (REVOCATION_UNKNOWN
    under ``soft``).
    """

    path: tuple[bytes, ...]
    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Distrusted:
    """Not believed, and why. ``detail`` is for the administrator."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """Cannot say before these URLs (CRLs) have been fetched, or have failed and stand in the evidence as failed."""

    urls: tuple[str, ...]


Judgement = Trusted | Distrusted | Needs
