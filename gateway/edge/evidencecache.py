"""CRLs, OCSP answers and certificates: fetched once for all our processes, and the last one while its publisher is down.

Only what the authority made that the need names is kept. The newest stays: an older one that somebody replays does not take its
place. Whether what is kept still counts is the judge's to say: he knows the date, and a revocation outlives it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.edge.fetcherror import Fault, FetchError
from gateway.edge.shelf import Note, Shelf
from gateway.events import Fetched, FetchFailed, Observer
from gateway.outcome import GatewayError
from gateway.trust.answer import Answer, Certificates, Failed, read_answer
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need
from gateway.trust.moment import SECOND
from gateway.trust.ocsp import OcspAnswer

FRESH: Final = 3600 * SECOND
"""For how long it is not asked for again, in microseconds: publishers revoke between two announced CRLs."""
LOOK: Final = 30 * SECOND
"""How soon a process sees what another has fetched."""
FIRST_AGAIN: Final = 60 * SECOND
LAST_AGAIN: Final = 300 * SECOND
LEEWAY: Final = 300 * SECOND
"""How much longer a place that failed is left alone by mail than by the control process, which tries it while nobody waits."""
RESTING_LASTS: Final = 5 * SECOND
MAX_KNOWN: Final = 16_384
MAX_KNOWN_BYTES: Final = 128 * 1024 * 1024


class Get(Protocol):
    """The part of :class:`gateway.edge.fetch.Fetcher` that is needed here."""

    async def fetch(self, need: Need, /) -> tuple[bytes, ...]:
        """The contents; raises FetchError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """``until``: when to look again, microseconds UTC. ``digest`` and ``size`` are those of the contents of ``answer``."""

    answer: Answer
    until: int
    digest: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the shelf has for a need; no answer where its place never gave one. ``size`` is that of the contents."""

    note: Note
    answer: Answer | None
    size: int = 0


class EvidenceCache:
    """A :class:`gateway.trust.sources.Source`. Several, in several processes, may share a shelf."""

    def __init__(self, fetcher: Get, shelf: Shelf, observer: Observer) -> None:
        self._fetcher = fetcher
        self._shelf = shelf
        self._observer = observer
        self._known: OrderedDict[Need, _Known] = OrderedDict()
        self._bytes = 0
        self._flights: dict[Need, asyncio.Task[Answer]] = {}

    def known(self, need: Need, at: int) -> Answer | None:
        """What is known about ``need``; None where it is time to look or to ask."""
        known = self._known.get(need)
        return known.answer if known is not None and at < known.until else None

    async def fetch(self, need: Need, at: int) -> Answer:
        """What is kept while it is fresh, or while its place is left alone; else from there. Those who ask meanwhile wait too."""
        return await self._fly(need, at, forced=False)

    async def refresh(self, need: Need, at: int) -> None:
        """From its place, whatever is kept."""
        await self._fly(need, at, forced=True)

    async def close(self) -> None:
        """Ends what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, need: Need, at: int, *, forced: bool) -> Answer:
        flight = self._flights.get(need)
        if flight is None:
            flight = asyncio.create_task(self._answer(need, at, forced))
            self._flights[need] = flight
            flight.add_done_callback(lambda _: self._flights.pop(need, None))
        # Shielded: one asker whose time is up must not take the answer away from the others.
        return await asyncio.shield(flight)

    async def _answer(self, need: Need, at: int, forced: bool) -> Answer:
        kept = await asyncio.to_thread(self._load, need)
        if not forced:
            await asyncio.to_thread(self._shelf.use, need, at)
            if _let_be(kept.note, at):
                return self._remember(kept, at)
        try:
            contents = await self._fetcher.fetch(need)
            fresh = await asyncio.to_thread(_read, need, contents, kept.answer)
        except FetchError as error:
            return await self._failed(kept, error, at)
        self._observer.see(Fetched(kind=need.kind, source=need.source))
        note = await asyncio.to_thread(self._shelf.write, Note(need, at, _until(fresh)), contents, at, kept.note.digest)
        return self._remember(await self._others(need) if note is None else _Kept(note, fresh, sum(map(len, contents))), at)

    async def _others(self, need: Need) -> _Kept:
        """What another process has kept while we asked: it knew what was kept before, and found nothing older."""
        return await asyncio.to_thread(self._load, need)

    def _load(self, need: Need) -> _Kept:
        """What the shelf has; what was parsed already is not parsed again."""
        known, note = self._known.get(need), self._shelf.peek(need)
        if note is not None and known is not None and known.size and known.digest == note.digest:
            return _Kept(note, known.answer, known.size)
        useless = _Kept(Note(need, digest=note.digest if note is not None else ""), None)
        read = self._shelf.read(need)
        if read is None:
            return useless
        note, contents = read
        if not contents:
            return _Kept(note, None)
        try:
            return _Kept(note, read_answer(need, contents), sum(map(len, contents)))
        except GatewayError:
            return useless

    async def _failed(self, kept: _Kept, error: FetchError, at: int) -> Answer:
        need = kept.note.need
        if error.fault is Fault.RESTING:  # nobody asked, so nothing is noted
            return self._remember(replace(kept, note=replace(kept.note, detail=error.detail)), at, RESTING_LASTS)
        self._observer.see(FetchFailed(kind=need.kind, result=error.fault, source=need.source, detail=error.detail))
        failures = kept.note.failures + 1
        again = at + min(FIRST_AGAIN << min(failures - 1, 8), LAST_AGAIN)
        told = replace(kept.note, failures=failures, again=again, detail=error.detail)
        note = await asyncio.to_thread(self._shelf.annotate, told, at)
        return self._remember(await self._others(need) if note is None else replace(kept, note=note), at)

    def _remember(self, kept: _Kept, at: int, lasts: int = LOOK) -> Answer:
        need, note = kept.note.need, kept.note
        answer = kept.answer if kept.answer is not None else Failed(f"{need.source}: {note.detail}")
        before = self._known.pop(need, None)
        self._bytes += kept.size - (before.size if before is not None else 0)
        self._known[need] = _Known(answer, at + lasts, note.digest, kept.size)
        while len(self._known) > MAX_KNOWN or (self._bytes > MAX_KNOWN_BYTES and len(self._known) > 1):
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.size
        return answer


def _let_be(note: Note, at: int) -> bool:
    """Whether mail has no reason to ask: what is kept is fresh, or its place failed a moment ago."""
    return note.checked <= at < note.checked + fresh_for(note) or (note.failures > 0 and at < note.again + LEEWAY)


def fresh_for(note: Note) -> int:
    """For how long after ``note.checked`` its contents are not asked for again, in microseconds."""
    longest = FRESH if note.checked else 0
    # One that came out of date already is asked for again, though not by every mail.
    return longest if note.until is None else max(min(longest, note.until - note.checked), FIRST_AGAIN)


def _read(need: Need, contents: tuple[bytes, ...], kept: Answer | None) -> Crl | OcspAnswer | Certificates:
    try:
        answer = read_answer(need, contents)
    except GatewayError as error:
        raise FetchError(Fault.UNUSABLE, error.detail) from None
    if isinstance(kept, Crl | OcspAnswer) and isinstance(answer, Crl | OcspAnswer) and answer.this_update < kept.this_update:
        raise FetchError(Fault.UNUSABLE, "older than the one that is kept")
    return answer


def _until(answer: Crl | OcspAnswer | Certificates) -> int | None:
    return None if isinstance(answer, Certificates) else answer.next_update
