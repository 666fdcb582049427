"""A transport that does TLS by one of our sans-io sides of it, between a socket's transport and whoever uses it."""

from __future__ import annotations

import asyncio
import ssl

from gateway.edge.tlscalled import CalledTls
from gateway.edge.tlsown import OwnTls, kept_busy


class TlsTransport(asyncio.Protocol):
    """``write``, ``close``, ``abort`` for ``above``, whose protocol's methods it calls as the transport below would."""

    def __init__(self, below: asyncio.Transport, tls: OwnTls | CalledTls, above: asyncio.Protocol) -> None:
        self._below = below
        self._tls = tls
        self._above = above
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None
        self._paused = False

    async def handshake(self, seconds: float) -> None:
        """Returns when it is done. Raises OSError, of which ``ssl.SSLError`` is one."""
        self._below.set_protocol(self)
        self.data_received(b"")
        async with asyncio.timeout(seconds):
            await self._done

    def data_received(self, data: bytes) -> None:
        """Hand on what the peer said, and send what TLS has to say to it."""
        try:
            said = self._tls.receive(data)
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._fail(error)
            return
        self._flush()
        if self._tls.established and not self._done.done():
            self._done.set_result(None)
        if kept_busy(len(data), len(said)):
            self._below.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)
        if said:
            self._above.data_received(said)
        if self._tls.ended:
            self._above.eof_received()
            self.close()

    def eof_received(self) -> None:
        """The socket ended; the transport below closes itself."""
        if self._tls.established:
            self._above.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes or goes any more."""
        error = self._error or exc
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the next hop hung up"))
        self._above.connection_lost(error)

    def pause_writing(self) -> None:
        """The peer reads slower than is written, and is not read either: TLS answers by itself too, and however often it is asked
        (KeyUpdate, RFC 8446 4.6.3).
        """
        self._paused = True
        self._below.pause_reading()
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._below.resume_reading()
        self._above.resume_writing()

    def write(self, data: bytes) -> None:
        """Say it, under TLS."""
        self._tls.send(data)
        self._flush()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._below.is_closing()

    def get_extra_info(self, name: str) -> object:
        """What the transport below knows."""
        return self._below.get_extra_info(name)

    def close(self) -> None:
        """Say that nothing more will come (close_notify), and close when everything is sent."""
        if not self._below.is_closing():
            self._tls.close()
            self._flush()
            self._below.close()

    def abort(self) -> None:
        """Close now."""
        self._below.abort()

    def _fail(self, error: ssl.SSLError) -> None:
        self._error = error
        if not self._done.done():
            self._done.set_exception(error)
        self._below.close()

    def _go_on(self) -> None:
        """The others had their turn."""
        if not self._paused:
            self._below.resume_reading()

    def _flush(self) -> None:
        if (data := self._tls.output()) and not self._below.is_closing():
            self._below.write(data)
