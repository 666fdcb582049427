"""The mail server a site already has, small: aiosmtpd in front of Maildirs. The demo's stand-in; the tests use the real ones."""

from __future__ import annotations

import mailbox
import threading
from collections.abc import Callable
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Maildirs:
    """An aiosmtpd handler that knows its mailboxes and refuses the rest, as a mail server behind a gateway must."""

    def __init__(self, folder: Path, mailboxes: tuple[str, ...], arrived: Callable[[str, Path], None]) -> None:
        self._folder = folder
        self._mailboxes = frozenset(mailboxes)
        self._arrived = arrived

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        server: SMTP,  # noqa: ARG002 - aiosmtpd's signature
        session: Session,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],  # noqa: ARG002
    ) -> str:
        """Take what is ours."""
        if address not in self._mailboxes:
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        """One file in each recipient's Maildir."""
        content = envelope.original_content or b""
        for address in envelope.rcpt_tos:
            self._folder.mkdir(parents=True, exist_ok=True)
            box = mailbox.Maildir(self._folder / address)
            name = box.add(content.replace(b"\r\n", b"\n"))
            self._arrived(address, self._folder / address / "new" / name)
        return "250 2.0.0 OK"


class MailServer:
    """A running mail server. ``wait`` returns the file of the first mail that arrives."""

    def __init__(self, folder: Path, hostname: str, port: int, mailboxes: tuple[str, ...]) -> None:
        self._there = threading.Event()
        self.mails: list[tuple[str, Path]] = []
        handler = Maildirs(folder, mailboxes, self._note)
        self._controller = Controller(
            handler, hostname="127.0.0.1", port=port, server_hostname=hostname, enable_SMTPUTF8=True, data_size_limit=1 << 28
        )

    def _note(self, address: str, path: Path) -> None:
        self.mails.append((address, path))
        self._there.set()

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def wait(self, seconds: float) -> bool:
        """Whether a mail is there within ``seconds``."""
        return self._there.wait(seconds)

    def stop(self) -> None:
        """Listen no more."""
        self._controller.stop()
