"""Our side of a measurement: gateways made by ``init --lab``, with routes to the far end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from demo.publisher import Publisher
from demo.site import Site
from gateway.operate.lab import LabCa, Subject

OUTBOUND = """
[route.outside]
host = "127.0.0.1"
port = {port}
"""

PROTECT = """
[[rule]]
name = "protect-all"
protect = "both"
"""

RELAY = """
[[rule]]
name = "relay-unprotected"
protect = "unprotected"
"""

ROOM = """
[limits]
message_megabytes = 128
"""

READER = Subject("results", ("results@laboratory.example",), (), ("key_encipherment",))


def rsa_public_key() -> bytes:
    """The DER SubjectPublicKeyInfo of a fresh RSA-2048 key."""
    return generate_private_key(65537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@contextlib.contextmanager
def authority() -> Iterator[tuple[Path, Publisher]]:
    """A folder for sites, with a lab authority in ``ca/`` that publishes its CRL."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    publisher = Publisher(folder / "ca")
    publisher.start()
    try:
        yield folder, publisher
    finally:
        publisher.stop()
        shutil.rmtree(folder, ignore_errors=True)


def pid_of(site: Site) -> int:
    """The supervisor's process id."""
    if site.process is None:
        raise RuntimeError("the gateway does not run")
    return site.process.pid


@contextlib.contextmanager
def gateway(sink_port: int, rule: str, *sections: str) -> Iterator[Site]:
    """A running gateway that sends everything to ``sink_port`` by ``rule``; recipients' certificates lie in its folder."""
    with authority() as (folder, publisher):
        site = Site(folder / "hospital", "hospital", "hospital.example")
        site.create(folder / "ca", publisher.crl_url)
        certificate = LabCa(folder / "ca", publisher.crl_url).issue(READER, rsa_public_key(), datetime.now(UTC))
        (site.folder / "partners" / "results.pem").write_bytes(certificate)
        text = site.configuration.read_text().replace(
            'mail_server = "mailserver"\n', 'mail_server = "mailserver"\noutbound = "outside"\n'
        )
        site.configuration.write_text(text)
        site.add(OUTBOUND.format(port=sink_port) + rule + "".join(sections))
        try:
            site.start()
            yield site
        finally:
            site.stop()


@contextlib.contextmanager
def pair(sink_port: int) -> Iterator[tuple[Site, Site]]:
    """A hospital and a laboratory in one zone; what the hospital protects, the laboratory opens and gives to ``sink_port``."""
    with authority() as (folder, publisher), ExitStack() as stack:
        hospital = Site(folder / "hospital", "hospital", "hospital.example")
        laboratory = Site(folder / "laboratory", "laboratory", "laboratory.example", mail_server=sink_port)
        for site in (hospital, laboratory):
            site.create(folder / "ca", publisher.crl_url)
            site.add(ROOM)
        hospital.know(laboratory)
        laboratory.know(hospital)
        for site in (hospital, laboratory):
            stack.callback(site.stop)
            site.start()
        yield hospital, laboratory
