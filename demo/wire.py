"""A tap on the wire between two gateways. It holds both sides' TLS keys, which nobody but the demo that made them has: each
gateway meets the certificate it expects, and the tap sees the SMTP session as it is inside TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A gateway's TLS certificate and key files, and the anchors of the zone."""

    certificate: Path
    key: Path
    anchors: Path

    def context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        """To speak as this gateway: ``CLIENT_AUTH`` to answer, ``SERVER_AUTH`` to call."""
        context = ssl.create_default_context(purpose, cafile=str(self.anchors))
        context.load_cert_chain(self.certificate, self.key)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        return context


class Tap:
    """Listens as the receiving gateway, calls it as the sending one, and keeps what the sender says."""

    def __init__(self, *, port: int, onward: int, receiver: Identity, sender: Identity) -> None:
        self._port = port
        self._onward = onward
        self._receiver = receiver
        self._sender = sender
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._listening = threading.Event()
        self._stop: asyncio.Event | None = None
        self.heard = bytearray()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._listening.wait(10)

    def stop(self) -> None:
        """Hang up everything."""
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._relay(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        context = self._receiver.context(ssl.Purpose.CLIENT_AUTH)
        server = await asyncio.start_server(connected, "127.0.0.1", self._port, ssl=context)
        self._listening.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # what was hung up goes through the loop once more

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = self._sender.context(ssl.Purpose.SERVER_AUTH)
        writers = [writer]
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._onward, ssl=context)
            writers.append(onward_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, onward_writer, keep=True))
                group.create_task(self._copy(onward_reader, writer, keep=False))
        except* OSError:
            pass  # one side is gone: so is the connection of the other
        finally:
            for each in writers:
                with contextlib.suppress(AttributeError):  # CPython 3.11.2: a TLS transport that has ended cannot be aborted
                    each.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, keep: bool) -> None:
        while data := await source.read(65536):
            if keep:
                self.heard += data
            target.write(data)
            await target.drain()
        target.close()
