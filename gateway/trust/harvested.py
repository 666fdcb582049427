"""Whether the certificate that a verified mail shows of its author is kept, and whether it may be used at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.mail.address import Address
from gateway.trust.certificate import CertificateError, facts, public_key_info
from gateway.trust.kept import KeptAs
from gateway.trust.name import organisation_names


class Harvesting(StrEnum):
    """What becomes of certificates that verified mail shows."""

    OFF = "off"
    """None is kept."""
    KEEP = "keep"
    """The newest is used, with whatever key."""
    APPROVE = "approve"
    """The first is used; one with another key waits for a person."""


class Why(StrEnum):
    """Why a certificate waits for a person."""

    KEY = "key"
    """Its key is another than those kept for the address."""
    ORGANISATION = "organisation"
    """It names another organisation than those kept."""
    ASSURANCE = "assurance"
    """No zone vouches for it, and one did for those kept."""


@dataclass(frozen=True, slots=True)
class Taught:
    """The author ``address`` showed ``certificate`` (DER) to be written to, in a verified mail signed at ``signed_at``
    (microseconds UTC). ``above`` lies between it and its anchor (DER); ``zone`` vouches for it, None outside of all.
    """

    address: Address
    certificate: bytes
    above: tuple[bytes, ...]
    zone: str | None
    signed_at: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept for the address already. ``zone`` as in :class:`Taught`; None for what an administrator put in."""

    certificate: bytes
    kept_as: KeptAs
    zone: str | None
    signed_at: int


@dataclass(frozen=True, slots=True)
class New:
    """A certificate is to be kept: in use, or waiting for a person and ``why``."""

    why: Why | None = None

    @property
    def kept_as(self) -> KeptAs:
        """How."""
        return KeptAs.HARVESTED if self.why is None else KeptAs.WAITING


def decide(taught: Taught, known: Sequence[Known], harvesting: Harvesting, not_before: int = 0) -> New | None:
    """Whether ``taught``, which is none of ``known``, is kept beside them; None where it is not.

    ``not_before`` is when somebody forgot the address (microseconds UTC): a mail of before teaches nothing any more. Neither does
    one that was signed before what is harvested: a mail that was captured and comes once more brings nothing back.
    """
    harvested = [each.signed_at for each in known if each.kept_as in (KeptAs.HARVESTED, KeptAs.WAITING)]
    if harvesting is Harvesting.OFF or taught.signed_at <= max((not_before, *harvested)):
        return None
    in_use = [each for each in known if each.kept_as is not KeptAs.WAITING]
    if not known:
        return New()
    if any(contradict(taught.certificate, each.certificate) for each in in_use):
        return New(Why.ORGANISATION)  # side by side they would be refused, and one mail could stop all to its author
    if taught.zone is None and any(each.zone is not None for each in in_use):
        return New(Why.ASSURANCE)
    if harvesting is Harvesting.APPROVE and _key(taught.certificate) not in {_key(e.certificate) for e in in_use}:
        return New(Why.KEY)
    return New()


def contradict(one: bytes, other: bytes) -> bool:
    """Whether two certificates (DER) name different organisations."""
    its, others = _organisations(one), _organisations(other)
    return bool(its and others) and its != others


def _organisations(certificate: bytes) -> frozenset[str]:
    return organisation_names(facts(certificate).subject_name)


def _key(certificate: bytes) -> bytes:
    """The public key of ``certificate`` (DER), whatever else stands in it; itself where the library does not know such keys."""
    try:
        return public_key_info(certificate)
    except CertificateError:
        return certificate
