"""Which addresses a stranger may make us connect to, and names resolved to those and no others."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

RESOLVING: Final = 8
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
_LOCAL_NAT64: Final = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215: where in it the IPv4 address stands, only its owner knows

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unreachable(OSError):
    """A host that has addresses, none of which we connect to."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """From ``allow_private`` of the configuration. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


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
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _LOCAL_NAT64


class Names:
    """Resolves names as the system does, in threads of its own: a name server that is silent delays nobody else's work.

    What it answers is numeric, so whoever connects to it resolves nothing a second time: a name that means another address the
    next moment gains nothing by it.
    """

    def __init__(self, allowed: tuple[Network, ...]) -> None:
        self._allowed = allowed
        self._threads = ThreadPoolExecutor(RESOLVING, thread_name_prefix="names")

    async def addresses(self, host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
        """The addresses of ``host``, a name or an address in any spelling, that may be reached: family and number.

        Raises :class:`Unreachable` where it has others alone, and OSError where it has none.
        """
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._threads, _resolve, host, port)
        found = [(family, text) for family, text in answers if may_reach(ipaddress.ip_address(text), self._allowed)]
        if not found:
            raise Unreachable(f"{host} has no address in a public network or in fetching.allow_private")
        return found

    def close(self) -> None:
        """Waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(place[0]).partition("%")[0]) for family, _, _, _, place in answers]
