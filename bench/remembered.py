"""How much memory the certificates of correspondents take, in a process that has looked up and judged all of them."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.goal import Goal
from gateway.edge.folder import Folder
from gateway.events import Event
from gateway.flow.choice import Unusable
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence
from gateway.mail.address import Address, parse_address
from gateway.outcome import GatewayError
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Failed
from gateway.trust.judgement import Assurance, Need, Revocation
from gateway.trust.moment import microseconds
from gateway.trust.sources import Directory, Found, sort_found

CERTIFICATES: Final = 10_000
CORRESPONDENTS: Final = 5_000
MEGABYTE: Final = 1 << 20
MARK: Final = 200 * MEGABYTE

_NOW: Final = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
_YEAR: Final = dt.timedelta(days=365)
_USAGE: Final = x509.KeyUsage(False, False, True, False, False, False, False, False, False)


@dataclass(frozen=True)
class Remembered:
    """Bytes resident in a process before it looked anything up, and after; it keeps ``certificates`` of ``correspondents``."""

    before: int
    after: int
    certificates: int
    correspondents: int


def remembering(certificates: int = CERTIFICATES, correspondents: int = CORRESPONDENTS) -> Remembered:
    """Measured in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        _issue(Path(folder), certificates, correspondents)
        told = subprocess.run(
            [sys.executable, "-m", "bench.remembered", folder, str(correspondents)], capture_output=True, text=True, check=True
        )
    before, after = map(int, told.stdout.split())
    return Remembered(before, after, certificates, correspondents)


def _issue(folder: Path, certificates: int, correspondents: int) -> None:
    """A file for each, in ``folder/people``; the anchor beside it."""
    root, person = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zone"), x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    (folder / "people").mkdir()
    anchor = _begin(name, name, root, root).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (folder / "root.der").write_bytes(anchor.sign(root, hashes.SHA256()).public_bytes(Encoding.DER))
    for number in range(certificates):
        mailbox = _mailbox(number % correspondents)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, mailbox)])
        builder = _begin(name, subject, root, person).add_extension(_USAGE, critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mailbox)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        made = builder.sign(root, hashes.SHA256()).public_bytes(Encoding.DER)
        (folder / "people" / f"{number:05}.der").write_bytes(made)


def _begin(issuer: x509.Name, subject: x509.Name, above: rsa.RSAPrivateKey, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(_NOW - _YEAR).not_valid_after(_NOW + _YEAR)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key())
    return builder.add_extension(key_id, critical=False).add_extension(issuer_id, critical=False)


def _mailbox(number: int) -> str:
    return f"person{number}@partner{number % 500}.example"


class Answering:
    """A directory that is asked over the network: what it said is remembered."""

    name = "directory"
    remember_seconds = 3600.0

    def __init__(self, people: Path, correspondents: int) -> None:
        self._people = people
        self._correspondents = correspondents

    async def find(self, address: Address, /) -> Found:
        """The certificates of one person."""
        return sort_found([file.read_bytes() for file in self._files(address)])

    def _files(self, address: Address) -> Iterator[Path]:
        first = int(address.local.removeprefix("person"))
        for number in itertools.count(first, self._correspondents):
            file = self._people / f"{number:05}.der"
            if not file.exists():
                return
            yield file


class Silent:
    """Sees nothing, and publishes nothing: revocation is off."""

    def see(self, event: Event, /) -> None:
        """Nobody asks."""

    def known(self, need: Need, _: int, /) -> Answer:
        """Nothing is."""
        return Failed(need.source)

    async def fetch(self, need: Need, at: int, /) -> Answer:
        """As :meth:`known`."""
        return self.known(need, at)


async def _look_up(folder: Path, correspondents: int) -> None:
    importlib.import_module("gateway.app")  # what a worker has in memory anyway
    at, silent = microseconds(_NOW), Silent()
    anchors = Anchors([(folder / "root.der").read_bytes()])
    directories: tuple[Directory, ...] = (Folder("folder", folder / "people"), Answering(folder / "people", correspondents))
    circles = {
        str(number): Circle(anchors, Assurance.ZONE, Revocation.UNSAFE_OFF, str(number), (directory,))
        for number, directory in enumerate(directories)
    }
    evidence = Evidence(Circles(circles, {}), silent, silent, lambda: at)
    before = _resident()
    for zone in circles:
        for number in range(correspondents):
            found = await evidence.recipient("hospital", zone, parse_address(_mailbox(number)), at)
            if isinstance(found, Unusable):
                raise GatewayError(found.reason, found.detail)
    print(before, _resident())
    evidence.close()


def _resident() -> int:
    """Bytes of this process, now."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def remembered_lines(found: Remembered) -> list[str]:
    """The section of the page."""
    return [
        "## (h) Finding certificates",
        "",
        f"One process keeps a folder of {found.certificates:,} certificates (RSA-2048), and what a directory said of"
        f" {found.correspondents:,} correspondents,",
        f"{found.certificates // found.correspondents} certificates each; all of them were looked up and judged.",
        *("", "| | MB |", "|---|---:|"),
        f"| before | {found.before / MEGABYTE:.0f} |",
        f"| with all of it | {found.after / MEGABYTE:.0f} |",
    ]


def remembered_goals(found: Remembered) -> list[Goal]:
    """What was asked of what was measured."""
    return [Goal(f"(h) all certificates and correspondents in under {MARK >> 20} MB", found.after < MARK)]


if __name__ == "__main__":
    asyncio.run(_look_up(Path(sys.argv[1]), int(sys.argv[2])))
