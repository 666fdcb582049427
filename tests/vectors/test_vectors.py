"""Every vector: a mail, its world, the verdict wanted and why. To add one, see ``make.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence, Signed
from gateway.flow.opening import Opened, open_message
from gateway.mail.address import Address
from gateway.mail.verdict import unreadable
from gateway.outcome import GatewayError
from gateway.trust.along import Along
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Failed
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Need, NeedKind, Revocation
from gateway.trust.kept import Kept, KeptAs
from tests.doubles import Events, MemoryBodies, MemoryBody
from tests.flow.opened import HOSTNAME, bytes_of
from tests.pki import microseconds

HERE = Path(__file__).parent
NAMES = sorted(path.parent.name for path in HERE.glob("[0-9]*-*/mail.eml"))


def certificate(name: str) -> bytes:
    return x509.load_pem_x509_certificate((HERE / "world" / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)


def crls(names: Sequence[str]) -> dict[str, Crl]:
    return {f"http://crl.example/{name}": Crl((HERE / "world" / f"{name}.crl").read_bytes()) for name in names}


@dataclass(frozen=True)
class Given:
    """Publishes what the world has, and nothing else."""

    crls: dict[str, Crl]

    def known(self, need: Need, _: int) -> Answer:
        return self.crls.get(need.url) or Failed(f"{need.url}: not given")

    async def fetch(self, need: Need, at: int) -> Answer:
        return self.known(need, at)


@dataclass(frozen=True)
class Pins:
    """What the administrator of the world pinned, by address."""

    all: dict[str, tuple[bytes, ...]]

    async def kept(self, _: str, address: Address, /) -> tuple[Kept, ...]:
        return tuple(Kept(each, KeptAs.PINNED, 0) for each in self.all.get(address.key, ()))


async def judged(name: str, piece: int = 64 * 1024, *, keep_signature: bool = False) -> Opened:
    world: dict[str, Any] = json.loads((HERE / name / "world.json").read_text())
    given = Given(crls(world.get("crls", [])))
    circle = Circle(
        Anchors(certificate(each) for each in world["anchors"]),
        Assurance.ZONE,
        Revocation(world.get("revocation", "unsafe_off")),
        "test",
        domains=frozenset(world["domains"]),
        crls=tuple(Need(NeedKind.CRL, url, b"") for url in given.crls),
    )
    pins = Pins({address: tuple(map(certificate, names)) for address, names in world.get("pins", {}).items()})
    now = microseconds(datetime.fromisoformat(world["at"]))
    evidence = Evidence(Circles({}, {"hospital": circle}), given, Events(), lambda: now, pins)

    async def believed(leaf: bytes, along: Along, at: int, /) -> Signed:
        return await evidence.signer("hospital", leaf, along, at)

    return await open_message(
        MemoryBody((HERE / name / "mail.eml").read_bytes(), piece),
        MemoryBodies(),
        unwrapper=FileKeys({each: FileKey.load(HERE / "world" / f"{each}.key") for each in world["keys"]}),
        keys={each: certificate(each) for each in world["keys"]},
        judge=believed,
        at=now,
        hostname=HOSTNAME,
        keep_signature=keep_signature,
    )


@pytest.mark.parametrize("name", NAMES)
async def test_the_verdict_is_the_one_wanted(name: str) -> None:
    """``verdict.json`` holds the keys that matter; ``shown`` and ``hidden`` are texts of the message the mailbox gets."""
    wanted: dict[str, Any] = json.loads((HERE / name / "verdict.json").read_text())
    try:
        opened = await judged(name)
        found, message = opened.verdict.to_json(), bytes_of(opened).decode("utf-8", "replace")
    except GatewayError as error:  # the header cannot be read: nothing is shown
        found, message = unreadable(error.reason).to_json(), ""
    shown, hidden = wanted.pop("shown", []), wanted.pop("hidden", [])
    assert {key: found[key] for key in wanted} == wanted
    assert [text for text in shown if text not in message] == []
    assert [text for text in hidden if text in message] == []
    assert (HERE / name / "README").read_text().strip()


@pytest.mark.parametrize("name", NAMES)
async def test_neither_pieces_nor_a_kept_wrapper_make_another_verdict(name: str) -> None:
    """However a message comes in pieces, and whether a verified signature is taken off or left."""
    verdicts = []
    for piece, keep_signature in ((64 * 1024, False), (7, False), (64 * 1024, True)):
        try:
            verdicts.append((await judged(name, piece, keep_signature=keep_signature)).verdict)
        except GatewayError as error:
            verdicts.append(unreadable(error.reason))
    assert verdicts[1:] == verdicts[:1] * 2
