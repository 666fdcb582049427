"""Every vector: a mail, its world, the verdict wanted and why. To add one, see ``make.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened, open_message
from gateway.mail.verdict import unreadable
from gateway.outcome import GatewayError
from gateway.trust.along import Along
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Failed
from gateway.trust.crl import Crl
from gateway.trust.judgement import Assurance, Distrusted, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.doubles import MemoryBodies, MemoryBody
from tests.flow.opened import HOSTNAME, bytes_of
from tests.pki import microseconds

HERE = Path(__file__).parent
NAMES = sorted(path.parent.name for path in HERE.glob("[0-9]*-*/mail.eml"))


def certificate(name: str) -> bytes:
    return x509.load_pem_x509_certificate((HERE / "world" / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)


def crls(names: Sequence[str]) -> tuple[Crl, ...]:
    return tuple(Crl((HERE / "world" / f"{name}.crl").read_bytes()) for name in names)


async def judged(name: str, piece: int = 64 * 1024, *, keep_signature: bool = False) -> Opened:
    world: dict[str, Any] = json.loads((HERE / name / "world.json").read_text())
    given, revocation = crls(world.get("crls", [])), Revocation(world.get("revocation", "unsafe_off"))
    anchors = Anchors(certificate(each) for each in world["anchors"])
    rules = Rules(anchors, Purpose.SMIME_SIGNER, revocation)
    domains = frozenset(world["domains"])

    async def believed(leaf: bytes, along: Along, at: int, /) -> Signed:
        at_hand = AtHand(along.certificates, given, (), lambda need: Failed(f"{need.url}: not given"), along.signed_at)
        answer = judge(leaf, at_hand, at, rules)
        assert isinstance(answer, Trusted | Distrusted)
        trusted = isinstance(answer, Trusted)
        return Signed(answer, Assurance.ZONE if trusted else None, "test" if trusted else None, domains)

    return await open_message(
        MemoryBody((HERE / name / "mail.eml").read_bytes(), piece),
        MemoryBodies(),
        unwrapper=FileKeys({each: FileKey.load(HERE / "world" / f"{each}.key") for each in world["keys"]}),
        keys={each: certificate(each) for each in world["keys"]},
        judge=believed,
        at=microseconds(datetime.fromisoformat(world["at"])),
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
