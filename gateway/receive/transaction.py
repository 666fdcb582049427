"""One mail being received: who may send it, to whom, and its way into the spool. Knows no word of SMTP but the envelope.

The configuration of the moment MAIL was said governs the whole transaction; a reload takes effect with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, Protocol

from gateway.config.model import Config
from gateway.config.words import LineEnds
from gateway.events import MailAccepted, Observer
from gateway.mail.address import Address
from gateway.mail.body import Bodies, BodyWriter
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.identifier import RANDOM_BYTES, MailId, make_mail_id
from gateway.mail.priority import Priority, Runs, priority_of
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.policy import Admitted, Known, Speaker, admit, plan
from gateway.receive.peers import Client
from gateway.smtp.command import Hello, MailFrom

MEGABYTE: Final = 1024 * 1024
HEAD: Final = 16 * 1024  # octets of a message that are looked through for its priority


class Intake(Protocol):
    """The spool, as far as mail goes in (see ``gateway.spool.store.Spool``)."""

    @property
    def bodies(self) -> Bodies:
        """Where bodies are written."""

    def check_room(self, size: int, role: Role, /) -> None:
        """Returns where a message of ``size`` octets (0: who knows) from a ``role`` finds room. Raises :class:`GatewayError`."""

    async def accept(self, mail: Mail) -> None:
        """Returns when ``mail`` is durable. Raises :class:`gateway.outcome.GatewayError`."""


class Recorder(Observer, Protocol):
    """Records what happens; mail is accepted only while it can."""

    def check(self) -> None:
        """Raises :class:`GatewayError` (AUDIT_UNAVAILABLE) while what happens cannot be recorded."""


class RecipientCheck(Protocol):
    """Knows whether a mailbox of ours exists."""

    async def known(self, organisation: str, address: Address, /) -> Deliver | Refuse | Defer:
        """``Deliver``: it exists. ``Refuse`` (RECIPIENT_UNKNOWN): it does not. ``Defer`` (RECIPIENT_UNCHECKED): ask again later."""


class Peers(Protocol):
    """Knows a peer of a zone by its certificate."""

    async def client(self, config: Config, zone: str, chain: Sequence[bytes], at: int, /) -> Client | Refuse | Defer:
        """The peer that has connected to us and showed ``chain`` (DER, leaf first), or why it is none."""


@dataclass(frozen=True, slots=True)
class World:
    """What a session needs. ``config`` is asked anew for each connection and transaction; ``random`` gives that many bytes."""

    config: Callable[[], Config]
    spool: Intake
    recipients: RecipientCheck
    peers: Peers
    observer: Recorder
    now: Callable[[], int]
    random: Callable[[int], bytes]
    runs: Runs = field(default_factory=Runs)


def message_limit(config: Config) -> int:
    """The longest message taken, in octets."""
    return config.limits.message_megabytes * MEGABYTE


class Transaction:
    """From MAIL to the end of the message. ``add`` recipients, ``open``, ``write``, then ``accept`` or ``discard``."""

    def __init__(self, world: World, config: Config, speaker: Speaker, hello: Hello, mail: MailFrom) -> None:
        self.mail = mail
        self.recipients: list[Recipient] = []
        self.limit = message_limit(config)
        self.received = config.limits.received
        self.seconds = config.limits.message_seconds
        self.role = speaker.role
        self.home = _home(config, speaker.organisation)
        """The domain of a postmaster who is named without one."""
        client = config.client.get(speaker.client or "")
        self.line_ends = client.line_ends if client is not None else LineEnds.REFUSE
        """Never mended for strangers and peers: whoever is no client of ours writes his mail as the RFC says."""
        self._world = world
        self._config = config
        self._speaker = speaker
        self._hello = hello
        self._admitted: Admitted | None = None
        self._writer: BodyWriter | None = None
        self._failure: Defer | None = None
        self._head = b""
        self._begun = False
        self._at = world.now()
        self._id = make_mail_id(self._at, world.random(RANDOM_BYTES))

    async def add(self, recipient: Recipient) -> Refuse | Defer | None:
        """Takes a recipient; None means taken. All of one mail belong to one organisation and one direction."""
        config, speaker, sender, address = self._config, self._speaker, self.mail.sender, recipient.address
        if any(other.address == address for other in self.recipients):
            return None
        if len(self.recipients) >= config.limits.recipients:
            return Refuse(Reason.TOO_MANY, f"over {config.limits.recipients} recipients")
        admitted = admit(config, speaker, sender, address)
        if isinstance(admitted, Refuse):
            return admitted
        if self._admitted not in (None, admitted):
            return Refuse(Reason.TOO_MANY, f"recipient of {admitted.organisation} in a mail for another organisation")
        if admitted.direction is Direction.INBOUND:
            known = await self._world.recipients.known(admitted.organisation, address)
            if not isinstance(known, Deliver):
                return known
        planned = plan(
            config,
            Known(admitted.organisation, admitted.direction, sender, address, None, client=speaker.client, zone=speaker.zone),
        )
        if isinstance(planned, Refuse):
            return planned
        self._admitted = admitted
        self.recipients.append(recipient)
        return None

    def open(self) -> None:
        """The message is about to come: begins its body with our trace line (RFC 5321 4.4)."""
        try:
            self._writer = self._world.spool.bodies.create()
        except GatewayError as error:
            self._failure = Defer(error.reason, error.detail)
        self._append(self._trace_line())

    def write(self, data: bytes) -> None:
        """The message goes on. Where that fails the rest is dropped, and ``accept`` will say so: a session stays in step."""
        if not self._begun and data:
            self._begun = True
            if data[:1] in b" \t":  # text, which must not go on with our trace line (RFC 5322 2.2.3) and stay outside with it
                data = b"\r\n" + data
        self._append(data)

    def _append(self, data: bytes) -> None:
        if self._writer is None or not data:
            return
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        try:
            self._writer.write(data)
        except GatewayError as error:
            self._failure = Defer(error.reason, error.detail)
            self.discard()

    def discard(self) -> None:
        """Nothing of the message is kept."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    async def accept(self, size: int) -> MailId | Defer:
        """The message (of ``size`` octets as sent) is complete: on return with an identifier it is durable, and 250 may be said.

        Whatever ends this call but a plain refusal of the spool leaves the body alone: its row may be there already, and a
        body without a row is swept when the spool starts.
        """
        writer, self._writer = self._writer, None
        if writer is None or self._admitted is None:
            return self._failure or Defer(Reason.SPOOL_UNAVAILABLE)
        try:
            body = writer.close()
            envelope = self._envelope()
            mail = Mail(self._arrival(self._admitted), envelope, body, Stage.FLOW, priority=self._priority(envelope))
            await self._world.spool.accept(mail)
        except GatewayError as error:
            writer.discard()
            return Defer(error.reason, error.detail)
        self._world.observer.see(
            MailAccepted(
                org=self._admitted.organisation,
                mail=self._id,
                listener=self._speaker.listener,
                address=self._speaker.address,
                direction=self._admitted.direction,
                sender=str(self.mail.sender or ""),
                recipients=tuple(str(recipient.address) for recipient in self.recipients),
                size=size,
                peer=self._speaker.peer or "",
            )
        )
        return self._id

    def _arrival(self, admitted: Admitted) -> Arrival:
        return Arrival(
            self._id,
            self._at,
            admitted.organisation,
            admitted.direction,
            self._speaker.role,
            self._speaker.listener,
            address=self._speaker.address,
            helo=self._hello.name,
            tls=self._speaker.tls,
            client=self._speaker.client,
            zone=self._speaker.zone,
            peer=self._speaker.peer,
        )

    def _envelope(self) -> Envelope:
        mail = self.mail
        return Envelope(
            mail.sender,
            tuple(self.recipients),
            body=mail.body,
            smtputf8=mail.smtputf8,
            require_tls=mail.require_tls,
            ret=mail.ret,
            envid=mail.envid,
        )

    def _priority(self, envelope: Envelope) -> Priority:
        speaker, sender = self._speaker, envelope.sender
        who = f"{speaker.client or speaker.peer or speaker.address} {sender}"
        running = sender is not None and self._world.runs.running(who, self._at)
        header = self._head.partition(b"\r\n\r\n")[0]
        return priority_of(header, len(envelope.recipients), known=speaker.role is not Role.STRANGER, running=running)

    def _trace_line(self) -> bytes:
        """``for`` is given for a single recipient alone: with more it would tell each of the others (RFC 5321 7.2)."""
        address = self._speaker.address
        place = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        protocol = "SMTP" if not self._hello.extended else "UTF8SMTP" if self.mail.smtputf8 else "ESMTP"  # RFC 6531 4.3
        secured = "S" if self._speaker.tls and self._hello.extended else ""  # RFC 3848
        cipher = f"\r\n\t({self._speaker.tls})" if self._speaker.tls else ""
        only = self.recipients[0].address if len(self.recipients) == 1 else None
        told = f"\r\n\tfor <{only}>" if only and (self.mail.smtputf8 or not only.needs_smtputf8) else ""
        return (
            f"Received: from {self._hello.name} ({place})\r\n\tby {self._config.hostname} with {protocol}{secured} id {self._id}"
            f"{cipher}{told};\r\n\t{_date(self._at // 1_000_000)}\r\n"
        ).encode()


def _home(config: Config, organisation: str | None) -> str:
    """The first domain of ``organisation``. A zone speaks to all of them, and to the first where it does not say to whom."""
    own = config.organisation.get(organisation or next(iter(config.organisation)))
    return own.domains[0] if own is not None else ""


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    """A second UTC as RFC 5322 3.3 writes it."""
    return format_datetime(datetime.fromtimestamp(second, UTC))
