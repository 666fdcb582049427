"""What a sender encrypted himself, and rules that only observe, between two real gateways: openssl writes, the audit says."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.site import Site
from tests.mail.pgp import armored, encrypted, entity
from tests.smime.openssl import openssl
from tests.system.lab import LABORATORY, RECIPIENT, Lab, events, letter, send, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

OBSERVED = f"observed@{LABORATORY}"
RULE = f"""
[[rule]]
name = "trial"
protect = "both"
mode = "observe"
when = {{ recipient = ["{OBSERVED}"] }}
"""
TEXT = b"Content-Type: text/plain\r\n\r\nthe result\r\n"


@dataclass
class World:
    """Two gateways, and the mail server behind the laboratory's."""

    folder: Path
    lab: Lab
    hospital: Site
    laboratory: Site
    behind: Sink

    def encrypt(self, certificate: Path) -> bytes:
        """The header and body of a mail that a user's own program encrypted to ``certificate``."""
        data = openssl("cms", "-encrypt", "-outform", "DER", "-binary", "-aes256", certificate, data=TEXT)
        head = b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        return head + base64.encodebytes(data).replace(b"\n", b"\r\n")

    def send(self, subject: str, content: bytes, recipient: str = RECIPIENT) -> str:
        """Send it into the hospital's gateway; the identifier of the mail there, once it has left."""
        before = {event["mail"] for event in events(self.hospital, "mail_accepted")}
        send(self.hospital.inside, letter(subject, content, recipients=[recipient]), [recipient])
        (mail,) = {event["mail"] for event in events(self.hospital, "mail_accepted")} - before
        return str(mail)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sender")
    with Lab(folder) as lab:
        behind = lab.enter(Sink(folder))
        hospital = lab.site("hospital", "hospital.example")
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        hospital.know(laboratory)
        laboratory.know(hospital)
        hospital.add(RULE)
        hospital.start()
        laboratory.start()
        yield World(folder, lab, hospital, laboratory, behind)


def protected(world: World, mail: str) -> str:
    """How it left the hospital."""
    (event,) = until(lambda: events(world.hospital, "mail_protected", mail=mail), "the mail is protected")
    return str(event["protection"])


def test_what_names_its_reader_leaves_as_it_is(world: World) -> None:
    """Encrypted by openssl to the laboratory's certificate: our gateway adds nothing, theirs opens it."""
    content = world.encrypt(world.laboratory.folder / "certificates" / "laboratory-decrypt.pem")
    assert protected(world, world.send("to you", content)) == "kept"
    (arrived,) = world.behind.got(b"to you")
    assert arrived.content.endswith(b"the result\r\n")
    assert b"verdict=unsigned" in arrived.content


def test_what_names_another_reader_is_encrypted_for_its_recipient(world: World) -> None:
    """The laboratory's key opens what we put around it; what is inside is for its own reader, and arrives as he wrote it."""
    stranger, _ = world.lab.ca.reader("somebody@else.example").write(world.folder, "stranger")
    content = world.encrypt(stranger)
    assert protected(world, world.send("to another", content)) == "both"
    (arrived,) = world.behind.got(b"to another")
    assert content.partition(b"\r\n\r\n")[2] in arrived.content
    assert b"reasons=END_TO_END" in arrived.content
    assert events(world.laboratory, "key_used", operation="unwrap")


def test_pgp_mime_leaves_as_it_is(world: World) -> None:
    """For one recipient one key will do. The laboratory's gateway neither opens it nor is in its way."""
    content = entity(armored(encrypted(1)))
    assert protected(world, world.send("by pgp", content)) == "kept"
    (arrived,) = world.behind.got(b"by pgp")
    assert arrived.content.endswith(content)


def test_a_rule_that_observes_lets_out_and_tells(world: World) -> None:
    """Byte for byte on the wire, in audit and metrics unprotected, with what would have been; `check` names the rule."""
    mail = world.send("[confidential] observed", TEXT, OBSERVED)
    (event,) = until(lambda: events(world.hospital, "mail_unprotected", mail=mail), "the audit line")
    assert (event["rule"], event["would"], event["recipients"]) == ("trial", "both", [OBSERVED])
    (arrived,) = world.behind.got(b"[confidential] observed")
    assert arrived.content.endswith(TEXT)
    assert b"verdict=unsigned" in arrived.content

    def counted() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.hospital.metrics}/metrics", timeout=30) as page:
            lines: list[str] = page.read().decode().splitlines()
        return [line for line in lines if line.startswith("smime_gateway_mail_unprotected_total{")]

    (line,) = until(counted, "the metric")
    assert 'rule="trial"' in line
    assert 'would="both"' in line
    assert any("rule trial only observes" in note for note in world.hospital.ask("check")["notes"])
