"""A socket to a next hop as a few awaitables, with TLS put on it when asked."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final, cast

from gateway.edge.deadline import Deadline
from gateway.edge.tlsclient import ClientTls
from gateway.edge.tlsstapled import StapledContext, StapledTls
from gateway.edge.tlstransport import TlsTransport
from gateway.outcome import Reason
from gateway.smtp.hopreply import HopError

_INBOX: Final = 256 * 1024  # how much a hop may say before we have read it


ClientContext = ssl.SSLContext | StapledContext


@dataclass(frozen=True, slots=True)
class Secured:
    """What a handshake brought: the certificates shown (DER, leaf first), the OCSP answer stapled to them (DER, not read yet,
    empty where there was none), and protocol and cipher, never "".
    """

    chain: tuple[bytes, ...]
    stapled: bytes
    tls: str


class Link(asyncio.Protocol):
    """A socket as two awaitables: ``read`` what came, ``drain`` what goes."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._inbox = bytearray()
        self._wake: asyncio.Future[None] | None = None
        self._deadline = Deadline(self._pass)
        self._paused: asyncio.Future[None] | None = None
        self.ended = False
        """Whether the hop has hung up."""
        self._error: Exception | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        """Keep, and wake the reader."""
        self._inbox += data
        if len(self._inbox) > _INBOX:
            self._transport.abort()
        self._rouse()

    def eof_received(self) -> None:
        """The hop hung up; the transport closes itself."""
        self.ended = True
        self._rouse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes or goes any more."""
        self.ended = True
        self._error = exc
        self._deadline.close()
        self._rouse()
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        """The hop reads slower than we write."""
        self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)
        self._paused = None

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _pass(self) -> None:
        """The hop has kept us waiting too long."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_exception(TimeoutError())

    @property
    def ends(self) -> tuple[str, int, str]:
        """Address and port of the hop, and our own address."""
        address, port, *_ = self._transport.get_extra_info("peername")
        return address, port, self._transport.get_extra_info("sockname")[0]

    @property
    def quiet(self) -> bool:
        """Whether the hop has neither said anything unread nor hung up."""
        return not self._inbox and not self.ended

    def after(self, seconds: float) -> float:
        """What the loop's clock says in so many seconds."""
        return self._loop.time() + seconds

    async def read(self, until: float) -> bytes:
        """What came; ``b""`` when the hop has hung up.

        Raises :class:`HopError` where the connection broke, and ``TimeoutError`` at ``until`` (of the loop's clock).
        """
        if self.quiet:
            self._wake = self._loop.create_future()
            self._deadline.set(until)
            await self._wake
            self._deadline.clear()
        data = bytes(self._inbox)
        self._inbox.clear()
        if not data and self._error is not None:
            raise _broken(self._error)
        return data

    def write(self, data: bytes) -> None:
        """Send; ``drain`` after it. Raises :class:`HopError` where the connection broke."""
        if data:
            if self._transport.is_closing():  # uvloop raises RuntimeError then, asyncio says nothing
                raise _broken(self._error)
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until there is room for more. Raises :class:`HopError` where the connection broke."""
        if self._paused is not None:
            await self._paused
        if self.lost.done():
            raise _broken(self._error)

    async def start_tls(self, context: ClientContext, host: str, deadline: float) -> Secured:
        """Put TLS on the connection. ``deadline`` in seconds. Raises :class:`HopError` (TLS_FAILED)."""
        if not self.quiet:
            raise HopError(Reason.TLS_FAILED, "the next hop speaks in clear where TLS begins")
        below = self._transport
        try:
            return await self._handshake(context, host, deadline)
        except BaseException as error:
            below.abort()
            if isinstance(error, OSError | ValueError):
                raise HopError(Reason.TLS_FAILED, _tls_trouble(error)) from error
            raise

    async def _handshake(self, context: ClientContext, host: str, deadline: float) -> Secured:
        tls = StapledTls(context, host) if isinstance(context, StapledContext) else ClientTls(context, host)
        layer = TlsTransport(self._transport, tls, self)
        self._transport = cast(asyncio.Transport, layer)  # one by the methods that are used here
        await layer.handshake(deadline)
        return Secured(tls.peer_chain(), tls.stapled, tls.describe())

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()


def _broken(error: Exception | None) -> HopError:
    if isinstance(error, ssl.SSLError):  # in TLS 1.3 a refused client certificate shows only after the handshake
        return HopError(Reason.TLS_FAILED, _tls_trouble(error))
    return HopError(Reason.HOP_UNREACHABLE, f"connection lost: {type(error).__name__ if error else 'closed'}")


def _tls_trouble(error: Exception) -> str:
    """What OpenSSL says, without the file and line of its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return f"TLS handshake: {str(error) or type(error).__name__}"
