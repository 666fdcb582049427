"""A worker: leases mails, takes each one step further, settles the lease. The middle of the journey.

A step is a flow (``Stage.FLOW``) or a delivery (``Stage.DELIVERY``). Whatever a step ends in, every recipient of the mail
ends in exactly one of: a new row, done, waiting, held. What can be neither delivered nor reported is held, never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from gateway import onward
from gateway.config.model import Config
from gateway.deliver import HopResult
from gateway.events import MailBroken, Observer
from gateway.flow.result import Flowed
from gateway.mail.ending import Deferred, Delayed, Held, Refused, Relayed
from gateway.mail.envelope import Direction, Mail, Recipient, Stage
from gateway.mail.priority import Priority
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.report import Reported, Reporter
from gateway.spool.files import BodyDamagedError
from gateway.spool.schedule import gives_up_at, next_at, warns
from gateway.spool.store import Lease, LeaseLost, Remainder, Settlement, Spool, Waiting

CONCURRENT: Final = 32  # mails in hand at once; a worker is one core, so more would only add memory
GUILTY: Final = 4  # deaths of its process, from the third on with nothing else in hand, after which a mail is put aside
ALONE_SECONDS: Final = 30.0  # for a mail its processes may have died of: whoever lives then waits for a slow hop, say
PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds: together less than a lease lasts
BULK: Final = 24  # of them bulk mail, so that a run to slow servers never has every hand

_log = structlog.get_logger()


class Flow(Protocol):
    """Makes of a mail as it came in what is to go out."""

    async def run(self, mail: Mail, /) -> Flowed:
        """Every recipient of ``mail`` is in exactly one part of the answer."""


class Delivery(Protocol):
    """Takes a mail one hop further."""

    async def deliver(self, mail: Mail, /) -> Sequence[HopResult]:
        """One result for each recipient."""


class Worker:
    """Works until stopped; finishes what it holds before it returns."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        spool: Spool,
        flows: dict[Direction, Flow],
        delivery: Delivery,
        reporter: Reporter,
        observer: Observer,
        now: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._config = config
        self._spool = spool
        self._flows = flows
        self._delivery = delivery
        self._reporter = reporter
        self._observer = observer
        self._now = now
        self._random = random
        self._free = CONCURRENT
        self._bulk_free = BULK
        self._freed = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Lease and work until ``stopping`` is set, then wait for the mails in hand."""
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(stopping.wait())
            while not stopping.is_set():
                for lease in await self._lease():
                    self._free -= 1
                    self._bulk_free -= lease.mail.priority is Priority.BULK
                    working = tasks.create_task(self._hold(lease))
                    if lease.alone:
                        await asyncio.wait([working], timeout=ALONE_SECONDS)
                await self._something_to_do(stop)

    async def _lease(self) -> Sequence[Lease]:
        if self._free == 0:
            return ()
        try:
            return await self._spool.lease(self._free, max(0, self._bulk_free))
        except GatewayError as error:
            _log.warning("lease_failed", reason=error.reason)
            await asyncio.sleep(1.0)  # a spool that fails is asked again, at a pace that does not fill the log
            return ()

    async def _something_to_do(self, stop: asyncio.Task[bool]) -> None:
        """Wait for a due mail, a free hand, or the end."""
        self._freed.clear()
        waits: list[asyncio.Future[Any]] = []
        if self._free:
            waits.append(asyncio.ensure_future(self._spool.wait(self._free, max(0, self._bulk_free))))
        if not self._free or self._bulk_free <= 0:  # below 0: some were handed over meanwhile
            waits.append(asyncio.ensure_future(self._freed.wait()))
        try:
            await asyncio.wait([*waits, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _hold(self, lease: Lease) -> None:
        """One lease from start to settlement. Nothing escapes: a fault of ours puts the mail aside and pages operations.

        Where it is cancelled, at the end of the process, the lease is still held: the spool gives it back.
        """
        try:
            if lease.deaths < GUILTY:
                await self._step(lease)
            else:
                await self._break(lease, f"its worker died {lease.deaths} times")
        except LeaseLost:
            _log.warning("lease_lost", mail=lease.mail.arrival.mail)
        except BodyDamagedError as error:
            await self._break(lease, error.detail)
        except Exception as error:
            _log.exception("mail_broken", mail=lease.mail.arrival.mail)
            await self._break(lease, type(error).__name__)
        finally:
            self._free += 1
            self._bulk_free += lease.mail.priority is Priority.BULK
            self._freed.set()
        self._spool.let_go(lease)  # one that came to no settlement must not be renewed for as long as this process lives

    async def _step(self, lease: Lease) -> None:
        """One step; where it cannot be done now, the wait for the next try."""
        try:
            await self._take(lease)
        except BodyDamagedError:
            raise
        except GatewayError as error:
            await self._again(lease, lease.mail.envelope.recipients, Defer(error.reason, error.detail))

    async def _take(self, lease: Lease) -> None:
        mail = lease.mail
        if mail.stage is Stage.DELIVERY:
            await self._settle_delivery(lease, mail)
            return
        if mail.arrival.organisation not in self._config().organisation:  # as a next hop that is gone: for the administrator
            raise GatewayError(Reason.NO_ROUTE, f"no such organisation: {mail.arrival.organisation}")
        flowed = await self._flows[mail.arrival.direction].run(mail)
        try:
            await self._go_on(lease, flowed)
        finally:
            self._spool.discard(flowed.outputs)

    async def _go_on(self, lease: Lease, flowed: Flowed) -> None:
        """After the flow: an only output is delivered at once, and stored only if it cannot be.

        Of several, each is stored first: whatever happens then, none is delivered again because of another.
        """
        if len(flowed.outputs) == 1 and not (flowed.held or flowed.deferred or flowed.refused):
            [output] = flowed.outputs
            await self._settle_delivery(lease, output, of=output)
        else:
            await self._settle(lease, flowed)

    async def _settle_delivery(self, lease: Lease, mail: Mail, of: Mail | None = None) -> None:
        """What was delivered cannot be taken back. So a spool that does not take the end of it is asked again, and then at least to
        forget whom it was delivered to.
        """
        results = await self._delivery.deliver(mail)
        delivered = [result for result in results if isinstance(result.outcome, Deliver)]
        relayed = [Relayed(result.recipient, result.host, result.reply) for result in delivered if not result.reports]
        flowed = self._sum_up(mail, results)
        for pause in PAUSES if delivered else ():
            with contextlib.suppress(GatewayError):
                await self._settle(lease, flowed, of, relayed)
                return
            await asyncio.sleep(pause)
        try:
            await self._settle(lease, flowed, of, relayed)
        except GatewayError as error:
            done = {result.recipient for result in delivered}
            left = tuple(recipient for recipient in lease.mail.envelope.recipients if recipient not in done)
            await self._again(lease, left, Defer(error.reason, error.detail))

    def _sum_up(self, mail: Mail, results: Sequence[HopResult]) -> Flowed:
        """A delivery's results in the form a flow answers in: what was delivered is in none of its parts."""
        deferred: list[Deferred] = []
        refused: list[Refused] = []
        for result in results:
            recipient, outcome = result.recipient, result.outcome
            if isinstance(outcome, Refuse):
                refused.append(Refused((recipient,), outcome.reason, outcome.detail))
            elif isinstance(outcome, Defer):
                deferred.append(Deferred((recipient,), outcome.reason, outcome.detail))
            else:
                self._observer.see(onward.delivered(mail, result))
        return Flowed(outputs=(), held=(), deferred=tuple(deferred), refused=tuple(refused))

    async def _settle(self, lease: Lease, flowed: Flowed, of: Mail | None = None, relayed: Sequence[Relayed] = ()) -> None:
        """Everything a step ended in, in one transaction; then say so. ``of``: the output that ``flowed`` is about."""
        mail, attempts = (lease.mail, lease.attempts) if of is None else (of, 0)
        first_at, now, retry = mail.arrival.at, self._now(), self._config().retry_for(mail.hop)
        refused = list(flowed.refused)
        waiting: list[Waiting] = []
        delayed: list[Delayed] = []
        for each in flowed.deferred:
            again = next_at(attempts, first_at, now, retry, self._random)
            if again is None:
                refused.append(Refused(each.recipients, Reason.GAVE_UP, f"{each.reason}: {each.detail}"))
                continue
            waiting.append(Waiting(each.recipients, again, each.reason, each.detail))
            if warns(lease.due, first_at, now, retry):
                delayed.append(Delayed(each.recipients, each.reason, gives_up_at(first_at, retry), each.detail))
        try:
            told = self._reporter.report(mail, refused, delayed, relayed)
        except GatewayError as error:
            # What was delivered is done all the same. Nobody is refused unheard: who was to be is tried again.
            again = next_at(attempts, first_at, now, retry, self._random) or now + int(retry.longest_seconds * 1_000_000)
            waiting += [Waiting(each.recipients, again, error.reason, error.detail) for each in refused]
            refused, told = [], Reported()
        held = [*flowed.held, *(Held(item.recipients, item.reason, item.detail) for item in told.unreported)]
        remainders: list[Remainder] = [*waiting, *held]
        await self._spool.replace(lease, Settlement((*flowed.outputs, *told.reports), tuple(remainders), of))
        for later in waiting:
            self._observer.see(onward.deferred(mail, later))
        for stopped in held:
            self._observer.see(onward.held(mail, stopped))
        for never in refused:
            if never not in told.unreported:
                self._observer.see(onward.failed(mail, never, told.failed))

    async def _again(self, lease: Lease, recipients: tuple[Recipient, ...], why: Defer) -> None:
        """A step that could not be done now is done later, for those ``recipients`` of the mail that are left."""
        try:
            deferred = (Deferred(recipients, why.reason, why.detail),) if recipients else ()
            await self._settle(lease, Flowed(deferred=deferred))
        except GatewayError as error:
            # The lease runs out by itself, and the mail is taken up again then.
            _log.warning("settle_failed", mail=lease.mail.arrival.mail, reason=error.reason)

    async def _break(self, lease: Lease, detail: str) -> None:
        try:
            await self._spool.break_(lease, detail)
        except (LeaseLost, GatewayError) as error:
            _log.warning("break_failed", mail=lease.mail.arrival.mail, error=type(error).__name__)
            return
        self._observer.see(MailBroken(org=lease.mail.arrival.organisation, mail=lease.mail.arrival.mail, detail=detail))
