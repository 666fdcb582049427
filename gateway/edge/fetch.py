"""HTTP as a client, for things whose address a stranger may have chosen: small, slow at nobody's cost, and never towards our
own network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.outcome import GatewayError, Reason

MAX_REDIRECTS: Final = 2
MAX_URL: Final = 2048
_SCHEMES: Final = frozenset({"http", "https"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchError(GatewayError):
    """It could not be fetched, or not within its limits."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.REVOCATION_UNKNOWN, detail)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one fetch may cost, and which networks of our own it may reach."""

    bytes: int
    seconds: float
    allow_private: tuple[Network, ...] = ()


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """From ``allow_private`` of the configuration. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


class Fetcher:
    """Fetches by GET. Each name is resolved and checked, and the connection goes to the very address that was checked.

    No proxy, no cookies, no credentials, no compression, at most two redirects and never to another scheme.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        """The content at ``url``. Raises :class:`FetchError` for everything else than a complete 200 within the bounds."""
        try:
            async with asyncio.timeout(self._bounds.seconds):
                return await self._follow(self._parse(url))
        except TimeoutError:
            raise FetchError(f"no complete answer within {self._bounds.seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The text of these may carry what the other side sent: the first line of it is enough, and short.
            raise FetchError(f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from None

    async def close(self) -> None:
        """Ends the connections that were kept."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _parse(self, url: str) -> URL:
        if len(url) > MAX_URL:
            raise FetchError("URL too long")
        parsed = URL(url)
        if parsed.scheme not in _SCHEMES or not parsed.host:
            raise FetchError("not an http or https URL")
        if parsed.user is not None or parsed.password is not None:
            raise FetchError("URL with credentials")
        return parsed

    async def _follow(self, url: URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            self._check_literal(url)
            async with self._connected().get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response)
                target = self._parse(str(url.join(URL(response.headers.get("Location", "")))))
            if target.scheme != url.scheme:
                raise FetchError(f"redirected from {url.scheme} to {target.scheme}")
            url = target
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")

    def _check_literal(self, url: URL) -> None:
        """A host that is an address never reaches the resolver."""
        try:
            address = ipaddress.ip_address(url.host or "")
        except ValueError:
            return
        if not may_reach(address, self._bounds.allow_private):
            raise FetchError(f"{address} is in no public network and not in fetching.allow_private")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise FetchError(f"HTTP status {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError("compressed, though not asked for")
        limit = self._bounds.bytes
        if (response.content_length or 0) > limit:
            raise FetchError(f"larger than {limit} bytes")
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > limit:
                raise FetchError(f"larger than {limit} bytes")
        return bytes(content)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._bounds.allow_private), use_dns_cache=False, limit=16, limit_per_host=2
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "smime-gateway"},
                timeout=aiohttp.ClientTimeout(total=None),  # ours covers redirects too
            )
        return self._session


class _CheckedResolver(AbstractResolver):
    """Answers with addresses we may connect to, and with no others; aiohttp connects to what it is given here."""

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        found: list[ResolveResult] = []
        for kind, _, protocol, _, place in answers:
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            if may_reach(address, self._allowed):
                found.append(
                    ResolveResult(
                        hostname=host, host=str(address), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
                    )
                )
        if not found:
            raise OSError(f"{host} has no address in a public network or in fetching.allow_private")
        return found

    async def close(self) -> None:
        """Nothing is kept."""


def may_reach(address: IpAddress, allowed: Iterable[Network]) -> bool:
    """Whether we connect to ``address``: global unicast, or in a network the administrator named. IPv4 inside IPv6 is unwrapped."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return may_reach(inside, allowed)
    if any(address.version == network.version and address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast and not address.is_reserved
