"""Next hops to deliver to: stock aiosmtpd, and servers that follow a script. All on loopback, on ports of the system's choice."""

# ruff: noqa: ARG002, N802 - aiosmtpd calls its handlers by these names, with these arguments

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.pki import Ca, Issued


@dataclass
class Received:
    """A mail as the hop got it."""

    sender: str
    recipients: list[str]
    content: bytes
    options: list[str]


@dataclass
class Hop:
    """A mail server by aiosmtpd. ``replies``: what it says to a recipient, or ("DATA") to a message, in place of 250."""

    port: int = 0
    extensions: Sequence[str] = ()
    replies: dict[str, str] = field(default_factory=dict)
    mails: list[Received] = field(default_factory=list)
    connections: int = 0
    greeted: int = 0
    recipients_asked: list[str] = field(default_factory=list)
    login: tuple[bytes, bytes] | None = None
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword) -> AuthResult:
        self.logins.append((given.login, given.password))
        return AuthResult(success=self.logins[-1] == self.login, handled=False)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.greeted += 1
        session.host_name = hostname
        return [*responses[:-1], *(f"250-{keyword}" for keyword in self.extensions), responses[-1]]

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        self.recipients_asked.append(address)
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.replies:
            return self.replies["DATA"]
        self.mails.append(
            Received(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.original_content or b"", envelope.mail_options)
        )
        return "250 2.0.0 queued"


@asynccontextmanager
async def aiosmtpd_hop(
    *,
    implicit: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    smtputf8: bool = True,
    extensions: Sequence[str] = (),
    replies: dict[str, str] | None = None,
    login: tuple[bytes, bytes] | None = None,
) -> AsyncIterator[Hop]:
    """A running :class:`Hop`: in clear, with TLS from the first byte (``implicit``), or offering STARTTLS. With ``login``, user and
    password, it takes mail under STARTTLS only from who gives them.
    """
    hop = Hop(extensions=extensions, replies=replies or {}, login=login)
    transports: list[asyncio.BaseTransport] = []

    class Counting(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            hop.connections += self.transport is None
            transports.append(transport)
            super().connection_made(transport)

    def make() -> SMTP:
        return Counting(
            hop,
            hostname="mx.test",
            tls_context=starttls,
            enable_SMTPUTF8=smtputf8,
            data_size_limit=10**8,
            authenticator=hop.authenticate if login else None,
            auth_required=login is not None,
        )

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=implicit)
    hop.port = server.sockets[0].getsockname()[1]
    try:
        yield hop
    finally:
        server.close()
        for transport in transports:
            transport.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_hop(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that runs ``script`` for each connection and then hangs up."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def lines(*said: bytes | None) -> Script:
    """Says each of ``said`` (None: nothing) after the next line of the client has come; the first is the greeting."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, text in enumerate(said):
            if number:
                await reader.readuntil(b"\r\n")
            writer.write(text or b"")
            await writer.drain()

    return script


def server_context(identity: Issued, folder: Path, clients: Ca | None = None, name: str = "hop") -> ssl.SSLContext:
    """A TLS server that shows ``identity`` and, with ``clients``, demands a client certificate below that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate, key = identity.write(folder, name)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.load_verify_locations(cadata=clients.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context
