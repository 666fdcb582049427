"""Whether a certificate is revoked: the question, and what may be said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.outcome import Reason
from gateway.trust.certificate import CertificateFacts
from gateway.trust.judgement import Need
from gateway.trust.moment import TOLERANCE
from gateway.trust.name import NormalName
from gateway.trust.sources import AtHand


@dataclass(frozen=True, slots=True)
class Good:
    """Not revoked, says somebody who must know. ``marks`` has REVOCATION_STALE where it was said too long ago, within the grace."""

    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    """The issuer revoked the certificate, at ``since`` (microseconds UTC)."""

    since: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody says anything that counts. ``detail`` says why, "" where nobody was asked."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """To be fetched, then asked again."""

    need: Need


Status = Good | Revoked | Unknown | Wanted

Signers = Callable[[NormalName], Iterator[bytes | Wanted]]
"""The certificates (DER) of an authority of this name that may have signed a CRL, each believed under the same anchor."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is asked about: a certificate (DER and facts) of ``issuer`` (DER), which is believed."""

    der: bytes
    certificate: CertificateFacts
    issuer: bytes

    def expired_by(self, moment: int) -> bool:
        """Whether what was said at ``moment`` says nothing: authorities no longer list those that expired (RFC 5280 3.3)."""
        return moment > self.certificate.not_after + TOLERANCE


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who is heard: about ``at`` (microseconds UTC), with answers that count for ``grace`` beyond their nextUpdate."""

    signers: Signers
    at_hand: AtHand
    at: int
    grace: int = 0
