"""Organisations on loopback for the system tests: running gateways below one lab authority, whose CRL is published over HTTP.

``Lab`` makes sites (:class:`demo.site.Site`) and issues whatever else a test needs: peers, people, broken certificates. All of it
ends with the lab, by the process ids we hold.
"""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from demo.ports import free_port
from demo.publisher import Publisher
from demo.site import Site
from demo.wire import Identity
from gateway.operate.lab import LabCa
from tests.pki import Ca, Issued

HOSPITAL = "hospital.example"
LABORATORY = "laboratory.example"
SENDER = f"cardiology@{HOSPITAL}"
RECIPIENT = f"results@{LABORATORY}"

PATIENCE = 60.0  # seconds; how long anything may take on a busy machine before it counts as never

T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true answer of ``look``. What is waited for happens in other processes, which tell us nothing by themselves."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)
    return found


class Lab:
    """A folder with an authority in ``ca/`` and one folder for each site. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._publisher = Publisher(folder / "ca")
        self._stack = ExitStack()
        self.sites: list[Site] = []

    def __enter__(self) -> Self:
        LabCa.create(self.folder / "ca", self.crl_url, datetime.now(UTC))
        self._publisher.start()
        self._stack.callback(self._publisher.stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def enter(self, part: AbstractContextManager[T]) -> T:
        """Something else that ends with the lab, after the sites that are made from now on."""
        return self._stack.enter_context(part)

    @property
    def crl_url(self) -> str:
        """Where the authority's CRL is."""
        return self._publisher.crl_url

    @property
    def anchors(self) -> Path:
        """The authority's certificate, PEM."""
        return self.folder / "ca" / "ca.pem"

    @cached_property
    def ca(self) -> Ca:
        """The lab authority, to issue what a site does not have."""
        key = load_pem_private_key((self.folder / "ca" / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Ca(x509.load_pem_x509_certificate(self.anchors.read_bytes()), key, (), (self.crl_url,))

    def revoke(self, *taken_back: Issued) -> None:
        """Publish a CRL with these in it. A gateway sees it when the one it keeps is no longer fresh."""
        serials = [each.certificate.serial_number for each in taken_back]
        LabCa(self.folder / "ca", self.crl_url).revoke(serials, datetime.now(UTC))

    def site(self, name: str, domain: str, *options: str, mail_server: int | None = None) -> Site:
        """A new organisation, configured and not yet running. Tests wait for what is tried again: it is, at once."""
        site = Site(self.folder / name, name, domain, mail_server=mail_server or free_port())
        site.create(self.folder / "ca", self.crl_url, *options)
        site.add("\n[retry]\nfirst_seconds = 0.3\nlongest_seconds = 2\n")
        self._stack.callback(end, site)
        self.sites.append(site)
        return site

    def pair(self) -> tuple[Site, Site]:
        """A hospital and a laboratory that know each other."""
        hospital, laboratory = self.site("hospital", HOSPITAL), self.site("laboratory", LABORATORY)
        hospital.know(laboratory)
        laboratory.know(hospital)
        return hospital, laboratory


def end(site: Site) -> None:
    """Stop the site's gateway, the hard way where it does not go by itself. It drains and ends with 0, whatever a test did."""
    running = site.process is not None and site.process.poll() is None
    try:
        status = site.stop()
        assert status == 0 or not running, f"ended with {status}: {(site.folder / 'gateway.log').read_text()[-2000:]}"
    finally:
        process = site.process
        if process is not None:
            process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
            site.process = None


def kill_supervisor(site: Site) -> None:
    """``kill -9`` of the supervisor alone; returns when its orphans have gone by themselves."""
    assert site.process is not None
    orphans = children(site)
    site.process.kill()
    site.process.wait(10)
    assert site.process.stdout is not None
    site.process.stdout.close()
    site.process = None
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)
    for orphan in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()
    assert not alive, "processes outlived their supervisor"


def children(site: Site, kind: str = "") -> list[psutil.Process]:
    """The processes of a running site; of one kind (``worker``, ``sign-agent``, ``unwrap-agent``, ``control``) if asked."""
    assert site.process is not None
    found = []
    for child in psutil.Process(site.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            words = child.cmdline()
            if "gateway.operate.process" in words and kind in ("", words[words.index("gateway.operate.process") + 1]):
                found.append(child)
    return found


def reload(site: Site) -> int:
    """SIGHUP; returns a new generation once every worker has taken it. A changed file may have made one more by itself."""
    last = site.audit("configuration_loaded")[-1]  # of this run of the gateway: each counts from 1 again
    generation: int = last["generation"] + 1
    assert site.process is not None
    site.process.send_signal(signal.SIGHUP)
    workers = len(children(site, "worker"))

    def taken() -> bool:
        loaded = [event for event in events(site, "configuration_loaded", generation=generation) if event["at"] > last["at"]]
        return len(loaded) > workers  # every worker, and the supervisor

    until(taken, "the new configuration is in force")
    return generation


def status(site: Site) -> dict[str, Any]:
    """What ``status --json`` says."""
    told: dict[str, Any] = site.ask("status")
    return told


def sites_tls(site: Site) -> Identity:
    """What the gateway of ``site`` shows on the wire, for a tap."""
    return Identity(
        site.folder / "certificates" / "tls.pem", site.folder / "secrets" / "tls.key", site.folder / "anchors" / "lab.pem"
    )


def send(
    port: int, message: bytes, recipients: Sequence[str] = (RECIPIENT,), sender: str = SENDER, options: Sequence[str] = ()
) -> None:
    """One mail over plain SMTP with nothing but what is given; ``message`` has CRLF line ends."""
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as session:
        session.ehlo()
        session.sendmail(sender, list(recipients), message, mail_options=list(options))


@contextlib.contextmanager
def as_peer(site: Site, identity: tuple[Path, Path] | None = None) -> Iterator[smtplib.SMTP]:
    """A session with the zone listener of ``site``, greeted, for whoever has ``identity``, a certificate and its key file."""
    context = ssl.create_default_context(cafile=str(site.folder / "anchors" / "lab.pem"))
    if identity is not None:
        context.load_cert_chain(*identity)
    context.check_hostname = False
    with contextlib.ExitStack() as stack:
        session = smtplib.SMTP_SSL("127.0.0.1", site.zone, local_hostname="peer.test", context=context, timeout=PATIENCE)
        stack.callback(session.close)
        session.ehlo()
        yield session


def letter(
    subject: str, content: bytes = b"\r\nHello\r\n", sender: str = SENDER, recipients: Sequence[str] = (RECIPIENT,)
) -> bytes:
    """A message: the usual fields, then ``content``, which is further fields, the empty line and the body."""
    to = ", ".join(recipients)
    head = (
        f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Mon, 02 Mar 2026 09:30:00 +0100\r\n"
        f"{message_id(subject)}\r\nMIME-Version: 1.0\r\n"
    )
    return head.encode() + content


def message_id(subject: str) -> str:
    """The Message-ID field of the letter of that subject."""
    return f"Message-ID: <{subject.encode().hex()[:60]}@{HOSPITAL}>"


def events(site: Site, name: str, **facts: object) -> list[dict[str, Any]]:
    """The audit lines of one kind whose fields are as given."""
    return [line for line in site.audit(name) if all(line.get(field) == value for field, value in facts.items())]


def failure(site: Site, address: str) -> dict[str, Any]:
    """The one event of the mail to ``address`` that failed, once it has."""
    (failed,) = until(lambda: events(site, "mail_failed", recipients=[address]), "the failure")
    return failed


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Variables of our own environment for a while; what we start inherits them."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
