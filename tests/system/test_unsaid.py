"""Mail to a running gateway by a signer of whom nobody can say that he is not revoked: it waits, and then is what it is."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes

import pytest

from demo.ports import free_port
from demo.site import Site
from gateway.library import FileKey, Key, protect_message
from tests.pki import Issued
from tests.system.lab import HOSPITAL, PATIENCE, Lab, events, letter, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

READER = f"cardiology@{HOSPITAL}"
SECONDS = 6.0
SETTINGS = """
[organisation.hospital.inbound]
revocation_wait_minutes = {minutes}

[listener.internet]
address = "127.0.0.1"
port = {port}
role = "stranger"
organisation = "hospital"
"""


@dataclass
class World:
    """A hospital that asks hard; ``internet`` is the port for strangers."""

    lab: Lab
    site: Site
    mailboxes: Sink
    internet: int

    def send(self, signer: Issued, author: str, subject: str) -> float:
        """A signed letter; when it was taken, by our clock."""
        plain = letter(subject, sender=author, recipients=[READER])
        signed = protect_message(plain, signer=Key(FileKey(signer.key), [signer.der]))
        with smtplib.SMTP("127.0.0.1", self.internet, timeout=PATIENCE) as session:
            session.sendmail(author, READER, signed)
        return time.monotonic()

    def mark(self, subject: str) -> str:
        """How it lies in the mailbox."""
        (mail,) = self.mailboxes.got(subject.encode())
        return str(message_from_bytes(mail.content)["X-Gateway-Security"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("unsaid")
    with Lab(folder) as lab:
        mailboxes, internet = lab.enter(Sink(folder)), free_port()
        site = lab.site("hospital", HOSPITAL, mail_server=mailboxes.port)
        text = site.configuration.read_text()
        site.configuration.write_text(
            text.replace("[organisation.hospital]\n", '[organisation.hospital]\nrevocation = "hard"\n', 1)
        )
        site.add(SETTINGS.format(minutes=SECONDS / 60, port=internet))
        site.start()
        yield World(lab, site, mailboxes, internet)


def test_waits_and_is_delivered_marked(world: World) -> None:
    """Its CRL is nowhere to be had: the mail is put off, delivered marked when its time is up, and nobody is told of it."""
    author = "patient@elsewhere.example"
    signer = world.lab.ca.signer(author, crl_urls=[f"http://127.0.0.1:{free_port()}/ca.crl"])
    taken = world.send(signer, author, "unsaid")
    until(lambda: events(world.site, "mail_deferred", reason="REVOCATION_UNKNOWN", recipients=[READER]), "it waits")
    mark = world.mark("unsaid")
    assert time.monotonic() - taken > SECONDS - 1
    assert "verdict=signed-unverified" in mark
    assert "reasons=REVOCATION_UNKNOWN" in mark
    assert not world.site.audit("mail_failed")


def test_nobody_else_waits(world: World) -> None:
    """One whose CRL is there is verified at once."""
    author = "doctor@elsewhere.example"
    taken = world.send(world.lab.ca.signer(author), author, "said")
    assert "verdict=verified" in world.mark("said")
    assert time.monotonic() - taken < SECONDS
