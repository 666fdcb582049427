"""Sockets out: takes a mail one hop further, one outcome per recipient.

A zone peer must show a certificate of *this* peer; a route with TLS must show one that names its host. Where it does not, the
mail waits: no delivery ever goes back to clear, and none goes to somebody else. Where a hop says nothing after the end of a
message, it is sent again: a second copy is better than none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

from gateway.config.model import Config
from gateway.deliver.nexthop import NextHops, Resolver
from gateway.edge.smtpclient import SMALL, Connection, Deadlines, Sent, Target
from gateway.edge.smtplink import Secured
from gateway.edge.smtppool import Pool
from gateway.mail.address import Address
from gateway.mail.body import Body
from gateway.mail.envelope import Mail, NextHop, Recipient
from gateway.mail.message import head_of
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.smtp.fit import Fit, fit
from gateway.smtp.hopreply import HopError, without
from gateway.smtp.reply import Reply

MAX_DOMAINS: Final = 10  # domains of one mail delivered to at the same time, where a route goes by MX

Ending = Deliver | Defer | Refuse
Answer = TypeVar("Answer")


class Peers(Protocol):
    """Knows a peer of a zone by its certificate."""

    async def server(self, config: Config, zone: str, chain: Sequence[bytes], at: int, stapled: bytes, /) -> str | Refuse | Defer:
        """The name of the peer we have connected to, which showed ``chain`` (DER, leaf first), or why it is none. ``stapled`` is
        the OCSP answer it sent along (DER, not read yet), empty where it sent none.
        """


@dataclass(frozen=True, slots=True)
class HopResult:
    """What became of one recipient. ``reply`` is the first line of the hop's own word, "" where it said none; where the hop
    refused or deferred, it is the outcome's ``detail`` too, and quotes no Subject. ``tls`` is protocol and cipher, "" in clear.
    ``reports``: the hop has taken over what reports were asked for (RFC 3461 5.2.1).
    """

    recipient: Recipient
    outcome: Ending
    host: str = ""
    tls: str = ""
    reply: str = ""
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """A next hop that answers: its ``host:port`` and its TLS."""

    host: str
    tls: str


class Deliverer:
    """Delivers. One for each worker process; ``close`` it when nothing is under way any more."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        resolver: Resolver,
        peers: Peers,
        now: Callable[[], int],
        deadlines: Deadlines | None = None,
    ) -> None:
        self._config = config
        self._hops = NextHops(config, resolver)
        self._peers = peers
        self._now = now
        self._deadlines = deadlines or Deadlines()
        self._pool = Pool(self._connect)

    async def close(self) -> None:
        """Take leave of every next hop."""
        await self._pool.close()

    async def deliver(self, mail: Mail) -> tuple[HopResult, ...]:
        """One result for each recipient of ``mail``, in no particular order. Raises :class:`GatewayError` (NO_ROUTE) for a mail
        without a next hop.
        """
        hop, recipients = mail.hop, mail.envelope.recipients
        if hop is None:
            raise GatewayError(Reason.NO_ROUTE, "the mail has no next hop")
        if not self._hops.by_mx(hop):
            return await _guarded(recipients, self._deliver_fixed(hop, mail))
        free = asyncio.Semaphore(MAX_DOMAINS)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_guarded(group, self._deliver_by_mx(hop, domain, mail, group, free)))
                for domain, group in _by_domain(recipients).items()
            ]
        return tuple(result for task in running for result in task.result())

    async def reach(self, hop: NextHop) -> Reached | Defer:
        """Connect to a zone peer or to a route's host as a delivery would, and send nothing."""
        try:
            target = self._hops.fixed(hop)
            async with self._pool.lend(target, fresh=True) as loan:
                return Reached(str(target), loan.connection.tls)
        except GatewayError as error:
            return Defer(error.reason, error.detail)

    async def probe(self, hop: NextHop, recipient: Address) -> Reply | Defer:
        """The word of a zone peer or of a route's host on ``recipient``; no mail is sent."""
        try:
            target = self._hops.fixed(hop)
            kept = False
            try:
                async with self._pool.lend(target) as loan:
                    kept = loan.kept
                    return await loan.connection.probe(recipient)
            except HopError:
                if not kept:
                    raise
            async with self._pool.lend(target, fresh=True) as loan:
                return await loan.connection.probe(recipient)
        except GatewayError as error:
            return Defer(error.reason, error.detail)

    async def _deliver_fixed(self, hop: NextHop, mail: Mail) -> tuple[HopResult, ...]:
        return await self._deliver_to((self._hops.fixed(hop),), mail, mail.envelope.recipients)

    async def _deliver_by_mx(
        self, hop: NextHop, domain: str, mail: Mail, recipients: tuple[Recipient, ...], free: asyncio.Semaphore
    ) -> tuple[HopResult, ...]:
        async with free:
            targets = await self._hops.of_domain(hop, domain)
            if isinstance(targets, Refuse | Defer):
                return _all(recipients, targets)
            return await self._deliver_to(targets, mail, recipients)

    async def _deliver_to(self, targets: Sequence[Target], mail: Mail, recipients: tuple[Recipient, ...]) -> tuple[HopResult, ...]:
        """To the first of ``targets`` with which a session comes about."""
        trouble = HopError(Reason.NO_ROUTE, "no target")
        for target in targets:
            try:
                return await self._send(target, mail, recipients)
            except HopError as error:
                trouble = error
        raise trouble

    async def _send(self, target: Target, mail: Mail, recipients: tuple[Recipient, ...]) -> tuple[HopResult, ...]:
        """Raises :class:`HopError` where no session came about."""
        async with self._pool.lend(target) as loan:
            results, stale = await self._send_on(loan.connection, mail, recipients)
            if not (stale and loan.kept):
                return results
        async with self._pool.lend(target, fresh=True) as loan:
            results, _ = await self._send_on(loan.connection, mail, recipients)
            return results

    async def _send_on(
        self, connection: Connection, mail: Mail, recipients: tuple[Recipient, ...]
    ) -> tuple[tuple[HopResult, ...], bool]:
        """The results, and whether they are those of a connection gone stale."""
        envelope = mail.envelope.to(recipients)
        ask = partial(fit, connection.session.extensions, envelope, mail.body, secure=connection.tls != "")
        fitting: Fit = ask() if mail.body.size <= SMALL else await asyncio.to_thread(ask)
        host = str(connection.target)
        results = [HopResult(recipient, why, host, connection.tls) for recipient, why in fitting.refused]
        if not fitting.envelope.recipients:
            return tuple(results), False
        sent, reports = await connection.send(fitting.envelope, mail.body), connection.session.extensions.offers("DSN")
        unwilling = any(reply and not reply.done for reply in sent.replies)
        subjects = await asyncio.to_thread(_subjects, mail.body) if unwilling else frozenset()
        for recipient, reply in zip(fitting.envelope.recipients, sent.replies, strict=True):
            told = without(reply, subjects) if reply else None
            results.append(HopResult(recipient, _ending(told, sent), host, connection.tls, str(told or ""), reports))
        return tuple(results), sent.stale

    async def _connect(self, target: Target) -> Connection:
        verify = partial(self._verify, target.peer) if target.peer is not None else None
        config = self._config()
        connection = await Connection.open(target, config.hostname, self._deadlines, verify)
        address, port, own = connection.ends
        if (ours := config.listener_at(address, port, own=address == own or ip_address(address).is_loopback)) is not None:
            await connection.abort()
            raise HopError(Reason.LOOP, f"{target} is our own listener {ours}")
        return connection

    async def _verify(self, peer: NextHop, secured: Secured) -> None:
        """Whether what was shown is the certificate of ``peer`` and of no other. Raises :class:`HopError` (TLS_FAILED)."""
        assert peer.zone is not None  # noqa: S101 - routes are not verified here
        found = await self._peers.server(self._config(), peer.zone, secured.chain, self._now(), secured.stapled)
        if isinstance(found, Refuse | Defer):
            raise HopError(Reason.TLS_FAILED, f"certificate: {found.reason}: {found.detail}")
        if found != peer.name:
            raise HopError(Reason.TLS_FAILED, f"certificate of another peer: {found}, not {peer.name}")


async def _guarded(recipients: tuple[Recipient, ...], delivery: Awaitable[tuple[HopResult, ...]]) -> tuple[HopResult, ...]:
    """``delivery``, where a fault of it is a fault for its recipients and for no others."""
    try:
        return await delivery
    except GatewayError as error:
        if error.reason is Reason.MALFORMED:
            return _all(recipients, Refuse(error.reason, error.detail))
        return _all(recipients, Defer(error.reason, error.detail))


def _all(recipients: Sequence[Recipient], ending: Ending) -> tuple[HopResult, ...]:
    return tuple(HopResult(recipient, ending) for recipient in recipients)


def _ending(reply: Reply | None, sent: Sent) -> Ending:
    if reply is None:
        failure = sent.failure or HopError(Reason.HOP_UNREACHABLE, "no answer")
        return Defer(failure.reason, failure.detail)
    if reply.done:
        return Deliver()
    return Refuse(Reason.HOP_REFUSED, str(reply)) if reply.permanent else Defer(Reason.HOP_DEFERRED, str(reply))


def _subjects(body: Body) -> frozenset[str]:
    """The Subject as it is read and as it is written: what a hop may quote, and no audit is to hold."""
    try:
        field = head_of(body).first("Subject")
    except GatewayError:
        return frozenset()
    return frozenset((field.text, field.value.decode("utf-8", "replace"))) if field is not None else frozenset()


def _by_domain(recipients: Sequence[Recipient]) -> dict[str, tuple[Recipient, ...]]:
    domains: dict[str, tuple[Recipient, ...]] = {}
    for recipient in recipients:
        domains[recipient.address.domain] = (*domains.get(recipient.address.domain, ()), recipient)
    return domains
