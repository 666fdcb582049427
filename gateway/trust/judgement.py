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


class Revocation(StrEnum):
    """What an unknown revocation status means: never trusted, trusted but marked, not asked at all."""

    HARD = "hard"
    SOFT = "soft"
    UNSAFE_OFF = "unsafe_off"


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
    """Cannot say before these URLs (CRLs) have been fetched, or have failed and stand in the evidence as failed.

    ``issuers`` has, place by place, the DER of the certificate that must have signed the CRL: what somebody else signed is
    not worth keeping. Every URL stands in a certificate that leads to an anchor.
    """

    urls: tuple[str, ...]
    issuers: tuple[bytes, ...]


Judgement = Trusted | Distrusted | Needs
