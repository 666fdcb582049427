"""Peers whose authority certifies servers alone: refused by a running gateway, unless the administrator allows it, peer by peer."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.site import Site, command
from tests.pki import Issued, not_for_clients
from tests.system.lab import LABORATORY, RECIPIENT, Lab, as_peer, events, letter, reload, status, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

PEERS = """
[[peer]]
name = "clinic"
domains = ["clinic.example"]
host = "127.0.0.1"
names = ["gateway.clinic.example"]

[[peer]]
name = "practice"
domains = ["practice.example"]
host = "127.0.0.1"
names = ["gateway.practice.example"]
"""
ALLOWED = 'names = ["gateway.practice.example"]\nclient_usage = "server-auth-allowed"'


@dataclass
class World:
    """A laboratory and two peers whose certificates are for servers alone; ``fit`` is the clinic's from another authority."""

    site: Site
    inside: Sink
    folder: Path
    clinic: Issued
    practice: Issued
    fit: Issued

    def said(self, issued: Issued, domain: str) -> int:
        """The code with which a letter of the peer is answered at its end, or at MAIL."""
        with as_peer(self.site, issued.write(self.folder, f"{issued.certificate.serial_number:x}")) as session:
            sender = f"doctor@{domain}"
            code, _ = session.mail(sender)
            if code != 250:
                return code
            session.rcpt(RECIPIENT)
            return session.data(letter(f"from {domain}", sender=sender))[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("usage")
    with Lab(folder) as lab:
        inside = lab.enter(Sink(folder))
        site = lab.site("laboratory", LABORATORY, mail_server=inside.port)
        with (site.folder / "zones" / "lab.toml").open("a") as zone:
            zone.write(PEERS)
        site.start()
        clinic, practice = (not_for_clients(lab.ca, f"gateway.{name}.example") for name in ("clinic", "practice"))
        yield World(site, inside, folder, clinic, practice, lab.ca.gateway("gateway.clinic.example"))


def test_refused_then_allowed_for_one(world: World) -> None:
    """By default the handshake ends. Then one peer may: its mail is taken, said, counted; the other's is refused as before."""
    for issued, domain in ((world.clinic, "clinic.example"), (world.practice, "practice.example")):
        with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError)):
            world.said(issued, domain)
    assert {line["reason"] for line in world.site.audit("peer_rejected")} == {"EKU"}
    assert "meant for servers" not in command("check", "--config", world.site.configuration).stdout

    zone = world.site.folder / "zones" / "lab.toml"
    zone.write_text(zone.read_text().replace('names = ["gateway.practice.example"]', ALLOWED))
    reload(world.site)
    assert world.said(world.practice, "practice.example") == 250
    assert world.said(world.clinic, "clinic.example") == 550
    assert world.said(world.fit, "clinic.example") == 250
    assert len(world.inside.got(b"from practice.example")) == 1
    assert len(world.inside.got(b"from clinic.example")) == 1

    (allowed,) = until(lambda: world.site.audit("peer_allowed"), "the audit line")
    assert (allowed["listener"], allowed["zone"], allowed["peer"]) == ("zone", "lab", "practice")
    assert "1.3.6.1.5.5.7.3.1" in allowed["detail"]
    assert events(world.site, "mail_refused", reason="EKU")
    counted = until(lambda: [each for each in status(world.site)["counters"] if each["name"] == "peer_allowed"], "it is counted")
    assert [each["value"] for each in counted] == [1]
    assert '"event": "peer_allowed"' in (world.site.folder / "gateway.log").read_text()
    checked = command("check", "--config", world.site.configuration)
    assert "note: peer lab/practice may show a certificate meant for servers" in checked.stdout
