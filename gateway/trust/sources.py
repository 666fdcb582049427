"""The ports through which evidence comes: directories of certificates, and publishers of revocations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.mail.address import Address
from gateway.outcome import GatewayError, Reason
from gateway.trust.answer import Answer
from gateway.trust.certificate import CertificateError, facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need
from gateway.trust.ladder import Way
from gateway.trust.ocsp import OcspAnswer
from gateway.trust.smimea import Association


class DirectoryError(GatewayError):
    """A directory could not be asked. ``resting`` where nobody tried: it failed a moment ago, or is no longer in force."""

    def __init__(self, detail: str, *, resting: bool = False) -> None:
        super().__init__(Reason.DIRECTORY_UNAVAILABLE, detail)
        self.resting = resting


class WordUnknown(DirectoryError):
    """Which certificates the domain stands for could not be asked: no other directory may answer in its place, or whoever keeps
    the answer from us chooses where we look.
    """


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds for an address: candidates for it and its domain, and authorities that may lie above them (DER).

    Found, not believed: whether a candidate names the address is asked of the certificate. ``seconds`` it may be used again, None
    where the directory does not say. ``associations``, where there are any, are what the domain stands for: no other certificate
    of the address counts, wherever it was found. ``for_domain`` is what it says of certificates for all of it: they vouch, and
    rule nothing out. ``passed_over`` says what could not be used, for audit and people; ``unread`` what of it nobody looked at, so
    that nothing found is no answer. ``way`` is how all of it came.
    """

    certificates: tuple[bytes, ...] = ()
    others: tuple[bytes, ...] = ()
    seconds: float | None = None
    associations: tuple[Association, ...] = ()
    passed_over: tuple[str, ...] = ()
    way: Way = Way.OPEN
    for_domain: tuple[Association, ...] = ()
    unread: tuple[str, ...] = ()


def sort_found(
    values: Iterable[bytes],
    seconds: float | None = None,
    associations: tuple[Association, ...] = (),
    passed_over: tuple[str, ...] = (),
    way: Way = Way.OPEN,
) -> Found:
    """``values`` (DER) sorted: authorities may lie above a certificate, the rest are candidates. What cannot be read is neither."""
    candidates: list[bytes] = []
    authorities: list[bytes] = []
    unreadable = 0
    for value in dict.fromkeys(values):
        try:
            (authorities if facts(value).is_ca else candidates).append(value)
        except CertificateError:
            unreadable += 1
    if unreadable:
        passed_over = (*passed_over, f"what is no certificate ({unreadable})")
    return Found(tuple(candidates), tuple(authorities), seconds, associations, passed_over, way)


class Directory(Protocol):
    """A place certificates are looked up in."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def remember_seconds(self) -> float:
        """For how long an answer may be used again; 0 where asking costs nothing."""

    async def find(self, address: Address, /) -> Found:
        """Everything for ``address`` and for its whole domain. Raises :class:`DirectoryError`."""


def nothing_known(_: Need) -> None:
    """Nothing has been asked yet."""


@dataclass(frozen=True, slots=True)
class AtHand:
    """The evidence ``judge`` has. ``others`` are certificates that may lie between the one in question and an anchor (DER);
    ``given`` was given by hand, and is heard first; ``stapled`` came with the message, and is heard where nobody else says
    anything: whoever was revoked yesterday would bring the answer of the day before. ``known`` answers a need without waiting,
    None where it is time to ask. ``signed_at`` is when the signer says that he signed, in microseconds UTC.
    """

    others: tuple[bytes, ...] = ()
    given: tuple[Crl | OcspAnswer, ...] = ()
    stapled: tuple[Crl | OcspAnswer, ...] = ()
    known: Callable[[Need], Answer | None] = nothing_known
    signed_at: int | None = None


class Source(Protocol):
    """Where what ``judge`` needs comes from."""

    def known(self, need: Need, at: int, /) -> Answer | None:
        """What is known without asking; None where it is time to ask. Costs next to nothing."""

    async def fetch(self, need: Need, at: int, /) -> Answer:
        """Fresh, or the last one while it is not out of date. See :func:`gateway.trust.answer.read_answer`."""
