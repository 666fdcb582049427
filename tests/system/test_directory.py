"""Certificates from a real OpenLDAP server on the way of a mail, by LDAPS and StartTLS, and what becomes of it without one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from demo.site import Site
from tests.smime.openssl import decrypt
from tests.system.lab import HOSPITAL, Lab, events, failure, letter, reload, send, until
from tests.system.sink import Sink
from tests.system.slapd import ADMIN, BASE, PASSWORD, Slapd
from tests.system.test_openssl import structure

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
[directory.secure]
kind = "ldap"
uri = "{secure_uri}"
base = "{base}"
anchors = "anchors/lab.pem"
bind_dn = "{admin}"
password = {{ file = "secrets/directory" }}
deadline_seconds = 2

[directory.starttls]
kind = "ldap"
uri = "{uri}"
base = "{base}"
starttls = true
anchors = "anchors/lab.pem"
deadline_seconds = 2

[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "starts-by-itself"
when = {{ recipient = ["@later.example"] }}
protect = "both"
missing = "defer"

[[rule]]
name = "asks-a-person"
when = {{ recipient = ["@ask.example"] }}
protect = "both"
missing = "hold"

[[rule]]
name = "everybody-else"
protect = "both"
missing = "refuse"
"""
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
    """A hospital whose directories are one OpenLDAP server: LDAPS for people outside, StartTLS for the zone."""

    lab: Lab
    hospital: Site
    slapd: Slapd
    outside: Sink
    clinic: Sink

    def person(self, address: str) -> None:
        """A new person in the directory, whose certificate is there."""
        reader = self.lab.ca.reader(address)
        self.slapd.add_person(address.partition("@")[0], address, [reader.der])
        reader.write(self.lab.folder, address)

    def opened(self, sink: Sink, address: str, subject: str) -> bytes:
        """What the person reads, by openssl."""
        (mail,) = sink.got(subject.encode())
        files = self.lab.folder / f"{address}.pem", self.lab.folder / f"{address}.key"
        return decrypt(structure(mail.content), *files)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("directory")
    with Lab(folder) as lab:
        outside = lab.enter(Sink(folder))
        clinic = lab.enter(Sink(folder, lab.ca.gateway("gateway.clinic.example"), lab.ca))
        server = lab.ca.gateway("localhost", ku=["digital_signature", "key_agreement"]).write(folder, "slapd")
        slapd = lab.enter(Slapd(folder / "slapd", *server))
        hospital = lab.site("hospital", HOSPITAL)
        text = hospital.configuration.read_text()
        changed = text.replace('directories = ["partners"]', 'directories = ["secure"]\noutbound = "outside"')
        hospital.configuration.write_text(changed)
        hospital.add(SETTINGS.format(secure_uri=slapd.secure_uri, uri=slapd.uri, base=BASE, admin=ADMIN, port=outside.port))
        (hospital.folder / "secrets" / "directory").write_text(PASSWORD)
        zone = hospital.folder / "zones" / "lab.toml"
        zone_text = zone.read_text().replace('directories = ["partners"]', 'directories = ["starttls"]')
        zone.write_text(zone_text + CLINIC_PEER.format(port=clinic.port))
        hospital.start()
        yield World(lab, hospital, slapd, outside, clinic)


def test_ldaps(world: World) -> None:
    """A person outside every zone: the certificate comes over LDAPS."""
    address = "reader@elsewhere.example"
    world.person(address)
    send(world.hospital.inside, letter("over ldaps", recipients=[address]), [address])
    assert b"Hello" in world.opened(world.outside, address, "over ldaps")


def test_starttls(world: World) -> None:
    """A person at a peer of the zone: the certificate comes over StartTLS."""
    address = "doctor@clinic.example"
    world.person(address)
    send(world.hospital.inside, letter("over starttls", recipients=[address]), [address])
    assert b"Hello" in world.opened(world.clinic, address, "over starttls")


def test_missing_and_refuse(world: World) -> None:
    """Nobody there and the rule refuses: one person gets it, the other's part fails and is reported; nothing leaves in clear."""
    known, unknown = "known@elsewhere.example", "unknown@elsewhere.example"
    world.person(known)
    send(world.hospital.inside, letter("for two", recipients=[known, unknown]), [known, unknown])
    failed = failure(world.hospital, unknown)
    assert (failed["reason"], failed["reported"]) == ("NO_CERTIFICATE", True)
    (mail,) = world.outside.got(b"for two")
    assert mail.recipients == [known]
    assert b"Hello" not in mail.content


def test_missing_and_hold(world: World) -> None:
    """Nobody there and the rule holds."""
    address = "unknown@ask.example"
    send(world.hospital.inside, letter("held", recipients=[address]), [address])
    (held,) = until(lambda: events(world.hospital, "mail_held", recipients=[address]), "the hold")
    assert held["reason"] == "NO_CERTIFICATE"
    assert "asks-a-person" in held["detail"]


def test_missing_and_defer(world: World) -> None:
    """Nobody there and the rule defers: once the person is in the directory the mail goes by itself."""
    address = "newcomer@later.example"
    send(world.hospital.inside, letter("deferred", recipients=[address]), [address])
    deferred = until(lambda: events(world.hospital, "mail_deferred", recipients=[address]), "the deferral")
    assert deferred[0]["reason"] == "NO_CERTIFICATE"
    world.person(address)
    reload(world.hospital)  # or wait a minute: that nobody was there is remembered so long
    assert b"Hello" in world.opened(world.outside, address, "deferred")


def test_unusable_is_as_good_as_none(world: World) -> None:
    """In the directory, but from a foreign authority or for another address: never encrypted to."""
    address = "forged@elsewhere.example"
    foreign = world.lab.ca.reader("somebody-else@elsewhere.example")
    world.slapd.add_person("forged", address, [foreign.der])
    send(world.hospital.inside, letter("forged", recipients=[address]), [address])
    assert failure(world.hospital, address)["reason"] == "ADDRESS_MISMATCH"


def test_directory_away(world: World) -> None:
    """The server stops answering: no refusal, no clear text, but a wait, whatever the rule says; and it passes by itself.

    Each worker leaves a server that failed alone for half a minute, and one may deliver this mail while the other still
    does. So the workers take the configuration anew in the end, as whoever mended a directory would have them do.
    """
    address = "patient@elsewhere.example"
    world.person(address)
    process = world.slapd._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        send(world.hospital.inside, letter("while it is away", recipients=[address]), [address])
        deferred = until(lambda: events(world.hospital, "mail_deferred", recipients=[address]), "the deferral")
        assert {event["reason"] for event in deferred} == {"DIRECTORY_UNAVAILABLE"}
        assert events(world.hospital, "fetch_failed", source="secure")
        process.send_signal(signal.SIGCONT)
        assert b"Hello" in world.opened(world.outside, address, "while it is away")
    finally:
        process.send_signal(signal.SIGCONT)
        reload(world.hospital)
