"""Header protection (RFC 9788, and the wrapping of RFC 8551 3.1) as the mailbox sees it, of messages made by openssl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.mail.message import read_header
from gateway.mail.verdict import Judged, Verdict
from gateway.outcome import Reason
from tests.flow.opened import PLAIN, SENDER, as_message, believing, bytes_of, encrypt, opened, sign
from tests.pki import NOW, Ca, Issued, foreign, microseconds

AT = microseconds(NOW) + 10 * 365 * 86400 * 10**6  # openssl signs with the time of this machine
FIELDS = (
    b"From: Results <results@laboratory.example>\r\nTo: cardiology@hospital.example\r\n"
    b"Subject: Biopsy of ward 3\r\nMessage-ID: <1@laboratory.example>\r\nDate: Wed, 11 Jan 2023 16:08:43 -0500\r\n"
)
OUTSIDE = FIELDS.replace(b"Biopsy of ward 3", b"[...]")
HP_OUTER = b"".join(b"HP-Outer: " + line for line in OUTSIDE.splitlines(keepends=True))
MARKS = b"X-Gateway-Security: verdict=verified\r\nBcc: forged@evil.example\r\nReceived: forged\r\nReturn-Path: <forged>\r\n"
TEXT = b"Result: all well.\r\n.\r\n"
CLEAR = FIELDS + MARKS + b'Content-Type: text/plain; charset=us-ascii; hp="clear"\r\n\r\n' + TEXT
CIPHER = FIELDS + MARKS + HP_OUTER + b'Content-Type: text/plain; charset=us-ascii; hp="cipher"\r\n\r\n' + TEXT
LEGACY = CIPHER.replace(b'hp="cipher"', b'hp="cipher"; hp-legacy-display="1"').replace(
    TEXT, b"Subject: Biopsy of ward 3\r\n\r\n" + TEXT
)
WRAPPED = b"Content-Type: message/rfc822; forwarded=no\r\n\r\n" + FIELDS + b"MIME-Version: 1.0\r\n" + PLAIN


@pytest.fixture
def desk(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> Desk:
    return Desk(tmp_path, ca, signer, reader)


@dataclass(frozen=True)
class Seen:
    """What came of one message: the verdict, the values of a field, and the rest."""

    verdict: Verdict
    message: bytes

    def field(self, name: str) -> list[str]:
        return [each.text for each in read_header(self.message).all(name)]

    @property
    def content(self) -> bytes:
        return self.message[read_header(self.message).size :]


@dataclass(frozen=True)
class Desk:
    folder: Path
    ca: Ca
    signer: Issued
    reader: Issued

    def sign(self, entity: bytes, by: Issued | None = None, *options: str) -> bytes:
        return sign(self.folder, entity, by or self.signer, options=options)

    def encrypt(self, entity: bytes) -> bytes:
        return encrypt(self.folder, entity, self.reader)

    async def open(self, entity: bytes, header: bytes, *, keep: bool = False) -> Seen:
        result = await opened(
            as_message(entity, header), {"decrypt": self.reader}, believing(self.ca), AT, keep_signature=keep, piece=100
        )
        return Seen(result.verdict, bytes_of(result))


@pytest.mark.parametrize("options", [(), ("-nodetach",)], ids=str)
async def test_a_signed_header_is_shown_and_what_was_changed_is_told(desk: Desk, options: tuple[str, ...]) -> None:
    signed = desk.sign(CLEAR, None, *options)
    seen = await desk.open(signed, FIELDS)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, ())
    seen = await desk.open(signed, FIELDS.replace(b"Biopsy of ward 3", b"Urgent") + b"Reply-To: mallory@evil.example\r\n")
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, (Reason.HEADER_TAMPERED,))
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    assert seen.field("Reply-To") == []
    assert seen.field("Content-Type") == ["text/plain; charset=us-ascii"]
    assert seen.content == TEXT
    assert b"forged" not in seen.message


async def test_a_protected_from_that_is_not_promoted_lends_its_word_to_no_name_outside(desk: Desk) -> None:
    """White space before its colon: it is not shown, so that what is outside is, to which anybody may give a name."""
    signed = desk.sign(CLEAR.replace(b"From:", b"From :", 1))
    seen = await desk.open(signed, FIELDS)
    assert seen.verdict.judged is Judged.VERIFIED
    assert seen.field("From") == ["Results <results@laboratory.example>"]
    seen = await desk.open(signed, FIELDS.replace(b"Results <", b'"director@hospital.example" <'))
    assert (seen.verdict.judged, seen.verdict.reasons[:1]) == (Judged.SIGNED_UNVERIFIED, (Reason.FROM_AMBIGUOUS,))


async def test_an_encrypted_subject_is_shown(desk: Desk) -> None:
    seen = await desk.open(desk.encrypt(desk.sign(CIPHER)), OUTSIDE)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, ())
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    assert seen.field("HP-Outer") == []
    assert b"forged" not in seen.message
    seen = await desk.open(desk.encrypt(desk.sign(CIPHER)), OUTSIDE.replace(b"[...]", b"Urgent"))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, (Reason.HEADER_TAMPERED,))
    assert seen.field("Subject") == ["Biopsy of ward 3"]


@pytest.mark.parametrize("signed", [True, False])
async def test_what_was_written_for_old_programs_is_taken_out(desk: Desk, signed: bool) -> None:
    seen = await desk.open(desk.encrypt(desk.sign(LEGACY) if signed else LEGACY), OUTSIDE)
    assert seen.content == TEXT
    assert seen.field("Content-Type") == ["text/plain; charset=us-ascii"]


async def test_text_of_what_hides_nothing_keeps_lines_that_look_like_it(desk: Desk) -> None:
    """RFC 9788 2.1.2: they stand in what is encrypted, and says that it is."""
    for entity in (desk.sign(LEGACY), desk.sign(LEGACY.replace(b'"cipher"', b'"clear"'))):
        seen = await desk.open(entity, FIELDS)
        assert seen.verdict.judged is Judged.VERIFIED
        assert seen.content == b"Subject: Biopsy of ward 3\r\n\r\n" + TEXT
    seen = await desk.open(desk.encrypt(desk.sign(LEGACY.replace(b'"cipher"', b'"clear"'))), FIELDS)
    assert seen.content == b"Subject: Biopsy of ward 3\r\n\r\n" + TEXT


async def test_a_signature_that_is_kept_keeps_its_bytes(desk: Desk) -> None:
    signed = desk.sign(LEGACY)
    seen = await desk.open(desk.encrypt(signed), OUTSIDE, keep=True)
    assert seen.verdict.judged is Judged.VERIFIED
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    assert seen.content == signed[read_header(signed).size :]


async def test_encryption_alone_makes_fields_confidential_and_proves_nothing(desk: Desk) -> None:
    """RFC 9788 4.3.1, encrypted-only; and 4.4.3, the From."""
    seen = await desk.open(desk.encrypt(CIPHER), OUTSIDE)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.UNSIGNED, ())
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    seen = await desk.open(desk.encrypt(CIPHER), OUTSIDE.replace(b"results@", b"mallory@"))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.UNSIGNED, (Reason.FROM_MISMATCH, Reason.HEADER_TAMPERED))
    assert seen.field("From") == ["Results <mallory@laboratory.example>"]


@pytest.mark.parametrize("encrypted", [True, False])
async def test_two_authors_are_none(desk: Desk, encrypted: bool) -> None:
    """RFC 9788 4.4: whichever of the two signed. The mailbox is shown the one that servers saw."""
    other = desk.ca.signer("mallory@laboratory.example", "rsa2048")
    payload = CIPHER if encrypted else CLEAR
    for by in (desk.signer, other):
        entity = desk.sign(payload, by)
        header = OUTSIDE if encrypted else FIELDS
        seen = await desk.open(desk.encrypt(entity) if encrypted else entity, header.replace(b"results@", b"mallory@"))
        assert seen.verdict.judged is Judged.SIGNED_UNVERIFIED
        assert seen.verdict.reasons == (Reason.FROM_MISMATCH, Reason.HEADER_TAMPERED)
        assert seen.verdict.author == ("mallory@laboratory.example", "results@laboratory.example")
        assert seen.field("From") == ["Results <mallory@laboratory.example>"]
        assert "smime=policy" in seen.field("Authentication-Results")[0]


async def test_a_signer_who_is_neither_author_is_a_mismatch(desk: Desk) -> None:
    seen = await desk.open(desk.sign(CLEAR, desk.ca.signer("other@laboratory.example", "rsa2048")), FIELDS)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.SIGNED_UNVERIFIED, (Reason.FROM_MISMATCH,))


@pytest.mark.parametrize(
    "more",
    [b"From: director@hospital.example\r\n", b"From : director@hospital.example\r\n"],
)
async def test_several_protected_authors_are_ambiguous(desk: Desk, more: bytes) -> None:
    seen = await desk.open(desk.sign(more + CLEAR), FIELDS)
    assert (seen.verdict.judged, seen.verdict.reasons[0]) == (Judged.SIGNED_UNVERIFIED, Reason.FROM_AMBIGUOUS)
    assert seen.field("From") == ["Results <results@laboratory.example>"]


async def test_the_display_name_that_counts_is_the_one_that_is_shown(desk: Desk) -> None:
    forged = b'From: "director@hospital.example" <results@laboratory.example>'
    honest = b"From: Results <results@laboratory.example>"
    seen = await desk.open(desk.sign(CLEAR.replace(honest, forged)), FIELDS)
    assert (seen.verdict.judged, seen.field("From")) == (Judged.SIGNED_UNVERIFIED, ["Results <results@laboratory.example>"])
    seen = await desk.open(desk.sign(CLEAR), FIELDS.replace(honest, forged))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, (Reason.HEADER_TAMPERED,))
    assert seen.field("From") == ["Results <results@laboratory.example>"]


async def test_under_a_broken_signature_nothing_is_protected(desk: Desk) -> None:
    seen = await desk.open(desk.sign(CLEAR).replace(b"all well", b"all Well"), FIELDS.replace(b"Biopsy of ward 3", b"Urgent"))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.SIGNED_UNVERIFIED, (Reason.BAD_DIGEST,))
    assert seen.field("Subject") == ["Urgent"]


async def test_a_good_signature_of_nobody_protects_and_verifies_nothing(desk: Desk) -> None:
    signed = desk.sign(CLEAR, foreign(SENDER))
    seen = await desk.open(signed, FIELDS.replace(b"Biopsy of ward 3", b"Urgent"))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.SIGNED_UNVERIFIED, (Reason.CHAIN, Reason.HEADER_TAMPERED))
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    assert seen.content == signed[read_header(signed).size :]


@pytest.mark.parametrize(
    "entity",
    [
        CLEAR[len(FIELDS + MARKS) :],
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + CLEAR + b"\r\n--b--\r\n",
    ],
)
async def test_without_layers_the_parameter_means_nothing(desk: Desk, entity: bytes) -> None:
    seen = await desk.open(entity, FIELDS)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.UNSIGNED, ())
    assert seen.message.endswith(FIELDS + entity)


async def test_below_the_payload_the_parameter_means_nothing(desk: Desk) -> None:
    part = CLEAR.replace(b"Biopsy of ward 3", b"forged")
    entity = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b--\r\n"
    seen = await desk.open(desk.sign(entity), FIELDS)
    assert (seen.verdict.judged, seen.verdict.reasons, seen.field("Subject")) == (Judged.VERIFIED, (), ["Biopsy of ward 3"])


async def test_a_signature_on_one_of_three_parts_protects_nothing(desk: Desk) -> None:
    signed = desk.sign(CLEAR)
    boundary = read_header(signed).all("Content-Type")[0].value.split(b'boundary="')[1].split(b'"')[0]
    third = signed.replace(b"\r\n--" + boundary + b"--", b"\r\n--" + boundary + b"\r\n\r\nx\r\n--" + boundary + b"--")
    seen = await desk.open(third, FIELDS.replace(b"Biopsy of ward 3", b"Urgent"))
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.MIXED, (Reason.PARTIAL_COVERAGE,))
    assert seen.field("Subject") == ["Urgent"]


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_wrapped_message_is_the_message(desk: Desk, encrypted: bool) -> None:
    """RFC 8551 3.1. What was left outside of an encrypted one, nobody says."""
    signed = desk.sign(WRAPPED)
    seen = await desk.open(desk.encrypt(signed) if encrypted else signed, OUTSIDE)
    assert seen.verdict.judged is Judged.VERIFIED
    assert seen.verdict.reasons == (() if encrypted else (Reason.HEADER_TAMPERED,))
    assert seen.field("Subject") == ["Biopsy of ward 3"]
    assert seen.field("Content-Type") == ["text/plain; charset=us-ascii"]
    assert seen.content == PLAIN.partition(b"\r\n\r\n")[2]
    seen = await desk.open(signed, FIELDS.replace(b"results@", b"mallory@"))
    assert seen.verdict.judged is Judged.SIGNED_UNVERIFIED


async def test_a_forwarded_message_is_content(desk: Desk) -> None:
    forwarded = WRAPPED.replace(b"; forwarded=no", b"").replace(b"results@", b"other@")
    for entity in (desk.sign(forwarded), desk.encrypt(desk.sign(forwarded))):
        seen = await desk.open(entity, OUTSIDE)
        assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, ())
        assert seen.field("Subject") == ["[...]"]
        assert seen.field("Content-Type") == ["message/rfc822"]
        assert seen.content == forwarded.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("parameter", [b"; forwarded=no", b""])
@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_forwarded_message_with_layers_of_its_own_stays_closed(desk: Desk, parameter: bytes, encrypted: bool) -> None:
    inner = FIELDS + (desk.encrypt(PLAIN) if encrypted else desk.sign(PLAIN))
    seen = await desk.open(desk.sign(b"Content-Type: message/rfc822" + parameter + b"\r\n\r\n" + inner), OUTSIDE)
    assert (seen.verdict.judged, seen.verdict.reasons) == (Judged.VERIFIED, ())
    assert seen.field("Subject") == ["[...]"]
    assert seen.content == inner
    assert [(layer.kind, layer.where) for layer in seen.verdict.layers] == [
        ("signed", "whole"),
        ("enveloped" if encrypted else "signed", "part"),
    ]


async def test_a_triple_wrap_has_one_payload(desk: Desk) -> None:
    seen = await desk.open(desk.sign(desk.encrypt(desk.sign(CIPHER))), OUTSIDE)
    assert (seen.verdict.judged, seen.verdict.reasons, seen.field("Subject")) == (Judged.VERIFIED, (), ["Biopsy of ward 3"])
