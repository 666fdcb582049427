"""A breaker: what failed a moment ago is not asked again by everybody at once."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Closed until a failure; then open for ``rest`` seconds; then one question passes, and its outcome decides."""

    def __init__(self, rest: float, clock: Callable[[], float]) -> None:
        """``clock`` in seconds, monotonic."""
        self._rest = rest
        self._clock = clock
        self._open_until: float | None = None
        self._trying = False

    def admits(self) -> bool:
        """Whether to ask now. After a rest only the first who comes is told yes, and must report back."""
        if self._open_until is None:
            return True
        if self._trying or self._clock() < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The question was answered."""
        self._open_until = None
        self._trying = False

    def failed(self) -> None:
        """The question was not answered."""
        self._open_until = self._clock() + self._rest
        self._trying = False

    def abandoned(self) -> None:
        """Whoever asked went away; the next one may try."""
        self._trying = False
