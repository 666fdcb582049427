"""A mail to somebody whose certificate is in his domain's DNS alone, through a whole gateway; and what is not sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.trust.smimea import local_label
from tests.pki import Ca
from tests.smime.openssl import decrypt
from tests.system.lab import HOSPITAL, Lab, failure, letter, send
from tests.system.nameservers import DIRECTORIES, NameServers, record
from tests.system.sink import Sink
from tests.system.test_openssl import structure

pytestmark = pytest.mark.timeout(300)

SETTINGS = """
[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "everybody"
protect = "both"
missing = "refuse"
"""
DOMAIN = "secure.example"


def test_a_mail_finds_its_reader_in_dns(tmp_path: Path) -> None:
    """By SMIMEA and by CERT; whom DNS names under another authority, or not at all, nothing is sent to."""
    with Lab(tmp_path) as lab:
        named = {local: lab.ca.reader(f"{local}@{DOMAIN}") for local in ("smimea", "cert")}
        records = [
            record(f"{local_label('smimea')}._smimecert", "SMIMEA", named["smimea"].der),
            record("cert", "CERT", named["cert"].der),
            record("stranger", "CERT", Ca.root("CN=Stranger").reader(f"stranger@{DOMAIN}").der),
        ]
        servers = lab.enter(NameServers(tmp_path / "dns", {DOMAIN: records}))
        outside = lab.enter(Sink(tmp_path))
        hospital = lab.site("hospital", HOSPITAL)
        text = hospital.configuration.read_text()
        changed = text.replace('directories = ["partners"]', 'directories = ["smimea", "cert"]\noutbound = "outside"', 1)
        hospital.configuration.write_text(changed)
        hospital.add((DIRECTORIES + SETTINGS).format(dns=servers.port, port=outside.port))
        hospital.start()
        for local, reader in named.items():
            address = f"{local}@{DOMAIN}"
            send(hospital.inside, letter(f"to {local}", recipients=[address]), [address])
            (mail,) = outside.got(f"to {local}".encode())
            assert b"Hello" in decrypt(structure(mail.content), *reader.write(tmp_path, local))
        for local, reason in (("stranger", "CHAIN"), ("nobody", "NO_CERTIFICATE")):
            address = f"{local}@{DOMAIN}"
            send(hospital.inside, letter(f"to {local}", recipients=[address]), [address])
            assert failure(hospital, address)["reason"] == reason
