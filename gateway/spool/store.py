"""The contract of the spool, its states and its leases.

A row is one copy of a mail on its way. ``waiting`` becomes ``leased`` and then ``done``, ``waiting`` again, ``held`` or
``broken``. ``done`` rows are deleted with their bodies, so a spool at rest is empty. A lease has a fencing ``token``: every
call that settles a lease fails with :class:`LeaseLost` when another worker took the row since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from gateway.mail.body import Bodies
from gateway.mail.ending import Held
from gateway.mail.envelope import Mail, Recipient
from gateway.mail.identifier import MailId
from gateway.outcome import Reason

SUSPECT: Final = 2  # deaths of its process after which a mail is taken alone; schema/0002.sql has an index for it


class State(StrEnum):
    """Where a row stands."""

    WAITING = "waiting"
    LEASED = "leased"
    HELD = "held"
    BROKEN = "broken"


class LeaseLost(Exception):
    """The lease ran out and the row is another's; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Row:
    """What lists and ``queue why`` show of a mail; ``detail`` is the administrator's text of the last thing that happened."""

    mail: Mail
    state: State
    attempts: int
    next_at: int
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is damaged, or of a version to come: nothing else can be told of ``mail``. ``detail`` says what is wrong."""

    mail: MailId
    organisation: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a row until ``until`` (seconds of the boot clock, ``time.clock_gettime(CLOCK_BOOTTIME)``).

    ``due`` is the time this try was planned for (microseconds UTC). ``deaths`` is how often a process died with the row in hand
    since it was last settled.
    """

    mail: Mail
    token: int
    until: float
    attempts: int
    due: int
    deaths: int = 0

    @property
    def alone(self) -> bool:
        """Whether the holder takes no other mail beside this one: it may be what its processes died of."""
        return self.deaths >= SUSPECT


@dataclass(frozen=True, slots=True)
class Waiting:
    """What becomes of recipients that stay: tried again at ``next_at``."""

    recipients: tuple[Recipient, ...]
    next_at: int
    reason: Reason
    detail: str = ""


Remainder = Waiting | Held


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a lease ends in: its row goes, ``outputs`` are new rows, ``remainders`` are the recipients that stay.

    The remainders keep the body of the row; or, if work went on with an output that was never stored, of that output, ``of``.
    """

    outputs: tuple[Mail, ...] = ()
    remainders: tuple[Remainder, ...] = ()
    of: Mail | None = None


class Spool(Protocol):
    """The durable queue. Every method that changes something returns only when the change is on disk.

    Raises :class:`gateway.outcome.GatewayError` (SPOOL_UNAVAILABLE, SPOOL_FULL) where the disk or the database fails.
    """

    @property
    def bodies(self) -> Bodies:
        """Where bodies are written before a row names them."""

    async def accept(self, mail: Mail) -> None:
        """A new mail, ``waiting`` at once. On return 250 may be said."""

    async def lease(self, limit: int, bulk: int | None = None) -> Sequence[Lease]:
        """At most ``limit`` rows that are due, at most ``bulk`` of them of bulk mail, taken for this worker; empty when nothing is
        due. Best priority first, but for one of the lowest now and then. A mail to be taken alone is so, by who has nothing else.
        A row that cannot be read becomes ``broken``, and stops no other.
        """

    async def wait(self, room: int = 0, bulk: int | None = None) -> None:
        """Returns when something may be due: a mail was accepted here, or the time of the next row has come. Bulk mail is none
        where ``bulk`` is 0.

        ``room`` is how many leases the caller would take from now on, even after the return, ``bulk`` of them of bulk mail: of what
        is stored here, as many may be leased to this process at once, for the next calls of :meth:`lease`.
        """

    async def replace(self, lease: Lease, settlement: Settlement) -> None:
        """The end of a lease, in one transaction.

        No outputs and no remainders: the mail is done. Each remainder that is not the only one becomes a row of its own
        with a new identifier, the same body and the old row as its parent. Raises :class:`LeaseLost`.
        """

    def discard(self, outputs: Sequence[Mail]) -> None:
        """Forget the bodies of ``outputs`` that no row came to name."""

    async def break_(self, lease: Lease, detail: str) -> None:
        """Puts the row aside as ``broken``, with its body. Raises :class:`LeaseLost`."""

    def let_go(self, lease: Lease) -> None:
        """The holder does no more with the lease: unless it was settled, it runs out and is taken up again."""

    async def rows(self, state: State | None = None) -> Sequence[Row | Unreadable]:
        """All rows, or those in ``state``, oldest first."""

    async def row(self, mail: MailId) -> Row | Unreadable | None:
        """One row."""

    async def release(self, mail: MailId) -> bool:
        """A row that nobody has leased becomes ``waiting``, due now; one that its flow held becomes ``Stage.RELEASED``.

        False where there is none.
        """

    async def drop(self, mail: MailId) -> bool:
        """A row that nobody has leased goes, with its body. False where there is none."""
