"""``cert find`` against live servers (NSD, Unbound, slapd), and what a running gateway makes of mail to the same people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from demo.site import Site, command
from gateway.trust.smimea import local_label
from tests.pki import BEGIN, Ca, Issued
from tests.smime.openssl import decrypt
from tests.system.lab import HOSPITAL, Lab, events, failure, letter, send, until
from tests.system.nameservers import DIRECTORIES, NameServers, record
from tests.system.sink import Sink
from tests.system.slapd import BASE, Slapd
from tests.system.test_openssl import structure

pytestmark = pytest.mark.timeout(300)

DOMAIN: Final = "secure.example"
YEAR: Final = dt.timedelta(days=365)
SETTINGS: Final = """
[directory.plain]
kind = "ldap"
uri = "{plain}"
base = "{base}"

[directory.secure]
kind = "ldap"
uri = "{secure}"
base = "{base}"
anchors = "{anchors}"

[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "low"
protect = "both"
missing = "refuse"
least_trust = "discovered"
when = {{ subject = "low" }}

[[rule]]
name = "everybody"
protect = "both"
missing = "refuse"
"""


@dataclass
class World:
    """A hospital outside of all zones, and whose certificate is where: ``issued`` by local part."""

    folder: Path
    hospital: Site
    outside: Sink
    issued: dict[str, Issued]

    def find(self, local: str) -> tuple[int, Any, str]:
        """Exit status of ``cert find``, what it says with --json, and what it says to people."""
        arguments = ("cert", "find", f"{local}@{DOMAIN}", "--config", self.hospital.configuration)
        done = command(*arguments)
        return done.returncode, self.hospital.ask("cert", "find", f"{local}@{DOMAIN}"), done.stdout

    def write(self, subject: str, local: str) -> None:
        send(self.hospital.inside, letter(subject, recipients=[address := f"{local}@{DOMAIN}"]), [address])

    def protected(self, local: str) -> str:
        """By which certificate a mail was encrypted."""
        [mail] = until(lambda: events(self.hospital, "mail_protected", recipients=[f"{local}@{DOMAIN}"]), "it is protected")
        return str(mail["certificates"][0])

    def failed(self, local: str) -> str:
        return str(failure(self.hospital, f"{local}@{DOMAIN}")["reason"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Lab(tmp_path) as lab:
        stranger = Ca.root("CN=Stranger")
        issued = {
            "lone": stranger.reader(f"lone@{DOMAIN}"),
            "clinic": lab.ca.reader(f"two@{DOMAIN}", subject="CN=Two,O=Clinic"),
            "laboratory": lab.ca.reader(f"two@{DOMAIN}", subject="CN=Two,O=Laboratory"),
            "expired": lab.ca.reader(f"old@{DOMAIN}", not_after=BEGIN + YEAR),
            "old": lab.ca.reader(f"old@{DOMAIN}"),
            "foreign": stranger.reader(f"foreign@{DOMAIN}"),
        }
        records = [
            record(f"{local_label('lone')}._smimecert", "SMIMEA", issued["lone"].der),
            record("two", "CERT", issued["clinic"].der),
            record("two", "CERT", issued["laboratory"].der),
            record("old", "CERT", issued["expired"].der),
        ]
        servers = lab.enter(NameServers(tmp_path / "dns", {DOMAIN: records}))
        slapd = lab.enter(Slapd(tmp_path / "slapd", *lab.ca.gateway("localhost").write(tmp_path, "slapd-server")))
        for local in ("old", "foreign"):
            slapd.add_person(local, f"{local}@{DOMAIN}", [issued[local].der])
        outside = lab.enter(Sink(tmp_path))
        hospital = lab.site("hospital", HOSPITAL)
        places = 'directories = ["smimea", "cert", "plain", "secure"]\noutbound = "outside"'
        hospital.configuration.write_text(hospital.configuration.read_text().replace('directories = ["partners"]', places, 1))
        hospital.add(
            (DIRECTORIES + SETTINGS).format(
                dns=servers.port,
                plain=slapd.uri,
                secure=slapd.secure_uri,
                base=BASE,
                anchors=lab.anchors,
                port=outside.port,
            )
        )
        yield World(tmp_path, hospital, outside, issued)


def print_of(issued: Issued) -> str:
    return issued.certificate.fingerprint(issued.certificate.signature_hash_algorithm).hex()  # type: ignore[arg-type]


def test_what_each_server_says_and_what_becomes_of_mail(world: World) -> None:
    hospital = world.hospital
    hospital.start()

    # The domain itself stands for it, with DNSSEC: no anchor is asked for
    status, told, shown = world.find("lone")
    taken = told["found"]
    assert (status, taken["source"], taken["trust"], taken["assurance"]) == (0, "smimea", "verified", None)
    assert [(each["source"], each["needed"]) for each in told["sources"]] == [
        ("smimea", True),
        ("cert", False),
        ("plain", False),
        ("secure", False),
    ]
    assert all(each["seconds"] > 0 and each["unavailable"] is None for each in told["sources"])
    assert "taken: from smimea, verified" in shown
    world.write("to lone", "lone")
    assert world.protected("lone") == f"verified (smimea) {print_of(world.issued['lone'])[:16]}"
    (mail,) = world.outside.got(b"to lone")
    assert b"Hello" in decrypt(structure(mail.content), *world.issued["lone"].write(world.folder, "lone"))

    # Of two organisations none is chosen, and the mail says the same as the command
    status, told, shown = world.find("two")
    assert (status, told["found"], told["reason"]) == (1, None, "CERTIFICATE_AMBIGUOUS")
    assert {each["fingerprint"] for each in told["sources"][1]["candidates"]} == {
        print_of(world.issued[each]) for each in ("clinic", "laboratory")
    }
    assert "cert: of different organisations: clinic, laboratory" in shown
    world.write("to two", "two")
    assert world.failed("two") == "CERTIFICATE_AMBIGUOUS"

    # An expired one is an answer: that a good one stands behind it is shown, and not used
    status, told, _ = world.find("old")
    assert (status, told["reason"]) == (1, "EXPIRED")
    assert [each["needed"] for each in told["sources"]] == [True, True, False, False]
    assert [each["trust"] for each in told["sources"][2]["candidates"]] == ["verified"]
    world.write("to old", "old")
    assert world.failed("old") == "EXPIRED"

    # One entry of one server: over TLS nobody between could have put it there
    status, told, shown = world.find("foreign")
    assert (status, told["reason"]) == (1, "CHAIN")
    rungs = {each["source"]: [found["trust"] for found in each["candidates"]] for each in told["sources"]}
    assert rungs == {"smimea": [], "cert": [], "plain": ["unverified"], "secure": ["discovered"]}
    assert "the least that is taken is verified" in shown
    world.write("low", "foreign")
    assert world.protected("foreign") == f"discovered (secure) {print_of(world.issued['foreign'])[:16]}"


def test_the_next_source_where_the_organisation_says_so(world: World) -> None:
    configuration = world.hospital.configuration
    text = configuration.read_text()
    configuration.write_text(text.replace('outbound = "outside"', 'outbound = "outside"\nafter_invalid = "next"', 1))
    status, told, shown = world.find("old")
    assert (status, told["found"]["source"], told["found"]["fingerprint"]) == (0, "plain", print_of(world.issued["old"]))
    assert [each["needed"] for each in told["sources"]] == [True, True, True, False]
    assert "EXPIRED" in shown
    assert "not taken: plain comes before secure" in shown
