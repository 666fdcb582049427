"""A token is lost for good, with mail in the spool: the recovery key opens it, as docs/keys.md says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.gatewayside import RELAY
from demo.site import Site
from tests.smime.openssl import openssl
from tests.system.lab import HOSPITAL, SENDER, Lab, letter, send, until
from tests.system.postfix import Postfix

pytestmark = pytest.mark.timeout(300)

PASSPHRASE = "test-passphrase"
OFFLINE = """
[key.recovery]
purpose = "spool"
store = "offline"
public_key = "certificates/recovery.pem"
"""
BROUGHT = OFFLINE.replace('"offline"', '"file"\nfile = "secrets/recovery.key"\npassphrase = { file = "secrets/recovery.pass" }')
LARGE = b"Content-Type: text/plain\r\n\r\n" + b"a line that makes the body a file of its own\r\n" * 5000


def pair(private: Path, public: Path) -> None:
    """The commands of the page, with a passphrase that needs no keyboard."""
    words = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-aes256", "-pass", f"pass:{PASSPHRASE}"]
    openssl("genpkey", *words, "-out", str(private))
    openssl("pkey", "-in", str(private), "-passin", f"pass:{PASSPHRASE}", "-pubout", "-out", str(public))


def test_what_lay_in_the_spool_goes_on(tmp_path: Path) -> None:
    """Mail waits, in the database and as a file; the token is another from then on, with another key of the same name."""
    with Lab(tmp_path) as lab:
        site = lab.site("hospital", HOSPITAL)
        pair(tmp_path / "recovery.key", site.folder / "certificates" / "recovery.pem")
        text = site.configuration.read_text()
        text = text.replace('audit_key = "audit-1"', 'audit_key = "audit-1"\nrecovery_key = "recovery"')
        site.configuration.write_text(
            text.replace('mail_server = "mailserver"\n', 'mail_server = "mailserver"\noutbound = "mailserver"\n')
        )
        site.add(RELAY + OFFLINE)
        site.start()
        content = b"Content-Type: text/plain\r\n\r\nsmall\r\n"
        for subject, body in (("small", content), ("large", LARGE)):
            send(site.inside, letter(subject, body, SENDER, [SENDER]), [SENDER], SENDER)
        until(lambda: [row["reason"] for row in site.ask("queue", "list")["mails"]] == ["HOP_UNREACHABLE"] * 2, "both wait")
        keys = {key["name"]: key["state"] for key in site.ask("key", "list")["keys"]}
        assert keys["recovery"] == "offline"
        assert site.stop() == 0

        another = Site(tmp_path / "another", "hospital", HOSPITAL)
        another.create(tmp_path / "ca", lab.crl_url)
        for lost in ("state/tokens", "secrets", "certificates"):
            shutil.rmtree(site.folder / lost)
        for new in ("secrets", "certificates"):
            shutil.copytree(another.folder / new, site.folder / new)
        shutil.copytree(another.folder / "state" / "tokens", site.folder / "state" / "tokens")
        pair_again(tmp_path, site.folder)
        site.configuration.write_text(site.configuration.read_text().replace(OFFLINE, BROUGHT))
        with Postfix("mail.example", (HOSPITAL,), (SENDER,), port=site.mail_server) as behind:
            site.start()
            until(lambda: not site.ask("queue", "list")["mails"], "the spool is empty")
            until(lambda: len(list(behind.mails(SENDER))) == 2, "both in the mailbox")
            bodies = {path.read_bytes().partition(b"\n\n")[2].replace(b"\n", b"\r\n") for path in behind.mails(SENDER)}
            assert bodies == {mail.partition(b"\r\n\r\n")[2] for mail in (content, LARGE)}


def pair_again(kept: Path, folder: Path) -> None:
    """What lay elsewhere is brought: the private half, its passphrase, and the public half once more."""
    shutil.copy(kept / "recovery.key", folder / "secrets" / "recovery.key")
    (folder / "secrets" / "recovery.pass").write_text(PASSPHRASE)
    words = ["-in", str(kept / "recovery.key"), "-passin", f"pass:{PASSPHRASE}", "-pubout"]
    (folder / "certificates" / "recovery.pem").write_bytes(openssl("pkey", *words))
    for path in (folder / "secrets").iterdir():
        path.chmod(0o600)
