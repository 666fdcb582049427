"""One timer for a connection, however often what it waits for changes.

To set and cancel a timer for each wait costs more than the wait: an SMTP session waits a dozen times for each mail, and hardly
ever in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls ``passed`` once the time last given to ``set`` is over, unless ``clear`` came before it. ``close`` it at the end."""

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """From now on it is ``at``, in seconds of the loop's clock."""
        self._at = at
        if self._timer is not None and self._timer.when() > at:
            self.close()
            self._at = at
        if self._timer is None:
            self._timer = self._loop.call_at(at, self._look)

    def clear(self) -> None:
        """Nothing is waited for."""
        self._at = None

    def close(self) -> None:
        """Never again."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The timer has run out; the deadline may have moved since."""
        self._timer = None
        if self._at is None:
            return
        if self._at > self._loop.time():
            self._timer = self._loop.call_at(self._at, self._look)
        else:
            self._at = None
            self._passed()
