"""Bodies that can all be forgotten together: what a flow wrote and, as it turned out, does not hand on."""

from __future__ import annotations

from gateway.mail.body import Bodies, BodyWriter


class Kept:
    """Makes bodies as ``bodies`` does, and remembers them."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._writers: list[BodyWriter] = []

    def create(self) -> BodyWriter:
        """A new, empty body."""
        writer = self._bodies.create()
        self._writers.append(writer)
        return writer

    def discard(self) -> None:
        """Forget every body made so far."""
        for writer in self._writers:
            writer.discard()
        self._writers.clear()
