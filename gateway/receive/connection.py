"""One connection as SMTP needs it: lines that end with CRLF in, replies out, both with backpressure and a time limit.

Not asyncio's streams and not aiosmtpd's frame: ``docs/decisions/0003-smtp-in.md`` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, cast

from gateway.edge.deadline import Deadline
from gateway.edge.tls import HANDSHAKE_SECONDS, ServerContext, ServerTls, server_tls
from gateway.edge.tlsanyusage import AnyUsageTls
from gateway.edge.tlsown import kept_busy
from gateway.smtp.command import MAX_REFUSED
from gateway.smtp.reply import Reply

CLOSE_SECONDS: Final = 10.0
HIGH_WATER: Final = 256 * 1024  # octets received and not yet taken, beyond which the client has to wait

BARE_LF: Final = Reply(521, "5.5.2", ("Lines end with CRLF",))
LONG_LINE: Final = Reply(521, "5.5.2", ("Line too long",))


class Gone(ConnectionError):
    """The other side has hung up."""


class Connection(asyncio.Protocol):
    """``talk`` begins when the connection stands, and the connection ends with it.

    ``address`` is the other side's, as text; ``seconds`` how long it may keep us waiting.
    """

    def __init__(self, talk: Callable[[Connection], Awaitable[None]], address: str, seconds: float) -> None:
        self.address = address
        self.tls = ""
        """Protocol and cipher, or "" in clear."""
        self.chain: tuple[bytes, ...] = ()
        """The certificates the other side showed, DER, leaf first."""
        self.task: asyncio.Task[None] | None = None
        """The talk, once it began. Whoever made the connection awaits it."""
        self._talk = talk
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self._secure: ServerTls | AnyUsageTls | None = None
        self._failure: ssl.SSLError | None = None
        self._input = bytearray()
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._pass)
        self._late = False
        self._wake: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._ended = False
        self._paused = False
        self._leaving = False  # we hang up, and not because we were asked to
        self._said_all = False

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)
        self.task = self._loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        if self._said_all:
            return
        came = len(data)
        if self._secure is not None:
            data = self._decrypt(self._secure, data)
        self._input += data
        self.wake()
        # TLS answers by itself too, and however often it is asked (KeyUpdate, RFC 8446 4.6.3)
        full = len(self._input) > HIGH_WATER or not self._writable.is_set()
        if (full or kept_busy(came, len(data))) and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The other side will say no more. What it has said is still answered."""
        self._ended = True
        self.wake()
        return not self._said_all

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """Nobody listens any more. The talk ends by itself: cancelled, it might leave a commit without an answer."""
        self._ended = True
        self._transport = None
        self._deadline.close()
        self.wake()
        self._writable.set()
        self._closed.set()

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side has read."""
        self._writable.set()
        self.wake()  # whoever waits for more lets it be read

    # Called by the talk

    def line(self) -> bytes | Reply | None:
        """The next line without its CRLF; None: not yet there; a reply: what came can be no line, and this must be the end."""
        end = self._input.find(b"\r\n")
        if self._input.find(b"\n", 0, end if end >= 0 else len(self._input)) >= 0:
            return BARE_LF
        if end > MAX_REFUSED or (end < 0 and len(self._input) > MAX_REFUSED + 1):
            return LONG_LINE
        if end < 0:
            return None
        line = bytes(self._input[:end])
        del self._input[: end + 2]
        return line

    def take(self, most: int | None = None) -> bytes:
        """What has come, at most ``most`` octets of it; it may be nothing."""
        data = bytes(self._input[:most])
        del self._input[:most]
        return data

    def put_back(self, data: bytes) -> None:
        """``data`` was taken and is to be read again."""
        self._input[:0] = data

    @property
    def waiting(self) -> int:
        """How many octets have come and not been taken."""
        return len(self._input)

    def after(self, seconds: float) -> float:
        """What the loop's clock says in so many seconds."""
        return self._loop.time() + seconds

    async def more(self, until: float | None = None) -> None:
        """Waits until more octets have come, or ``wake``.

        Raises :class:`Gone`, and ``TimeoutError`` after ``seconds`` or at ``until`` (of the loop's clock), whichever is sooner.
        """
        if self._ended or self._transport is None:
            raise Gone("the other side hung up")
        if self._paused and self._writable.is_set():
            self._paused = False
            self._transport.resume_reading()
        patience = self.after(self._seconds)
        self._deadline.set(patience if until is None else min(patience, until))
        self._wake = self._loop.create_future()
        await self._wake
        self._deadline.clear()
        if self._late:
            raise TimeoutError

    async def heard(self) -> None:
        """Waits until the other side has read most of what was said. Raises ``TimeoutError`` after ``seconds``."""
        if not self._writable.is_set():
            async with asyncio.timeout(self._seconds):
                await self._writable.wait()

    def say(self, reply: Reply) -> None:
        """Sends a reply, to nobody if the other side has gone."""
        self._leaving = reply.closing and reply.code != 221
        if self._secure is not None:
            self._secure.send(reply.encode())
            self._write(self._secure.output())
        else:
            self._write(reply.encode())

    async def start_tls(self, context: ServerContext) -> None:
        """The handshake. Raises ``OSError`` (``ssl.SSLError``, ``TimeoutError``)."""
        self._secure = server_tls(context)
        if self._input:
            self.data_received(self.take())
        until = self.after(HANDSHAKE_SECONDS)
        while not self._secure.established:
            try:
                await self.more(until)
            except Gone:
                raise self._failure or Gone("the other side hung up during the handshake") from None
        self.tls, self.chain = self._secure.describe(), self._secure.peer_chain()

    # Called by whoever made the connection

    def wake(self) -> None:
        """Lets ``more`` return."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def closed(self) -> None:
        """Returns when the last reply was sent and the connection is closed, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._closed.wait()

    def abort(self) -> None:
        """Ends the connection now. A talk in the middle of a commit finishes it, unheard."""
        if self._transport is not None:
            self._transport.abort()

    def _pass(self) -> None:
        """The other side has kept us waiting too long."""
        self._late = True
        self.wake()

    def _decrypt(self, secure: ServerTls | AnyUsageTls, data: bytes) -> bytes:
        try:
            return secure.receive(data)
        except ssl.SSLError as error:
            self._failure, self._ended = error, True
            return b""
        finally:
            self._ended = self._ended or secure.ended
            self._write(secure.output())

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():  # uvloop would raise RuntimeError
            self._transport.write(data)

    async def _run(self) -> None:
        try:
            await self._talk(self)
        finally:
            if self._secure is not None and self._secure.established:
                self._secure.close()
                self._write(self._secure.output())
            if self._transport is not None:
                self._hang_up(self._transport)

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """Closes the connection. A client we leave may still be sending, and a socket that is closed on unread octets is reset,
        with the replies its client has not read yet; so such a client is read, and not listened to, until it hangs up too.
        """
        if not self._leaving or self._ended or transport.is_closing():
            transport.close()
            return
        self._said_all = True
        if self._paused:
            transport.resume_reading()
        transport.write_eof()
