"""The far end: a mail server that records each mail that comes, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

_TRACE: Final = re.compile(rb"\sby gateway\.(\w+)\.example with \w+[^;]*? id ([0-9A-Z]{26})")
_LIMIT: Final = 1 << 24


class Manner(StrEnum):
    """How the far end behaves."""

    GOOD = "good"
    AWAY = "away"  # hangs up before it has said a word
    CUTS_DATA = "cuts-data"  # hangs up in the middle of a message
    SILENT = "silent"  # takes a message whole and hangs up without the answer: whoever sent it must send it again


@dataclass(frozen=True, slots=True)
class Taken:
    """A mail that came whole. ``at``: seconds of our clock; ``answered``: the client was told 250; ``trace``: our gateways' ids."""

    content: bytes
    at: float
    answered: bool
    trace: dict[str, str]


class Sink:
    """An SMTP server in a thread of its own. A context manager."""

    def __init__(self) -> None:
        self.manner = Manner.GOOD
        self.taken: list[Taken] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._listening = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(20):
            raise RuntimeError("the sink does not listen")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        sessions: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._session(reader, writer))
            sessions.add(task)
            task.add_done_callback(sessions.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_LIMIT)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await asyncio.sleep(0.1)  # what was hung up goes through the loop once more

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.manner is not Manner.AWAY:
            writer.write(b"220 sink ESMTP\r\n")
        while self.manner is not Manner.AWAY:
            line = await reader.readuntil(b"\r\n")
            match line[:4].upper():
                case b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
                case b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    return
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    if not await self._take(reader, writer):
                        return
                case _:
                    writer.write(b"250 2.0.0 ok\r\n")

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One message; False where the connection is to end."""
        if self.manner is Manner.CUTS_DATA:
            await reader.read(500)
            return False
        content = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
        answered = self.manner is not Manner.SILENT
        trace = {site.decode(): mail.decode() for site, mail in _TRACE.findall(content.partition(b"\r\n\r\n")[0])}
        self.taken.append(Taken(content, time.time(), answered, trace))
        if answered:
            writer.write(b"250 2.0.0 taken\r\n")
        return answered
