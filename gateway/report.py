"""Who is told of a mail that will not arrive, or waits for long, and by what way the report goes. What will not arrive and nobody
can be told of is held instead.

Reports go back to senders we know: our own people, and peers of a zone. A stranger's reverse-path may be forged, so a stranger's
mail that cannot be delivered is kept for the administrator, never answered (no backscatter).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from gateway.config.model import Config
from gateway.mail.address import Address
from gateway.mail.body import Bodies
from gateway.mail.dsn import Action, Fate, Report, build_report, report_envelope, wants_report
from gateway.mail.ending import Delayed, Refused, Relayed
from gateway.mail.envelope import Arrival, Direction, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.identifier import RANDOM_BYTES, make_mail_id
from gateway.mail.message import Header, head_of
from gateway.outcome import GatewayError, Reason


@dataclass(frozen=True, slots=True)
class Reported:
    """``reports`` are new mails; ``unreported`` are those refused that nobody may be told of, and that must be held; ``failed`` are
    the recipients of whose failure a report speaks.
    """

    reports: tuple[Mail, ...] = ()
    unreported: tuple[Refused, ...] = ()
    failed: frozenset[Recipient] = frozenset()


class Reporter:
    """Writes reports of failure, of delay, and of success where nobody else will. ``now`` in microseconds UTC; ``random`` gives as
    many bytes as it is asked for.
    """

    def __init__(
        self, *, config: Callable[[], Config], bodies: Bodies, now: Callable[[], int], random: Callable[[int], bytes]
    ) -> None:
        self._config = config
        self._bodies = bodies
        self._now = now
        self._random = random

    def report(
        self, mail: Mail, refused: Sequence[Refused], delayed: Sequence[Delayed] = (), relayed: Sequence[Relayed] = ()
    ) -> Reported:
        """One report about all of them, to be committed together with the end of ``mail``, or of this try of it."""
        sender = mail.envelope.sender
        hop = self._way_back(mail.arrival, sender)
        if sender is None or hop is None:
            return Reported(unreported=tuple(refused))
        found = chain(_failed(refused), _delayed(delayed), _relayed(relayed))
        fates = tuple(fate for fate in found if wants_report(sender, fate.recipient, fate.action))
        if not fates:
            return Reported()
        failed = frozenset(fate.recipient for fate in fates if fate.action is Action.FAILED)
        return Reported(reports=(self._write(mail, sender, hop, fates),), failed=failed)

    def _way_back(self, arrival: Arrival, sender: Address | None) -> NextHop | None:
        """None where no report may go."""
        if sender is None or arrival.direction is Direction.REPORT or arrival.role is Role.STRANGER:
            return None
        if arrival.direction is Direction.OUTBOUND:
            organisation = self._config().organisation.get(arrival.organisation)
            return NextHop(organisation.mail_server) if organisation is not None else None
        return NextHop(arrival.peer, arrival.zone) if arrival.peer is not None else None

    def _write(self, mail: Mail, sender: Address, hop: NextHop, fates: tuple[Fate, ...]) -> Mail:
        now = self._now()
        identifier = make_mail_id(now, self._random(RANDOM_BYTES))
        report = Report(
            reporter=self._config().hostname,
            identifier=identifier,
            at=now,
            to=sender,
            arrived=mail.arrival.at,
            fates=fates,
            envid=mail.envelope.envid,
            header=self._returnable(mail),
        )
        writer = self._bodies.create()
        writer.write(build_report(report))
        arrival = Arrival(
            mail=identifier,
            at=now,
            organisation=mail.arrival.organisation,
            direction=Direction.REPORT,
            role=mail.arrival.role,
            listener=mail.arrival.listener,
            zone=mail.arrival.zone,
            peer=mail.arrival.peer,
            parent=mail.arrival.mail,
        )
        return Mail(arrival, report_envelope(sender), writer.close(), Stage.DELIVERY, hop)

    @staticmethod
    def _returnable(mail: Mail) -> Header | None:
        """The header of a mail that left us in clear; of one that was, or was still to be, protected nothing is returned, nor of
        one that is to go nowhere in clear (RFC 8689): the report does not ask for TLS all the way.
        """
        if mail.protected or mail.envelope.require_tls or mail.stage is not Stage.DELIVERY:
            return None
        try:
            return head_of(mail.body)
        except GatewayError:
            return None


def _failed(refused: Sequence[Refused]) -> Iterator[Fate]:
    for item in refused:
        said = item.detail if item.reason is Reason.HOP_REFUSED else ""
        yield from (Fate(recipient, Action.FAILED, item.reason, said) for recipient in item.recipients)


def _delayed(delayed: Sequence[Delayed]) -> Iterator[Fate]:
    for item in delayed:
        said = item.detail if item.reason is Reason.HOP_DEFERRED else ""
        yield from (Fate(recipient, Action.DELAYED, item.reason, said, until=item.until) for recipient in item.recipients)


def _relayed(relayed: Sequence[Relayed]) -> Iterator[Fate]:
    return (Fate(item.recipient, Action.RELAYED, None, item.reply, item.host) for item in relayed)
