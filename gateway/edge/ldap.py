"""Certificates from an LDAP directory (RFC 4523): one search for an address and its domain's authorities.

ldap3 blocks, so it runs in a pool of threads of its own. A server that stops answering costs each waiting question one
deadline, and after that nothing until the breaker lets one question try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException

from gateway.config.model import TlsIdentity
from gateway.edge.breaker import Breaker
from gateway.edge.ldapquestion import Connection, Question, bind, end
from gateway.edge.ldaptls import LdapTls
from gateway.edge.tlsclient import route_context
from gateway.mail.address import Address
from gateway.outcome import GatewayError
from gateway.smime.bundle import read_bundle
from gateway.trust.certificate import ORGANISATION_NAMES
from gateway.trust.ladder import Way
from gateway.trust.sources import DirectoryError, Found, sort_found

THREADS: Final = 4
REST_SECONDS: Final = 30.0
MAX_ENTRIES: Final = 20
MAX_VALUES: Final = 20
MAX_CONTEXTS: Final = 4
MAX_PKCS7: Final = 256 * 1024
MAX_ANSWER: Final = 32 * 1024 * 1024  # bytes: more than every value of every entry we take

_ATTRIBUTES: Final = ("userCertificate;binary", "userCertificate", "userSMIMECertificate;binary", "userSMIMECertificate")
_CUT_SHORT: Final = "an answer cut short by a limit"
_ABOVE: Final = "a value above what is read"
_UNREAD: Final = (_CUT_SHORT, _ABOVE)
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@.-_+")


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """``uri`` is ``ldap://HOST[:PORT]`` or ``ldaps://...``; ``anchors`` a PEM file, None for the system's list. ``base`` is None
    where the server is asked for what it holds (``namingContexts``, RFC 4512 5.1).

    ``bind_dn`` and ``password`` for a simple bind, both None for none; a password is only ever sent inside TLS. ``identity`` is the
    certificate to show there, and to bind with (SASL EXTERNAL, RFC 4513 5.2.3).
    """

    uri: str
    base: str | None
    starttls: bool = False
    anchors: Path | None = None
    bind_dn: str | None = None
    password: str | None = None
    identity: TlsIdentity | None = None
    deadline_seconds: float = 5.0
    remember_seconds: float = 300.0

    def __repr__(self) -> str:
        return f"LdapSettings({self.uri}, base={self.base!r})"  # the password is not for tracebacks


class Ldap:
    """A :class:`gateway.trust.sources.Directory`."""

    def __init__(self, name: str, settings: LdapSettings) -> None:
        """Connects to nothing yet. Raises ValueError for a URI without host, or a password or identity without TLS; GatewayError
        (TLS_FAILED) where the anchors or the identity cannot be read.
        """
        parts = urlsplit(settings.uri)
        if parts.scheme not in {"ldap", "ldaps"} or not parts.hostname:
            raise ValueError("an LDAP URI is ldap://HOST or ldaps://HOST")
        over_tls = parts.scheme == "ldaps" or settings.starttls
        if (settings.password is not None or settings.identity is not None) and not over_tls:
            raise ValueError("a password or an identity goes to ldaps://, or needs starttls")
        self.name = name
        self.remember_seconds: float = settings.remember_seconds
        self._settings = settings
        self._server = ldap3.Server(
            parts.hostname,
            port=parts.port or (636 if parts.scheme == "ldaps" else 389),
            use_ssl=parts.scheme == "ldaps",
            get_info=ldap3.NONE,
            connect_timeout=settings.deadline_seconds,
            tls=LdapTls(route_context(settings.anchors, settings.identity), parts.hostname) if over_tls else None,
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"ldap-{name}")
        self._idle: deque[Connection] = deque()
        self._breaker = Breaker(REST_SECONDS, time.monotonic)
        self._closed = False

    async def find(self, address: Address) -> Found:
        """What the directory holds for ``address`` and for its domain's authorities. Raises :class:`DirectoryError`."""
        if self._closed:
            raise DirectoryError(f"{self.name}: let go when the configuration was taken anew", resting=True)
        if not self._breaker.admits():
            raise DirectoryError(f"{self.name}: did not answer a moment ago", resting=True)
        question = Question(MAX_ANSWER)
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, _filter(address), question)
        except asyncio.CancelledError:
            question.abort()
            self._breaker.abandoned()
            raise
        except TimeoutError:
            question.abort()
            self._breaker.failed()
            raise DirectoryError(f"{self.name}: no answer within {self._settings.deadline_seconds:g} s") from None
        except Exception as error:  # ldap3 lets errors of its parser and of sockets through
            self._breaker.failed()
            # The first line alone, and short: the text may carry what the server sent.
            raise DirectoryError(f"{self.name}: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}") from None
        self._breaker.succeeded()
        passed_over = tuple(f"{what} ({count})" for what, count in sorted((+answer.passed_over).items()))
        way = Way.GUARDED if self._server.tls is not None else Way.OPEN
        unread = tuple(each for each in _UNREAD if answer.passed_over[each])
        return replace(sort_found(answer.values, passed_over=passed_over, way=way), unread=unread)

    async def close(self) -> None:
        """Lets the questions under way come to their end, within their deadline; then ends the connections and the threads.

        They belong to mails in hand when the configuration is taken anew: to cancel them would cancel the mail's own task.
        """
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        while self._idle:
            end(self._idle.pop())

    def _ask(self, wanted: str, question: Question) -> _Answer:
        """In a thread of the pool. A connection that was kept may have died meanwhile: then once more, on a new one."""
        with contextlib.suppress(IndexError):
            kept = self._idle.pop()
            try:
                return self._search(kept, wanted, question)
            except (LDAPException, OSError):
                if question.aborted:
                    raise
        return self._search(self._connect(question), wanted, question)

    def _connect(self, question: Question) -> Connection:
        settings = self._settings
        # The credentials are empty: as whom the certificate says (RFC 4513 5.2.3.1). Without any, the server asks for them.
        external = {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
        simple = {"authentication": ldap3.SIMPLE, "user": settings.bind_dn, "password": settings.password}
        bound = simple if settings.bind_dn is not None else {"authentication": ldap3.ANONYMOUS}
        connection = ldap3.Connection(
            self._server,
            **(external if settings.identity is not None else bound),
            read_only=True,
            check_names=False,
            auto_referrals=False,
            raise_exceptions=False,
            receive_timeout=math.ceil(settings.deadline_seconds),
        )
        question.waits_on(connection)
        try:
            connection.open(read_server_info=False)
            question.pays_on(connection)
            if settings.starttls:
                connection.start_tls(read_server_info=False)
            bind(connection)
        except BaseException:
            end(connection)
            raise
        return connection

    def _search(self, connection: Connection, wanted: str, question: Question) -> _Answer:
        question.waits_on(connection)
        question.pays_on(connection)
        base = self._settings.base
        answer = _Answer()
        try:
            for each in self._contexts(connection) if base is None else [base]:
                answer.take(self._entries(connection, each, wanted, ldap3.SUBTREE, _ATTRIBUTES, answer.passed_over))
        except BaseException:
            end(connection)
            raise
        question.waits_on(None)
        if len(self._idle) < THREADS:
            self._idle.append(connection)
        else:
            end(connection)
        return answer

    def _contexts(self, connection: Connection) -> list[str]:
        asked = self._entries(connection, "", "(objectClass=*)", ldap3.BASE, ("namingContexts",), Counter())
        (root, *_) = [*asked, {"raw_attributes": {}}]
        names = [name for values in root["raw_attributes"].values() for name in values or ()]
        return [name.decode("utf-8", "replace") for name in names[:MAX_CONTEXTS]]

    def _entries(
        self,
        connection: Connection,
        base: str,
        wanted: str,
        scope: str,
        attributes: tuple[str, ...],
        passed_over: Counter[str],
    ) -> list[dict[str, Any]]:
        """Referrals are not followed: whoever writes there would choose whom we connect to, and hears whom we write to."""
        connection.search(
            base,
            wanted,
            scope,
            attributes=list(attributes),
            size_limit=MAX_ENTRIES,
            time_limit=math.ceil(self._settings.deadline_seconds),
        )
        outcome = connection.result["description"]
        if outcome == "referral":
            raise LDAPException("it refers to another server, which is not asked")
        if outcome == "noSuchObject" and self._settings.base is not None:
            # Nothing was looked through: it is being restored, or its rules keep us out (RFC 4511 A.2)
            raise LDAPException("the search base is not there, or not for us to see")
        if outcome not in {"success", "sizeLimitExceeded", "noSuchObject"}:
            raise LDAPException(f"search refused: {outcome}")
        kinds = Counter(item.get("type") for item in connection.response or ())
        passed_over["a referral, which is not followed"] += kinds["searchResRef"]
        passed_over[_CUT_SHORT] += outcome == "sizeLimitExceeded"
        return [item for item in connection.response or () if item.get("type") == "searchResEntry"][:MAX_ENTRIES]


class _Answer:
    """What was found; ``passed_over`` counts what could not be used, by what it is."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.passed_over: Counter[str] = Counter()

    def take(self, entries: Iterable[dict[str, Any]]) -> None:
        for entry in entries:
            for name, given in entry["raw_attributes"].items():
                values = given or ()  # ldap3 has None where there are none (RFC 4511 4.1.7)
                self.passed_over[_ABOVE] += max(0, len(values) - MAX_VALUES)
                for value in values[:MAX_VALUES]:
                    self.values += _bundled(value) if name.lower().startswith("usersmimecertificate") else [value]


def escape(text: str) -> str:
    r"""``text`` as an assertion value (RFC 4515 3): every octet but the plainest as ``\xx``, so that nothing is left to read."""
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:02x}" for octet in text.encode("utf-8", "surrogatepass"))


def _filter(address: Address) -> str:
    # The domain alone is how Direct's directories name a certificate of the whole domain.
    names = [str(address), address.domain, *(f"{name}@{address.domain}" for name in sorted(ORGANISATION_NAMES))]
    return "(|" + "".join(f"(mail={escape(name)})" for name in names) + ")"


def _bundled(value: bytes) -> Sequence[bytes]:
    """The certificates of a userSMIMECertificate (RFC 2798 2.8); the value itself, which is none, where it cannot be read."""
    try:
        return read_bundle(value)[:MAX_VALUES] if len(value) <= MAX_PKCS7 else [value]
    except GatewayError:
        return [value]
