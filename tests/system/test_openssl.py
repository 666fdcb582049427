"""The running gateway against openssl: what it emits openssl opens, and what openssl makes it opens, each fault with its reason."""

from __future__ import annotations

import base64
import datetime as dt
import quopri
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from demo.site import Site
from tests.flow.opened import encrypt, sign
from tests.pki import Ca, Issued, foreign
from tests.smime.openssl import decrypt, openssl, verify_message
from tests.system.lab import HOSPITAL, LABORATORY, RECIPIENT, SENDER, Lab, as_peer, events, letter, send, until
from tests.system.postfix import Postfix
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

CLINIC = "clinic.example"
DOCTOR = f"doctor@{CLINIC}"
EIGHT_BIT = (
    'Content-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\nContent-Type: text/plain; charset=utf-8\r\n'
    "Content-Transfer-Encoding: 8bit\r\n\r\nRésultat : œdème\r\n.\r\n--in--\r\n"
).encode()
SEVEN_BIT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nResult: all well.\r\n.leading dot\r\n"

CLINIC_PEER = """
[[peer]]
name = "clinic"
domains = ["clinic.example", "signed.example", "maternity.example"]
host = "127.0.0.1"
port = {port}
names = ["gateway.clinic.example"]
"""

SIGNED_ONLY = """
[[rule]]
name = "signed-only"
protect = "sign"
when = { recipient = ["@signed.example"] }
"""


@dataclass
class World:
    """A hospital's gateway that sends to a sink, a laboratory's that receives from us; we hold the keys of the clinic."""

    lab: Lab
    hospital: Site
    laboratory: Site
    sink: Sink
    behind: Postfix
    peer: Issued
    readers: dict[str, Issued]
    doctor: Issued
    revoked: Issued
    others: Ca

    def bring(self, message: bytes, recipient: str = RECIPIENT) -> dict[str, Any]:
        """Hands ``message`` to the laboratory as the clinic's gateway; gives the audit line of its opening."""
        reply = self.hand_over(message, recipient)
        (mail,) = re.findall(r"Accepted as (\w+)", reply)
        return until(lambda: events(self.laboratory, "mail_opened", mail=mail), "the opening")[0]

    def hand_over(self, message: bytes, recipient: str = RECIPIENT) -> str:
        """The reply to the message, which is 250."""
        with as_peer(self.laboratory, self.peer.write(self.lab.folder, "clinic")) as session:
            session.mail(DOCTOR, ["BODY=8BITMIME"])
            session.rcpt(recipient)
            code, reply = session.data(message)
        assert code == 250, reply
        return reply.decode()

    def arrived(self, subject: bytes) -> bytes:
        """The mail in the mailbox, with CRLF line ends."""

        def look() -> list[bytes]:
            mails = (path.read_bytes() for path in self.behind.mails(RECIPIENT))
            return [mail for mail in mails if b"\nSubject: " + subject + b"\n" in mail]

        return until(look, "the mail in the mailbox")[0].replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("openssl")
    with Lab(folder) as lab:
        peer = lab.ca.gateway("gateway.clinic.example")
        readers = {
            CLINIC: lab.ca.organisation_reader(CLINIC),
            "maternity.example": lab.ca.organisation_reader("maternity.example", "p384"),
        }
        revoked = lab.ca.signer(DOCTOR, "rsa2048")
        lab.revoke(revoked)
        sink = lab.enter(Sink(folder, peer, lab.ca))
        behind = lab.enter(Postfix("mail.laboratory.example", (LABORATORY,), (RECIPIENT,)))
        hospital, laboratory = lab.site("hospital", HOSPITAL), lab.site("laboratory", LABORATORY, mail_server=behind.port)
        for site in (hospital, laboratory):
            with (site.folder / "zones" / "lab.toml").open("a") as zone:
                zone.write(CLINIC_PEER.format(port=sink.port))
        for name in ("one", "two", "three"):
            readers[name] = lab.ca.reader(f"{name}@{CLINIC}")
        for name, reader in readers.items():
            (hospital.folder / "partners" / f"{name}.pem").write_bytes(reader.pem)
        hospital.add(SIGNED_ONLY)
        hospital.start()
        laboratory.start()
        doctor = lab.ca.signer(DOCTOR, "rsa2048")
        yield World(lab, hospital, laboratory, sink, behind, peer, readers, doctor, revoked, Ca.root())


# What leaves


def structure(message: bytes) -> bytes:
    """The CMS structure of an application/pkcs7-mime message, DER."""
    head, _, body = message.partition(b"\r\n\r\n")
    assert b"application/pkcs7-mime" in head
    return base64.b64decode(body)


@pytest.mark.parametrize("domain", [CLINIC, "maternity.example"], ids=["rsa", "ec"])
@pytest.mark.parametrize("entity", [EIGHT_BIT, SEVEN_BIT], ids=["8bit", "7bit"])
def test_openssl_opens_what_leaves(world: World, tmp_path: Path, domain: str, entity: bytes) -> None:
    """Decrypted and verified by openssl, the entity equals the one that was sent, 8bit kept, and has the header that is hidden."""
    recipient, subject = f"office@{domain}", f"to openssl {domain} {len(entity)}"
    send(world.hospital.inside, letter(subject, entity, recipients=[recipient]), [recipient], options=["BODY=8BITMIME"])
    (mail,) = world.sink.got(subject.encode())
    assert b"multipart/mixed" not in mail.content
    assert b"\r\nSubject: [...]\r\n" in mail.content
    assert subject.encode() not in mail.content
    assert (mail.sender, mail.recipients) == (SENDER, [recipient])
    certificate, key = world.readers[domain].write(tmp_path, "reader")
    signed = decrypt(structure(mail.content), certificate, key)
    payload = verify_message(signed, _copy_of_anchors(world, tmp_path))
    assert content_of(payload) == entity
    assert f"\r\nSubject: {subject}\r\n".encode() in payload
    assert b"\r\nHP-Outer: Subject: [...]\r\n" in payload


def content_of(payload: bytes) -> bytes:
    """A payload without the fields that are protected in it (RFC 9788)."""
    head, _, body = payload.partition(b"\r\n\r\n")
    fields = (field for field in re.split(rb"\r\n(?![ \t])", head) if field.lower().startswith(b"content-"))
    return re.sub(rb';\r\n hp="\w+"', b"", b"\r\n".join(fields)) + b"\r\n\r\n" + body


def test_openssl_verifies_what_is_only_signed(world: World, tmp_path: Path) -> None:
    """Signed and in clear it is made 7-bit first; once decoded, each part is the one that was sent."""
    recipient = "office@signed.example"
    send(world.hospital.inside, letter("signed only", EIGHT_BIT, recipients=[recipient]), [recipient], options=["BODY=8BITMIME"])
    (mail,) = world.sink.got(b"signed only")
    assert mail.content.isascii()
    payload = verify_message(mail.content, _copy_of_anchors(world, tmp_path))
    assert b"\r\nSubject: signed only\r\n" in payload
    assert b"\r\nSubject: signed only\r\n" in mail.content
    signed = content_of(payload)
    head, _, rest = signed.partition(b"\r\n\r\n--in\r\n")
    assert head == EIGHT_BIT.partition(b"\r\n\r\n--in\r\n")[0]
    part_head, _, part = rest.partition(b"\r\n\r\n")
    encoding = re.search(rb"Content-Transfer-Encoding: (\S+)", part_head)
    assert encoding is not None
    part = part.removesuffix(b"\r\n--in--\r\n")
    decoded = base64.b64decode(part) if encoding[1] == b"base64" else quopri.decodestring(part)
    assert decoded == "Résultat : œdème\r\n.".encode()


def test_bcc_recipients_are_not_named_to_others(world: World, tmp_path: Path) -> None:
    """Of three readers with certificates of their own two are blind copies: each gets a message that only he can open."""
    one, two, three = (f"{name}@{CLINIC}" for name in ("one", "two", "three"))
    send(world.hospital.inside, letter("three readers", SEVEN_BIT, recipients=[one]), [one, two, three])
    mails = world.sink.got(b"three readers", 3)
    assert sorted(mail.recipients for mail in mails) == sorted([[one], [two], [three]])
    for mail in mails:
        told = openssl("cms", "-cmsout", "-print", "-inform", "DER", "-noout", data=structure(mail.content))
        assert told.count(b"keyEncryptionAlgorithm") == 1
        name = mail.recipients[0].partition("@")[0]
        certificate, key = world.readers[name].write(tmp_path, name)
        assert SEVEN_BIT.partition(b"\r\n")[2] in decrypt(structure(mail.content), certificate, key)


def _copy_of_anchors(world: World, folder: Path) -> Path:
    """``verify_message`` writes beside the anchors."""
    copy = folder / "root.pem"
    copy.write_bytes(world.lab.anchors.read_bytes())
    return copy


# What arrives


def header(subject: str, sender: str = DOCTOR) -> bytes:
    return (
        f"From: Doctor <{sender}>\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\nDate: Mon, 02 Mar 2026 09:30:00 +0100\r\n"
        f"Message-ID: <{subject.replace(' ', '-')}@{CLINIC}>\r\n"
    ).encode()


def reader(world: World) -> Issued:
    """The laboratory's certificate; nobody has its key but its token."""
    pem = (world.laboratory.folder / "certificates" / "laboratory-decrypt.pem").read_bytes()
    return Issued(x509.load_pem_x509_certificate(pem), world.doctor.key, ())


def entity_of(mail: bytes) -> bytes:
    """Content-* fields and body of a mail in the mailbox."""
    head, _, body = mail.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    return b"".join(field + b"\r\n" for field in fields if field.lower().startswith(b"content-")) + b"\r\n" + body


@pytest.mark.parametrize(
    ("name", "sign_options", "encrypt_options"),
    [
        ("detached", (), ("-aes-256-cbc",)),
        ("opaque", ("-nodetach",), ("-aes-256-cbc",)),
        ("streamed", ("-nodetach", "-stream"), ("-aes-128-cbc", "-stream")),
        ("gcm", ("-keyid",), ("-aes-256-gcm", "-stream")),
    ],
)
def test_what_openssl_makes_is_verified(
    world: World, tmp_path: Path, name: str, sign_options: Sequence[str], encrypt_options: Sequence[str]
) -> None:
    """Signed and encrypted by openssl, in DER and in indefinite length: verified, and the entity is the one that went in."""
    signed = sign(tmp_path, EIGHT_BIT, world.doctor, options=sign_options)
    opened = world.bring(header(f"made {name}") + encrypt(tmp_path, signed, reader(world), options=encrypt_options))
    assert (opened["verdict"], opened["encrypted"], opened["assurance"]) == ("verified", True, "zone")
    assert "reasons" not in opened
    mail = world.arrived(f"made {name}".encode())
    assert entity_of(mail) == EIGHT_BIT
    assert b"smime=pass" in mail


def test_der_of_our_own_wrapping_is_verified(world: World, tmp_path: Path) -> None:
    """The same from ``-outform DER``, put into MIME by us."""
    signed = openssl("cms", "-sign", "-binary", "-nodetach", "-outform", "DER", *_by(world.doctor, tmp_path), data=SEVEN_BIT)
    opened = world.bring(header("made der") + pkcs7_mime("signed-data", signed))
    assert (opened["verdict"], opened["encrypted"]) == ("verified", False)
    assert entity_of(world.arrived(b"made der")) == SEVEN_BIT


def test_encryption_alone_earns_no_pass(world: World, tmp_path: Path) -> None:
    """Encrypted to us by anybody: opened, and marked as unsigned."""
    opened = world.bring(header("only encrypted") + encrypt(tmp_path, SEVEN_BIT, reader(world)))
    assert (opened["verdict"], opened["encrypted"]) == ("unsigned", True)
    assert "assurance" not in opened
    mail = world.arrived(b"only encrypted")
    assert b"smime=none" in mail
    assert entity_of(mail) == SEVEN_BIT


def _by(issued: Issued, folder: Path) -> list[str | Path]:
    certificate, key = issued.write(folder, "by")
    return ["-signer", certificate, "-inkey", key]


def pkcs7_mime(kind: str, content: bytes) -> bytes:
    head = f'Content-Type: application/pkcs7-mime; smime-type={kind}; name="smime.p7m"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    return head.encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")


def _tampered(world: World, folder: Path) -> bytes:
    signed = sign(folder, SEVEN_BIT, world.doctor)
    assert signed.count(b"all well") == 1
    return signed.replace(b"all well", b"all fell")


def _bad_signature(world: World, folder: Path) -> bytes:
    signed = openssl("cms", "-sign", "-binary", "-nodetach", "-outform", "DER", *_by(world.doctor, folder), data=SEVEN_BIT)
    return pkcs7_mime("signed-data", signed[:-1] + bytes([signed[-1] ^ 1]))  # the signature is the last thing in it


def _expired(world: World, folder: Path) -> bytes:
    now = dt.datetime.now(dt.UTC)
    begin, finish = now - dt.timedelta(days=3), now - dt.timedelta(days=1)
    return sign(folder, SEVEN_BIT, world.lab.ca.signer(DOCTOR, "rsa2048", not_before=begin, not_after=finish))


def _revoked(world: World, folder: Path) -> bytes:
    return sign(folder, SEVEN_BIT, world.revoked)


def _foreign(world: World, folder: Path) -> bytes:
    return sign(folder, SEVEN_BIT, world.others.signer(DOCTOR, "rsa2048"))


def _same_name(world: World, folder: Path) -> bytes:
    return sign(folder, SEVEN_BIT, foreign(DOCTOR))


def _somebody_else(world: World, folder: Path) -> bytes:
    return sign(folder, SEVEN_BIT, world.lab.ca.signer(f"nurse@{CLINIC}", "rsa2048"))


FAULTS: dict[str, tuple[Callable[[World, Path], bytes], str, str]] = {
    "tampered byte": (_tampered, "BAD_DIGEST", "fail"),
    "tampered signature": (_bad_signature, "BAD_SIGNATURE", "fail"),
    "expired signer": (_expired, "EXPIRED", "policy"),
    "revoked signer": (_revoked, "REVOKED", "policy"),
    "foreign signer": (_foreign, "CHAIN", "policy"),
    "foreign signer of the same issuer name": (_same_name, "CHAIN", "policy"),
    "somebody else": (_somebody_else, "FROM_MISMATCH", "policy"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("encrypted", [False, True], ids=["in clear", "encrypted"])
def test_each_fault_has_its_reason(world: World, tmp_path: Path, fault: str, encrypted: bool) -> None:
    """Delivered, never as verified: one reason in the audit and in the mark."""
    make, reason, result = FAULTS[fault]
    entity = make(world, tmp_path)
    subject = f"{fault} {encrypted}"
    opened = world.bring(header(subject) + (encrypt(tmp_path, entity, reader(world)) if encrypted else entity))
    assert (opened["verdict"], opened["reasons"]) == ("signed-unverified", [reason])
    assert opened["encrypted"] == encrypted
    mail = world.arrived(subject.encode())
    assert f"smime={result}".encode() in mail
    assert b"smime=pass" not in mail
    assert f"reasons={reason}".encode() in mail


def _wrong_recipient(world: World, folder: Path) -> bytes:
    return encrypt(folder, sign(folder, SEVEN_BIT, world.doctor), world.readers[CLINIC])


def _tampered_ciphertext(world: World, folder: Path) -> bytes:
    entity = encrypt(folder, sign(folder, SEVEN_BIT, world.doctor), reader(world), options=("-aes-256-gcm",))
    head, _, body = entity.partition(b"\r\n\r\n")
    content = bytearray(base64.b64decode(body))
    content[len(content) // 2] ^= 1
    return head + b"\r\n\r\n" + base64.encodebytes(bytes(content)).replace(b"\n", b"\r\n")


def _cut_off(world: World, folder: Path) -> bytes:
    entity = encrypt(folder, sign(folder, SEVEN_BIT, world.doctor), reader(world))
    head, _, body = entity.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + base64.encodebytes(base64.b64decode(body)[:-100]).replace(b"\n", b"\r\n")


def _no_cms(world: World, folder: Path) -> bytes:
    return pkcs7_mime("enveloped-data", b"this is no structure at all")


UNOPENABLE: dict[str, tuple[Callable[[World, Path], bytes], str, str]] = {
    "wrong recipient": (_wrong_recipient, "undecryptable", "NO_KEY"),
    "tampered ciphertext": (_tampered_ciphertext, "undecryptable", "INTEGRITY"),
    "cut off": (_cut_off, "undecryptable", "INTEGRITY"),  # once a key was used no finer cause is told
    "no structure": (_no_cms, "malformed", "MALFORMED"),
}


@pytest.mark.parametrize("fault", UNOPENABLE)
def test_what_does_not_open_is_accepted_and_held(world: World, tmp_path: Path, fault: str) -> None:
    """250 in the session, since nothing there may tell what a private key found; then held, with its reason, and never lost."""
    make, verdict, reason = UNOPENABLE[fault]
    opened = world.bring(header(f"closed {fault}") + make(world, tmp_path))
    assert (opened["verdict"], opened["reasons"]) == (verdict, [reason])
    held = until(lambda: events(world.laboratory, "mail_held", mail=opened["mail"]), "the hold")
    assert held[0]["reason"] == reason
    listed = {row["mail"]: row for row in world.laboratory.ask("queue", "list", "--state", "held")["mails"]}
    assert listed[opened["mail"]]["reason"] == reason
