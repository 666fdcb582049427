"""What an unknown revocation status means for one purpose, where that is not what it means for the others."""

from __future__ import annotations

from gateway.config.section import Section
from gateway.config.words import Revocation


class RevocationOf(Section):
    """``revocation_of``: for whom signs what comes in, and for whom we encrypt to; None: as ``revocation`` says."""

    signer: Revocation | None = None
    reader: Revocation | None = None


class ZoneRevocationOf(RevocationOf):
    """In a zone its peers, too."""

    peer: Revocation | None = None
