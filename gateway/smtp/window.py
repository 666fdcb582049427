"""How many connections a next hop is given at once: it grows while the hop takes mail, and shrinks when the hop asks to wait.

The congestion window of TCP, counted in connections: slow start up to a threshold, then one more for each round, half at each
sign of trouble (RFC 5681 3.1). SMTP has no better sign than a 421, a 4yz or a connection that ends (RFC 5321 4.5.4.1). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

START: Final = 2
PER_TARGET: Final = 10


@dataclass(frozen=True, slots=True)
class Window:
    """``size`` connections, of which the whole part counts; up to ``threshold`` it grows by one for each mail taken."""

    size: float = START
    threshold: float = PER_TARGET

    @property
    def allowed(self) -> int:
        """Connections at once, 1 to ``PER_TARGET``."""
        return int(self.size)

    def grown(self) -> Window:
        """After a mail that the hop took while the window was full."""
        more = 1.0 if self.size < self.threshold else 1.0 / self.size
        return Window(min(PER_TARGET, self.size + more), self.threshold)

    def shrunk(self, to: float | None = None) -> Window:
        """After a sign of trouble: half of it, or what the hop is known to bear (``to``)."""
        half = max(1.0, self.size / 2 if to is None else to)
        return Window(half, half)
