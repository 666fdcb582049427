"""What leaves with a protected header, as our own reader, openssl and whoever is on the way see it (RFC 9788)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.events import MailProtected
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.message import Field, from_address, read_header
from gateway.mail.protected import PROMOTED
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime.recipients import Reader
from tests.doubles import MemoryBodies, MemoryBody, SoftwareSigner
from tests.flow.hospital import Hospital, bytes_of, names
from tests.flow.opened import SENDER, believing, opened
from tests.flow.opened import bytes_of as bytes_opened
from tests.mail.rfc9788 import EXAMPLES, Example, content, fields
from tests.pki import NOW, Ca, Issued, microseconds
from tests.smime.openssl import decrypt

AT = microseconds(NOW)
FIELDS = (
    b"Received: from ward\r\nFrom: Results <results@laboratory.example>\r\nTo: cardiology@hospital.example\r\n"
    b"X-Mailer: a program\r\nSubject: Biopsy of ward 3\r\nDate: Wed, 11 Jan 2023 16:08:43 -0500\r\nKeywords: biopsy\r\n"
    b"Message-ID: <1@laboratory.example>\r\nMIME-Version: 1.0\r\nBcc: hidden@hospital.example\r\n"
)
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nR\xc3\xa9sultat : 50 mg\r\n"
MARKS = (b"Authentication-Results", b"X-Gateway-Security", b"Received")


async def made(message: bytes, signer: Issued | None, readers: Sequence[Issued], headers: HeaderProtection) -> bytes:
    body = await protect_message(
        MemoryBody(message),
        MemoryBodies(),
        signing=None if signer is None else (SoftwareSigner({"key": signer.key}), SigningKey("key", (signer.der,))),
        readers=[Reader(each.der) for each in readers],
        at=AT,
        random=os.urandom,
        headers=headers,
    )
    return b"".join(body.chunks())


def known(data: bytes) -> list[tuple[str, bytes]]:
    """The fields that are promoted, as they stand, in order."""
    return [(field.name, field.raw) for field in read_header(data).fields if field.name.lower() in PROMOTED]


def unmarked(data: bytes) -> bytes:
    """What the mailbox gets, without what the gateway put on top."""
    header = read_header(data)
    kept: list[Field] = [field for field in header.fields if field.name.encode() not in MARKS]
    return b"".join(field.raw for field in kept) + b"\r\n" + data[header.size :]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("policy", Headers)
async def test_the_mailbox_gets_the_message_as_it_was(
    ca: Ca, signer: Issued, reader: Issued, policy: Headers, encrypted: bool
) -> None:
    """Field for field and in order; but for what was removed outside, which then stands at the end, and what is never sent."""
    message = FIELDS + TEXT.replace(b"\xc3\xa9", b"e").replace(b"8bit", b"7bit")
    wire = await made(message, signer, [reader] if encrypted else [], HeaderProtection(policy))
    result = await opened(wire, {"decrypt": reader}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
    keywords, sent = b"Keywords: biopsy\r\n", message.replace(b"Received: from ward\r\n", b"")
    sent = sent.replace(b"Bcc: hidden@hospital.example\r\n", b"")
    got = unmarked(bytes_opened(result))
    if encrypted and policy.hides:
        sent, got = sent.replace(keywords, b""), got.replace(keywords, b"")
        assert keywords in bytes_opened(result)
    assert got == sent
    assert (b"Biopsy" in wire.replace(b"\r\n ", b" ")) is not (encrypted and policy.hides)
    assert b"hidden@" not in wire


@pytest.mark.parametrize("policy", [Headers.NONE, Headers.BASELINE, Headers.SHY])
@pytest.mark.parametrize("encrypted", [True, False])
async def test_what_is_changed_on_the_way_is_not_shown_and_told(
    ca: Ca, signer: Issued, reader: Issued, policy: Headers, encrypted: bool
) -> None:
    wire = await made(FIELDS + TEXT, signer, [reader] if encrypted else [], HeaderProtection(policy))
    subject = read_header(wire).all("Subject")[0].raw
    result = await opened(wire.replace(subject, b"Subject: 500 mg\r\n", 1), {"decrypt": reader}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, (Reason.HEADER_TAMPERED,))
    assert [field.text for field in read_header(bytes_opened(result)).all("Subject")] == ["Biopsy of ward 3"]


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
async def test_what_openssl_decrypts_is_the_payload_of_the_rfc(reader: Issued, tmp_path: Path, example: Example) -> None:
    """RFC 9788 C.3 and D.1: the same message by the same policy, field by field, and its text to the byte."""
    certificate, key = reader.write(tmp_path, "reader")
    wire = await made(example.source, None, [reader], HeaderProtection(example.headers, example.legacy))
    inside = decrypt(wire, certificate, key, "SMIME")
    assert fields(inside) == fields(example.payload)
    assert content(inside) == content(example.payload)
    around = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}
    assert [field for field in fields(wire) if field[0] not in around] == fields(example.outer)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("policy", [Headers.NONE, Headers.BASELINE, Headers.SHY])
@pytest.mark.parametrize("legacy", [True, False])
async def test_the_messages_of_the_rfc_come_back(ca: Ca, reader: Issued, example: Example, policy: Headers, legacy: bool) -> None:
    author = from_address(read_header(example.source))
    signer = ca.signer(str(author))
    for readers in ([reader], []):
        wire = await made(example.source, signer, readers, HeaderProtection(policy, legacy))
        result = await opened(wire, {"decrypt": reader}, believing(ca, domains=(author.domain,)), AT)
        assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
        assert known(bytes_opened(result)) == known(example.source)
        assert content(bytes_opened(result)) == content(example.source)


async def test_bytes_outside_ascii_in_a_field_are_signed_as_they_are(ca: Ca, signer: Issued) -> None:
    """Some devices write them without SMTPUTF8: no reason to refuse a mail, and none to sign another field than leaves."""
    message = FIELDS.replace(b"Biopsy", "Biopsie à".encode()).replace(b"a program", b"\xe9\xe8") + TEXT
    result = await opened(await made(message, signer, [], HeaderProtection(Headers.BASELINE)), {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
    assert known(bytes_opened(result)) == known(message)


@pytest.mark.parametrize("kind", [b"application/pdf; name=scan 1.pdf", b"text/plain\r\nContent-Type: text/html"])
async def test_what_a_scanner_sends_hides_its_subject_too(ca: Ca, signer: Issued, reader: Issued, kind: bytes) -> None:
    """Its type cannot be read in one way, so that it can carry no parameter; every byte of it comes out."""
    part = b"Content-Type: %b\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQ=\r\n" % kind
    for readers in ([reader], []):
        wire = await made(FIELDS + part, signer, readers, HeaderProtection(Headers.BASELINE))
        assert read_header(wire).all("Subject")[0].text == ("[...]" if readers else "Biopsy of ward 3")
        result = await opened(wire, {"decrypt": reader}, believing(ca), AT)
        assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
        assert sorted(known(bytes_opened(result))) == sorted(known(FIELDS))
        assert b"\r\n" + part + b"\r\n--" in bytes_opened(result)


async def test_copies_of_one_mail_each_show_what_their_rule_says(ca: Ca) -> None:
    """One signature for what is the same inside, one more for what is not."""
    hospital = Hospital(ca)
    people = {name: ca.reader(f"{name}@laboratory.example") for name in ("results", "second", "third")}
    hospital.evidence.known.update({f"{name}@laboratory.example": issued for name, issued in people.items()})
    hospital.rules = [
        {"name": "shy", "protect": "both", "headers": "shy", "when": {"recipient": ["second@laboratory.example"]}},
        {"name": "off", "protect": "encrypt", "headers": "off", "when": {"recipient": ["third@laboratory.example"]}},
    ]
    flowed = await hospital.send(
        FIELDS.replace(SENDER.encode(), b"cardiology@hospital.example") + TEXT,
        *(f"{name}@laboratory.example" for name in ("results", "second", "third")),
    )
    seen = {names(output.envelope.recipients)[0]: read_header(bytes_of(output)) for output in flowed.outputs}
    assert [(seen[f"{name}@laboratory.example"].all("Subject")[0].text) for name in people] == [
        "[...]",
        "[...]",
        "Biopsy of ward 3",
    ]
    assert seen["second@laboratory.example"].all("From")[0].text == "cardiology@hospital.example"
    assert hospital.signer.signed == 2
    told = {event.rule: event.headers for event in hospital.events.seen if isinstance(event, MailProtected)}
    assert told == {"default-zone": "baseline", "shy": "shy", "off": "off"}


async def test_copies_that_show_the_same_outside_say_each_whether_it_is_encrypted(ca: Ca, tmp_path: Path) -> None:
    """RFC 9788 2.1.1, 2.2: HP-Outer is for what is encrypted alone."""
    hospital, reader = Hospital(ca), ca.reader("results@laboratory.example")
    hospital.evidence.known["results@laboratory.example"] = reader
    hospital.rules = [
        {"name": "sign", "protect": "sign", "when": {"recipient": ["second@laboratory.example"]}},
        {"name": "both", "protect": "both", "headers": "none"},
    ]
    message = FIELDS.replace(SENDER.encode(), b"cardiology@hospital.example") + TEXT
    for order in (("results", "second"), ("second", "results")):
        outputs = (await hospital.send(message, *(f"{name}@laboratory.example" for name in order))).outputs
        copies = dict(zip(order, map(bytes_of, outputs), strict=True))
        inside = decrypt(copies["results"], *reader.write(tmp_path, "reader"), "SMIME")
        assert (b'hp="cipher"' in inside, b"HP-Outer: Subject: Biopsy of ward 3" in inside) == (True, True)
        assert (b'hp="clear"' in copies["second"], b"HP-Outer" in copies["second"]) == (True, False)


async def test_what_is_hidden_is_shown_to_old_programs_where_a_rule_asks_for_it(ca: Ca, tmp_path: Path) -> None:
    """A large mail too, which is read in a thread."""
    hospital, reader = Hospital(ca), ca.reader("results@laboratory.example")
    certificate, key = reader.write(tmp_path, "reader")
    hospital.evidence.known["results@laboratory.example"] = reader
    for text in (TEXT, TEXT + b"another line of a long letter\r\n" * 5000):
        inside = {}
        for legacy in (True, False):
            hospital.rules = [{"name": "r", "protect": "encrypt", "legacy_display": legacy}]
            [output] = (await hospital.send(FIELDS.replace(SENDER.encode(), b"cardiology@hospital.example") + text)).outputs
            inside[legacy] = content(decrypt(bytes_of(output), certificate, key, "SMIME"))
        assert inside[False] == content(FIELDS + text)
        assert inside[True] == b"Subject: Biopsy of ward 3\r\nKeywords: biopsy\r\n\r\n" + inside[False]


async def test_a_header_too_long_to_be_protected_is_refused_and_not_left_in_clear(ca: Ca) -> None:
    hospital = Hospital(ca)
    hospital.evidence.known["results@laboratory.example"] = ca.reader("results@laboratory.example")
    many = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 900) for number in range(200))
    message = many + FIELDS.replace(SENDER.encode(), b"cardiology@hospital.example") + TEXT
    flowed = await hospital.send(message)
    assert (flowed.outputs, [each.reason for each in flowed.refused]) == ((), [Reason.LIMIT])
    hospital.rules = [{"name": "r", "protect": "both", "headers": "off"}]
    assert len((await hospital.send(message)).outputs) == 1


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
NAMES = st.text("abc\u00e9\u00df\u0436\u4e2d0 (),:;<>[]'.!#", min_size=1, max_size=12)  # none that shows as another address
SUBJECTS = st.lists(WORDS, max_size=5).map(" ".join)
OTHERS = st.lists(st.tuples(st.sampled_from(["Comments", "Keywords", "References", "X-Own", "Sender"]), SUBJECTS), max_size=5)


@given(SUBJECTS, NAMES, OTHERS, st.sampled_from([Headers.BASELINE, Headers.SHY]), st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_header_comes_back_and_what_is_hidden_is_nowhere_outside(
    ca: Ca,
    signer: Issued,
    reader: Issued,
    subject: str,
    name: str,
    others: list[tuple[str, str]],
    policy: Headers,
    signed: bool,
) -> None:
    secret = "5ecret"
    text = f'From: "{name} {secret}" <{SENDER}>\r\nTo: cardiology@hospital.example\r\nSubject: {secret} {subject}\r\n'
    once = {key: value for key, value in others if key not in ("Comments", "Keywords")}
    text += "".join(f"{key}: {value}\r\n" for key, value in once.items())
    text += "".join(f"{key}: {secret} {value}\r\n" for key, value in others if key in ("Comments", "Keywords"))
    message = text.encode() + TEXT
    wire = await made(message, signer if signed else None, [reader], HeaderProtection(policy))
    outside = {field.name for field in read_header(wire).fields if secret in field.text}
    assert outside <= ({"From"} if policy is Headers.BASELINE else set())
    result = await opened(wire, {"decrypt": reader}, believing(ca), AT)
    assert sorted(known(bytes_opened(result))) == sorted(known(message))
    assert Reason.HEADER_TAMPERED not in result.verdict.reasons
