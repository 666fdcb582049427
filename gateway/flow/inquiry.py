"""Asks, one after the other, every source of certificates of one address, and places what it finds on the ladder of trust.

In order: what an administrator pinned, what he imported, the directories of the circle, what was harvested.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.flow.choice import Candidate, Looked, organisations, stood_for
from gateway.flow.circles import Circle
from gateway.flow.judging import Judging
from gateway.flow.lookups import Lookups
from gateway.mail.address import Address
from gateway.outcome import Reason
from gateway.trust.along import Along
from gateway.trust.anchors import Anchors
from gateway.trust.certificate import Binding, CertificateError, binds, facts
from gateway.trust.judgement import Assurance, Distrusted, Purpose, Trusted
from gateway.trust.kept import KEPT, Keeping, Kept, KeptAs
from gateway.trust.ladder import Rung, Way, place
from gateway.trust.smimea import Association, Usage, named_as
from gateway.trust.sources import Directory, DirectoryError, Found, WordUnknown
from gateway.trust.suitability import unusable

MAX_CANDIDATES: Final = 16

_WAYS: Final = {KeptAs.PINNED: Way.PINNED, KeptAs.IMPORTED: Way.GUARDED, KeptAs.HARVESTED: Way.HARVESTED}
_ASSURANCES: Final = {Rung.PINNED: Assurance.PINNED, Rung.HARVESTED: Assurance.HARVESTED}


class Extent(StrEnum):
    """How much is looked at in one source."""

    ENOUGH = "enough"
    """Until no other certificate could be the better choice."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Question:
    """Asked for ``organisation`` of ours at ``at`` (microseconds UTC), of certificates (DER) that ``named`` picks alone."""

    organisation: str
    circle: Circle
    address: Address
    at: int
    named: Callable[[bytes], bool]
    extent: Extent = Extent.ENOUGH


class Inquiry:
    """What sources hold, and where each certificate stands."""

    def __init__(self, judging: Judging, lookups: Lookups, keeping: Keeping) -> None:
        self._judging = judging
        self._lookups = lookups
        self._keeping = keeping

    async def each(self, question: Question) -> AsyncGenerator[Looked, None]:
        """What each source said, when its turn comes."""
        kept, trouble = await self._kept(question)
        if trouble is not None:
            yield trouble
        for kept_as in (KeptAs.PINNED, KeptAs.IMPORTED):
            if some := [each for each in kept if each.kept_as is kept_as]:
                yield await self._examined(question, kept_as, _found(some, _WAYS[kept_as]), ())
        associations: tuple[Association, ...] = ()
        for directory in question.circle.directories:
            looked = await self._directory(question, directory, associations)
            associations += looked.associations
            yield looked
        harvested = [each for each in kept if each.kept_as is KeptAs.HARVESTED]
        waiting = [each for each in kept if each.kept_as is KeptAs.WAITING]
        if harvested or waiting:
            looked = await self._examined(question, KeptAs.HARVESTED, _found(harvested, Way.HARVESTED), associations)
            # Whoever else was chosen, that somebody has another key now is to be known
            everything = replace(question, named=lambda _: True)
            others = await self._examined(everything, KeptAs.WAITING, _found(waiting, Way.HARVESTED), associations)
            yield replace(looked, candidates=looked.candidates + tuple(map(_waiting, others.candidates)))

    async def _kept(self, question: Question) -> tuple[tuple[Kept, ...], Looked | None]:
        try:
            return await self._keeping.kept(question.organisation, question.address), None
        except DirectoryError as error:
            # Among them may be the pin that says who it must be.
            return (), Looked(KEPT, trouble=WordUnknown(error.detail, resting=error.resting))

    async def _directory(self, question: Question, directory: Directory, associations: tuple[Association, ...]) -> Looked:
        begun = asyncio.get_running_loop().time()
        try:
            found = await self._lookups.find(question.organisation, directory, question.address)
        except DirectoryError as error:
            return Looked(directory.name, asyncio.get_running_loop().time() - begun, trouble=error)
        return await self._examined(question, directory.name, found, associations, begun)

    async def _examined(
        self, question: Question, source: str, found: Found, before: tuple[Association, ...], begun: float | None = None
    ) -> Looked:
        """``found`` placed. ``before`` is what other sources said that the domain stands for."""
        loop = asyncio.get_running_loop()
        begun = loop.time() if begun is None else begun
        bound, candidates, left = _in_order(list(filter(question.named, found.certificates)), question, found.way)
        associations = before + found.associations
        one_organisation = len(organisations([certificate for certificate, _ in bound])) <= 1
        for certificate, binding in bound:
            vouching = associations + (found.for_domain if binding is Binding.ORGANISATION else ())
            candidate = replace(await self._placed(question, certificate, found, vouching), binding=binding)
            candidates.append(candidate)
            best = _is_best(candidate.rung, one_organisation=one_organisation) and stood_for(candidate, associations)
            if question.extent is Extent.ENOUGH and best:
                break
        unread = (*found.unread, *((f"{left} more certificates of the address than are looked at",) if left else ()))
        trouble = DirectoryError(f"{source}: {', '.join(unread)}") if unread else None
        return Looked(source, loop.time() - begun, tuple(candidates), found.associations, found.passed_over, trouble)

    async def _placed(
        self, question: Question, certificate: bytes, found: Found, associations: tuple[Association, ...]
    ) -> Candidate:
        circle, at = question.circle, question.at
        rules = circle.rules(Purpose.SMIME_RECIPIENT)
        answer = await self._judging.judge(certificate, Along(found.others), circle, rules, at)
        assurance: Assurance | None = circle.assurance
        if isinstance(answer, Distrusted) and answer.reason is Reason.CHAIN:
            above = [each for each in found.others if named_as(associations, Usage.DANE_TA, (each, certificate))]
            if above:  # the domain's own anchor, as good as one of ours for its people
                theirs = replace(rules, anchors=Anchors(above))
                other = await self._judging.judge(certificate, Along(found.others), circle, theirs, at)
                if isinstance(other, Trusted) or other.reason is not Reason.CHAIN:
                    answer, assurance = other, None
        named = named_as(associations, Usage.DANE_EE, (certificate,))
        rung = place(answer, certificate, Way.DNSSEC if named else found.way, rules.purpose, at)
        if isinstance(answer, Trusted):
            said = Assurance.PINNED if rung is Rung.PINNED else assurance
            return Candidate(certificate, rung, None, None, answer.path, said, answer.marks)
        marks = (answer.reason,) if rung is not None and answer.reason is Reason.REVOCATION_UNKNOWN else ()
        doubt = answer if answer.later is None else Distrusted(answer.later, answer.detail)
        return Candidate(certificate, rung, doubt, None, (), None if rung is None else _ASSURANCES.get(rung), marks)


_Bound = tuple[bool, int, bytes, bytes, Binding]


def _in_order(
    certificates: Sequence[bytes], question: Question, way: Way
) -> tuple[list[tuple[bytes, Binding]], list[Candidate], int]:
    """Those that speak for the address: its own before its domain's, then the newest first; why the others do not; and how many
    were left out that might be used. ``MAX_CANDIDATES`` in all: of more, the others are left out first, then what is unfit
    whoever issued it, then the oldest.

    What is pinned to it needs not name it.
    """
    bound: list[_Bound] = []
    others: list[Candidate] = []
    for certificate in certificates:
        try:
            found = facts(certificate)
        except CertificateError as error:
            others.append(Candidate(certificate, None, Distrusted(error.reason, error.detail)))
            continue
        binding = binds(found, question.address, question.circle.domains)
        if way is Way.PINNED:
            binding = Binding.MAILBOX
        if binding is None:
            doubt = Distrusted(Reason.ADDRESS_MISMATCH, f"{found.subject}: does not name the address")
            others.append(Candidate(certificate, None, doubt))
        else:
            bound.append((binding is Binding.ORGANISATION, -found.not_before, found.sha256, certificate, binding))
    bound.sort(key=lambda each: each[:3])
    bound, left = _as_many(bound, question.at)
    return [(certificate, binding) for *_, certificate, binding in bound], others[: MAX_CANDIDATES - len(bound)], left


def _as_many(bound: list[_Bound], at: int) -> tuple[list[_Bound], int]:
    """Of those in order as many as are looked at, and how many were left out that might be used."""
    if len(bound) <= MAX_CANDIDATES:
        return bound, 0
    fit: list[_Bound] = []
    unfit: list[_Bound] = []
    for each in bound:
        (fit if unusable(facts(each[3]), Purpose.SMIME_RECIPIENT, at) is None else unfit).append(each)
    chosen = [*fit, *unfit][:MAX_CANDIDATES]
    return sorted(chosen, key=lambda each: each[:3]), max(0, len(fit) - MAX_CANDIDATES)


def _is_best(rung: Rung | None, *, one_organisation: bool) -> bool:
    """Whether none of those left, which are older, stands higher or casts doubt on it."""
    return rung is Rung.PINNED or (rung is Rung.VERIFIED and one_organisation)


def _found(kept: Sequence[Kept], way: Way) -> Found:
    above = dict.fromkeys(certificate for each in kept for certificate in each.above)
    return Found(tuple(each.certificate for each in kept), tuple(above), way=way)


def _waiting(candidate: Candidate) -> Candidate:
    """``candidate``, which waits for approval; one that could not be used with it either says why."""
    if candidate.rung is None:
        return candidate
    detail = f"{facts(candidate.certificate).subject}: harvested, and other than what there was before"
    return replace(candidate, rung=None, doubt=Distrusted(Reason.APPROVAL_PENDING, detail))
