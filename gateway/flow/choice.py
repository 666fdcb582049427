"""Which of the certificates that were found for an address is taken, and why not the others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.outcome import Reason
from gateway.policy import TEMPORARY
from gateway.trust.certificate import Binding, facts
from gateway.trust.judgement import Assurance, Distrusted
from gateway.trust.ladder import AfterInvalid, Rung
from gateway.trust.name import organisation_names
from gateway.trust.smimea import Association, Usage, named_as
from gateway.trust.sources import DirectoryError, WordUnknown

_OTHER_PURPOSE: Final = frozenset({Reason.KEY_USAGE, Reason.EKU, Reason.ADDRESS_MISMATCH, Reason.MALFORMED})
_TELLING: Final = (TEMPORARY, {Reason.CERTIFICATE_AMBIGUOUS}, {Reason.APPROVAL_PENDING})
_INVALID: Final = frozenset({Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.REVOKED, Reason.WEAK_ALGORITHM})


@dataclass(frozen=True, slots=True)
class Usable:
    """A certificate (DER) to encrypt to. ``source`` is where it was found, ``rung`` where it stands on the ladder of trust.

    ``assurance`` says on whose word, None where that is nobody's but the place's; ``marks`` do not forbid its use.
    """

    certificate: bytes
    source: str
    assurance: Assurance | None
    marks: tuple[Reason, ...] = ()
    rung: Rung = Rung.VERIFIED

    @property
    def told(self) -> str:
        """For audit and people: where it stands, where it was found, and the beginning of its SHA-256."""
        return f"{self.rung} ({self.source}) {facts(self.certificate).sha256.hex()[:16]}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is none. ``detail`` is for the administrator and names what was found."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate (DER) that a source has for an address. ``rung`` is None where it is not to be used, whatever is asked for.

    ``doubt`` is why, or why it stands no higher. ``binding`` says how it speaks for the address; ``path`` is DER, anchor first.
    """

    certificate: bytes
    rung: Rung | None
    doubt: Distrusted | None = None
    binding: Binding | None = None
    path: tuple[bytes, ...] = ()
    assurance: Assurance | None = None
    marks: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """What one source said of an address, after ``seconds``, and what became of it. ``trouble`` where it could not be asked."""

    source: str
    seconds: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    associations: tuple[Association, ...] = ()
    passed_over: tuple[str, ...] = ()
    trouble: DirectoryError | None = None


def counted(looked: Sequence[Looked], needed: int) -> tuple[Looked, ...]:
    """``looked``, with what does not count beside what the domain stands for among what is not to be used. Of the ``needed`` it
    is what counted when the answer was given, before others were heard.
    """
    heard = ((each, looked[:needed] if number < needed else looked) for number, each in enumerate(looked))
    return tuple(replace(each, candidates=tuple(_named(each.candidates, so_far))) for each, so_far in heard)


def outdone(candidate: Candidate, source: str, answer: Usable, looked: Sequence[Looked]) -> str:
    """In words, by what the one that is taken is the better choice than ``candidate``, which could be used."""
    taken = next(
        each
        for place in looked
        if place.source == answer.source
        for each in place.candidates
        if each.certificate == answer.certificate
    )
    if candidate.rung is not answer.rung:
        return f"it stands at {candidate.rung}, and the one that is taken at {answer.rung}"
    if source != answer.source:
        return f"{answer.source} comes before {source}"
    if candidate.binding is not taken.binding:
        return "the mailbox has one of its own"
    return "another is newer, or as new"


def settled(looked: Sequence[Looked], least: Rung, after_invalid: AfterInvalid) -> Usable | Unusable | None:
    """The answer where no further source could change it for the better; None where the next is to be asked."""
    last = looked[-1]
    if isinstance(last.trouble, WordUnknown):
        return concluded(looked, least)
    # Below, another source may have what stands higher, and settle also which of two organisations it is.
    best = _best(looked, least if least.reaches(Rung.VERIFIED) else Rung.VERIFIED)
    if best is not None:
        return best
    if after_invalid is AfterInvalid.STOP and _only_invalid(last) and _best(looked, least) is None:
        # With what ends the search, and not with what was too little before
        return concluded([each for each in looked if each is last or _may_mend(each)], least)
    return None


def concluded(looked: Sequence[Looked], least: Rung) -> Usable | Unusable:
    """The answer when nobody else is to be asked."""
    troubles = [each.trouble for each in looked if each.trouble is not None]
    best = _best(looked, least)
    if isinstance(best, Usable) and not any(isinstance(each, WordUnknown) for each in troubles):
        return best
    unfit = [Unusable(why.reason, f"{source}: {why.detail}") for source, why in _doubts(looked, least)]
    if isinstance(best, Unusable):
        unfit.append(best)
    if troubles:
        # A source that does not answer may hold the very certificate that is missing: later, not never.
        told = [each.detail for each in troubles] + [each.detail for each in unfit]
        return Unusable(Reason.DIRECTORY_UNAVAILABLE, "; ".join(told))
    if unfit:
        return min(unfit, key=lambda each: _telling(each.reason))
    asked = ", ".join(each.source + "".join(f", passed over {what}" for what in each.passed_over) for each in looked)
    return Unusable(Reason.NO_CERTIFICATE, f"nothing in {asked or 'no directory is configured'}")


def _telling(reason: Reason) -> int:
    """The lower, the more it says of why there is none: what passes by itself, since the rule must not be asked what becomes of
    a mail without a certificate while there may be one; then what a person settles; last what is for another use.
    """
    first = next((number for number, reasons in enumerate(_TELLING) if reason in reasons), len(_TELLING))
    return first + (reason in _OTHER_PURPOSE)


def _may_mend(each: Looked) -> bool:
    """Whether this source may have one by and by, with nobody doing anything."""
    doubts = [candidate.doubt.reason for candidate in each.candidates if candidate.doubt is not None]
    return each.trouble is not None or not TEMPORARY.isdisjoint(doubts)


def _best(looked: Sequence[Looked], least: Rung) -> Usable | Unusable | None:
    """The newest of the best rung; a mailbox's own before its domain's, an earlier source before a later one."""
    fit = [
        (candidate.rung, each.source, candidate)
        for each in looked
        for candidate in _named(each.candidates, looked)
        if candidate.rung is not None and candidate.rung.reaches(least)
    ]
    if not fit:
        return None
    order = {each.source: number for number, each in enumerate(looked)}
    rung, source, best = min(fit, key=lambda each: _order(each[0], order[each[1]], each[2]))
    rivals = [other.certificate for its, _, other in fit if its is rung and other.binding is best.binding]
    names = organisations(rivals)
    if len(names) > 1 and rung is not Rung.PINNED:
        return Unusable(Reason.CERTIFICATE_AMBIGUOUS, f"{source}: of different organisations: {', '.join(sorted(names))}")
    return Usable(best.certificate, source, best.assurance, best.marks, rung)


def _order(rung: Rung, source: int, candidate: Candidate) -> tuple[int, int, bool, int, bytes]:
    found = facts(candidate.certificate)
    return rung.steps, source, candidate.binding is Binding.ORGANISATION, -found.not_before, found.sha256


def organisations(certificates: Sequence[bytes]) -> frozenset[str]:
    """The organisations (prepared for comparing) that the subjects of these name; one that names none is in nobody's way."""
    return frozenset(" and ".join(sorted(names)) for der in certificates if (names := organisation_names(facts(der).subject_name)))


def _only_invalid(each: Looked) -> bool:
    """Whether a source has certificates of the address that were good once, or will be, and none that is."""
    doubts = [candidate.doubt.reason for candidate in each.candidates if candidate.doubt is not None]
    return all(candidate.rung is None for candidate in each.candidates) and any(reason in _INVALID for reason in doubts)


def _doubts(looked: Sequence[Looked], least: Rung) -> Iterator[tuple[str, Distrusted]]:
    """Why not, of every candidate."""
    for each in looked:
        for candidate in _named(each.candidates, looked):
            doubt = candidate.doubt
            if candidate.rung is not None and not candidate.rung.reaches(least):
                # Verified where only pins are taken, there is no other doubt; that it was never found must not be said
                why = doubt or Distrusted(Reason.CHAIN, facts(candidate.certificate).subject)
                detail = f"{why.detail}: it stands at {candidate.rung}, and the least that is taken is {least}"
                yield each.source, Distrusted(why.reason, detail)
            elif candidate.rung is None and doubt is not None:
                yield each.source, doubt


def _named(candidates: Sequence[Candidate], looked: Sequence[Looked]) -> Iterator[Candidate]:
    """``candidates``; where the domain says for which certificates it stands, others do not count, unless they are pinned, and one
    that it vouches for by itself is verified, whoever of the two was asked first.
    """
    associations = [association for each in looked for association in each.associations]
    for candidate in candidates:
        rung = candidate.rung
        if not stood_for(candidate, associations):
            detail = f"{facts(candidate.certificate).subject}: the domain's SMIMEA records name others"
            yield replace(candidate, rung=None, doubt=Distrusted(Reason.CHAIN, detail))
        elif rung and not rung.reaches(Rung.VERIFIED) and named_as(associations, Usage.DANE_EE, (candidate.certificate,)):
            yield replace(candidate, rung=Rung.VERIFIED, assurance=None)
        else:
            yield candidate


def stood_for(candidate: Candidate, associations: Sequence[Association]) -> bool:
    """Whether it counts, when the domain stands for these alone: for all where there are none."""
    if not associations or candidate.rung in (None, Rung.PINNED):
        return True
    return any(each.names(candidate.path or (candidate.certificate,)) for each in associations)
