"""Certificates that a running gateway keeps: taught by mail of openssl, changed by a person, and damaged on disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.site import Site, command
from tests.flow.opened import sign
from tests.pki import Ca, Issued
from tests.system.lab import HOSPITAL, SENDER, Lab, as_peer, events, letter, send, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

CLINIC = "clinic.example"
DOCTOR = f"doctor@{CLINIC}"
TEXT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nResult: all well.\r\n"
PEER = """
[[peer]]
name = "clinic"
domains = ["clinic.example"]
host = "127.0.0.1"
port = 1
names = ["gateway.clinic.example"]
"""


@dataclass
class World:
    """A hospital's gateway; we are the clinic's, and hold the keys of its doctor."""

    lab: Lab
    hospital: Site
    behind: Sink
    peer: Issued

    def doctor(self, **more: object) -> Issued:
        """A certificate with which the doctor signs and is written to."""
        usages = ("digital_signature", "key_encipherment")
        return self.lab.ca.leaf("CN=Doctor,O=Clinic,C=FR", emails=[DOCTOR], ku=usages, kind="rsa2048", **more)  # type: ignore[arg-type]

    def bring(self, subject: str, signer: Issued) -> dict[str, Any]:
        """A mail that openssl signs now; the audit line of its opening."""
        signed = sign(self.lab.folder, TEXT, signer)
        head, _, rest = signed.partition(b"MIME-Version: 1.0\r\n")
        message = letter(subject, head + rest, sender=DOCTOR, recipients=[SENDER])
        with as_peer(self.hospital, self.peer.write(self.lab.folder, "clinic")) as session:
            session.mail(DOCTOR)
            session.rcpt(SENDER)
            code, reply = session.data(message)
        assert code == 250, reply
        (mail,) = re.findall(r"Accepted as (\w+)", reply.decode())
        return until(lambda: events(self.hospital, "mail_opened", mail=mail), "the opening")[0]

    def kept(self) -> dict[str, str]:
        """How each certificate of the doctor is kept, by its fingerprint."""
        listed = self.hospital.ask("cert", "list", DOCTOR)["certificates"]
        return {each["fingerprint"]: each["kept_as"] for each in listed}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Lab(tmp_path) as lab:
        behind = lab.enter(Sink(tmp_path))
        hospital = lab.site("hospital", HOSPITAL, mail_server=behind.port)
        with (hospital.folder / "zones" / "lab.toml").open("a") as file:
            file.write(PEER)
        yield World(lab, hospital, behind, lab.ca.gateway("gateway.clinic.example"))


def print_of(issued: Issued) -> str:
    return issued.certificate.fingerprint(issued.certificate.signature_hash_algorithm).hex()  # type: ignore[arg-type]


def test_a_mail_teaches_and_a_person_decides_about_what_is_other(world: World, tmp_path: Path) -> None:
    """Without a restart: workers and commands share the database."""
    hospital = world.hospital
    hospital.start()
    first, second = world.doctor(), world.doctor()
    assert world.bring("one", first)["verdict"] == "verified"
    [taught] = until(lambda: events(hospital, "certificate_harvested"), "the certificate is kept")
    assert (taught["address"], taught["fingerprint"], taught["zone"]) == (DOCTOR, print_of(first), "lab")
    assert world.kept() == {print_of(first): "harvested"}

    send(hospital.inside, letter("answer", recipients=[DOCTOR]), [DOCTOR])
    [protected] = until(lambda: events(hospital, "mail_protected", recipients=[DOCTOR]), "the answer is encrypted")
    assert protected["certificates"] == [f"verified (harvested) {print_of(first)[:16]}"]

    until(lambda: world.bring("two", second) and events(hospital, "certificate_waiting"), "another key waits")
    [waits] = events(hospital, "certificate_waiting")
    assert (waits["kind"], waits["fingerprint"]) == ("key", print_of(second))
    assert world.kept() == {print_of(first): "harvested", print_of(second): "waiting"}
    assert hospital.ask("cert", "approve", DOCTOR)["approved"] == [print_of(second)]
    assert hospital.ask("cert", "forget", DOCTOR, print_of(first)[:16])["forgotten"] == [print_of(first)]
    assert world.kept() == {print_of(second): "harvested"}

    stranger = Ca.root("CN=Stranger").reader(DOCTOR)
    pinned, _ = stranger.write(tmp_path, "pinned")
    assert hospital.ask("cert", "pin", DOCTOR, str(pinned))["new"]
    found = hospital.ask("cert", "find", DOCTOR)
    assert (found["found"]["trust"], found["found"]["fingerprint"]) == ("pinned", print_of(stranger))
    (tmp_path / "partners").mkdir()
    world.doctor().write(tmp_path / "partners", "third")
    (tmp_path / "partners" / "third.key").unlink()
    assert hospital.ask("cert", "import", str(tmp_path / "partners"))["taken"] == 1
    assert sorted(world.kept().values()) == ["harvested", "imported", "pinned"]
    changes = [event["operation"] for event in events(hospital, "certificate_changed")]
    assert changes == ["approve", "forget", "pin", "import"]
    assert not hospital.ask("check")["notes"] or "state.sqlite" not in str(hospital.ask("check")["notes"])


def test_with_a_damaged_state_mail_is_received_and_all_goes_on_once_it_is_mended(world: World, tmp_path: Path) -> None:
    hospital = world.hospital
    state = hospital.folder / "state" / "state.sqlite"
    hospital.start()
    world.bring("before", world.doctor())
    until(lambda: events(hospital, "certificate_harvested"), "the certificate is kept")
    hospital.stop()
    shutil.copy(state, tmp_path / "backup")
    state.write_bytes(b"what a disk makes of a database" * 1000)
    hospital.start()
    assert world.bring("meanwhile", world.doctor())["verdict"] == "verified"
    assert world.behind.got(b"meanwhile")
    assert events(hospital, "fetch_failed", kind="state", source="state.sqlite")
    assert any("state.sqlite" in note for note in hospital.ask("check")["notes"])
    assert command("cert", "list", "--config", hospital.configuration).returncode == 3
    send(hospital.inside, letter("answer", recipients=[DOCTOR]), [DOCTOR])
    waits = {"recipients": [DOCTOR], "reason": "DIRECTORY_UNAVAILABLE"}
    until(lambda: events(hospital, "mail_deferred", **waits), "what needs a pin waits")

    shutil.copy(tmp_path / "backup", state)
    last = world.doctor()
    until(lambda: world.bring("after", last) and events(hospital, "certificate_waiting"), "the state is in use again")
    assert [event["fingerprint"] for event in events(hospital, "certificate_waiting")] == [print_of(last)]
    until(lambda: events(hospital, "mail_protected", recipients=[DOCTOR]), "what waited goes on, encrypted")
