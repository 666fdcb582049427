"""A connection to a next hop: a socket, TLS, deadlines, and a :class:`gateway.smtp.client.ClientSession` between them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.model import TlsMode
from gateway.edge.race import interleaved, race, source_for
from gateway.edge.smtplink import ClientContext, Link, Secured
from gateway.mail.address import Address
from gateway.mail.body import Body
from gateway.mail.envelope import Envelope, NextHop
from gateway.outcome import GatewayError, Reason
from gateway.smtp.client import ClientSession, Event
from gateway.smtp.hopreply import HopError
from gateway.smtp.login import Login
from gateway.smtp.reply import Reply

SMALL: Final = 64 * 1024  # bodies up to this size are read inline, larger ones by a thread (in pieces, one at a time)

UNHEARD_SECONDS: Final = 30  # after which a hop whose machine acknowledges nothing, or is silent when asked, is gone (tcp(7))

Verify = Callable[[Secured], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. After RFC 5321 4.5.3.2, whose figures are the least a client should wait for a reply."""

    connect: float = 30.0
    handshake: float = 30.0
    reply: float = 300.0
    block: float = 180.0
    content: float = 1800.0
    acceptance: float = 600.0
    goodbye: float = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: ``host`` is the name TLS asks for and people read; without ``addresses`` the system looks it up.

    ``context`` is there wherever ``tls`` is not NONE. ``peer`` is the zone peer whose certificate must be shown. ``sources`` are
    addresses of ours, one of a family at most, to connect from; a family without one is then not used. ``login`` needs TLS.
    """

    host: str
    addresses: tuple[str, ...]
    port: int
    tls: TlsMode
    context: ClientContext | None = None
    peer: NextHop | None = None
    sources: tuple[str, ...] = ()
    login: Login | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Sent:
    """How a transaction ended: the last word for each recipient, None where ``failure`` came before one.

    ``stale``: the hop took leave before any byte of the message was sent, so that sending again makes no second copy.
    """

    replies: tuple[Reply | None, ...]
    failure: GatewayError | None = None
    stale: bool = False

    @property
    def strained(self) -> bool:
        """Whether the hop failed amid the mail, or settled it for nobody and asks to come later."""
        return self.failure is not None or not any(reply and (reply.done or reply.permanent) for reply in self.replies)


class Connection:
    """An open session with a next hop. One user at a time; whoever opened it closes it."""

    def __init__(self, target: Target, link: Link, session: ClientSession, deadlines: Deadlines) -> None:
        self.target = target
        self.session = session
        self.tls = ""
        """Protocol and cipher, "" in clear."""
        self.last: Sent | None = None
        """How the last transaction ended."""
        self._link = link
        self._deadlines = deadlines
        self._failed = False

    @classmethod
    async def open(cls, target: Target, name: str, deadlines: Deadlines, verify: Verify | None) -> Connection:
        """Connect, secure, say EHLO as ``name``. ``verify`` sees the peer's certificates before any command goes over TLS and
        raises where they are not to be believed. An address that connects and then fails is left for the others (RFC 5321 5.1).

        Raises :class:`GatewayError` (HOP_UNREACHABLE, TLS_FAILED, HOP_LOGIN, HOP_DEFERRED). There is no way back to clear.
        """
        left, trouble = await _addresses(target, deadlines.connect), None
        while True:
            try:
                address, link = await _connect(target, left, deadlines.connect)
            except HopError as error:
                raise trouble or error from None
            left = tuple(other for other in left if other != address)
            session = ClientSession(name, starttls=target.tls is TlsMode.STARTTLS, login=target.login)
            connection = cls(target, link, session, deadlines)
            try:
                await connection._greet(verify)
            except GatewayError as error:
                await connection.abort()
                trouble = HopError(error.reason, f"{target}: {error.detail}")
                if not left:
                    raise trouble from error
            except BaseException:
                await connection.abort()
                raise
            else:
                return connection

    async def _greet(self, verify: Verify | None) -> None:
        if self.target.tls is TlsMode.IMPLICIT:
            await self._secure(verify)
            await self._first_word()
        elif await self._next(self._deadlines.reply) is Event.SECURE:
            await self._secure(verify)
            self.session.secured()
            await self._first_word()

    async def _first_word(self) -> None:
        """The session under TLS begins. In TLS 1.3 a server that refuses our certificate hangs up only here."""
        answered = self.session.answered
        try:
            await self._next(self._deadlines.reply)
        except HopError as error:
            if self._link.ended and self.session.answered == answered:
                raise HopError(
                    Reason.TLS_FAILED, f"{error.detail} right after the handshake; it may refuse our certificate"
                ) from error
            raise

    async def _secure(self, verify: Verify | None) -> None:
        assert self.target.context is not None  # noqa: S101 - every target with TLS has one
        secured = await self._link.start_tls(self.target.context, self.target.host, self._deadlines.handshake)
        if verify is not None:
            await verify(secured)
        self.tls = secured.tls

    async def _next(self, deadline: float) -> Event:
        """Send what is to be sent and read until something has happened. ``deadline`` is for each whole reply."""
        session, link = self.session, self._link
        try:
            until = link.after(deadline)
            while True:
                link.write(session.output())
                answered = session.answered
                event = session.receive(await link.read(until))
                if event is not None:
                    return event
                if session.answered > answered:
                    until = link.after(deadline)
        except TimeoutError as error:
            raise HopError(Reason.HOP_UNREACHABLE, f"no reply in {deadline:g} s") from error

    async def send(self, envelope: Envelope, body: Body) -> Sent:
        """One mail. What the hop did wrong is in the answer.

        Raises :class:`GatewayError` where the spool cannot give the body, and MALFORMED where SMTP cannot carry the mail; the
        connection must then be aborted.
        """
        self.session.begin(envelope, body.size)
        content_begun, failure = False, None
        try:
            if await self._next(self._deadlines.reply) is Event.BODY:
                content_begun = True
                await self._content(body)
                await self._next(self._deadlines.acceptance)
        except HopError as error:
            failure, self._failed = error, True
        gone = failure is not None or self.session.closing
        self.last = Sent(tuple(self.session.replies), failure, stale=gone and not content_begun)
        return self.last

    async def _content(self, body: Body) -> None:
        session, link = self.session, self._link
        if body.size <= SMALL:
            pieces = [session.output(), *(session.content(chunk) for chunk in body.chunks()), session.end_of_content()]
            link.write(b"".join(pieces))
            return
        link.write(session.output())
        try:
            async with asyncio.timeout(self._deadlines.content):
                chunks = body.chunks()
                while (data := await asyncio.to_thread(self._content_of, chunks)) is not None:
                    link.write(data)
                    async with asyncio.timeout(self._deadlines.block):
                        await link.drain()
        except TimeoutError as error:
            raise HopError(Reason.HOP_UNREACHABLE, "the next hop reads too slowly") from error
        link.write(session.end_of_content())

    def _content_of(self, chunks: Iterator[bytes]) -> bytes | None:
        chunk = next(chunks, None)
        return None if chunk is None else self.session.content(chunk)

    async def probe(self, recipient: Address) -> Reply:
        """The hop's word on ``recipient``. Raises :class:`HopError`; the connection must then be aborted."""
        self.session.probe(recipient)
        await self._next(self._deadlines.reply)
        reply = self.session.replies[0]
        assert reply is not None  # noqa: S101 - DONE says so
        return reply

    @property
    def ends(self) -> tuple[str, int, str]:
        """Address and port of the hop as the system found them, and our own address."""
        return self._link.ends

    @property
    def reusable(self) -> bool:
        """Whether another mail may be tried on it: nothing failed, and the hop has neither hung up nor said anything unasked."""
        return self._link.quiet and not self.session.closing and not self._failed

    async def quit(self) -> None:
        """Say QUIT, wait a moment for the answer, close."""
        try:
            if self.reusable:
                self.session.quit()
                await self._next(self._deadlines.goodbye)
        except HopError:
            pass  # there was no more to say
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Close without a word. Returns when the socket is gone."""
        self._link.abort()
        await self._link.lost


async def _addresses(target: Target, deadline: float) -> tuple[str, ...]:
    """The addresses to try, in their order. Raises :class:`HopError` (HOP_UNREACHABLE)."""
    found = target.addresses
    if not found:
        try:
            async with asyncio.timeout(deadline):
                told = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise HopError(Reason.HOP_UNREACHABLE, f"{target}: no address in {deadline:g} s") from error
        except OSError as error:
            raise HopError(Reason.HOP_UNREACHABLE, f"{target}: {error.strerror or type(error).__name__}") from error
        found = tuple(dict.fromkeys(str(place[0]) for *_, place in told))
    usable = tuple(address for address in found if not target.sources or source_for(address, target.sources))
    if not usable:
        raise HopError(Reason.HOP_UNREACHABLE, f"{target}: none of its addresses is of a family we have a source address for")
    return interleaved(usable)


def _notice_when_gone(connected: socket.socket) -> None:
    """A server may take minutes for a reply, and its machine may not take them to acknowledge what it was sent (RFC 5482)."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_SECONDS * 1000)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNHEARD_SECONDS)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, UNHEARD_SECONDS // 3))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _connect(target: Target, addresses: Sequence[str], deadline: float) -> tuple[str, Link]:
    """The first of ``addresses`` to answer. Raises :class:`HopError` (HOP_UNREACHABLE)."""
    loop = asyncio.get_running_loop()

    async def connect(address: str) -> Link:
        source = source_for(address, target.sources)
        local = (source, 0) if source is not None else None
        transport, link = await loop.create_connection(Link, address, target.port, local_addr=local)
        _notice_when_gone(transport.get_extra_info("socket"))
        return link

    try:
        async with asyncio.timeout(deadline):
            return await race(connect, addresses, Link.abort)
    except TimeoutError as error:
        raise HopError(Reason.HOP_UNREACHABLE, f"{target}: no answer in {deadline:g} s") from error
    except OSError as error:
        raise HopError(Reason.HOP_UNREACHABLE, f"{target}: {_words(error)}") from error


def _words(error: OSError) -> str:
    """The system's own, whichever event loop tells of it."""
    return os.strerror(error.errno) if error.errno else type(error).__name__
