"""The whole path on real parts: Postfix, gateway, gateway, Postfix, Dovecot. The entity in the mailbox is the one that was sent."""

from __future__ import annotations

import base64
import hashlib
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.ports import free_port
from demo.site import Site
from tests.system.dovecot import Dovecot
from tests.system.lab import HOSPITAL, LABORATORY, RECIPIENT, Lab, events, letter, send, until
from tests.system.postfix import Postfix

pytestmark = pytest.mark.timeout(300)

MAILBOXES = ("results", "registry", "archive", "director", "seven", "eight", "quoted", "base64", "nested", "utf8", "dots")
ADDED = {  # the header fields that Postfix and the gateways add on the way; no other may be new
    "return-path",
    "delivered-to",
    "x-original-to",
    "received",
    "authentication-results",
    "x-gateway-security",
}

TEXT = "Le résultat de l'analyse est là : 4,2 µmol/l — à contrôler.\r\n".encode()
BINARY = hashlib.shake_256(b"some data").digest(4000)
CONTENT = {
    "seven": b"Content-Type: text/plain; charset=us-ascii\r\n\r\n  spaces around  \r\n\ttab\t\r\nFrom the start\r\n--\r\n\r\n\r\n",
    "eight": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT * 20,
    "quoted": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + quopri.encodestring(TEXT.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    + b"soft=\r\n break=20=\r\n\r\n",
    "base64": b"Content-Type: application/octet-stream; name=data\r\nContent-Disposition: attachment;\r\n\tfilename=data\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(BINARY).replace(b"\n", b"\r\n"),
    "nested": b'Content-Type: multipart/mixed;\r\n boundary="outer boundary"\r\nContent-Language: fr\r\n\r\nThis is a preamble.\r\n'
    b"--outer boundary\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n"
    b"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT + b"\r\n"
    b"--inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>" + TEXT + b"</p>\r\n"
    b"--inner--\r\n\r\n--outer boundary\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: somebody@elsewhere.example\r\nSubject: inside\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\ninside\r\n\r\n"
    b"--outer boundary--\r\nThis is an epilogue.\r\n",
    "dots": b"Content-Type: text/plain\r\n\r\n.\r\n..\r\n.leading\r\n..two\r\n.\r\nQUIT\r\n.",
}


@dataclass
class Way:
    """Every part of the path, running."""

    lab: Lab
    hospital: Site
    laboratory: Site
    before: Postfix
    behind: Postfix
    imap: Dovecot
    starttls: int
    implicit: int

    def arrived(self, address: str, subject: bytes) -> bytes:
        """The message of that subject in the mailbox, once it is there."""

        def look() -> list[bytes]:
            return [message for message in self.imap.messages(address) if b"\r\nSubject: " + subject + b"\r\n" in message]

        return until(look, f"a mail in {address}")[0]


def header_and_body(message: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """The fields, each as it is written, by lower-case name; and the body."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    return [(field.split(b":")[0].decode().lower(), field) for field in fields], body


def same(sent: bytes, mailbox: bytes) -> None:
    """``mailbox`` is ``sent``, byte for byte, but for the marks and traces on top."""
    sent_fields, sent_body = header_and_body(sent)
    fields, body = header_and_body(mailbox)
    assert body == sent_body
    names = {name for name, _ in sent_fields}
    assert [field for field in fields if field[0] in names] == sent_fields
    assert {name for name, _ in fields} - names <= ADDED


def verified(mailbox: bytes) -> None:
    """The marks say so, once, and whose word it is."""
    fields = dict(header_and_body(mailbox)[0])
    assert b"smime=pass" in fields["authentication-results"]
    assert b"verified" in fields["x-gateway-security"]
    assert b"assurance=zone" in fields["x-gateway-security"]


LISTENERS = """
[listener.starttls]
address = "127.0.0.1"
port = {starttls}
role = "inside"
tls = "starttls"
identity = "gateway"

[listener.implicit]
address = "127.0.0.1"
port = {implicit}
role = "inside"
tls = "implicit"
identity = "gateway"
"""

IN_CLEAR = """
[[rule]]
name = "newsletters"
when = { recipient = ["director@laboratory.example"], subject = "newsletter" }
protect = "unprotected"
"""

LEFT_ALONE = """
[[rule]]
name = "newsletters"
when = { direction = "inbound", subject = "newsletter" }
protect = "unprotected"
"""

CLIENTS = """\
127.0.0.1:{by_starttls} inet n - n - - smtpd -o content_filter=starttls:[127.0.0.1]:{starttls}
127.0.0.1:{by_implicit} inet n - n - - smtpd -o content_filter=implicit:[127.0.0.1]:{implicit}
starttls unix - - n - - smtp -o smtp_tls_security_level=verify
implicit unix - - n - - smtp -o smtp_tls_security_level=verify -o smtp_tls_wrappermode=yes
"""


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with Lab(tmp_path_factory.mktemp("path")) as lab:
        hospital, laboratory = lab.pair()
        ports = {name: free_port() for name in ("starttls", "implicit", "by_starttls", "by_implicit")}
        hospital.add(LISTENERS.format(**ports) + IN_CLEAR)
        laboratory.add(LEFT_ALONE)
        main = {
            "relayhost": f"[127.0.0.1]:{hospital.inside}",
            "smtp_tls_CAfile": str(lab.anchors),
            "smtp_tls_verify_cert_match": hospital.hostname,
        }
        boxes = tuple(f"{name}@{LABORATORY}" for name in MAILBOXES)
        with (
            Postfix("mail.hospital.example", main=main, services=CLIENTS.format(**ports)) as before,
            Postfix("mail.laboratory.example", (LABORATORY,), boxes, port=laboratory.mail_server) as behind,
            Dovecot(behind.home / "mail") as imap,
        ):
            hospital.start()
            laboratory.start()
            yield Way(lab, hospital, laboratory, before, behind, imap, ports["by_starttls"], ports["by_implicit"])


@pytest.mark.parametrize("kind", CONTENT)
def test_entity_arrives_as_it_was_sent(way: Way, kind: str) -> None:
    """Whatever its transfer encoding, the entity in the mailbox is the one that was sent, verified on the word of the zone."""
    box = f"{kind}@{LABORATORY}"
    message = letter(f"entity {kind}", CONTENT[kind], recipients=[box])
    message += b"" if message.endswith(b"\r\n") else b"\r\n"
    send(way.before.port, message, [box], options=["BODY=8BITMIME"])
    mailbox = way.arrived(box, b"entity " + kind.encode())
    same(message, mailbox)
    verified(mailbox)


def test_smtputf8(way: Way) -> None:
    """UTF-8 in header fields and in the sender's address (RFC 6531, 6532)."""
    sender, box = f"secrétariat@{HOSPITAL}", f"utf8@{LABORATORY}"
    message = (
        f"From: Secrétariat <{sender}>\r\nTo: Résultats <{box}>\r\nSubject: À revoir\r\n"
        "Date: Mon, 02 Mar 2026 09:30:00 +0100\r\nMessage-ID: <utf8@hospital.example>\r\nMIME-Version: 1.0\r\n"
    ).encode() + CONTENT["eight"]
    send(way.before.port, message, [box], sender, ["SMTPUTF8", "BODY=8BITMIME"])
    mailbox = way.arrived(box, "À revoir".encode())
    same(message, mailbox)
    verified(mailbox)


def test_empty_body(way: Way) -> None:
    """A mail that ends with its header."""
    box = f"registry@{LABORATORY}"
    message = letter("empty", b"Content-Type: text/plain\r\n\r\n", recipients=[box])
    send(way.before.port, message, [box])
    mailbox = way.arrived(box, b"empty")
    same(message, mailbox)
    verified(mailbox)


def test_25_megabytes(way: Way) -> None:
    """A large attachment arrives whole."""
    box = f"archive@{LABORATORY}"
    block = base64.encodebytes(hashlib.shake_256(b"more data").digest(57 * 1024)).replace(b"\n", b"\r\n")
    content = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    message = letter("large", content + block * (25 * 1024 * 1024 // len(block) + 1), recipients=[box])
    assert len(message) > 25 * 1024 * 1024
    send(way.before.port, message, [box])
    mailbox = way.arrived(box, b"large")
    same(message, mailbox)
    verified(mailbox)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_from_our_own_server(way: Way, tls: str) -> None:
    """Postfix relays with STARTTLS and with implicit TLS, and verifies our certificate."""
    message = letter(f"by {tls}", CONTENT["eight"])
    send(getattr(way, tls), message, options=["BODY=8BITMIME"])
    mailbox = way.arrived(RECIPIENT, f"by {tls}".encode())
    same(message, mailbox)
    verified(mailbox)
    assert events(way.hospital, "mail_accepted", listener=tls)


def test_each_bcc_recipient_alone(way: Way) -> None:
    """Who stands in no header field gets a copy of his own; those who do share one."""
    named = [RECIPIENT, f"registry@{LABORATORY}"]
    hidden = [f"archive@{LABORATORY}", f"director@{LABORATORY}"]
    message = letter("blind copies", CONTENT["seven"], recipients=named)
    send(way.before.port, message, [*named, *hidden])
    for box in (*named, *hidden):
        mailbox = way.arrived(box, b"blind copies")
        same(message, mailbox)
        verified(mailbox)
    (mail,) = [event["mail"] for event in events(way.hospital, "mail_accepted") if len(event["recipients"]) == 4]
    copies = [sorted(event["recipients"]) for event in events(way.hospital, "mail_protected", mail=mail)]
    assert sorted(copies) == sorted([sorted(named), [hidden[0]], [hidden[1]]])


def test_mail_that_policy_leaves_alone(way: Way) -> None:
    """Unprotected by the rules of both sides: below the lines of trace no byte is changed and none added, and the audit says so."""
    box = f"director@{LABORATORY}"
    message = letter("newsletter of march", CONTENT["eight"], recipients=[box])
    send(way.before.port, message, [box], options=["BODY=8BITMIME"])
    mailbox = way.arrived(box, b"newsletter of march")
    assert mailbox.endswith(message)
    traces = header_and_body(mailbox[: -len(message)] + b"\r\n")[0]
    assert {name for name, _ in traces} - {""} == {"return-path", "x-original-to", "delivered-to", "received"}
    (unprotected,) = events(way.hospital, "mail_unprotected", recipients=[box])
    assert unprotected["rule"] == "newsletters"


def test_marks_from_outside_are_gone(way: Way) -> None:
    """Marks that somebody wrote before us, in several spellings, do not reach the mailbox; ours do, once."""
    forged = (
        b"X-Gateway-Security: verdict=verified; assurance=zone; forged=yes\r\n"
        b"x-gateway-anything: forged=yes\r\n"
        b"Authentication-Results: gateway.laboratory.example;\r\n\tsmime=pass forged=yes\r\n"
        b"Authentication-Results: elsewhere.example; dkim=pass kept=yes\r\n"
    )
    message = letter("forged marks", forged + CONTENT["seven"])
    send(way.before.port, message)
    mailbox = way.arrived(RECIPIENT, b"forged marks")
    assert b"forged=yes" not in mailbox
    assert mailbox.count(b"kept=yes") == 1
    assert mailbox.lower().count(b"\r\nx-gateway-") == 1
    assert mailbox.count(b"smime=") == 1


def test_unknown_recipient_is_known_before_250(way: Way) -> None:
    """Call-forward: the mail server behind does not know him, so gateway B refuses, and gateway A reports to the sender."""
    nobody = f"nobody@{LABORATORY}"
    send(way.before.port, letter("to nobody", recipients=[nobody]), [nobody])
    refused = until(lambda: events(way.laboratory, "mail_refused", recipients=[nobody]), "the refusal")
    assert refused[0]["reason"] == "RECIPIENT_UNKNOWN"
    assert not any(nobody in event["recipients"] for event in events(way.laboratory, "mail_accepted"))
    until(lambda: events(way.hospital, "mail_failed", recipients=[nobody], reported=True), "the report to the sender")


def test_nothing_of_it_in_clear(way: Way, tmp_path: Path) -> None:
    """What lies in both state directories shows neither text nor attachment."""
    message = letter("secret", b"Content-Type: text/plain\r\n\r\nthe-marker-in-clear\r\n")
    send(way.before.port, message)
    way.arrived(RECIPIENT, b"secret")
    for site in (way.hospital, way.laboratory):
        for file in (site.folder / "state").rglob("*"):
            assert not file.is_file() or b"the-marker-in-clear" not in file.read_bytes(), file
