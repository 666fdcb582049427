"""Where a domain takes its mail (RFC 5321 5.1, RFC 7505), by dnspython."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from gateway.outcome import Defer, GatewayError, Reason, Refuse

MAX_EXCHANGES: Final = 10
MAX_ADDRESSES: Final = 8


class Resolver:
    """Asks the system's name servers, or ``nameservers`` (addresses) on ``port``. No question takes over ``deadline`` seconds."""

    def __init__(self, nameservers: Sequence[str] = (), port: int = 53, deadline: float = 10.0) -> None:
        self._nameservers = nameservers
        self._port = port
        self._deadline = deadline
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def exchanges(self, domain: str, own_name: str) -> tuple[str, ...] | Refuse | Defer:
        """The hosts that take mail for ``domain``, best first; where ``own_name`` is one of them, only those better than it.

        ``Refuse`` (NO_ROUTE) where there is no such domain or it takes no mail, (LOOP) where we are its best host;
        ``Defer`` (HOP_UNREACHABLE) where DNS does not answer now.
        """
        try:
            answer = await self._ask(domain, "MX")
        except dns.resolver.NXDOMAIN:
            return Refuse(Reason.NO_ROUTE, f"{domain}: no such domain")
        except dns.resolver.NoAnswer:
            return (domain,)  # the implicit MX
        except (dns.exception.DNSException, OSError) as error:
            return Defer(Reason.HOP_UNREACHABLE, f"{domain}: DNS: {type(error).__name__}")
        found = [(record.preference, secrets.randbits(32), record.exchange.to_text(omit_final_dot=True)) for record in answer]
        if any(host in {"", "."} for _, _, host in found):
            return Refuse(Reason.NO_ROUTE, f"{domain}: takes no mail (null MX)")
        own = min((preference for preference, _, host in found if host.lower() == own_name), default=None)
        hosts = tuple(host.lower() for preference, _, host in sorted(found) if own is None or preference < own)
        return hosts[:MAX_EXCHANGES] or Refuse(Reason.LOOP, f"{domain}: we are its best mail exchange")

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of ``host``, IPv6 first. Raises :class:`GatewayError` (HOP_UNREACHABLE) where there is none now."""
        results = await asyncio.gather(self._addresses(host, "AAAA"), self._addresses(host, "A"))
        found = [address for result in results if not isinstance(result, str) for address in result]
        if not found:
            troubles = {result for result in results if isinstance(result, str)}
            raise GatewayError(Reason.HOP_UNREACHABLE, f"{host}: DNS: {', '.join(sorted(troubles)) or 'no address'}")
        return tuple(found[:MAX_ADDRESSES])

    async def _addresses(self, host: str, kind: str) -> list[str] | str:
        """Addresses of one kind, or the name of what went wrong."""
        try:
            return [record.address for record in await self._ask(host, kind)]
        except dns.resolver.NoAnswer:
            return []
        except (dns.exception.DNSException, OSError) as error:
            return type(error).__name__

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        if self._resolver is None:
            self._resolver = self._make()
        return await self._resolver.resolve(name.rstrip(".") + ".", kind, search=False, lifetime=self._deadline)

    def _make(self) -> dns.asyncresolver.Resolver:
        """Made when first needed: a gateway without MX routes needs no ``resolv.conf``."""
        resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = list(self._nameservers)
            resolver.port = self._port
        resolver.cache = dns.resolver.LRUCache(1000)
        return resolver
