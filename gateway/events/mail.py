"""What happens to mails, and to those who bring them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.events.event import Event
from gateway.mail.identifier import MailId
from gateway.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRejected(Event):
    """A connection or a TLS handshake was refused. ``detail`` says why, for the administrator."""

    listener: str
    address: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAllowed(Event):
    """A peer was let in though its certificate is meant for servers alone, as ``client_usage`` allows it. Once for each session;
    ``detail`` says what its certificate is meant for.
    """

    listener: str
    address: str
    zone: str
    peer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Event):
    """What a client sent was refused by the rules of SMTP: malformed, out of order, too long, too slow. ``reply`` is what it was
    told; ``verb`` the command, where it was one that we know. Nothing else of the line: it may be anything, and anybody's.
    """

    listener: str
    address: str
    reply: str
    verb: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRefused(Event):
    """A mail, or a recipient of one, was refused or put off for a reason of ours; nothing entered the spool for it."""

    listener: str
    address: str
    reason: Reason
    sender: str = ""
    recipients: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAccepted(Event):
    """A mail is durable and 250 was said. ``size`` in bytes."""

    listener: str
    address: str
    direction: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailProtected(Event):
    """An outbound copy was made: ``protection`` is ``both``, ``sign``, ``encrypt``, or ``kept`` where the sender had done enough
    himself; ``rule`` asked for it. ``copy`` is the new mail's identifier. ``algorithms`` is how each of ``recipients`` is encrypted
    to, and why so; ``certificates``, by which certificate, and how far that is trusted; ``besides`` who else can read it.
    ``headers`` is what became of its header fields: ``off``, ``none``, ``baseline`` or ``shy``.
    """

    copy: MailId
    rule: str
    protection: str
    recipients: tuple[str, ...]
    sign_key: str = ""
    content_cipher: str = ""
    algorithms: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    headers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailUnprotected(Event):
    """A rule named ``unprotected``, or one that only observes, let a mail out as it was, as the new mail ``copy``.

    ``would`` is what a rule that only observes would have done: ``both``, ``sign``, ``encrypt``, ``unprotected``, ``refuse``,
    ``hold`` or ``defer``, the last four with ``reason`` why.
    """

    copy: MailId
    rule: str
    recipients: tuple[str, ...]
    reason: Reason | None = None
    would: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailOpened(Event):
    """An inbound mail was judged. ``verdict`` and ``reasons`` as in the inbound marks."""

    verdict: str
    encrypted: bool
    assurance: str = ""
    signer: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Onward(Event):
    """What becomes of a mail on its way out. ``parent`` is the mail it was made from: its only link to what came in."""

    parent: MailId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDelivered(_Onward):
    """A next hop took responsibility for these recipients. ``reply`` is its own first line."""

    route: str
    host: str
    recipients: tuple[str, ...]
    tls: str = ""
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDeferred(_Onward):
    """Tried again at ``until`` (microseconds UTC)."""

    reason: Reason
    recipients: tuple[str, ...]
    until: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFailed(_Onward):
    """Will never reach these recipients; ``reported`` says whether a report went back to the sender."""

    reason: Reason
    recipients: tuple[str, ...]
    reported: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailHeld(_Onward):
    """Waits for a person."""

    reason: Reason
    recipients: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailBroken(Event):
    """Could not be processed for a fault of ours; kept, and operations are paged."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReleased(Event):
    """A person released a held mail."""

    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDropped(Event):
    """A person dropped a mail."""

    who: str
