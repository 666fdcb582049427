"""The ladder of trust: on whose word a certificate is taken for somebody's, best first. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from gateway.outcome import Reason
from gateway.trust.certificate import facts
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from gateway.trust.suitability import unusable


class Rung(StrEnum):
    """Where a certificate stands, best first."""

    PINNED = "pinned"
    """An administrator bound it to the address."""
    VERIFIED = "verified"
    """It leads to an anchor, or the domain of the address names it and DNSSEC vouches for that."""
    DISCOVERED = "discovered"
    """It stands where an administrator said that certificates are, and nobody between could have put another in its place."""
    HARVESTED = "harvested"
    """It came with verified mail, and leads to no anchor any more."""
    UNVERIFIED = "unverified"
    """It was found."""

    def reaches(self, least: Rung) -> bool:
        """Whether this is as good as ``least``, or better."""
        return self.steps <= least.steps

    @property
    def steps(self) -> int:
        """How far below the best."""
        return _STEPS[self]


_STEPS: Final = {rung: steps for steps, rung in enumerate(Rung)}


class Way(StrEnum):
    """How a certificate came to us, which says who could have put another in its place."""

    PINNED = "pinned"
    """From an administrator, for this very address."""
    DNSSEC = "dnssec"
    """From the domain itself, as a validating resolver says."""
    GUARDED = "guarded"
    """From a place an administrator named, on this machine or over TLS."""
    HARVESTED = "harvested"
    """With verified mail."""
    OPEN = "open"
    """In a way that others could have changed."""


_UNCHAINED: Final = {
    Way.PINNED: Rung.PINNED,
    Way.DNSSEC: Rung.VERIFIED,
    Way.GUARDED: Rung.DISCOVERED,
    Way.HARVESTED: Rung.HARVESTED,
    Way.OPEN: Rung.UNVERIFIED,
}
_PIN_OUTRANKS: Final = frozenset({Reason.CHAIN, Reason.REVOCATION_UNKNOWN})


class AfterInvalid(StrEnum):
    """What it means that a source has certificates of an address, and not one is valid."""

    STOP = "stop"
    """That is the answer: whoever keeps the good ones from us must not choose where we look next."""
    NEXT = "next"
    """The next source is asked."""


def place(answer: Trusted | Distrusted, certificate: bytes, way: Way, purpose: Purpose, at: int) -> Rung | None:
    """Where ``certificate`` (DER) stands that came by ``way``, when ``judge`` said ``answer`` at ``at`` (microseconds UTC).

    None: nowhere. What is revoked, expired, weak or for something else stands nowhere, whoever handed it to us; only that nobody
    leads to it may be made up for by how it came. A pin makes up for a publisher of revocations who says nothing, too.
    """
    if isinstance(answer, Trusted):
        return Rung.PINNED if way is Way.PINNED else Rung.VERIFIED
    if answer.reason is not Reason.CHAIN and not (way is Way.PINNED and answer.reason in _PIN_OUTRANKS):
        return None
    return None if unusable(facts(certificate), purpose, at) is not None else _UNCHAINED[way]
