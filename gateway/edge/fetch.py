"""Fetches what a certificate says lies somewhere: a CRL, an answer of OCSP, the certificates above it. By HTTP or LDAP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Final
from urllib.parse import urlsplit

from gateway.edge.fetcherror import Bounds, Fault, FetchError
from gateway.edge.http import Http
from gateway.edge.ldapfetch import LdapFetch
from gateway.edge.reachable import Names
from gateway.edge.servers import Server, Servers
from gateway.trust.judgement import Need

MAX_URL: Final = 2048
_SICK: Final = frozenset({Fault.UNREACHABLE, Fault.TLS, Fault.LATE})


class Fetcher:
    """Within bounds: size, one deadline for everything, addresses that may be reached; each server's pool, and its breaker.

    A server that failed is let rest. When it has rested, one question is tried while nobody waits for it, and whoever asked
    is told at once that the server rests: so a dead server costs each mail that met it one deadline, and later mails nothing.
    """

    def __init__(self, bounds: Bounds, servers: Servers | None = None) -> None:
        self._bounds = bounds
        self._names = Names(bounds.allow_private)
        self._http = Http(bounds, self._names)
        self._ldap = LdapFetch(bounds, self._names)
        self._servers = servers or Servers()
        self._trials: set[asyncio.Task[None]] = set()

    async def fetch(self, need: Need) -> tuple[bytes, ...]:
        """The contents at the need's URL: one from HTTP, from LDAP every value. Raises :class:`FetchError`."""
        if len(need.url) > MAX_URL:
            raise FetchError(Fault.FORBIDDEN, "URL too long")
        try:
            parts = urlsplit(need.url)
        except ValueError:
            raise FetchError(Fault.FORBIDDEN, "not a URL") from None
        server = self._servers.named(f"{parts.scheme}://{parts.netloc.lower()}")
        if server.well:
            return await self._ask(need, parts.scheme, server)
        if server.breaker.admits():
            self._try_unwaited(self._ask(need, parts.scheme, server))
        raise FetchError(Fault.RESTING, "its server failed a moment ago")

    async def close(self) -> None:
        """Ends what is under way, and the connections that were kept."""
        for trial in self._trials:
            trial.cancel()
        await asyncio.gather(*self._trials, return_exceptions=True)
        await self._http.close()
        await self._ldap.close()
        self._names.close()

    def _try_unwaited(self, asking: Coroutine[None, None, object]) -> None:
        async def trial() -> None:
            with contextlib.suppress(FetchError):  # the breaker has been told
                await asking

        task = asyncio.create_task(trial())
        self._trials.add(task)
        task.add_done_callback(self._trials.discard)

    async def _ask(self, need: Need, scheme: str, server: Server) -> tuple[bytes, ...]:
        try:
            async with asyncio.timeout(self._bounds.seconds), server.places:
                answer = await self._by(need, scheme)
        except TimeoutError:
            error = FetchError(Fault.LATE, f"no complete answer within {self._bounds.seconds:g} s")
            _judge(server, error.fault)
            raise error from None
        except FetchError as error:
            _judge(server, error.fault)
            raise
        except asyncio.CancelledError:
            server.breaker.abandoned()
            raise
        _judge(server, None)
        return answer

    async def _by(self, need: Need, scheme: str) -> tuple[bytes, ...]:
        if scheme in {"ldap", "ldaps"}:
            return await self._ldap.ask(need.url, need.kind)
        return (await self._http.ask(need.url, need.request),)


def _judge(server: Server, fault: Fault | None) -> None:
    """An answer, even a refusal, is a sign of life."""
    server.well = fault not in _SICK
    if server.well:
        server.breaker.succeeded()
    else:
        server.breaker.failed()
