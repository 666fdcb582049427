"""Servers that strangers name: each is asked a few things at once, and one that is dead delays those who asked, once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.edge.breaker import Breaker

REST_SECONDS: Final = 30.0
AT_ONCE: Final = 4
MAX_SERVERS: Final = 1024


@dataclass(slots=True)
class Server:
    """One server: whether it answers, and the places in its queue."""

    breaker: Breaker
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    well: bool = True


class Servers:
    """By scheme, host and port; the ones asked last are remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds."""
        self._clock = clock
        self._known: OrderedDict[str, Server] = OrderedDict()

    def named(self, name: str) -> Server:
        """The server of that name."""
        server = self._known.get(name)
        if server is None:
            if len(self._known) >= MAX_SERVERS:
                self._known.popitem(last=False)
            server = self._known[name] = Server(Breaker(REST_SECONDS, self._clock))
        self._known.move_to_end(name)
        return server
