"""Certificates from the LDAP servers a domain names in DNS (``_ldap._tcp``, RFC 2782), asked anonymously."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.name
import dns.rdtypes.IN.SRV

from gateway.edge.dns import Resolver
from gateway.edge.dnslookup import Lookup, Question
from gateway.edge.ldap import Ldap, LdapSettings
from gateway.edge.reachable import Network, may_reach
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
        seconds = self._lookup.settings.deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._find(address)
        except TimeoutError:
            raise DirectoryError(f"{self.name}: {address.domain}: no answer within {seconds:g} s") from None

    async def close(self) -> None:
        """Waits for what is under way, within its deadline."""
        await asyncio.gather(*self._ending)

    async def _find(self, address: Address) -> Found:
        question = Question(dns.name.from_text(f"_ldap._tcp.{address.domain}", dns.name.root), "SRV")
        (answer,) = await self._lookup.ask(address.domain, [question])
        if self._lookup.settings.dnssec_required and not answer.validated:
            passed_over = (f"a record without DNSSEC ({answer.total})",) if answer.total else ()
            return Found(seconds=answer.seconds, passed_over=passed_over)
        records = [value for value in answer.values if isinstance(value, dns.rdtypes.IN.SRV.SRV)]
        targets = [
            Target(record.priority, record.weight, record.target.to_text(omit_final_dot=True).lower(), record.port)
            for record in records
            if record.target != dns.name.root  # "decidedly not available" (RFC 2782)
        ]
        troubles: list[str] = []
        for target in in_order(targets, self._draw)[:MAX_TARGETS]:
            try:
                return await self._ask(target, address)
            except GatewayError as error:
                troubles.append(f"{target.host}:{target.port}: {error.detail}")
        if troubles:
            raise DirectoryError(f"{self.name}: {'; '.join(troubles)}")
        return Found(seconds=answer.seconds)

    async def _ask(self, target: Target, address: Address) -> Found:
        numbers = await self._resolver.addresses(target.host)
        allowed = [number for number in map(ipaddress.ip_address, numbers) if may_reach(number, self._allowed)]
        if not allowed:
            raise DirectoryError("no address in a public network or in fetching.allow_private")
        server = self._servers.named(f"{allowed[0]}:{target.port}")
        if not server.breaker.admits():
            raise DirectoryError("did not answer a moment ago", resting=True)
        number = f"[{allowed[0]}]" if allowed[0].version == 6 else str(allowed[0])
        # Half the time for one server, so that another may still be asked.
        patience = self._lookup.settings.deadline_seconds / 2
        ldap = Ldap(self.name, LdapSettings(f"ldap://{number}:{target.port}", None, deadline_seconds=patience))
        try:
            async with server.places:
                found = await ldap.find(address)
        except DirectoryError:
            server.breaker.failed()
            raise
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
