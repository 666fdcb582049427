"""A private Dovecot on loopback that serves the Maildirs of a :class:`tests.system.postfix.Postfix` over IMAP."""

from __future__ import annotations

import imaplib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.ports import free_port
from tests.system.postfix import await_port

PASSWORD = "loopback"

CONFIGURATION = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{mail}/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={home}/home/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@dataclass
class Dovecot:
    """A running Dovecot over the Maildirs below ``mail``, one for each address."""

    mail: Path
    port: int = field(default_factory=free_port)

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="gateway-dovecot-"))
        self.home.chmod(0o755)
        uid = 65534 if os.getuid() == 0 else os.getuid()
        (self.home / "home").mkdir()
        (self.home / "home").chmod(0o777)
        configuration = self.home / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(home=self.home, mail=self.mail, port=self.port, uid=uid, password=PASSWORD))
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        await_port(self.port, self.process)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        shutil.rmtree(self.home)

    def messages(self, address: str) -> list[bytes]:
        """Every message in the INBOX of ``address``, oldest first, as IMAP gives them."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=20) as session:
            session.login(address, PASSWORD)
            session.select("INBOX", readonly=True)
            _, found = session.search(None, "ALL")
            numbers = found[0].split()
            return [self._fetch(session, number.decode()) for number in numbers]

    @staticmethod
    def _fetch(session: imaplib.IMAP4, number: str) -> bytes:
        _, parts = session.fetch(number, "(BODY.PEEK[])")
        part = parts[0]
        assert isinstance(part, tuple)
        message: bytes = part[1]
        return message
