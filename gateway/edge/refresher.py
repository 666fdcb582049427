"""Fetches again what mails use, before it is no longer fresh: in one process for all, while nobody waits for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from gateway.edge.evidencecache import EvidenceCache, fresh_for
from gateway.edge.shelf import Note, Shelf
from gateway.trust.judgement import Need
from gateway.trust.moment import SECOND

LOOK_SECONDS: Final = 10.0
USED_LATELY: Final = 3 * 24 * 3600 * SECOND
"""What was not used for so long is fetched again when somebody asks for it, in microseconds: a weekend is shorter."""
AT_ONCE: Final = 8
_EARLIEST: Final = 0.7
_SPREAD: Final = 0.2


class Refresher:
    """Looks at ``shelf`` again and again; ``cache`` is on the same one. ``now`` in microseconds UTC."""

    def __init__(self, shelf: Shelf, cache: EvidenceCache, now: Callable[[], int], look_seconds: float = LOOK_SECONDS) -> None:
        self._shelf = shelf
        self._cache = cache
        self._now = now
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._look_seconds)

    async def refresh(self) -> None:
        """Everything that is due now, and returns when it has come or failed."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(need: Need) -> None:
            async with places:
                await self._cache.refresh(need, self._now())

        due_now = await asyncio.to_thread(self._due)
        async with asyncio.TaskGroup() as tasks:
            for need in due_now:
                tasks.create_task(one(need))

    def _due(self) -> list[Need]:
        at = self._now()
        return [found.note.need for found in self._shelf.all() if due(found.note) <= at < found.used + USED_LATELY]


def due(note: Note) -> int:
    """When to fetch again, microseconds UTC: before it is no longer fresh, and not when everything else is fetched too."""
    if note.failures:
        return note.again
    chance = hashlib.sha256(f"{note.need.url} {note.checked}".encode(errors="surrogatepass")).digest()[0] / 256
    return note.checked + int(fresh_for(note) * (_EARLIEST + _SPREAD * chance))
