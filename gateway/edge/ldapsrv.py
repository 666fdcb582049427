"""Certificates from the LDAP servers a domain names in DNS (``_ldap._tcp``, RFC 2782), asked anonymously."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.name
import dns.rdtypes.IN.SRV

from gateway.edge.dns import Resolver
from gateway.edge.dnslookup import Lookup, Question, Records
from gateway.edge.ldap import Ldap, LdapSettings
from gateway.edge.reachable import IpAddress, Network, may_reach
from gateway.edge.servers import Servers
from gateway.mail.address import Address
from gateway.outcome import GatewayError
from gateway.trust.sources import DirectoryError, Found

REMEMBER_SECONDS: Final = 300.0
MAX_TARGETS: Final = 4


@dataclass(frozen=True, slots=True)
class Target:
    """One server of an SRV record. ``host`` without final dot; numbers as in RFC 2782."""

    priority: int
    weight: int
    host: str
    port: int


def in_order(targets: Iterable[Target], draw: Callable[[int], int]) -> list[Target]:
    """By priority, and within one at random by weight (RFC 2782). ``draw(n)`` is 0 to ``n`` inclusive, all as likely."""
    left = sorted(targets, key=lambda target: (target.priority, target.weight))  # weight 0 comes first, as the RFC has it
    ordered: list[Target] = []
    while left:
        same = [target for target in left if target.priority == left[0].priority]
        chosen = _drawn(same, draw(sum(target.weight for target in same)))
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _targets(answer: Records) -> list[Target]:
    return [
        Target(record.priority, record.weight, record.target.to_text(omit_final_dot=True).lower(), record.port)
        for record in answer.values
        if isinstance(record, dns.rdtypes.IN.SRV.SRV) and record.target != dns.name.root  # "decidedly not available" (RFC 2782)
    ]


def _drawn(targets: Sequence[Target], number: int) -> Target:
    """The first whose running sum of weights reaches ``number``."""
    total = 0
    for target in targets[:-1]:
        total += target.weight
        if total >= number:
            return target
    return targets[-1]


class LdapSrv:
    """A :class:`gateway.trust.sources.Directory`. The first server that answers is believed to know all.

    The domain's owner chose host and port: only addresses in public networks, or in those an administrator allowed, are asked.
    """

    remember_seconds: float = REMEMBER_SECONDS

    def __init__(self, lookup: Lookup, resolver: Resolver, allowed: tuple[Network, ...], draw: Callable[[int], int]) -> None:
        """``resolver`` finds the addresses of servers, ``draw`` chooses among them as in :func:`in_order`."""
        self.name = lookup.name
        self._lookup = lookup
        self._resolver = resolver
        self._allowed = allowed
        self._draw = draw
        self._servers = Servers()
        self._ending: set[asyncio.Task[None]] = set()

    async def find(self, address: Address) -> Found:
        """What the first server that answers holds, nothing where the domain names none. Raises :class:`DirectoryError`."""
        settings = self._lookup.settings
        until = asyncio.get_running_loop().time() + settings.deadline_seconds
        question = Question(dns.name.from_text(f"_ldap._tcp.{address.domain}", dns.name.root), "SRV")
        (answer,) = await self._lookup.ask(address.domain, [question])
        if settings.dnssec_required and not answer.validated:
            passed_over = (f"a record without DNSSEC ({answer.total})",) if answer.total else ()
            return Found(seconds=answer.seconds, passed_over=passed_over)
        targets = in_order(_targets(answer), self._draw)[:MAX_TARGETS]
        if not targets:
            return Found(seconds=answer.seconds)
        troubles: list[str] = []
        for target in targets:
            try:
                return await self._ask(target, address, until)
            except GatewayError as error:
                troubles.append(f"{target.host}:{target.port}: {error.detail}")
        raise DirectoryError(f"{self.name}: {'; '.join(troubles)}")

    async def close(self) -> None:
        """Waits for what is under way, within its deadline."""
        await asyncio.gather(*self._ending)

    async def _ask(self, target: Target, address: Address, until: float) -> Found:
        """One address of ``target`` after another, ``until`` a time of the loop. Raises GatewayError."""
        numbers = await self._numbers(target.host, until)
        for number in numbers[:-1]:
            with contextlib.suppress(DirectoryError):
                return await self._ask_at(number, target.port, address, until)
        return await self._ask_at(numbers[-1], target.port, address, until)

    async def _numbers(self, host: str, until: float) -> list[IpAddress]:
        try:
            async with asyncio.timeout_at(until):
                found = map(ipaddress.ip_address, await self._resolver.addresses(host))
        except TimeoutError:
            raise DirectoryError("its address is not known in time") from None
        numbers = [number for number in found if may_reach(number, self._allowed)]
        if not numbers:
            raise DirectoryError("no address in a public network or in fetching.allow_private")
        return numbers

    async def _ask_at(self, number: IpAddress, port: int, address: Address, until: float) -> Found:
        # Half the time for one server, so that another may still be asked.
        patience = min(until - asyncio.get_running_loop().time(), self._lookup.settings.deadline_seconds / 2)
        server = self._servers.named(f"{number} {port}")
        if patience <= 0 or not server.breaker.admits():
            raise DirectoryError("no time is left" if patience <= 0 else "did not answer a moment ago", resting=True)
        host = f"[{number}]" if number.version == 6 else str(number)
        ldap = Ldap(self.name, LdapSettings(f"ldap://{host}:{port}", None, deadline_seconds=patience))
        try:
            async with asyncio.timeout(patience), server.places:
                found = await ldap.find(address)
        except (DirectoryError, TimeoutError) as error:
            server.breaker.failed()
            raise DirectoryError(str(error) or "no place in its queue in time") from None
        except BaseException:
            server.breaker.abandoned()
            raise
        finally:
            self._end(ldap)
        server.breaker.succeeded()
        return found

    def _end(self, ldap: Ldap) -> None:
        """Beside the mail: a thread may still wait for a server that does not answer."""
        task = asyncio.create_task(ldap.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
