"""CRLs over HTTP, kept on disk: one fetch at a time for each place, and the last good one while its publisher is down.

Only what the issuer named by the asking certificate signed is kept. The newest stays: an older one that somebody replays does
not take its place. Several processes may share the folder; a file appears whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gateway.outcome import GatewayError
from gateway.trust.answer import Answer, Failed, read_answer
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind

REFRESH: Final = 3600 * 1_000_000
"""A CRL is fetched again after an hour, in microseconds: publishers revoke between two announced CRLs."""
FAILURE_LASTS: Final = 60 * 1_000_000
"""For how long a place that failed is left alone, in microseconds."""
MAX_PLACES: Final = 4096


class Get(Protocol):
    """The part of :class:`gateway.edge.fetch.Fetcher` that is needed here."""

    async def fetch(self, url: str, /) -> bytes:
        """The content at ``url``; raises GatewayError."""


@dataclass(frozen=True, slots=True)
class _Known:
    """``until``: when it is time to ask again, microseconds UTC."""

    answer: Answer
    until: int


class CrlCache:
    """A :class:`gateway.trust.sources.Source`."""

    def __init__(self, fetcher: Get, folder: Path) -> None:
        """``folder`` is created, for its owner alone."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fetcher = fetcher
        self._folder = folder
        self._known: dict[Need, _Known] = {}
        self._flights: dict[Need, asyncio.Task[Answer]] = {}

    def known(self, need: Need, at: int) -> Answer | None:
        """What is known about ``need``; None where it is time to ask."""
        known = self._known.get(need)
        return known.answer if known is not None and at < known.until else None

    async def fetch(self, need: Need, at: int) -> Answer:
        """The CRL that is needed. Whoever asks while it is being fetched waits for the same answer."""
        if need.kind is not NeedKind.CRL:
            return self._remember(need, Failed(f"{need.url}: nothing is asked there"), at + FAILURE_LASTS, at)
        flight = self._flights.get(need)
        if flight is None:
            flight = asyncio.create_task(self._fetch(need, at))
            self._flights[need] = flight
            flight.add_done_callback(lambda _: self._flights.pop(need, None))
        # Shielded: one asker whose time is up must not take the answer away from the others.
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """Ends what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fetch(self, need: Need, at: int) -> Answer:
        path = self._folder / f"{hashlib.sha256(need.url.encode()).hexdigest()}.crl"
        kept, written = await asyncio.to_thread(_read, path, need)
        if kept is not None and kept.current(at) and written <= at < written + REFRESH:
            return self._remember(need, kept, written + REFRESH, at)  # another process was here first
        try:
            content = await self._fetcher.fetch(need.url)
            fresh = await asyncio.to_thread(_parse, content, need)
        except GatewayError as error:
            if kept is not None and kept.current(at):
                return self._remember(need, kept, at + FAILURE_LASTS, at)
            return self._remember(need, Failed(f"{need.url}: {error.detail}"), at + FAILURE_LASTS, at)
        if kept is not None and kept.this_update > fresh.this_update:
            return self._remember(need, kept, at + FAILURE_LASTS, at)
        await asyncio.to_thread(_write, path, content, at)
        return self._remember(need, fresh, at + REFRESH, at)

    def _remember(self, need: Need, answer: Answer, until: int, at: int) -> Answer:
        if isinstance(answer, Crl) and answer.next_update is not None:
            until = max(min(until, answer.next_update), at + FAILURE_LASTS)
        if len(self._known) >= MAX_PLACES:
            self._known.pop(next(iter(self._known)))
        self._known[need] = _Known(answer, until)
        return answer


def _parse(content: bytes, need: Need) -> Crl:
    answer = read_answer(need, [content])
    if not isinstance(answer, Crl):
        raise TypeError(f"asked for {need.kind}")
    return answer


def _read(path: Path, need: Need) -> tuple[Crl | None, int]:
    """What was kept, and when it was written (microseconds UTC). A file that is damaged is as good as none."""
    try:
        written = path.stat().st_mtime_ns // 1000
        return _parse(path.read_bytes(), need), written
    except (OSError, GatewayError):
        return None, 0


def _write(path: Path, content: bytes, at: int) -> None:
    """Whole or not at all. A full disk costs the cache, not the answer."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.utime(part, ns=(at * 1000, at * 1000))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
