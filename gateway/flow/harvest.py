"""What is learned from inbound mail: only from what is verified, only about its author, and only what can be put in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.flow.opening import Opened
from gateway.flow.proof import Proof
from gateway.mail.address import Address
from gateway.mail.identifier import MailId
from gateway.outcome import GatewayError
from gateway.smime.capabilities import read_capabilities
from gateway.smime.certificate import encryption_key
from gateway.smime.cms import CertificateId
from gateway.smime.decrypt import names_of
from gateway.smime.preference import read_preference
from gateway.trust.along import Along
from gateway.trust.certificate import Binding, binds, facts
from gateway.trust.harvested import Harvesting, Taught
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from gateway.trust.suitability import unsuitable

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


class CertificateHarvest(Protocol):
    """Keeps the certificates of authors."""

    def teach(self, organisation: str, mail: MailId, taught: Taught, harvesting: Harvesting, /) -> None:
        """``mail`` to ``organisation`` taught this. Does not block, and raises nothing."""


class ShownEvidence(Protocol):
    """Says whether a certificate that somebody showed can be encrypted to."""

    async def shown(
        self, organisation: str, zone: str | None, certificate: bytes, along: Along, at: int, /
    ) -> Trusted | Distrusted:
        """By the anchors of ``zone``, or of ``organisation`` outside of all; ``along`` came with it, ``at`` is in us UTC."""


def heard(opened: Opened, at: int) -> Heard | None:
    """What the author of a mail said of his program, where the verdict is ``verified``. ``at`` is now, microseconds UTC."""
    proof, author = opened.proof, opened.author
    if proof is None or author is None or proof.signer.capabilities is None:
        return None
    signed_at = _in_order(proof, at)
    if signed_at is None:
        return None
    try:
        read_capabilities(proof.signer.capabilities)
    except GatewayError:
        return None
    return Heard(author, proof.signer.capabilities, signed_at)


async def taught(organisation: str, opened: Opened, evidence: ShownEvidence, at: int) -> Taught | None:
    """The certificate by which the author of a mail is written to, where the verdict is ``verified`` and whoever vouched for the
    signature vouches for it too. ``at`` is now, microseconds UTC.
    """
    proof, author = opened.proof, opened.author
    signed_at = _in_order(proof, at) if proof is not None else None
    if proof is None or author is None or signed_at is None:
        return None
    candidate = _wanted(proof)
    if candidate is None or not _may_serve(candidate, author, at):
        return None
    zone = proof.vouched.zone
    along = Along(tuple(each for each in proof.signed.certificates if each != candidate), proof.signed.revocations)
    # His own is judged again, too: other anchors and another word on revocation may hold for readers than for signers
    answer = await evidence.shown(organisation, zone, candidate, along, at)
    return Taught(author, candidate, answer.path[1:-1], zone, signed_at) if isinstance(answer, Trusted) else None


def _in_order(proof: Proof, at: int) -> int | None:
    """The signing time, where it can be put in order with others."""
    time = proof.signer.time
    return None if time is None or time > at + AHEAD else time


def _wanted(proof: Proof) -> bytes | None:
    """The certificate the signer named (RFC 8551 2.5.3), which must have come along; his own where he named none."""
    if proof.signer.preference is None:
        return proof.signer.certificate
    try:
        named = read_preference(proof.signer.preference)
    except GatewayError:
        return None
    return next((each for each in proof.signed.certificates if _is(each, named)), None)


def _is(certificate: bytes, named: CertificateId) -> bool:
    try:
        return named in names_of(certificate)
    except GatewayError:
        return False


def _may_serve(certificate: bytes, author: Address, at: int) -> bool:
    """Whether it names the mailbox itself, and we encrypt to such keys. A certificate of a whole domain teaches nothing of one."""
    try:
        found = facts(certificate)
        encryption_key(certificate)
    except GatewayError:
        return False
    return binds(found, author) is Binding.MAILBOX and unsuitable(found, Purpose.SMIME_RECIPIENT, at) is None
