"""Asks directories: answers are used again, and of identical questions at one time only one is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.events import FetchFailed, Observer
from gateway.mail.address import Address
from gateway.trust.sources import Directory, DirectoryError, Found

NOTHING_FOUND_SECONDS: Final = 60.0
_REMEMBERED: Final = 20_000


class Lookups:
    """What directories said of addresses, for each directory and address."""

    def __init__(self, observer: Observer, now: Callable[[], int]) -> None:
        """``now`` in microseconds UTC."""
        self._observer = observer
        self._now = now
        self._known: dict[tuple[str, str], tuple[int, Found]] = {}
        self._flights: dict[tuple[str, str], asyncio.Task[Found]] = {}

    async def find(self, organisation: str, directory: Directory, address: Address) -> Found:
        """What ``directory`` holds for ``address``, asked for ``organisation``. Raises :class:`DirectoryError`."""
        key = (directory.name, str(address))  # in DNS a local part has a case (RFC 8162 3)
        until, found = self._known.get(key, (0, Found()))
        if self._now() < until:
            return found
        if directory.remember_seconds <= 0:  # asking costs nothing
            return await self._ask(organisation, directory, address)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._ask(organisation, directory, address))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: one asker who gives up must not take the answer away from the others.
        return await asyncio.shield(flight)

    def _landed(self, key: tuple[str, str], flight: asyncio.Task[Found]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # seen, though all who asked may have gone

    async def _ask(self, organisation: str, directory: Directory, address: Address) -> Found:
        try:
            found = await directory.find(address)
        except DirectoryError as error:
            if not error.resting:
                self._observer.see(FetchFailed(org=organisation, kind="directory", source=directory.name, detail=error.detail))
            raise
        if found.passed_over:
            detail = f"{address.domain}: {'; '.join(found.passed_over)}"
            self._observer.see(
                FetchFailed(org=organisation, kind="directory", result="unusable", source=directory.name, detail=detail)
            )
        longest = directory.remember_seconds if found.certificates else min(directory.remember_seconds, NOTHING_FOUND_SECONDS)
        seconds = longest if found.seconds is None else min(longest, found.seconds)
        if seconds > 0:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)), None)
            self._known[directory.name, str(address)] = (self._now() + int(seconds * 1_000_000), found)
        return found
