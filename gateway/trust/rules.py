"""Rules: whom to believe, for what, and on which conditions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Purpose, Revocation

MAX_DEPTH: Final = 8
ANY_POLICY: Final = "2.5.29.32.0"


class Issuers(StrEnum):
    """Where issuers come from: the message, the directory, the anchors' list; or from where an unproven certificate says, too.

    Who made that certificate chose the place, and learns that and when somebody looks at it.
    """

    GIVEN = "given"
    FETCHED = "fetched"


@dataclass(frozen=True, slots=True)
class Policies:
    """The inputs of RFC 5280 6.1.1 (c), (e), (f), (g). ``accepted`` are policy OIDs; with ``explicit`` one of them must hold
    along the whole path.
    """

    accepted: frozenset[str] = frozenset({ANY_POLICY})
    explicit: bool = False
    inhibit_mapping: bool = False
    inhibit_any: bool = False

    @property
    def names(self) -> frozenset[str]:
        """``accepted`` in the words of the library."""
        return frozenset("any_policy" if each == ANY_POLICY else each for each in self.accepted)


ANY_POLICY_DOES: Final = Policies()


@dataclass(frozen=True, slots=True)
class Rules:
    """One set of rules. ``issuers`` says whether a missing issuer is asked for where its certificate says (AIA); ``depth`` is how
    many certificates may lie below the anchor, at most; ``grace`` is for how long a CRL or an OCSP answer counts beyond its
    nextUpdate, in microseconds.
    """

    anchors: Anchors
    purpose: Purpose
    revocation: Revocation
    policies: Policies = ANY_POLICY_DOES
    issuers: Issuers = Issuers.GIVEN
    depth: int = MAX_DEPTH
    grace: int = 0
