"""A private Postfix on loopback: its own configuration, queue and log below one directory, stopped by its own process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.ports import free_port

MASTER = """\
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n -  0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n -  - trivial-rewrite
bounce    unix  - - n -  0 bounce
defer     unix  - - n -  0 bounce
trace     unix  - - n -  0 bounce
verify    unix  - - n -  1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -  - proxymap
smtp      unix  - - n -  - smtp
relay     unix  - - n -  - smtp
showq     unix  n - n -  - showq
error     unix  - - n -  - error
retry     unix  - - n -  - error
discard   unix  - - n -  - discard
virtual   unix  - n n -  - virtual
anvil     unix  - - n -  1 anvil
scache    unix  - - n -  1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = {hostname}
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
alias_maps =
alias_database =
biff = no
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtputf8_enable = yes
default_process_limit = 30
minimal_backoff_time = 2s
maximal_backoff_time = 5s
queue_run_delay = 2s
bounce_queue_lifetime = 1h
"""


def await_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Return when ``port`` answers; fail when the process ended or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)  # a daemon of another make has no event to await
    raise AssertionError(f"nothing listens on port {port}")


@dataclass
class Postfix:
    """A running Postfix. ``main`` adds to main.cf, ``services`` to master.cf; mail for ``domains`` goes to ``home/mail/``.

    ``as_the_host``: its programs, sendmail(1) among them, find its configuration at /etc/postfix; nobody else does.
    """

    hostname: str
    domains: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()
    main: dict[str, str] = field(default_factory=dict)
    services: str = ""
    port: int = field(default_factory=free_port)
    as_the_host: bool = False

    def __enter__(self) -> Self:
        # Not below pytest's own directory: Postfix's users must be able to walk there.
        self.home = Path(tempfile.mkdtemp(prefix="gateway-postfix-"))
        self.home.chmod(0o755)
        for name in ("queue", "data", "mail"):
            (self.home / name).mkdir()
        shutil.chown(self.home / "data", "postfix")
        (self.home / "mail").chmod(0o777)
        settings = MAIN.format(home=self.home, hostname=self.hostname)
        if self.domains:
            settings += self._mailbox_settings()
        settings += "".join(f"{name} = {value}\n" for name, value in self.main.items())
        (self.home / "main.cf").write_text(settings)
        (self.home / "master.cf").write_text(f"127.0.0.1:{self.port} inet n - n - - smtpd\n{self.services}{MASTER}")
        # What `postfix start-fg` does, but with master as our own child, so that its process id is ours to end.
        subprocess.run(["/usr/sbin/postfix", "-c", str(self.home), "check"], check=True, capture_output=True)
        place = "/etc/postfix" if self.as_the_host else str(self.home)
        master = ["/usr/lib/postfix/sbin/master", "-c", place, "-s"]
        if self.as_the_host:  # in a mount namespace that ends with it; each program becomes the next, so one process id
            mount = ["/bin/sh", "-c", 'mount --bind "$0" /etc/postfix && exec "$@"', str(self.home), *master]
            master = ["/usr/bin/unshare", "--mount", *mount]
        self.process = subprocess.Popen(
            master,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": place},
            start_new_session=True,
        )
        await_port(self.port, self.process)
        return self

    def _mailbox_settings(self) -> str:
        nobody = os.getuid() or 65534
        table = "".join(f"{address} {address}/\n" for address in self.mailboxes)
        (self.home / "mailboxes").write_text(table)
        return (
            f"virtual_mailbox_domains = {' '.join(self.domains)}\n"
            f"virtual_mailbox_base = {self.home}/mail\n"
            f"virtual_mailbox_maps = texthash:{self.home}/mailboxes\n"
            f"virtual_uid_maps = static:{nobody}\nvirtual_gid_maps = static:{nobody}\n"
            "virtual_minimum_uid = 1\n"
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def stop(self) -> None:
        """End master, which ends its own children, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def mails(self, address: str) -> Iterator[Path]:
        """The mails in a mailbox, in order of arrival."""
        folder = self.home / "mail" / address / "new"
        yield from sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime_ns) if folder.exists() else ()

    def log(self) -> str:
        """Everything it logged so far."""
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""
