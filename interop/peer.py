"""A peer: somebody else's program that opens and writes S/MIME."""

from __future__ import annotations

from typing import Protocol

from interop.case import Case


class Refused(Exception):
    """The peer would not. The text is what it says itself, in one line."""


class NotOffered(Exception):
    """There is no way to ask this program for such a message. The text says what it has instead, or nothing."""


class Peer(Protocol):
    """One program, with the keys of all readers and signers, which believes the authority of :class:`interop.people.People`."""

    @property
    def name(self) -> str:
        """What its column is called."""

    @property
    def version(self) -> str:
        """Its version, as it or its package says it."""

    def open(self, case: Case, message: bytes) -> bytes:
        """The entity (header fields, content) that the peer shows of ``message``, once it decrypted and verified it as ``case``
        asks. Raises :class:`Refused`.
        """

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """A message with the fields of ``header`` and ``entity`` protected. Raises :class:`Refused`, :class:`NotOffered`."""
