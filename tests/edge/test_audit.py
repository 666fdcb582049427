"""The audit under signed heads: what a signer signs, and what of an audit that was tampered with is found out."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.edge.auditcheck import AuditReport, Wrong, check_audit
from gateway.edge.auditheads import HEADS_FILE, load_audit_key, read_heads
from gateway.edge.auditsigner import AuditSigner
from gateway.edge.observe import Audit, Observe
from gateway.edge.tosign import FRESH
from gateway.events import KeyUsed, MailReleased, ProcessStarted
from gateway.mail.identifier import MailId
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Mechanism
from tests.doubles import SoftwareSigner
from tests.pki import new_key

AT = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC


@dataclass
class Agent:
    """A sign agent: signs with the audit key, and says so in an audit of its own."""

    signer: SoftwareSigner
    observe: Observe | None = None
    away: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        self.asked.set()
        if self.away:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "no agent")
        signature = await self.signer.sign(key, to_be_signed, mechanism)
        if self.observe is not None:
            self.observe.see(KeyUsed(key=key, operation="sign"))
        return signature


@dataclass
class House:
    """A folder of segments, and a control process that signs it."""

    folder: Path
    key: rsa.RSAPrivateKey
    agent: Agent
    at: int = AT
    segments: list[Observe] = field(default_factory=list)
    signer: AuditSigner | None = None

    def now(self) -> int:
        self.at += 1
        return self.at

    def segment(self, process: str) -> Observe:
        self.segments.append(Observe(Audit(self.folder, process, self.now)))
        return self.segments[-1]

    def begin(self) -> AuditSigner:
        """The control process starts, after a predecessor has ended."""
        if self.signer is not None:
            self.signer.close()
        control = self.segment("control-0")
        self.signer = AuditSigner(self.folder, "audit", self.key.public_key(), self.agent, control, self.now)
        return self.signer

    def check(self, *, key: rsa.RSAPublicKey | None = None) -> AuditReport:
        return check_audit(self.folder, {"audit": key or self.key.public_key()})

    def wrong(self) -> list[tuple[Wrong, str, int]]:
        return [(found.what, found.file.split("-")[0], found.line) for found in self.check().findings]

    def file(self, process: str) -> Path:
        return next(path for path in self.folder.iterdir() if path.name.startswith(process))

    def close(self) -> None:
        if self.signer is not None:
            self.signer.close()
        for segment in self.segments:
            segment.close()


@pytest.fixture(scope="session")
def audit_key() -> rsa.RSAPrivateKey:
    key = new_key("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def make(folder: Path, key: rsa.RSAPrivateKey) -> House:
    (folder / "audit").mkdir()
    return House(folder / "audit", key, Agent(SoftwareSigner({"audit": key})))


@pytest.fixture
def house(tmp_path: Path, audit_key: rsa.RSAPrivateKey) -> House:
    return make(tmp_path, audit_key)


def mail(number: int) -> MailReleased:
    return MailReleased(mail=MailId(f"{number:026d}"), who="somebody")


async def grown(house: House) -> House:
    """Two workers, of whom one ends, six lines each; a queue command; three records of heads; the gateway at rest."""
    signer = house.begin()
    house.agent.observe = house.segment("sign-agent-0")
    for worker in ("worker-0", "worker-1"):
        segment = house.segment(worker)
        for number in range(6):
            segment.see(mail(number))
            if number in (1, 3):
                await signer.sign()
    house.segment("queue").see(mail(7))
    await signer.sign()
    house.close()
    house.signer, house.segments = None, []
    return house


async def test_what_is_whole_is_found_whole(house: House) -> None:
    """Also where the segments have ended, and with the last lines not signed yet: they are counted, and no fault."""
    await grown(house)
    report = house.check()
    assert report.findings == []
    assert (report.records, report.segments) == (5, 5)
    assert report.last is not None
    assert report.last.record.seq == 5
    names = {name.split("-1")[0]: lines for name, lines in report.beyond.items()}
    assert names == {"control-0": 1, "sign-agent-0": 1}  # what tells of the last signature itself


async def test_at_rest_nothing_is_signed(house: House) -> None:
    """Its own signature, and the agent's word on it, are no reason to sign again; any other line is."""
    signer = house.begin()
    house.agent.observe = house.segment("sign-agent-0")
    worker = house.segment("worker-0")
    worker.see(mail(1))
    for _ in range(4):
        await signer.sign()
    assert house.check().records == 1
    assert signer.signed_at == house.at  # and it is seen that all is well
    house.agent.observe.see(KeyUsed(key="hospital-sign", operation="sign"))
    for _ in range(4):
        await signer.sign()
    report = house.check()
    assert (report.records, report.findings) == (2, [])
    house.close()


async def test_no_agent_no_record_and_the_age_tells(house: House) -> None:
    signer = house.begin()
    house.segment("worker-0").see(mail(1))
    house.agent.away = True
    await signer.sign()
    assert (signer.signed_at, house.check().records) == (None, 0)
    house.agent.away = False
    await signer.sign()
    seen = signer.signed_at
    assert seen is not None
    house.agent.away = True
    house.segments[1].see(mail(2))
    await signer.sign()
    assert (signer.signed_at, house.check().records) == (seen, 1)
    house.close()


async def test_a_successor_goes_on_where_its_predecessor_ended(house: House) -> None:
    """Not before that has ended; and where it was killed at half a record, after the last whole one."""
    first = house.begin()
    worker = house.segment("worker-0")
    worker.see(mail(1))
    await first.sign()
    second = AuditSigner(house.folder, "audit", house.key.public_key(), house.agent, house.segments[0], house.now)
    worker.see(mail(2))
    await second.sign()
    assert second.signed_at is None
    first.close()
    with (house.folder / HEADS_FILE).open("ab") as file:
        file.write(b'{"v":1,"seq":2')
    await second.sign()
    second.close()
    report = house.check()
    assert (report.records, report.findings) == (2, [])
    assert [head.seq for head in read_heads((house.folder / HEADS_FILE).read_bytes().splitlines()[1]).record.heads] == [1, 2]
    house.close()


async def test_it_signs_at_the_end(house: House) -> None:
    """What was written since the last time is under a signature when the control process has ended."""
    signer, stopping = house.begin(), asyncio.Event()
    house.segment("worker-1").see(mail(0))
    running = asyncio.create_task(signer.run(stopping))
    await house.agent.asked.wait()
    house.segment("worker-0").see(mail(1))
    stopping.set()
    await running
    report = house.check()
    assert report.findings == []
    assert not [name for name in report.beyond if name.startswith("worker")]
    house.close()


async def test_a_very_long_line(house: House) -> None:
    """The end of a segment is found however long its last line is."""
    signer = house.begin()
    worker = house.segment("worker-0")
    for size in (10, 300_000, 70_000):
        worker.see(ProcessStarted(process="x" * size))
        await signer.sign()
    report = house.check()
    assert (report.records, report.findings) == (3, [])
    house.close()


# Tampering


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def changed(house: House) -> None:
    path = house.file("worker-0")
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"somebody", b"nobody!!"), *lines[3:]]))


def last_changed(house: House) -> None:
    path = house.file("worker-0")
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"somebody", b"nobody!!")]))


def removed(house: House) -> None:
    path = house.file("worker-0")
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:2], *lines[4:]]))


def first_removed(house: House) -> None:
    path = house.file("worker-1")
    path.write_bytes(b"".join(lines_of(path)[1:]))


def put_in(house: House) -> None:
    path = house.file("worker-0")
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:3], lines[2], *lines[3:]]))


def cut_off(house: House) -> None:
    path = house.file("worker-1")
    path.write_bytes(b"".join(lines_of(path)[:4]))


def emptied(house: House) -> None:
    house.file("queue").write_bytes(b"")


def segment_gone(house: House) -> None:
    house.file("queue").unlink()


def forged(house: House) -> None:
    """The whole segment anew, in a chain without a fault."""
    path = house.file("worker-0")
    records = [json.loads(line) for line in lines_of(path)]
    path.unlink()
    again = Audit(house.folder, "forger", lambda: AT)
    for record in records:
        again.write(record["event"], {"mail": record["mail"], "who": "nobody"})
    again.close()
    again.path.rename(path)


def heads(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[House], None]:
    def tamper(house: House) -> None:
        path = house.folder / HEADS_FILE
        path.write_bytes(b"".join(change(lines_of(path))))

    return tamper


def heads_gone(house: House) -> None:
    (house.folder / HEADS_FILE).unlink()


TAMPERED: dict[str, tuple[Callable[[House], None], set[tuple[Wrong, str, int]]]] = {
    "a line changed": (changed, {(Wrong.CHANGED, "worker", 4)}),
    "the last line changed": (last_changed, {(Wrong.CHANGED, "worker", 6)}),
    "lines removed": (removed, {(Wrong.REMOVED, "worker", 3)}),
    "the first line removed": (first_removed, {(Wrong.REMOVED, "worker", 1)}),
    "a line put in": (put_in, {(Wrong.ADDED, "worker", 4)}),
    "the end cut off": (cut_off, {(Wrong.CUT_OFF, "worker", 4)}),
    "emptied": (emptied, {(Wrong.CUT_OFF, "queue", 0)}),
    "a segment gone": (segment_gone, {(Wrong.MISSING, "queue", 0)}),
    "a segment written anew": (forged, {(Wrong.CHANGED, "worker", 2), (Wrong.CHANGED, "worker", 4), (Wrong.CHANGED, "worker", 6)}),
    "a record of heads removed": (heads(lambda lines: [*lines[:1], *lines[2:]]), {(Wrong.REMOVED, "heads.signed", 2)}),
    "the first record removed": (heads(lambda lines: lines[1:]), {(Wrong.REMOVED, "heads.signed", 1)}),
    "the last record removed": (heads(lambda lines: lines[:-1]), {(Wrong.MISSING, "heads.signed", 0)}),
    "a record changed": (
        heads(lambda lines: [*lines[:2], lines[2].replace(b"worker-1", b"worker-2"), *lines[3:]]),
        {(Wrong.BAD_SIGNATURE, "heads.signed", 3), (Wrong.CHANGED, "heads.signed", 4)},
    ),
    "all heads gone": (heads_gone, {(Wrong.UNSIGNED, "heads.signed", 0), (Wrong.MISSING, "heads.signed", 0)}),
}


@pytest.mark.parametrize(("tamper", "told"), TAMPERED.values(), ids=TAMPERED.keys())
async def test_what_was_done_to_it_is_found(
    house: House, tamper: Callable[[House], None], told: set[tuple[Wrong, str, int]]
) -> None:
    await grown(house)
    tamper(house)
    assert told <= set(house.wrong())


async def test_heads_that_somebody_else_signed(house: House) -> None:
    """A forger with a key of his own, and the public key kept elsewhere."""
    await grown(house)
    other = new_key("rsa2048").public_key()
    assert isinstance(other, rsa.RSAPublicKey)
    found = house.check(key=other).findings
    assert {each.what for each in found if each.file == HEADS_FILE} >= {Wrong.BAD_SIGNATURE}
    assert house.check(key=other).last is None


async def test_a_record_of_another_day(house: House) -> None:
    """The agent signs with the time it is; a record that says another was not made when it says."""
    signer = house.begin()
    house.segment("worker-0").see(mail(1))
    await signer.sign()
    (line,) = lines_of(house.folder / HEADS_FILE)
    signed = read_heads(line)
    signed.check(house.key.public_key())
    object.__setattr__(signed.record, "at", signed.record.at + 2 * FRESH)
    with pytest.raises(GatewayError, match="signing time"):
        signed.check(house.key.public_key())
    house.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_byte_and_any_one_line(tmp_path: Path, audit_key: rsa.RSAPrivateKey, data: st.DataObject) -> None:
    """Of what is signed, no byte can be changed and no line taken out unseen."""
    world = tmp_path / "world"
    if not world.exists():
        world.mkdir()
        asyncio.run(grown(make(world, audit_key)))
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world / "audit", copy)
    path = copy / data.draw(st.sampled_from(sorted(each.name for each in copy.iterdir())))
    lines = lines_of(path)
    signed = lines[: {"control-0": -1, "sign-agent-0": -1}.get(path.name.split("-1")[0], len(lines))]
    number = data.draw(st.integers(0, len(signed) - 1))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(lines[number]) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda value: value != lines[number][at]))
        lines[number] = lines[number][:at] + bytes([byte]) + lines[number][at + 1 :]
    else:
        del lines[number]
    path.write_bytes(b"".join(lines))
    assert check_audit(copy, {"audit": audit_key.public_key()}).findings


async def test_openssl_verifies_a_record(house: House, tmp_path: Path) -> None:
    """By its own reading of what we describe: the signature is over the attributes, and these hold the digest of the content."""
    await grown(house)
    pem = house.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "audit.pem").write_bytes(pem)
    assert load_audit_key(tmp_path / "audit.pem") == house.key.public_key()
    commands = """
        line=$(sed -n 2p heads); printf %s "$line" | cut -f1 | tr -d '\\n' > content
        printf %s "$line" | cut -f2 | openssl base64 -d -A > attributes
        printf %s "$line" | cut -f3 | openssl base64 -d -A > signature
        openssl dgst -sha256 -verify audit.pem -signature signature attributes
        openssl asn1parse -inform DER -in attributes | grep -i "$(openssl dgst -sha256 -r content | cut -c1-64)"
    """
    shutil.copy(house.folder / HEADS_FILE, tmp_path / "heads")
    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Verified OK" in done.stdout, done.stderr
    assert done.returncode == 0


def test_an_empty_folder_has_nothing_wrong(tmp_path: Path) -> None:
    assert check_audit(tmp_path, {}).findings == []


async def test_a_segment_that_cannot_be_read_is_named(house: House) -> None:
    await grown(house)
    path = house.file("queue")
    path.unlink()
    path.mkdir()  # root reads every file
    assert (Wrong.UNREADABLE, "queue", 0) in house.wrong()
