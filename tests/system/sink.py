"""A peer that keeps what it is given: where a gateway delivers when a test wants to see what left it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.hops import Hop, Received, aiosmtpd_hop, server_context
from tests.pki import Ca, Issued
from tests.system.lab import PATIENCE, message_id, until


class Sink:
    """aiosmtpd in a thread. Mutual TLS from the first byte, showing ``identity`` and demanding a certificate below ``clients``;
    in clear without. A context manager; leave it after the gateways that deliver to it have gone.
    """

    def __init__(self, folder: Path, identity: Issued | None = None, clients: Ca | None = None) -> None:
        self._context = server_context(identity, folder, clients, "sink") if identity is not None else None
        self._hop = Hop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._listening = threading.Event()
        self._stop = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._hop.port

    @property
    def mails(self) -> list[Received]:
        """What came, in the order in which it came."""
        return self._hop.mails

    def got(self, subject: bytes, count: int = 1) -> list[Received]:
        """The mails of that subject, once there are ``count``; letters of the lab also where it is hidden."""
        shown, hidden = b"\r\nSubject: %b\r\n" % subject, b"\r\n%b\r\n" % message_id(subject.decode()).encode()

        def look() -> list[Received]:
            found = [mail for mail in self.mails if shown in mail.content or hidden in mail.content]
            return found if len(found) >= count else []

        return until(look, f"{count} mails at the sink")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with aiosmtpd_hop(implicit=self._context) as self._hop:
            self._listening.set()
            await self._stop.wait()
        await asyncio.sleep(0.1)  # connections that were left open go through the loop once more

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
