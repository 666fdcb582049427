"""HTTP as a client, for things whose address a stranger may have chosen: small, and never towards our own network."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.edge.fetcherror import Bounds, Fault, FetchError, told
from gateway.edge.reachable import Names, Unreachable, may_reach

MAX_REDIRECTS: Final = 2
MAX_AT_ONCE: Final = 64
_SCHEMES: Final = frozenset({"http", "https"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD: Final = frozenset({307, 308})  # RFC 9110 15.4: the others may turn a POST into a GET


class Http:
    """Each name is resolved and checked, and the connection goes to the very address that was checked.

    No cookies, no credentials, no compression, no proxy of the environment; at most two redirects and never to another scheme.
    Through a configured proxy names are resolved there, and only addresses can be checked here.
    """

    def __init__(self, bounds: Bounds, names: Names) -> None:
        self._bounds = bounds
        self._names = names
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, request: bytes = b"") -> bytes:
        """The content at ``url``: by GET, or by POST of ``request``, an OCSPRequest (RFC 6960 A.1).

        Raises :class:`FetchError` for everything else than a complete 200 within the bounds. The deadline is its caller's.
        """
        try:
            return await self._follow(_parse(url), request)
        except aiohttp.ClientConnectorCertificateError as error:
            raise FetchError(Fault.TLS, told(error)) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, Unreachable):
                raise FetchError(Fault.FORBIDDEN, str(error.os_error)) from None
            fault = Fault.TLS if isinstance(error.os_error, ssl.SSLError) else Fault.UNREACHABLE
            raise FetchError(fault, told(error)) from None
        except FetchError:
            raise
        except Exception as error:  # aiohttp lets errors of its parsers through, and hostile bytes find each of them
            raise FetchError(Fault.BROKEN, told(error)) from None

    async def close(self) -> None:
        """Ends the connections that were kept."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, url: URL, request: bytes) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            self._check_literal(url)
            async with self._asking(url, request) as response:
                if response.status not in (_SAME_METHOD if request else _REDIRECTS):
                    return await self._read(response)
                target = _parse(str(url.join(URL(response.headers.get("Location", "")))))
            if target.scheme != url.scheme:
                raise FetchError(Fault.FORBIDDEN, f"redirected from {url.scheme} to {target.scheme}")
            url = target
        raise FetchError(Fault.FORBIDDEN, f"more than {MAX_REDIRECTS} redirects")

    def _check_literal(self, url: URL) -> None:
        """A host that is an address never reaches the resolver."""
        try:
            address = ip_address(url.host or "")
        except ValueError:
            return
        if not may_reach(address, self._bounds.allow_private):
            raise FetchError(Fault.FORBIDDEN, f"{address} is in no public network and not in fetching.allow_private")

    def _asking(self, url: URL, request: bytes) -> aiohttp.client._RequestContextManager:
        session, proxy = self._connected(), self._bounds.proxy
        if not request:
            return session.get(url, allow_redirects=False, proxy=proxy)
        kinds = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
        return session.post(url, data=request, headers=kinds, allow_redirects=False, proxy=proxy)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise FetchError(Fault.REFUSED, f"HTTP status {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError(Fault.BROKEN, "compressed, though not asked for")
        limit = self._bounds.bytes
        content = bytearray()
        if (response.content_length or 0) <= limit:
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > limit:
                    break
            else:
                return bytes(content)
        raise FetchError(Fault.TOO_LARGE, f"larger than {limit} bytes")

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The address of a proxy is the administrator's: it may well be private.
            resolver = _Checked(self._names) if self._bounds.proxy is None else None
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=MAX_AT_ONCE)
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "smime-gateway"},
                timeout=aiohttp.ClientTimeout(total=None),  # ours covers redirects too
            )
        return self._session


def _parse(url: str) -> URL:
    parsed = URL(url)
    if parsed.scheme not in _SCHEMES or not parsed.host:
        raise FetchError(Fault.FORBIDDEN, "not an http or https URL")
    if parsed.user is not None or parsed.password is not None:
        raise FetchError(Fault.FORBIDDEN, "URL with credentials")
    return parsed


class _Checked(AbstractResolver):
    """aiohttp connects to what it is given here."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        found = await self._names.addresses(host, port)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """The names are not its own."""
