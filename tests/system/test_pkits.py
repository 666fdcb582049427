"""NIST's PKITS through the inbound flow: its signed mails, its CRLs over HTTP and from a real slapd that holds its LDIF.

Its certificates do not say where CRLs are, as those of many a private authority: an administrator does (``crls``). The mails lie in
PyPI's ``cryptography-vectors``, the verdicts with the material of others.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from demo.publisher import Publisher
from gateway.edge.evidencecache import EvidenceCache
from gateway.edge.fetch import Fetcher
from gateway.edge.fetcherror import Bounds
from gateway.edge.keyfile import FileKeys
from gateway.edge.reachable import networks
from gateway.edge.shelf import Shelf
from gateway.events import Event
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence
from gateway.flow.opening import Opened, open_message
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Assurance, Need, NeedKind, Revocation
from tests.conformance.material import MATERIAL, needs
from tests.conformance.test_pkits import AT, DATA, VERDICTS, certificate, is_ca
from tests.doubles import MemoryBodies, MemoryBody
from tests.pki import Ca
from tests.system.slapd import Slapd

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


@cache
def wanted() -> dict[str, bool]:
    """By the certificate's name, what the suite says where nothing is asked of policies."""
    runs: list[dict[str, Any]] = json.loads((MATERIAL / VERDICTS / "pkits.json").read_text())
    return {run["cert"]: "error" not in run for run in runs if "params" not in run}


class Hospital:
    """One organisation that believes the suite's anchor, and asks ``places`` for CRLs."""

    def __init__(self, folder: Path, places: list[str]) -> None:
        self._folder = folder
        self._places = tuple(Need(NeedKind.CRL, place, b"") for place in places)
        self.events: list[Event] = []

    def see(self, event: Event) -> None:
        self.events.append(event)

    async def opened(self, mails: list[str]) -> dict[str, Opened]:
        """Each mail, opened with what comes from the places."""
        fetcher = Fetcher(Bounds(1 << 20, 10.0, networks(["127.0.0.0/8"])))
        cache = EvidenceCache(fetcher, Shelf(self._folder), self)
        anchors = Anchors([certificate("TrustAnchorRootCertificate.crt")])
        circle = Circle(anchors, Assurance.PUBLIC_CA, Revocation.HARD, crls=self._places)
        evidence = Evidence(Circles({}, {"hospital": circle}), cache, self, lambda: AT)
        found: dict[str, Opened] = {}
        for mail in mails:
            content = (DATA / "smime" / mail).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            found[mail] = await open_message(
                MemoryBody(content),
                MemoryBodies(),
                unwrapper=FileKeys({}),
                keys={},
                judge=partial(evidence.signer, "hospital"),
                at=AT,
                hostname="gateway.hospital.example",
            )
        await cache.close()
        await fetcher.close()
        return found


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


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Opened]]]:
    folder = tmp_path_factory.mktemp("pkits")
    publisher = Publisher(DATA / "crls")
    publisher.start()
    place = publisher.crl_url.removesuffix("ca.crl")
    http = [place + quote(path.name) for path in sorted((DATA / "crls").iterdir())]
    server = Ca.root().gateway("localhost", ku=["digital_signature", "key_agreement"]).write(folder, "slapd")
    with Slapd(folder / "slapd", *server, base=BASE, schema=SCHEMA) as slapd:
        slapd.add((DATA / "pkits.ldif").read_text().replace("file:///tmp/", f"file://{DATA}/"))
        ways = {"http": http, "ldap": by_ldap(slapd.port)}
        yield {way: asyncio.run(Hospital(folder / way, places).opened(MAILS)) for way, places in ways.items()}
    publisher.stop()


@cache
def leaf_of(mail: str) -> bytes:
    """The signer's certificate (DER)."""
    content = (DATA / "smime" / mail).read_text()
    structure = base64.b64decode(content.split('filename="smime.p7s"')[1].split("------")[0])
    return next(der for der, name in _names().items() if name.endswith("EE.crt") and der in structure)


@cache
def _names() -> dict[bytes, str]:
    return {path.read_bytes(): path.name for path in (DATA / "certs").iterdir()}


def trust(found: Opened) -> str:
    """What is said of the one signer."""
    (signer,) = [signer for layer in found.verdict.layers for signer in layer.signers]
    return signer.trust


@needs(VERDICTS)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # 4.4.14 and 4.4.15 are about negative ones
@pytest.mark.parametrize("mail", [mail for mail in MAILS if mail not in DSA])
@pytest.mark.parametrize("way", ["http", "ldap"])
def test_mail(opened: dict[str, dict[str, Opened]], way: str, mail: str) -> None:
    """The signer is trusted where the suite says so, and nowhere else; one that is an authority signs no mail."""
    leaf = leaf_of(mail)
    found = trust(opened[way][mail])
    wants = wanted().get(_names()[leaf])
    if wants is None:  # its runs are about policies that somebody asks for, and we ask for none
        assert mail in POLICIES
        assert found == "trusted"
    elif wants and not is_ca(leaf):
        assert found == "trusted"
    else:
        assert found != "trusted"


@needs(VERDICTS)
@pytest.mark.parametrize("way", ["http", "ldap"])
def test_mail_with_dsa(opened: dict[str, dict[str, Opened]], way: str) -> None:
    """DSA is not supported, and so not trusted."""
    assert {trust(opened[way][mail]) for mail in DSA} <= {"unknown", "distrusted"}
