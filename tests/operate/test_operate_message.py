"""``message open`` opens what openssl made; ``message protect`` makes what openssl opens. Everything from files."""

from __future__ import annotations

import datetime as dt
import json
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from gateway.operate.cli import main
from tests.pki import Ca, Issued, expired

MAIL = b"From: results@laboratory.example\r\nTo: cardiology@hospital.example\r\nSubject: Befund\r\n"
NOW = dt.datetime.now(dt.UTC)  # openssl signs with the clock of the machine
ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nAlles in Ordnung.\r\n"


@dataclass
class Desk:
    """A folder with the files of two people, and commands run in it."""

    folder: Path
    ca: Ca
    author: Issued
    reader: Issued

    def path(self, name: str, data: bytes | None = None) -> str:
        if data is not None:
            (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    def openssl(self, *arguments: str, given: bytes) -> bytes:
        return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, cwd=self.folder).stdout

    def sign(self, who: str = "author") -> bytes:
        """A signed message as openssl writes it: its own MIME header, ours in front."""
        return self.openssl("cms", "-sign", "-signer", f"{who}.pem", "-inkey", f"{who}.key", given=ENTITY)

    def encrypt(self, entity: bytes) -> bytes:
        return self.openssl("cms", "-encrypt", "-aes256", "reader.pem", given=entity)


@pytest.fixture(scope="module")
def people() -> tuple[Ca, Issued, Issued]:
    ca = Ca.root()
    return ca, ca.signer("results@laboratory.example", "rsa2048"), ca.reader("cardiology@hospital.example")


@pytest.fixture
def desk(tmp_path: Path, people: tuple[Ca, Issued, Issued]) -> Desk:
    ca, author, reader = people
    author.write(tmp_path, "author")
    reader.write(tmp_path, "reader")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "ca.crl").write_bytes(ca.crl(at=NOW))
    return Desk(tmp_path, ca, author, reader)


def run(*arguments: str, given: bytes = b"") -> Result:
    result = CliRunner().invoke(main, ["message", *arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def opened(desk: Desk, message: bytes, *more: str) -> tuple[int, dict[str, Any]]:
    given = ("--key", desk.path("reader.key"), "--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    result = run("open", desk.path("message.eml", message), *given, "--json", *more)
    return result.exit_code, json.loads(result.stdout)


def test_the_protected_subject_is_told(desk: Desk) -> None:
    """RFC 9788, as the mailbox is shown it."""
    inner = b"From: results@laboratory.example\r\nSubject: Befund\r\nHP-Outer: From: results@laboratory.example\r\n"
    inner += b'HP-Outer: Subject: [...]\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nAlles in Ordnung.\r\n'
    signed = desk.openssl("cms", "-sign", "-signer", "author.pem", "-inkey", "author.key", given=inner)
    message = MAIL.replace(b"To: cardiology@hospital.example\r\n", b"").replace(b"Befund", b"[...]") + desk.encrypt(signed)
    status, told = opened(desk, message, "--output", desk.path("out.eml"))
    assert (status, told["verdict"], told["reasons"], told["subject"]) == (0, "verified", [], "Befund")
    assert b"\nSubject: Befund\r\n" in Path(desk.path("out.eml")).read_bytes()


def test_what_was_encrypted_is_written_for_its_owner_alone(desk: Desk) -> None:
    opened(desk, MAIL + desk.encrypt(desk.sign()), "--output", desk.path("out.eml"))
    assert stat.S_IMODE(Path(desk.path("out.eml")).stat().st_mode) == 0o600


def test_a_header_that_our_marks_make_too_long_is_no_fault(desk: Desk) -> None:
    field = b"X: " + b"x" * 900 + b"\r\n"
    count, rest = divmod(256 * 1024 - len(MAIL) - 2, len(field))
    message = MAIL + field * (count - 1) + b"Y: " + b"x" * (len(field) + rest - 5) + b"\r\n\r\nx\r\n"
    status, told = opened(desk, message)
    assert (status, told["verdict"]) == (1, "unsigned")


def test_signed_and_encrypted_by_openssl_is_verified(desk: Desk) -> None:
    status, told = opened(desk, MAIL + desk.encrypt(desk.sign()), "--output", desk.path("out.eml"))
    assert status == 0
    assert (told["verdict"], told["encrypted"], told["reasons"]) == ("verified", True, [])
    assert told["from"] == ["results@laboratory.example"]
    assert [layer["kind"] for layer in told["layers"]] == ["enveloped", "signed"]
    assert told["layers"][1]["signers"][0]["trust"] == "trusted"
    written = (desk.folder / "out.eml").read_bytes()
    assert b"Alles in Ordnung." in written
    assert b"smime=pass" in written


def test_for_people_it_says_the_same(desk: Desk) -> None:
    given = ("--key", desk.path("reader.key"), "--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    result = run("open", desk.path("m", MAIL + desk.encrypt(desk.sign())), *given)
    assert result.exit_code == 0
    assert result.stdout.startswith("verdict    verified, on the word of public-ca\n")
    assert "CN=results@laboratory.example" in result.stdout


def test_a_file_with_unix_line_ends_is_read_as_the_mail_it_was(desk: Desk) -> None:
    message = (MAIL + desk.encrypt(desk.sign())).replace(b"\r\n", b"\n")
    assert opened(desk, message)[1]["verdict"] == "verified"


def test_standard_input_is_a_dash(desk: Desk) -> None:
    given = ("--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    assert run("open", "-", *given, given=MAIL + desk.sign()).exit_code == 0


def test_the_key_may_be_in_pkcs12_with_its_passphrase_in_a_file(desk: Desk) -> None:
    bundle = pkcs12.serialize_key_and_certificates(
        b"reader", desk.reader.issuing, desk.reader.certificate, None, BestAvailableEncryption(b"a passphrase")
    )
    given = ("--key", desk.path("reader.p12", bundle), "--passphrase", desk.path("passphrase", b"a passphrase\n"))
    trust = ("--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    assert run("open", desk.path("m", MAIL + desk.encrypt(desk.sign())), *given, *trust).exit_code == 0
    wrong = ("--key", desk.path("reader.p12"), "--passphrase", desk.path("passphrase", b"another"))
    assert run("open", desk.path("m"), *wrong, *trust).exit_code == 2


def test_the_certificate_may_be_in_the_key_file_or_in_one_more(desk: Desk) -> None:
    message = desk.path("m", MAIL + desk.encrypt(desk.sign()))
    trust = ("--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    both = desk.path("both", desk.reader.pem + desk.reader.key_pem)
    assert run("open", message, "--key", both, *trust).exit_code == 0
    alone, certificate = desk.path("alone", desk.reader.key_pem), desk.path("certificate.der", desk.reader.der)
    assert run("open", message, "--key", alone, "--key", certificate, *trust).exit_code == 0
    assert run("open", message, "--key", alone, *trust).exit_code == 2


def test_a_soft_missing_crl_is_a_mark_and_a_hard_one_denies(desk: Desk) -> None:
    message = desk.path("m", MAIL + desk.sign())
    soft = run("open", message, "--trust", desk.path("ca.pem"), "--json")
    assert (soft.exit_code, json.loads(soft.stdout)["reasons"]) == (0, ["REVOCATION_UNKNOWN"])
    hard = run("open", message, "--trust", desk.path("ca.pem"), "--revocation", "hard", "--json")
    assert (hard.exit_code, json.loads(hard.stdout)["reasons"]) == (1, ["REVOCATION_UNKNOWN"])


def test_each_fault_has_its_reason_and_ends_with_1(desk: Desk) -> None:
    stranger = Ca.root("CN=Another Root")
    cases: list[tuple[bytes, str]] = []
    tampered = (MAIL + desk.sign()).replace(b"Alles in Ordnung", b"Nichts in Ordnung")
    cases.append((tampered, "BAD_DIGEST"))
    cases.append(((MAIL + desk.sign()).replace(b"From: results", b"From: billing"), "FROM_MISMATCH"))
    expired(desk.ca).write(desk.folder, "expired")
    cases.append((MAIL + desk.sign("expired"), "EXPIRED"))
    stranger.signer("results@laboratory.example").write(desk.folder, "foreign")
    cases.append((MAIL + desk.sign("foreign"), "CHAIN"))
    for message, reason in cases:
        status, told = opened(desk, message)
        assert (status, told["verdict"], told["reasons"]) == (1, "signed-unverified", [reason])
    desk.path("ca.crl", desk.ca.crl(revoked=[desk.author], at=NOW))
    status, told = opened(desk, MAIL + desk.sign())
    assert (status, told["reasons"]) == (1, ["REVOKED"])


def test_a_message_to_somebody_else_is_undecryptable(desk: Desk) -> None:
    desk.ca.reader("nobody@hospital.example").write(desk.folder, "nobody")
    message = desk.openssl("cms", "-encrypt", "-aes256", "nobody.pem", given=ENTITY)
    status, told = opened(desk, MAIL + message)
    assert (status, told["verdict"], told["reasons"]) == (1, "undecryptable", ["NO_KEY"])


def test_an_unsigned_message_is_no_more_than_that(desk: Desk) -> None:
    status, told = opened(desk, MAIL + ENTITY)
    assert (status, told["verdict"]) == (1, "unsigned")


def test_the_time_to_judge_at_may_be_given(desk: Desk) -> None:
    assert opened(desk, MAIL + desk.sign(), "--at", "2026-01-01T00:00:00Z")[1]["reasons"] == ["SIGNING_TIME"]
    assert opened(desk, MAIL + desk.sign(), "--at", "2050-01-01")[1]["reasons"] == ["EXPIRED"]
    assert run("open", desk.path("m", MAIL + ENTITY), "--at", "yesterday").exit_code == 2


@pytest.mark.parametrize("option", ["--key", "--trust", "--crl"])
def test_a_file_that_is_something_else_is_wrong_usage(desk: Desk, option: str) -> None:
    message = desk.path("m", MAIL + ENTITY)
    assert run("open", message, option, desk.path("else", b"something else")).exit_code == 2
    assert run("open", message, option, desk.path("none")).exit_code == 2


def test_what_protect_makes_openssl_opens_and_verifies(desk: Desk) -> None:
    given = ("--sign-key", desk.path("author.key"), "--encrypt-to", desk.path("reader.pem"))
    trust = ("--trust", desk.path("ca.pem"), "--crl", desk.path("ca.crl"))
    result = run("protect", desk.path("m", MAIL + ENTITY), *given, *trust, "--output", desk.path("out.eml"), "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told == {
        "protected": True,
        "signed_by": "CN=results@laboratory.example",
        "encrypted_to": ["CN=cardiology@hospital.example"],
        "algorithms": ["aes256-cbc (default), rsa-pkcs1 (default)"],
    }
    wire = (desk.folder / "out.eml").read_bytes()
    assert b"Alles in Ordnung" not in wire
    assert b"\r\nSubject: [...]\r\n" in wire
    inside = desk.openssl("cms", "-decrypt", "-inkey", "reader.key", "-recip", "reader.pem", given=wire)
    clear = desk.openssl("cms", "-verify", "-CAfile", "ca.pem", "-crlfeol", "-purpose", "any", given=inside)
    assert clear.startswith(MAIL)
    assert clear.endswith(b';\r\n hp="cipher"\r\n\r\nAlles in Ordnung.\r\n')
    status, opened_again = opened(desk, wire)
    assert (status, opened_again["verdict"], opened_again["subject"]) == (0, "verified", "Befund")


@pytest.mark.parametrize(
    ("options", "subject", "author"),
    [
        (("--headers", "off"), b"Befund", b"Results <results@laboratory.example>"),
        (("--headers", "none"), b"Befund", b"Results <results@laboratory.example>"),
        (("--headers", "shy"), b"[...]", b"results@laboratory.example"),
    ],
)
def test_protect_hides_of_the_header_what_is_asked(desk: Desk, options: tuple[str, ...], subject: bytes, author: bytes) -> None:
    mail = MAIL.replace(b"results@laboratory.example", b"Results <results@laboratory.example>") + ENTITY
    made = run("protect", "-", "--sign-key", desk.path("author.key"), "--encrypt-to", desk.path("reader.pem"), *options, given=mail)
    assert made.stdout_bytes.startswith(b"From: %b\r\n" % author)
    assert b"\r\nSubject: %b\r\n" % subject in made.stdout_bytes
    status, told = opened(desk, made.stdout_bytes)
    assert (status, told["verdict"], told["subject"]) == (0, "verified", "Befund")


def test_headers_are_for_what_is_given_by_hand(desk: Desk, site: Path) -> None:
    given = ("--to", "desk@fax.example", "--config", str(site / "gateway.toml"))
    assert run("protect", desk.path("m", MAIL + ENTITY), *given, "--headers", "off").exit_code == 2
    assert run("protect", desk.path("m"), *given, "--legacy-display").exit_code == 2


@pytest.mark.parametrize("also", [(), ("reader.pem",)])
def test_a_certificate_may_ask_for_gcm_and_all_readers_must_open_it(desk: Desk, also: tuple[str, ...]) -> None:
    """RFC 4262. What openssl opens is one message, so that its cipher is one that everybody opens."""
    gcm = bytes.fromhex("300D300B060960864801650304012E")
    desk.ca.reader("cardiology@hospital.example", "p256", capabilities=gcm).write(desk.folder, "modern")
    given = [word for name in ("modern.pem", *also) for word in ("--encrypt-to", desk.path(name))]
    result = run("protect", desk.path("m", MAIL + ENTITY), *given, "--output", desk.path("out.eml"), "--json")
    why = "aes256-cbc (default)" if also else "aes256-gcm (certificate)"
    assert json.loads(result.stdout)["algorithms"] == [f"{why}, ecdh (key)", f"{why}, rsa-pkcs1 (default)"][: 1 + len(also)]
    wire = (desk.folder / "out.eml").read_bytes()
    assert (b"authEnveloped-data" in wire) is not bool(also)
    for name in ("modern", "reader")[: 1 + len(also)]:
        clear = desk.openssl("cms", "-decrypt", "-inkey", f"{name}.key", "-recip", f"{name}.pem", given=wire)
        assert clear.endswith(b"\r\n\r\nAlles in Ordnung.\r\n")


def test_for_people_it_says_how_each_is_encrypted_to(desk: Desk) -> None:
    given = ("--encrypt-to", desk.path("reader.pem"), "--output", desk.path("out.eml"))
    result = run("protect", desk.path("m", MAIL + ENTITY), *given)
    assert result.stdout == "CN=cardiology@hospital.example: aes256-cbc (default), rsa-pkcs1 (default)\n"


def test_without_output_the_message_goes_to_standard_output(desk: Desk) -> None:
    result = run("protect", "-", "--encrypt-to", desk.path("reader.pem"), given=MAIL + ENTITY)
    assert result.exit_code == 0
    assert b"application/pkcs7-mime" in result.stdout_bytes
    assert result.stdout_bytes.startswith(b"From: results@laboratory.example\r\n")


def test_with_trust_nothing_is_encrypted_to_whom_it_does_not_cover(desk: Desk) -> None:
    Ca.root("CN=Another Root").reader("cardiology@hospital.example").write(desk.folder, "foreign")
    given = ("--encrypt-to", desk.path("foreign.pem"), "--trust", desk.path("ca.pem"), "--output", desk.path("out.eml"))
    result = run("protect", desk.path("m", MAIL + ENTITY), *given, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["distrusted"][0]["reason"] == "CHAIN"
    assert not (desk.folder / "out.eml").exists()


def test_the_certificates_behind_that_of_the_reader_are_his_path(desk: Desk) -> None:
    """As a key's certificate file has them: the leaf, then what stands between it and the root."""
    desk.ca.intermediate("CN=Between").reader("cardiology@hospital.example").write(desk.folder, "below")
    given = ("--encrypt-to", desk.path("below.pem"), "--trust", desk.path("ca.pem"))
    result = run("protect", desk.path("m", MAIL + ENTITY), *given, "--output", desk.path("out.eml"), "--json")
    assert (result.exit_code, json.loads(result.stdout)["encrypted_to"]) == (0, ["CN=cardiology@hospital.example"])


def test_protect_with_nothing_to_do_it_with_is_wrong_usage(desk: Desk) -> None:
    assert run("protect", desk.path("m", MAIL + ENTITY)).exit_code == 2


class TestConfigured:
    def test_open_without_running_agents_is_unavailable(self, desk: Desk, site: Path) -> None:
        reader = x509.load_pem_x509_certificate((site / "keys/decrypt.pem").read_bytes())
        desk.path("own.pem", reader.public_bytes(Encoding.PEM))
        message = desk.path("m", MAIL + desk.openssl("cms", "-encrypt", "-aes256", "own.pem", given=ENTITY))
        assert run("open", message, "--config", str(site / "gateway.toml")).exit_code == 3

    def test_an_unsigned_message_needs_no_agent(self, desk: Desk, site: Path) -> None:
        result = run("open", desk.path("m", MAIL + ENTITY), "--config", str(site / "gateway.toml"), "--json")
        assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (1, "unsigned")

    def test_protect_makes_the_copies_of_the_outbound_flow(self, desk: Desk, site: Path) -> None:
        mail = MAIL.replace(b"results@laboratory.example", b"cardiology@hospital.example")
        given = ("--to", "desk@fax.example", "--to", "nobody@laboratory.example", "--json")
        result = run("protect", desk.path("m", mail + ENTITY), *given, "--config", str(site / "gateway.toml"))
        assert result.exit_code == 1
        told = json.loads(result.stdout)
        assert [(copy["hop"], copy["to"]) for copy in told["copies"]] == [("route:smarthost", ["desk@fax.example"])]
        assert [(each["outcome"], each["reason"]) for each in told["others"]] == [("refuse", "NO_CERTIFICATE")]
        assert "content_cipher" not in told["copies"][0]

    def test_protect_says_how_each_is_encrypted_to(self, desk: Desk, site: Path) -> None:
        text = (site / "gateway.toml").read_text().replace('protect = "both"', 'protect = "encrypt"')
        (site / "gateway.toml").write_text(text.replace('outbound = "smarthost"', 'outbound = "smarthost"\nto_sender = true'))
        mail = MAIL.replace(b"results@laboratory.example", b"cardiology@hospital.example").replace(b"Befund", b"[held]")
        given = ("--to", "results@laboratory.example", "--json", "--config", str(site / "gateway.toml"))
        result = run("protect", desk.path("m", mail + ENTITY), *given)
        [copy] = json.loads(result.stdout)["copies"]
        assert (copy["content_cipher"], copy["besides"]) == ("aes256-cbc", ["key decrypt"])
        assert copy["algorithms"] == {"results@laboratory.example": "aes256-cbc (default), rsa-pkcs1 (default)"}
