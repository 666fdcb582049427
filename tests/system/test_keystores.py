"""Keys of every kind on the whole way: elliptic curves in a token, RSA in files (PEM and PKCS#12), each with the other."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.site import Site
from tests.pki import Issued, new_key
from tests.smime.openssl import openssl
from tests.system.lab import HOSPITAL, LABORATORY, RECIPIENT, SENDER, Lab, children, environment, events, letter, send, until
from tests.system.postfix import Postfix

pytestmark = pytest.mark.timeout(300)

PASSPHRASE = "test-passphrase"
VARIABLE = "LABORATORY_PASSPHRASE"
KEYS = """
[key.laboratory-sign]
purpose = "sign"
organisation = "laboratory"
store = "file"
file = "secrets/sign.pem"
passphrase = {{ file = "secrets/passphrase" }}
certificate = "certificates/laboratory-sign.pem"

[key.laboratory-decrypt]
purpose = "decrypt"
organisation = "laboratory"
store = "file"
file = "secrets/decrypt.p12"
passphrase = {{ environment = "{variable}" }}
certificate = "certificates/laboratory-decrypt.pem"

[key.spool-1]
purpose = "spool"
store = "file"
file = "secrets/spool.pem"
public_key = "certificates/spool-1.pem"

[key.audit-1]
purpose = "audit"
store = "file"
file = "secrets/audit.pem"
public_key = "certificates/audit-1.pem"
"""


@dataclass
class World:
    """A hospital with P-256 keys in a token, a laboratory with RSA keys in files and no token, one mail server behind both."""

    hospital: Site
    laboratory: Site
    behind: Postfix

    def arrived(self, address: str, subject: str) -> bytes:
        """The mail in the mailbox."""

        def look() -> list[bytes]:
            mails = (path.read_bytes() for path in self.behind.mails(address))
            return [mail for mail in mails if f"\nSubject: {subject}\n".encode() in mail]

        return until(look, f"{subject} in the mailbox")[0]


def with_file_keys(lab: Lab, site: Site) -> None:
    """Exchange the token of ``site`` for files made with openssl, in the formats administrators have them in."""
    base = site.folder
    signer = lab.ca.organisation_signer(LABORATORY, "rsa2048")
    reader = lab.ca.organisation_reader(LABORATORY, "rsa2048")
    (base / "certificates" / "laboratory-sign.pem").write_bytes(signer.pem)
    (base / "certificates" / "laboratory-decrypt.pem").write_bytes(reader.pem)
    (base / "secrets" / "passphrase").write_text(PASSPHRASE)
    aes = ("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", f"pass:{PASSPHRASE}")
    _private(base / "secrets" / "sign.pem", openssl(*aes, data=signer.key_pem))
    bundle = reader.key_pem + reader.pem
    _private(base / "secrets" / "decrypt.p12", openssl("pkcs12", "-export", "-passout", f"pass:{PASSPHRASE}", data=bundle))
    for name in ("spool", "audit"):
        pair = Issued(reader.certificate, new_key("rsa2048"), ())
        _private(base / "secrets" / f"{name}.pem", pair.key_pem)
        (base / "certificates" / f"{name}-1.pem").write_bytes(openssl("pkey", "-pubout", data=pair.key_pem))
    text = site.configuration.read_text()
    text = re.sub(r"\[token\].*?(?=\[organisation)", "", text, flags=re.DOTALL)
    text = re.sub(r"\[key\.laboratory-sign\].*?(?=\[tls\.gateway)", KEYS.format(variable=VARIABLE) + "\n", text, flags=re.DOTALL)
    site.configuration.write_text(text)
    shutil.rmtree(base / "state" / "tokens")
    (base / "softhsm2.conf").unlink()


def _private(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Lab(tmp_path_factory.mktemp("keys")) as lab:
        boxes = (RECIPIENT, SENDER)
        behind = lab.enter(Postfix("mail.example", (LABORATORY, HOSPITAL), boxes))
        hospital = lab.site("hospital", HOSPITAL, "--key-kind", "p256", mail_server=behind.port)
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        with_file_keys(lab, laboratory)
        hospital.know(laboratory)
        laboratory.know(hospital)
        with environment(**{VARIABLE: PASSPHRASE}):
            hospital.start()
            laboratory.start()
        yield World(hospital, laboratory, behind)


@pytest.mark.parametrize(
    ("sender", "recipient"), [(SENDER, RECIPIENT), (RECIPIENT, SENDER)], ids=["EC token to RSA files", "RSA files to EC token"]
)
def test_exchange(world: World, sender: str, recipient: str) -> None:
    """Signed with the one kind and encrypted to the other, verified in the mailbox."""
    there = world.laboratory if recipient == RECIPIENT else world.hospital
    here = world.hospital if recipient == RECIPIENT else world.laboratory
    subject = f"to {recipient.partition('@')[0]}"
    content = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nRésultat\r\n".encode()
    send(here.inside, letter(subject, content, sender, [recipient]), [recipient], sender, ["BODY=8BITMIME"])
    mail = world.arrived(recipient, subject)
    assert b"smime=pass" in mail
    assert mail.endswith("\n\nRésultat\n".encode())
    (opened,) = [event for event in events(there, "mail_opened") if event["encrypted"]]
    assert (opened["verdict"], opened["assurance"]) == ("verified", "zone")
    (protected,) = events(here, "mail_protected")
    assert protected["protection"] == "both"


def test_secrets_stay_with_the_key_agents(world: World) -> None:
    """The variable with the passphrase is inherited by the key agents alone; no secret is in a command line, a log or the audit."""
    for child in children(world.laboratory):
        words = child.cmdline()
        kind = words[words.index("gateway.operate.process") + 1]
        assert PASSPHRASE not in " ".join(words)
        if kind in ("worker", "control"):
            assert VARIABLE not in child.environ(), kind
    pin = (world.hospital.folder / "secrets" / "pin").read_text().strip()
    for site, secret in ((world.laboratory, PASSPHRASE), (world.hospital, pin)):
        told = [site.folder / "gateway.log", *(site.folder / "state" / "audit").glob("*"), *(site.folder / "run").glob("*.json")]
        for file in told:
            assert secret.encode() not in file.read_bytes(), file


def test_every_thread_waits_its_turn(world: World) -> None:
    """Decision 0012, as the kernel sees it: all threads of all processes but the supervisor."""
    threads = [thread.id for child in children(world.hospital) for thread in child.threads()]
    assert threads
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
