"""Asks directories: answers are used again, of identical questions at one time only one is asked, and what was wanted lately is
asked again before it runs out, so that no mail to a known correspondent waits for a directory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from gateway.events import FetchFailed, Observer
from gateway.mail.address import Address
from gateway.trust.sources import Directory, DirectoryError, Found

NOTHING_FOUND_SECONDS: Final = 60.0
LATELY_SECONDS: Final = 1800.0
MAX_AHEAD: Final = 4
MAX_REMEMBERED: Final = 20_000

_TOO_SHORT: Final = 1_000_000  # microseconds: what ends sooner is not asked ahead once more

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Question:
    organisation: str
    directory: Directory
    address: Address

    @property
    def key(self) -> _Key:
        return self.directory.name, str(self.address)  # in DNS a local part has a case (RFC 8162 3)


@dataclass(slots=True)
class _Answer:
    """Counts ``until``; to be asked ``ahead`` of that if it was ``wanted`` lately. Microseconds UTC."""

    found: Found
    until: int
    ahead: int
    wanted: int


class Lookups:
    """What directories said of addresses, for each directory and address. Belongs to the loop it is used in."""

    def __init__(self, observer: Observer, now: Callable[[], int], draw: Callable[[], float] = random.random) -> None:
        """``now`` in microseconds UTC; ``draw`` from 0 to 1, so that not everything is asked ahead at once."""
        self._observer = observer
        self._now = now
        self._draw = draw
        self._known: dict[_Key, _Answer] = {}
        self._flights: dict[_Key, asyncio.Task[Found]] = {}
        self._ahead: set[_Key] = set()
        self._due: list[tuple[int, int, _Question]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def find(self, organisation: str, directory: Directory, address: Address) -> Found:
        """What ``directory`` holds for ``address``, asked for ``organisation``. Raises :class:`DirectoryError`."""
        question = _Question(organisation, directory, address)
        if directory.remember_seconds <= 0:  # asking costs nothing
            return await self._ask(question)
        known = self._known.get(question.key)
        if known is not None and self._now() < known.until:
            known.wanted = self._now()
            return known.found
        # Shielded: one asker who gives up must not take the answer away from the others.
        found = await asyncio.shield(self._flight(question))
        known = self._known.get(question.key)
        if known is not None:
            known.wanted = self._now()
        return found

    def refresh(self) -> None:
        """Ask ahead what is due: called by a timer. The answer there is counts to its end, or until another comes."""
        now = self._now()
        while self._due and self._due[0][0] <= now and len(self._ahead) < MAX_AHEAD:
            due, _, question = heappop(self._due)
            known = self._planned(question, due)
            if known is None or known.until <= now or now - known.wanted > LATELY_SECONDS * 1_000_000:
                continue
            self._ahead.add(question.key)
            self._flight(question)
        self._wind()

    def close(self) -> None:
        """No more is asked ahead. What mails wait for comes to its end, and nothing follows from it."""
        self._closed = True
        self._due.clear()
        self._wind()

    def _flight(self, question: _Question) -> asyncio.Task[Found]:
        flight = self._flights.get(question.key)
        if flight is None:
            flight = asyncio.create_task(self._ask(question))
            self._flights[question.key] = flight
            flight.add_done_callback(lambda done: self._landed(question, done))
        return flight

    def _landed(self, question: _Question, flight: asyncio.Task[Found]) -> None:
        self._flights.pop(question.key, None)
        self._ahead.discard(question.key)
        failed = not flight.cancelled() and flight.exception() is not None  # seen, though all who asked may have gone
        known, now = self._known.get(question.key), self._now()
        if failed and known is not None and known.until - now > _TOO_SHORT:
            self._plan(question, known, (now + known.until) // 2)
        self._wind()

    async def _ask(self, question: _Question) -> Found:
        directory, address = question.directory, question.address
        try:
            found = await directory.find(address)
        except DirectoryError as error:
            if not error.resting:
                self._observer.see(
                    FetchFailed(org=question.organisation, kind="directory", source=directory.name, detail=error.detail)
                )
            raise
        if found.passed_over:
            detail = f"{address.domain}: {'; '.join(found.passed_over)}"
            self._observer.see(
                FetchFailed(org=question.organisation, kind="directory", result="unusable", source=directory.name, detail=detail)
            )
        longest = directory.remember_seconds if found.certificates else min(directory.remember_seconds, NOTHING_FOUND_SECONDS)
        seconds = longest if found.seconds is None else min(longest, found.seconds)
        if seconds > 0:
            self._remember(question, found, int(seconds * 1_000_000))
        return found

    def _remember(self, question: _Question, found: Found, lifetime: int) -> None:
        now = self._now()
        before = self._known.pop(question.key, None)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.pop(next(iter(self._known)))
        answer = _Answer(found, now + lifetime, 0, now if before is None else before.wanted)
        self._known[question.key] = answer
        if found.certificates:
            self._plan(question, answer, now + int(lifetime * (0.7 + 0.2 * self._draw())))

    def _plan(self, question: _Question, answer: _Answer, due: int) -> None:
        if self._closed:
            return
        answer.ahead = due
        if len(self._due) >= 2 * MAX_REMEMBERED:  # half of it at least is about answers that others have replaced
            self._due = [entry for entry in self._due if self._planned(entry[2], entry[0]) is not None]
            heapify(self._due)
        heappush(self._due, (due, next(self._order), question))
        if self._due[0][0] == due:
            self._wind()

    def _planned(self, question: _Question, due: int) -> _Answer | None:
        """The answer that is to be asked for once more at ``due``, if it is still the one."""
        known = self._known.get(question.key)
        return known if known is not None and known.ahead == due else None

    def _wind(self) -> None:
        """Set the timer for what is due first, if it may be asked then; else whoever lands makes room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due and len(self._ahead) < MAX_AHEAD:
            seconds = max(0.0, (self._due[0][0] - self._now()) / 1_000_000)
            self._timer = asyncio.get_running_loop().call_later(seconds, self.refresh)
