"""CRLs and certificates from LDAP servers that certificates name: nobody is bound, one entry is read, nothing is followed."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPSocketOpenError

from gateway.edge.fetcherror import Bounds, Fault, FetchError, told
from gateway.edge.ldapquestion import Connection, Question, bind, end
from gateway.edge.ldaptls import LdapTls
from gateway.edge.ldapurl import LdapUrl, read_ldap_url
from gateway.edge.reachable import Names, Unreachable
from gateway.trust.judgement import NeedKind

THREADS: Final = 8
MAX_VALUES: Final = 16
MAX_TRIED: Final = 4


class LdapFetch:
    """ldap3 blocks, so it runs in threads of its own. The server is connected to at the address that was checked; under ``ldaps``
    its certificate leads to the system's list of authorities, and names the host of the URL.
    """

    def __init__(self, bounds: Bounds, names: Names) -> None:
        self._bounds = bounds
        self._names = names
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ldap-fetch")

    async def ask(self, url: str, kind: NeedKind) -> tuple[bytes, ...]:
        """Every value at ``url``, at least one. Raises :class:`FetchError`. The deadline is its caller's."""
        wanted = read_ldap_url(url, kind)
        question = Question(self._bounds.bytes)
        try:
            addresses = [number for _, number in await self._names.addresses(wanted.host, wanted.port)][:MAX_TRIED]
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, wanted, addresses, question)
        except asyncio.CancelledError:
            question.abort()
            raise
        except FetchError:
            raise
        except Exception as error:  # ldap3 lets errors of its parser and of sockets through, in clothes of its own
            raise FetchError(*_fault(error, question, self._bounds)) from None

    async def close(self) -> None:
        """Those who asked have been cancelled, and their sockets closed: the threads end."""
        await asyncio.to_thread(self._threads.shutdown)

    def _ask(self, wanted: LdapUrl, addresses: list[str], question: Question) -> tuple[bytes, ...]:
        """In a thread. One address after another, each with its share of the time, until one lets us in."""
        for address in addresses[:-1]:
            with contextlib.suppress(LDAPSocketOpenError):
                return self._ask_at(address, wanted, self._bounds.seconds / len(addresses), question)
        return self._ask_at(addresses[-1], wanted, self._bounds.seconds, question)

    def _ask_at(self, address: str, wanted: LdapUrl, patience: float, question: Question) -> tuple[bytes, ...]:
        tls = LdapTls(self._context, wanted.host) if wanted.tls else None
        server = ldap3.Server(address, wanted.port, wanted.tls, get_info=ldap3.NONE, connect_timeout=patience, tls=tls)
        connection = ldap3.Connection(
            server,
            read_only=True,
            check_names=False,
            auto_referrals=False,
            raise_exceptions=False,
            receive_timeout=math.ceil(self._bounds.seconds),
        )
        question.waits_on(connection)
        try:
            connection.open(read_server_info=False)
            question.pays_on(connection)
            bind(connection)
            return self._read(connection, wanted)
        finally:
            end(connection)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _read(self, connection: Connection, wanted: LdapUrl) -> tuple[bytes, ...]:
        connection.search(
            wanted.entry,
            "(objectClass=*)",
            ldap3.BASE,
            attributes=list(wanted.attributes),
            size_limit=1,
            time_limit=math.ceil(self._bounds.seconds),
        )
        outcome = connection.result["description"]
        if outcome not in {"success", "noSuchObject"}:
            raise FetchError(Fault.REFUSED, f"search refused: {outcome}")
        values = tuple(_values(connection.response or ()))[:MAX_VALUES]
        if not values:
            raise FetchError(Fault.REFUSED, f"{wanted.entry}: nothing of the kind is kept there")
        return values


def _fault(error: Exception, question: Question, bounds: Bounds) -> tuple[Fault, str]:
    if question.too_large:
        return Fault.TOO_LARGE, f"larger than {bounds.bytes} bytes"
    if isinstance(error, Unreachable):
        return Fault.FORBIDDEN, str(error)
    if isinstance(error, ssl.SSLError):  # ldap3's error of a handshake is OpenSSL's besides
        return Fault.TLS, told(error)
    # ldap3's own are errors of the socket besides; what is one of those alone comes of resolving the name.
    unreachable = isinstance(error, LDAPSocketOpenError) or (isinstance(error, OSError) and not isinstance(error, LDAPException))
    return Fault.UNREACHABLE if unreachable else Fault.BROKEN, told(error)


def _values(response: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for item in response:
        if item.get("type") == "searchResEntry":
            for values in item["raw_attributes"].values():
                yield from values
