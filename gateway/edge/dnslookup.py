"""Questions about a correspondent's domain: its records, for how long, and whether a validating resolver vouches for them.

A domain whose name servers are dead delays its own correspondents, once: each domain has a few places and a breaker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver

from gateway.edge.servers import Servers
from gateway.trust.sources import DirectoryError

MAX_RECORDS: Final = 32
PAYLOAD: Final = 1232  # bytes; larger answers come over TCP rather than in fragments (RFC 9715 3.1)


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` is absolute; ``kind`` as in a zone file."""

    name: dns.name.Name
    kind: str


@dataclass(frozen=True, slots=True)
class Records:
    """What stands under a name, MAX_RECORDS at most of ``total``; none where there is no such name, or nothing of the kind.

    ``seconds`` they may be used again. ``validated`` where the resolver says so (the AD bit, RFC 4035 3.2.3), of nothing too.
    """

    values: tuple[dns.rdata.Rdata, ...]
    total: int
    seconds: float
    validated: bool


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """``resolvers`` are addresses, those of the system where empty. No question takes over ``deadline_seconds``.

    Where ``dnssec`` is required, what was not validated counts as nothing. That believes the AD bit of ``resolvers``: the way to
    them must be beyond others' reach, such as loopback.
    """

    resolvers: tuple[str, ...] = ()
    port: int = 53
    deadline_seconds: float = 5.0
    dnssec_required: bool = False


class Lookup:
    """Asks recursive resolvers over UDP with EDNS, and over TCP what does not fit."""

    def __init__(self, name: str, settings: LookupSettings) -> None:
        """``name`` is the directory's in the configuration, for its errors. Asks nothing yet."""
        self.name = name
        self.settings = settings
        self._servers = Servers()
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, domain: str, questions: Sequence[Question]) -> list[Records]:
        """The answers to all ``questions``, which are about ``domain``. Raises :class:`DirectoryError` where one is missing."""
        server = self._servers.named(domain)
        if not server.breaker.admits():
            raise DirectoryError(f"{self.name}: {domain} did not answer a moment ago", resting=True)
        try:
            async with asyncio.timeout(self.settings.deadline_seconds), server.places:
                answers = [await self._ask(question) for question in questions]
        except asyncio.CancelledError:
            server.breaker.abandoned()
            raise
        except TimeoutError:
            server.breaker.failed()
            raise DirectoryError(f"{self.name}: {domain}: no answer within {self.settings.deadline_seconds:g} s") from None
        except Exception as error:  # dnspython has a dozen kinds, and what it reads was written by strangers
            server.breaker.failed()
            raise DirectoryError(f"{self.name}: {domain}: {type(error).__name__}") from None  # its text quotes what was sent
        server.breaker.succeeded()
        return answers

    async def _ask(self, question: Question) -> Records:
        if self._resolver is None:
            self._resolver = self._make()
        try:
            answer = await self._resolver.resolve(
                question.name,
                question.kind,
                search=False,
                raise_on_no_answer=False,
                lifetime=self.settings.deadline_seconds,
            )
        except dns.resolver.NXDOMAIN as error:
            response = error.response(question.name)  # type: ignore[no-untyped-call]
        else:
            response = answer.response
        return read_records(response)

    def _make(self) -> dns.asyncresolver.Resolver:
        settings = self.settings
        resolver = dns.asyncresolver.Resolver(configure=not settings.resolvers)
        if settings.resolvers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(address, settings.port) for address in settings.resolvers]
        resolver.use_edns(0, dns.flags.DO, PAYLOAD)
        resolver.set_flags(dns.flags.RD | dns.flags.AD)
        resolver.timeout = settings.deadline_seconds / 2  # time for a second try
        return resolver


def read_records(response: dns.message.Message) -> Records:
    """Those of the name that was asked, or of the one its aliases lead to (16 at most, dns.message.MAX_CHAIN).

    Raises what dnspython raises.
    """
    chain = response.resolve_chaining()  # type: ignore[attr-defined] # a response is a QueryMessage
    values = tuple(chain.answer or ())
    return Records(values[:MAX_RECORDS], len(values), float(chain.minimum_ttl), bool(response.flags & dns.flags.AD))
