"""A copy of a mail on its way: its envelope, where it came from, where it goes next. What the spool keeps beside the body."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.mail.address import Address
from gateway.mail.body import Body as Bytes
from gateway.mail.identifier import MailId
from gateway.mail.priority import Priority


class Direction(StrEnum):
    """Decided by listener and authenticated client alone, never by the addresses in the mail."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    REPORT = "report"


class Role(StrEnum):
    """Who may speak on a listener."""

    INSIDE = "inside"
    ZONE = "zone"
    STRANGER = "stranger"


class Body(StrEnum):
    """The BODY parameter of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: the address and its DSN parameters (RFC 3461), kept as given."""

    address: Address
    notify: frozenset[str] = frozenset()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """MAIL and its RCPTs. ``sender`` None is the null reverse-path ``<>``."""

    sender: Address | None
    recipients: tuple[Recipient, ...]
    body: Body = Body.SEVEN_BIT
    smtputf8: bool = False
    require_tls: bool = False
    ret: str | None = None
    envid: str | None = None

    def to(self, recipients: tuple[Recipient, ...]) -> Envelope:
        """The same to ``recipients``, who are nearly always all of them."""
        return self if recipients == self.recipients else replace(self, recipients=recipients)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who brought a mail, and when. ``at`` in microseconds UTC. ``organisation`` is chosen once and governs keys, policy, rights.

    ``client`` names the configured inside client, ``zone`` and ``peer`` the authenticated zone peer; ``address`` is the
    network address as text and ``tls`` the protocol and cipher, or "" in clear.
    """

    mail: MailId
    at: int
    organisation: str
    direction: Direction
    role: Role
    listener: str
    address: str = ""
    helo: str = ""
    tls: str = ""
    client: str | None = None
    zone: str | None = None
    peer: str | None = None
    parent: MailId | None = None
    trace: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a mail goes next, by its name in the configuration: a route, or a peer of a zone.

    Resolved when it is delivered, so that a corrected host or port helps the mail that waits.
    """

    name: str
    zone: str | None = None

    def __str__(self) -> str:
        return f"route:{self.name}" if self.zone is None else f"peer:{self.zone}/{self.name}"


class Stage(StrEnum):
    """What a mail waits for: its flow (as it came in; ``RELEASED`` if its flow held it and a person let it go on), or its
    delivery (as it goes out).
    """

    FLOW = "flow"
    RELEASED = "released"
    DELIVERY = "delivery"


@dataclass(frozen=True, slots=True)
class Mail:
    """A copy of a mail. ``hop`` is set from ``Stage.DELIVERY`` on; ``protected``: no report may show anything of its content.

    Times are microseconds UTC.
    """

    arrival: Arrival
    envelope: Envelope
    body: Bytes
    stage: Stage
    hop: NextHop | None = None
    protected: bool = False
    priority: Priority = Priority.NORMAL
