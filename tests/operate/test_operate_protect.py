"""``message protect`` from files: which certificates it refuses and why, the forms it writes, and mail that is no mail."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.operate.cli import main
from tests import pki
from tests.pki import Ca, Issued
from tests.smime.openssl import decrypt, openssl

AUTHOR, READER = "results@laboratory.example", "cardiology@hospital.example"
HEADER = f"From: {AUTHOR}\r\nTo: {READER}\r\nSubject: Befund\r\n".encode()
ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAlles in Ordnung.\r\n"
AT = "2026-03-01T12:00:00Z"


@dataclass
class Desk:
    """A folder, an authority, and the command run in it at the time of the certificates."""

    folder: Path
    ca: Ca

    def path(self, name: str, data: bytes) -> Path:
        (self.folder / name).write_bytes(data)
        return self.folder / name

    def protect(self, *options: str | Path, message: bytes = HEADER + ENTITY) -> tuple[int, dict[str, Any]]:
        given = ("message", "protect", self.path("mail.eml", message), "--at", AT, "--output", self.folder / "out.eml", "--json")
        result = CliRunner().invoke(main, [str(each) for each in (*given, *options)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, json.loads(result.stdout)

    @property
    def written(self) -> bytes:
        return (self.folder / "out.eml").read_bytes()

    def signing(self, issued: Issued) -> tuple[str | Path, ...]:
        certificate, key = issued.write(self.folder, "author")
        return ("--sign-key", key, "--sign-key", certificate)

    def reading(self, issued: Issued, name: str = "reader") -> tuple[str | Path, ...]:
        return ("--encrypt-to", issued.write(self.folder, name)[0])


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture
def desk(tmp_path: Path, ca: Ca) -> Desk:
    return Desk(tmp_path, ca)


def a_week(*, ago: bool) -> dt.datetime:
    return pki.NOW + dt.timedelta(days=-7 if ago else 7)


UNFIT_READERS: dict[str, tuple[str, Callable[[Ca], Issued]]] = {
    "for signatures": ("KEY_USAGE", lambda ca: ca.signer(READER)),
    "EC for signatures": ("KEY_USAGE", lambda ca: ca.reader(READER, "p256", ku=["digital_signature", "key_encipherment"])),
    "for code": ("EKU", lambda ca: ca.reader(READER, eku=["code"])),
    "expired": ("EXPIRED", lambda ca: ca.reader(READER, not_after=a_week(ago=True))),
    "not yet valid": ("NOT_YET_VALID", lambda ca: ca.reader(READER, not_before=a_week(ago=False))),
    "a short key": ("WEAK_ALGORITHM", lambda ca: ca.reader(READER, "rsa1024")),
    "an authority": ("KEY_USAGE", lambda ca: Issued(ca.certificate, ca.key, ())),
    "a key that signs": ("UNSUPPORTED", lambda ca: ca.reader(READER, "ed25519")),
    "somebody else's": ("ADDRESS_MISMATCH", lambda ca: ca.reader("nobody@hospital.example")),
    "nobody's": ("ADDRESS_MISMATCH", lambda ca: ca.leaf("CN=Cardiology", ku=["key_encipherment"], kind="rsa2048")),
    "another domain's": ("ADDRESS_MISMATCH", lambda ca: ca.organisation_reader("clinic.example")),
}


@pytest.mark.parametrize("trusting", [False, True], ids=["", "with trust"])
@pytest.mark.parametrize("name", UNFIT_READERS)
def test_a_certificate_that_may_not_be_encrypted_to_is_refused(desk: Desk, name: str, trusting: bool) -> None:
    """Certificate and rule are named, and nothing is written; no anchors are needed for what it says of itself."""
    reason, make = UNFIT_READERS[name]
    issued = make(desk.ca)
    trust = ("--trust", desk.path("ca.pem", desk.ca.pem)) if trusting else ()
    status, told = desk.protect(*desk.reading(issued), *trust)
    assert (status, told["protected"]) == (1, False)
    [doubt] = told["distrusted"]
    assert (doubt["subject"], doubt["reason"]) == (issued.certificate.subject.rfc4514_string(), reason)
    assert doubt["subject"] in doubt["detail"]
    assert not (desk.folder / "out.eml").exists()


UNFIT_AUTHORS: dict[str, tuple[str, Callable[[Ca], Issued]]] = {
    "for encryption": ("KEY_USAGE", lambda ca: ca.reader(AUTHOR)),
    "for key agreement": ("KEY_USAGE", lambda ca: ca.reader(AUTHOR, "p256")),
    "for code": ("EKU", lambda ca: ca.signer(AUTHOR, eku=["code"])),
    "expired": ("EXPIRED", pki.expired),
    "not yet valid": ("NOT_YET_VALID", pki.not_yet_valid),
    "a short key": ("WEAK_ALGORITHM", lambda ca: ca.signer(AUTHOR, "rsa1024")),
    "a key that opens": ("UNSUPPORTED", lambda ca: ca.signer(AUTHOR, "x25519")),
    "somebody else's": ("FROM_MISMATCH", lambda ca: ca.signer("billing@laboratory.example")),
}


@pytest.mark.parametrize("name", UNFIT_AUTHORS)
def test_a_certificate_that_may_not_be_signed_by_is_refused(desk: Desk, name: str) -> None:
    reason, make = UNFIT_AUTHORS[name]
    issued = make(desk.ca)
    status, told = desk.protect(*desk.signing(issued))
    assert (status, [doubt["reason"] for doubt in told["distrusted"]]) == (1, [reason])
    assert told["distrusted"][0]["subject"] == issued.certificate.subject.rfc4514_string()


def test_a_signer_nobody_believes_is_refused_with_trust(desk: Desk) -> None:
    foreign = Ca.root("CN=Another Root").signer(AUTHOR)
    status, told = desk.protect(*desk.signing(foreign), "--trust", desk.path("ca.pem", desk.ca.pem))
    assert (status, told["distrusted"][0]["reason"]) == (1, "CHAIN")
    assert desk.protect(*desk.signing(foreign))[0] == 0


def test_every_doubt_is_said_at_once(desk: Desk) -> None:
    some = (
        *desk.signing(pki.expired(desk.ca)),
        *desk.reading(desk.ca.signer(READER)),
        *desk.reading(desk.ca.reader("x@y.example"), "2"),
    )
    assert [doubt["reason"] for doubt in desk.protect(*some)[1]["distrusted"]] == ["EXPIRED", "KEY_USAGE", "ADDRESS_MISMATCH"]


def test_whom_it_is_for_may_be_told(desk: Desk) -> None:
    """Then To and Cc say nothing, and nobody who is told is left without a certificate."""
    other = desk.ca.reader("office@clinic.example")
    for_reader, for_other = desk.reading(desk.ca.reader(READER)), desk.reading(other, "other")
    assert desk.protect(*for_other, "--to", "office@clinic.example")[0] == 0
    assert desk.protect(*for_reader, *for_other, "--to", "office@clinic.example", "--to", READER)[0] == 0
    status, told = desk.protect(*for_reader, "--to", READER, "--to", "office@clinic.example")
    assert (status, [(doubt["subject"], doubt["reason"]) for doubt in told["distrusted"]]) == (1, [(None, "NO_CERTIFICATE")])
    assert "office@clinic.example" in told["distrusted"][0]["detail"]
    status, told = desk.protect(*for_reader, "--to", "office@clinic.example")
    assert [doubt["reason"] for doubt in told["distrusted"]] == ["ADDRESS_MISMATCH", "NO_CERTIFICATE"]


def test_who_writes_may_read_it_too(desk: Desk) -> None:
    own = desk.reading(desk.ca.reader(AUTHOR), "own")
    assert desk.protect(*own, *desk.reading(desk.ca.reader(READER)))[0] == 0
    assert desk.protect(*own, "--from", "billing@laboratory.example")[1]["distrusted"][0]["reason"] == "ADDRESS_MISMATCH"


def test_a_certificate_of_a_domain_speaks_for_it(desk: Desk) -> None:
    """RFC 3183 2.1.1; given by hand it is bound to the domain."""
    given = (
        *desk.signing(desk.ca.organisation_signer("laboratory.example")),
        *desk.reading(desk.ca.organisation_reader("hospital.example")),
    )
    assert desk.protect(*given)[0] == 0


def test_a_message_to_nobody_is_encrypted_to_whom_it_is_told(desk: Desk) -> None:
    assert desk.protect(*desk.reading(desk.ca.reader(READER)), message=ENTITY)[0] == 0


def test_an_author_who_is_not_clear_does_not_sign(desk: Desk) -> None:
    message = HEADER.replace(b"From: ", b"From: b@laboratory.example, ") + ENTITY
    status, told = desk.protect(*desk.signing(desk.ca.signer(AUTHOR)), message=message)
    assert (status, told["distrusted"][0]["reason"]) == (1, "FROM_AMBIGUOUS")
    assert desk.protect(*desk.reading(desk.ca.reader(READER)), message=message)[0] == 0


@pytest.mark.parametrize("encrypted", [False, True], ids=["in clear", "encrypted"])
@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_what_is_opaque_openssl_verifies(desk: Desk, kind: str, encrypted: bool) -> None:
    root, reader = desk.path("ca.pem", desk.ca.pem), desk.ca.reader(READER)
    eight_bit = HEADER + ENTITY.replace(b"Alles", "Für heute alles".encode())
    more = desk.reading(reader) if encrypted else ()
    given = (*desk.signing(desk.ca.signer(AUTHOR, kind)), *more, "--opaque", "--headers", "off")
    assert desk.protect(*given, message=eight_bit)[0] == 0
    written = decrypt(desk.written, *reader.write(desk.folder, "reader"), "SMIME") if encrypted else desk.written
    assert b"smime-type=signed-data" in written
    assert written.isascii()
    shown = openssl("cms", "-verify", "-inform", "SMIME", "-CAfile", root, "-purpose", "smimesign", "-binary", data=written)
    assert shown == eight_bit.removeprefix(HEADER)


def test_opaque_needs_a_key(desk: Desk) -> None:
    status, told = desk.protect(*desk.reading(desk.ca.reader(READER)), "--opaque")
    assert (status, told["error"]) == (2, "usage")


def test_a_key_for_pss_alone_finds_its_certificate(desk: Desk) -> None:
    """Its file calls it RSA or PSS, its certificate PSS (RFC 4055 1.2)."""
    certificate, key = desk.folder / "pss.pem", desk.folder / "pss.key"
    names = ("-subj", f"/CN=pss/emailAddress={AUTHOR}", "-addext", "basicConstraints=critical,CA:FALSE")
    openssl("req", "-x509", "-newkey", "rsa-pss", "-noenc", *names, "-keyout", key, "-out", certificate)
    own = ("--sign-key", key, "--sign-key", certificate)
    status, told = desk.protect(*own, "--at", dt.datetime.now(dt.UTC).isoformat(), "--headers", "off")
    assert (status, told["protected"]) == (0, True)
    shown = openssl("cms", "-verify", "-inform", "SMIME", "-noverify", data=desk.written)
    assert shown.replace(b"\r\n", b"\n") == ENTITY.replace(b"\r\n", b"\n")


NO_MAIL: dict[str, tuple[bytes, int]] = {
    "a CR alone": (HEADER + ENTITY + b"ab\rc\r\n", 7),
    "an LF alone": (HEADER + ENTITY + b"ab\nc\r\n", 7),
    "NUL": (HEADER + ENTITY + b"a\0b\r\n", 7),
    "two CR": (HEADER + b"X: y\r\r\n" + ENTITY, 4),
    "a CRLF among LF": ((HEADER + ENTITY).replace(b"\r\n", b"\n") + b"\r\n", 7),
    "a CR at the end of no line": (b"From: x\r", 1),
    "a CR alone among LF": ((HEADER + ENTITY).replace(b"\r\n", b"\n") + b"a\rb\n", 7),
    "no UTF-8 in the header": (HEADER.replace(b"Befund", b"R\xe9sultat") + ENTITY, 3),
    "a long line in the header": (HEADER + b"X: " + b"y" * 999 + b"\r\n" + ENTITY, 4),
}


@pytest.mark.parametrize("encrypted", [False, True], ids=["signed", "encrypted"])
@pytest.mark.parametrize("name", NO_MAIL)
def test_what_is_no_mail_is_refused_with_its_line(desk: Desk, name: str, encrypted: bool) -> None:
    """Nothing of it is mended in silence."""
    message, line = NO_MAIL[name]
    how = desk.reading(desk.ca.reader(READER)) if encrypted else desk.signing(desk.ca.signer(AUTHOR))
    status, told = desk.protect(*how, message=message)
    assert (status, told["error"]) == (2, "MALFORMED")
    assert f"line {line} of the message" in told["detail"]
    assert not (desk.folder / "out.eml").exists()


@pytest.mark.parametrize("ends", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_a_body_without_a_header_is_one(desk: Desk, ends: bytes) -> None:
    """Its lines may be of any length, and of any letters."""
    message = b"\r\n" + b"x" * 2000 + b"\r\n\xe9\r\n\r\nend\r\n"
    reader = desk.ca.reader(READER)
    given = (*desk.reading(reader), "--headers", "off")
    assert desk.protect(*given, message=message.replace(b"\r\n", ends))[0] == 0
    assert decrypt(desk.written, *reader.write(desk.folder, "reader"), "SMIME") == message


UNENCODABLE: dict[str, tuple[bytes, int]] = {
    "a long line in base64": (
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n" + b"A" * 1000 + b"\r\n",
        8,
    ),
    "8bit in quoted-printable": (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nok\r\n\xe9\r\n", 7),
    "8bit in the header of a part": (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: \xc3\xa9\r\n\r\nx\r\n--b--\r\n",
        7,
    ),
    "8bit in a signed part": (
        b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b\r\n\r\nx\r\n--b--\r\n",
        8,
    ),
}


@pytest.mark.parametrize("name", UNENCODABLE)
@pytest.mark.parametrize("ends", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_what_cannot_be_made_7bit_is_refused_with_its_line(desk: Desk, name: str, ends: bytes) -> None:
    """RFC 8551 3.1.3, in the lines of the file that was given. Opaque, or encrypted, it needs not be 7-bit."""
    entity, line = UNENCODABLE[name]
    message, how = (HEADER + entity).replace(b"\r\n", ends), desk.signing(desk.ca.signer(AUTHOR))
    status, told = desk.protect(*how, message=message)
    assert (status, told["error"]) == (2, "MALFORMED")
    assert f"line {line} of the message" in told["detail"]
    assert desk.protect(*how, "--opaque", message=message)[0] == 0
    assert desk.protect(*how, *desk.reading(desk.ca.reader(READER)), message=message)[0] == 0
