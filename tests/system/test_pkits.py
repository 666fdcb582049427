"""NIST's PKITS through running gateways: its signed mails, its CRLs over HTTP and from a real slapd that holds its LDIF.

Its certificates do not say where CRLs are, as those of many a private authority: an administrator does (``crls``). The mails lie in
PyPI's ``cryptography-vectors``, the verdicts with the material of others.
"""

from __future__ import annotations

import base64
import json
import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import pytest

from demo.ports import free_port
from demo.publisher import Publisher
from tests.conformance.material import MATERIAL, needs
from tests.conformance.test_pkits import DATA, VERDICTS, certificate, is_ca
from tests.pki import to_pem
from tests.system.lab import HOSPITAL, PATIENCE, Lab, until
from tests.system.sink import Sink
from tests.system.slapd import Slapd

pytestmark = pytest.mark.timeout(300)

BASE: Final = "O=Test Certificates 2011,C=US"
MAILS: Final = sorted(path.name for path in (DATA / "smime").glob("*.eml"))
# What two names of its LDIF need; the schema that comes with it does not parse.
SCHEMA: Final = """
objectclass ( 1.2.840.113533.7.67.14 NAME 'entrustDNQualifierUser' SUP top AUXILIARY MAY dnQualifier )
objectclass ( 1.2.840.113533.7.67.15 NAME 'entrustNamedObject' SUP top AUXILIARY MAY generationQualifier )
objectclass ( 1.2.840.113549.1.9.24.2 NAME 'naturalPerson' SUP top AUXILIARY MAY pseudonym )
objectclass ( 1.3.6.1.4.1.18227.2.1.2 NAME 'opencaEmailAddress' SUP top AUXILIARY MAY email )
"""
DSA: Final = tuple(mail for mail in MAILS if "DSA" in mail)
# 4.8.15-4.8.20, 4.10.1, 4.10.3, 4.10.5, 4.10.6, 4.10.12: valid where any policy will do.
POLICIES: Final = frozenset(mail for mail in MAILS if re.search(r"Qualifier|ValidPolicyMappingTest(1|3|5|6|12)\.", mail))
_CRL: Final = re.compile(r"^(certificate|authority|delta)RevocationList;binary:", re.MULTILINE)


ORGANISATION: Final = """
anchors = "pkits.pem"
revocation = "hard"
crls = {crls}
"""
LISTENER: Final = """
[listener.internet]
address = "127.0.0.1"
port = {port}
role = "stranger"
organisation = "{name}"

[organisation.{name}.inbound]
revocation_wait_minutes = 0
"""


@cache
def wanted() -> dict[str, bool]:
    """By the certificate's name, what the suite says where nothing is asked of policies."""
    runs: list[dict[str, Any]] = json.loads((MATERIAL / VERDICTS / "pkits.json").read_text())
    return {run["cert"]: "error" not in run for run in runs if "params" not in run}


def by_ldap(port: int) -> list[str]:
    """Every entry of the LDIF that holds a CRL, and of it each attribute that does."""
    entries = (DATA / "pkits.ldif").read_text().split("\n\n")
    places: list[str] = []
    for entry in entries:
        name = re.search(r"^dn: (.*)$", entry, re.MULTILINE)
        attributes = dict.fromkeys(_CRL.findall(entry))
        if name is not None:
            places += [f"ldap://127.0.0.1:{port}/{quote(name[1])}?{each}RevocationList" for each in attributes]
    return places


@dataclass(frozen=True)
class World:
    """A slapd with the suite's LDIF, a web server with its CRLs, and the lab in which hospitals run."""

    lab: Lab
    places: dict[str, list[str]]

    def trusted(self, way: str) -> dict[str, bool]:
        """Whether each mail's signer was believed by a hospital that asks for CRLs in this way."""
        with Sink(self.lab.folder) as mailboxes:
            site = self.lab.site(f"by-{way}", HOSPITAL, mail_server=mailboxes.port)
            port = free_port()
            (site.folder / "pkits.pem").write_bytes(to_pem(certificate("TrustAnchorRootCertificate.crt")))
            section = ORGANISATION.format(crls=json.dumps(self.places[way]))
            text = re.sub(r"^anchors = .*$", section.strip(), site.configuration.read_text(), count=1, flags=re.MULTILINE)
            site.configuration.write_text(text)
            site.add(LISTENER.format(port=port, name=site.name))
            site.start()
            try:
                return self._said(mailboxes, port)
            finally:
                site.stop()

    def _said(self, mailboxes: Sink, port: int) -> dict[str, bool]:
        """By the mails' names. Each goes to a mailbox of its own, which tells them apart."""
        mailbox = {f"test{number}@{HOSPITAL}": mail for number, mail in enumerate(MAILS)}
        with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as session:
            for address, mail in mailbox.items():
                content = (DATA / "smime" / mail).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                session.sendmail("sender@testcertificates.gov", address, content)
        until(lambda: len(mailboxes.mails) == len(MAILS), "every mail is delivered")
        return {mailbox[mail.recipients[0]]: _believed(mail.content) for mail in mailboxes.mails}


def _believed(delivered: bytes) -> bool:
    """Marked as verified, or as signed by somebody else than the From, which is said of a signer who is believed, and of no other:
    the names in the suite's certificates are not the addresses in its mails.
    """
    mark = str(message_from_bytes(delivered)["X-Gateway-Security"])
    return "verdict=verified" in mark or "FROM_MISMATCH" in mark


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pkits")
    publisher = Publisher(DATA / "crls")
    publisher.start()
    place = publisher.crl_url.removesuffix("ca.crl")
    http = [place + quote(path.name) for path in sorted((DATA / "crls").iterdir())]
    with Lab(folder) as lab:
        server = lab.ca.gateway("localhost", ku=["digital_signature", "key_agreement"]).write(folder, "slapd")
        slapd = lab.enter(Slapd(folder / "slapd", *server, base=BASE, schema=SCHEMA))
        slapd.add((DATA / "pkits.ldif").read_text().replace("file:///tmp/", f"file://{DATA}/"))
        yield World(lab, {"http": http, "ldap": by_ldap(slapd.port)})
    publisher.stop()


@pytest.fixture(scope="module", params=["http", "ldap"])
def trusted(request: pytest.FixtureRequest, world: World) -> dict[str, bool]:
    return world.trusted(request.param)


@cache
def leaf_of(mail: str) -> bytes:
    """The signer's certificate (DER)."""
    content = (DATA / "smime" / mail).read_text()
    structure = base64.b64decode(content.split('filename="smime.p7s"')[1].split("------")[0])
    return next(der for der, name in _names().items() if name.endswith("EE.crt") and der in structure)


@cache
def _names() -> dict[bytes, str]:
    return {path.read_bytes(): path.name for path in (DATA / "certs").iterdir()}


@needs(VERDICTS)
def test_mails(trusted: dict[str, bool]) -> None:
    """The signer is trusted where the suite says so, and nowhere else; one that is an authority signs no mail."""
    assert {mail: found for mail, found in trusted.items() if found is not wanted_of(mail)} == {}
    assert len(trusted) == len(MAILS)
    assert sum(trusted.values()) > 80


def wanted_of(mail: str) -> bool:
    """The suite's verdict; DSA is not supported, and so not trusted."""
    leaf = leaf_of(mail)
    wants = wanted().get(_names()[leaf])
    if wants is None:  # its runs are about policies that somebody asks for, and we ask for none
        assert mail in POLICIES
        return True
    return wants and not is_ca(leaf) and mail not in DSA
