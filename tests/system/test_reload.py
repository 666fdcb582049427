"""A changed configuration is taken without dropping anybody, a wrong one is not; SIGTERM lets what is under way come to its end."""

from __future__ import annotations

import signal
import smtplib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from demo.site import Site
from tests.pki import Issued
from tests.system.lab import (
    HOSPITAL,
    LABORATORY,
    PATIENCE,
    RECIPIENT,
    SENDER,
    Lab,
    as_peer,
    children,
    events,
    letter,
    reload,
    send,
    until,
)
from tests.system.postfix import Postfix
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

CLINIC = "clinic.example"
DOCTOR = f"doctor@{CLINIC}"
CLINIC_PEER = """
[[peer]]
name = "clinic"
domains = ["clinic.example"]
host = "127.0.0.1"
port = {port}
names = ["gateway.clinic.example"]
"""


@dataclass
class World:
    """A hospital and a laboratory that know each other, and a clinic that nobody knows yet."""

    lab: Lab
    hospital: Site
    laboratory: Site
    behind: Postfix
    sink: Sink
    clinic: Issued

    def arrived(self, subject: str) -> bytes:
        """The mail in the mailbox."""

        def look() -> list[bytes]:
            mails = (path.read_bytes() for path in self.behind.mails(RECIPIENT))
            return [mail for mail in mails if f"\nSubject: {subject}\n".encode() in mail]

        return until(look, f"{subject} in the mailbox")[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("reload")
    with Lab(folder) as lab:
        clinic = lab.ca.gateway("gateway.clinic.example")
        sink = lab.enter(Sink(folder, clinic, lab.ca))
        behind = lab.enter(Postfix("mail.laboratory.example", (LABORATORY,), (RECIPIENT,)))
        hospital = lab.site("hospital", HOSPITAL)
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        hospital.know(laboratory)
        laboratory.know(hospital)
        hospital.start()
        laboratory.start()
        yield World(lab, hospital, laboratory, behind, sink, clinic)


def zone_file(site: Site) -> str:
    return (site.folder / "zones" / "lab.toml").read_text()


def write_zone(site: Site, text: str) -> None:
    """As an editor does: a new file in the place of the old."""
    path = site.folder / "zones" / "lab.toml"
    fresh = path.with_suffix(".toml.new")
    fresh.write_text(text)
    fresh.replace(path)


def generations(site: Site) -> list[int]:
    return [event["generation"] for event in site.audit("configuration_loaded")]


def test_reload(world: World) -> None:
    """A new peer, by SIGHUP at one gateway and by the changed file alone at the other, while a session stays open; then a wrong
    file, which is refused whole; then a peer taken away, whose open session ends at its next mail.
    """
    office = f"office@{CLINIC}"
    reader = world.lab.ca.organisation_reader(CLINIC)
    hospital, laboratory = world.hospital, world.laboratory
    with smtplib.SMTP("127.0.0.1", hospital.inside, timeout=PATIENCE) as session:
        session.ehlo()
        session.mail(SENDER)
        assert session.rcpt(office)[0] == 550  # in no zone, and no other way out
        assert session.rcpt(RECIPIENT)[0] == 250

        # a new peer to send to; SIGHUP
        (hospital.folder / "partners" / "clinic.pem").write_bytes(reader.pem)
        write_zone(hospital, zone_file(hospital) + CLINIC_PEER.format(port=world.sink.port))
        reload(hospital)
        code, _ = session.data(letter("begun before"))
        assert code == 250
        world.arrived("begun before")
        session.mail(SENDER)
        assert session.rcpt(office)[0] == 250
        assert session.data(letter("to the new peer", recipients=[office]))[0] == 250
        (mail,) = world.sink.got(b"to the new peer")
        assert b"application/pkcs7-mime" in mail.content

        # a wrong file; everything stays as it is
        good = zone_file(hospital)
        write_zone(hospital, good.replace('names = ["gateway.clinic', 'nmaes = ["gateway.clinic'))
        assert hospital.process is not None
        hospital.process.send_signal(signal.SIGHUP)
        refused = until(lambda: hospital.audit("configuration_refused"), "the refusal of the new configuration")[0]
        assert any("nmaes" in mistake and "lab.toml:" in mistake for mistake in refused["mistakes"])
        session.mail(SENDER)
        assert session.rcpt(office)[0] == 250
        assert session.data(letter("with the old one", recipients=[office]))[0] == 250
        world.sink.got(b"with the old one")
        assert not [event for event in hospital.audit("configuration_loaded") if event["at"] > refused["at"]]
        write_zone(hospital, good)

    # a peer that may send to us; nothing but the changed file says so
    with as_peer(laboratory, world.clinic.write(world.lab.folder, "clinic")) as peer:
        assert peer.docmd("MAIL", f"FROM:<{DOCTOR}>")[0] == 550
        before = zone_file(laboratory)
        write_zone(laboratory, before + CLINIC_PEER.format(port=world.sink.port))
        workers = len(children(laboratory, "worker"))
        until(lambda: generations(laboratory).count(2) > workers, "the changed file taken by itself")
        assert peer.docmd("MAIL", f"FROM:<{DOCTOR}>")[0] == 250
        assert peer.rcpt(RECIPIENT)[0] == 250
        assert peer.data(letter("from the new peer", sender=DOCTOR))[0] == 250
        world.arrived("from the new peer")
        write_zone(laboratory, before)
        until(lambda: generations(laboratory).count(3) > workers, "the file as it was")
        assert peer.docmd("MAIL", f"FROM:<{DOCTOR}>")[0] == 550
    for site in (hospital, laboratory):
        assert not [event for event in site.audit("process_ended") if event["process"].startswith(("worker", "control"))]


def test_drain(world: World) -> None:
    """SIGTERM: a message on its way in is taken, no new one is, the status is 0, and no row is left leased."""
    hospital = world.hospital
    process = hospital.process
    assert process is not None
    for number in range(10):
        send(hospital.inside, letter(f"before {number}"))
    message = letter("while draining", b"\r\n" + b"line\r\n" * 20000)
    with (
        smtplib.SMTP("127.0.0.1", hospital.inside, timeout=PATIENCE) as session,
        smtplib.SMTP("127.0.0.1", hospital.inside, timeout=PATIENCE) as idle,
    ):
        idle.ehlo()
        session.ehlo()
        session.mail(SENDER)
        session.rcpt(RECIPIENT)
        assert session.docmd("DATA")[0] == 354
        session.send(message[: len(message) // 2])
        process.send_signal(signal.SIGTERM)
        assert idle.getreply()[0] == 421  # whoever has begun nothing is sent away
        session.send(message[len(message) // 2 :] + b".\r\n")
        code, reply = session.getreply()
        assert code == 250, reply
        session.close()
        idle.close()
    assert process.wait(PATIENCE) == 0
    assert hospital.stop() == 0
    with closing(sqlite3.connect(hospital.folder / "state" / "spool.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM mail WHERE state = 'leased'").fetchone() == (0,)
    hospital.start()
    world.arrived("while draining")
    for number in range(10):
        world.arrived(f"before {number}")
    assert not events(hospital, "mail_broken")
