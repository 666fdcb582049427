"""Two gateways of a zone, the wire between them, and the far ends: all real, on loopback, in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import psutil
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bench.gatewayside import authority
from demo.ports import free_port
from demo.site import Site, command
from demo.wire import Identity, Tap
from gateway.operate.lab import LabCa, Subject
from torture.letters import STRANGER, shows_marker
from torture.shim import Shim
from torture.sink import Sink

T = TypeVar("T")

PROTECT: Final = """
[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "protect-all"
protect = "both"

[processes]
workers = 2

[retry]
first_seconds = 0.3
longest_seconds = 3
warn_hours = 0
give_up_hours = 700
"""
PROCESSES: Final = 5  # two workers, two key agents, control
READER: Final = Subject("archive", (STRANGER,), (), ("key_encipherment",))


class NeverHappened(Exception):
    """What was waited for."""


def until(look: Callable[[], T], what: str, seconds: float) -> T:
    """The first true answer of ``look``. Raises :class:`NeverHappened`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise NeverHappened(what)
        time.sleep(0.1)
    return found


@dataclass
class World:
    """``first`` takes the driver's mails, ``second`` is its peer; ``near`` is what the first sends to strangers."""

    first: Site
    second: Site
    tap: Tap
    near: Sink
    far: Sink
    shim: Shim
    reader: Path  # the stranger's key and certificate, PEM

    @property
    def sites(self) -> tuple[Site, Site]:
        """Both gateways."""
        return self.first, self.second

    def start(self, site: Site) -> None:
        """Run the gateway, under the shim."""
        before = os.environ.copy()
        os.environ.update(self.shim.environment(site.name))
        try:
            site.start()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def in_clear(self) -> list[str]:
        """Where outside the far mailbox the marker can be read: on the wire, in what strangers get, in the gateways' files."""
        places = [str(file) for site in self.sites for file in site.folder.rglob("*") if _holds_marker(file)]
        if shows_marker(bytes(self.tap.heard)):
            places.append("the wire between the gateways")
        places += [f"mail {mail.trace} to a stranger" for mail in self.near.taken if shows_marker(mail.content)]
        return places


def _holds_marker(file: Path) -> bool:
    try:
        return file.is_file() and shows_marker(file.read_bytes())
    except OSError:  # a body that was done meanwhile
        return False


def processes(site: Site, kind: str = "") -> list[psutil.Process]:
    """The processes of a running gateway below its supervisor, or those of one kind."""
    found = []
    if site.process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(site.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    words = child.cmdline()
                    if "gateway.operate.process" in words and words[words.index("gateway.operate.process") + 1].startswith(kind):
                        found.append(child)
    return found


def rows(site: Site) -> list[dict[str, str]]:
    """What is in the spool of a site."""
    done = command("queue", "list", "--json", "--config", site.configuration)
    if done.returncode:
        raise NeverHappened(f"queue list of {site.name}: {done.stderr}")
    told: list[dict[str, str]] = json.loads(done.stdout)["mails"]
    return told


def _identity(site: Site) -> Identity:
    return Identity(
        site.folder / "certificates" / "tls.pem", site.folder / "secrets" / "tls.key", site.folder / "anchors" / "lab.pem"
    )


def _reader(folder: Path, ca: LabCa) -> tuple[bytes, Path]:
    key: RSAPrivateKey = generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    certificate = ca.issue(READER, public, datetime.now(UTC))
    file = folder / "archive.pem"
    file.write_bytes(certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, file


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Everything, running."""
    with authority() as (folder, publisher), ExitStack() as stack:
        near, far = stack.enter_context(Sink()), stack.enter_context(Sink())
        first = Site(folder / "hospital", "hospital", "hospital.example", mail_server=near.port)
        second = Site(folder / "laboratory", "laboratory", "laboratory.example", mail_server=far.port)
        for site in (first, second):
            site.create(folder / "ca", publisher.crl_url)
            site.add(PROTECT.format(port=near.port))
            text = site.configuration.read_text()
            named = 'mail_server = "mailserver"\n'
            site.configuration.write_text(text.replace(named, named + 'outbound = "outside"\n'))
        wire = free_port()
        first.know(second, port=wire)
        second.know(first)
        certificate, reader = _reader(folder, LabCa(folder / "ca", publisher.crl_url))
        (first.folder / "partners" / "archive.pem").write_bytes(certificate)
        tap = Tap(port=wire, onward=second.zone, receiver=_identity(second), sender=_identity(first))
        tap.start()
        stack.callback(tap.stop)
        made = World(first, second, tap, near, far, Shim.build(folder), reader)
        for site in made.sites:
            stack.callback(end, site)
            made.start(site)
        yield made


def end(site: Site) -> None:
    """Whatever state it is in."""
    with contextlib.suppress(psutil.NoSuchProcess, subprocess.TimeoutExpired):
        for process in processes(site):
            process.resume()
        site.stop()
    if site.process is not None:
        kill_whole(site)


def kill_whole(site: Site) -> None:
    """SIGKILL of the supervisor and all its processes, as a power cut would."""
    if site.process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(site.process.pid).suspend()
    for child in processes(site):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    site.process.kill()
    site.process.wait(20)
    if site.process.stdout is not None:
        site.process.stdout.close()
    site.process = None
