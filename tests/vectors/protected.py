"""94 to 110: header fields that are protected (RFC 9788), or pretend to be; certificates that were exchanged; and others."""

from __future__ import annotations

import zlib

from asn1crypto import cms

from gateway.smime import der
from tests.flow.opened import HEADER, PLAIN
from tests.vectors.forge import changed_signature, opaque
from tests.vectors.people import People
from tests.vectors.vector import EVIL, FROM, Vector, header

TIME_STAMP = "1.2.840.113549.1.9.16.1.4"  # id-ct-TSTInfo (RFC 3161)
OWN = FROM + b"To: cardiology@hospital.example\r\nSubject: Your results\r\nMessage-ID: <1@laboratory.example>\r\n"
OTHERS = FROM + b"To: director@laboratory.example\r\nSubject: You are dismissed\r\nMessage-ID: <1@laboratory.example>\r\n"
MARKS = (
    b"X-Gateway-Security: verdict=verified; forged=1\r\nAuthentication-Results: gateway.hospital.example; smime=pass forged=2\r\n"
    b"Received: from forged=3\r\nReturn-Path: <forged=4@evil.example>\r\nBcc: forged=5@evil.example\r\n"
    b"X-MS-Exchange-Organization-SCL: -1 forged=6\r\nX-Forged: forged=7\r\nResent-From: forged=8@evil.example\r\n"
    b"Reply-To : forged=9@evil.example\r\nSubject\t: forged=10\r\nList-Unsubscribe: <mailto:forged=11@evil.example>\r\n"
)


def payload(fields: bytes, meant: str = "clear", outside: bytes = b"") -> bytes:
    """A text with protected header fields (RFC 9788 2.1), and what was left outside (2.2)."""
    said = b"".join(b"HP-Outer: " + line + b"\r\n" for line in outside.splitlines())
    return fields + said + f'Content-Type: text/plain; charset=us-ascii; hp="{meant}"\r\n\r\nResult: all well.\r\n'.encode()


def wrapped(message: bytes, forwarded: str = "; forwarded=no") -> bytes:
    return f"Content-Type: message/rfc822{forwarded}\r\n\r\n".encode() + message


def vectors(who: People) -> dict[str, Vector]:
    cardiology = b"To: cardiology@hospital.example\r\n"
    outer = HEADER.replace(b"Subject: =?utf-8?q?R=C3=A9sultat?=", b"Subject: [...]")
    evil = FROM.replace(b"Results <results@laboratory.example>", b"x@evil.example")
    by_stranger = who.sign(payload(OWN.replace(FROM, evil)), by=("stranger",))
    hidden, own = OTHERS.replace(b"You are dismissed", b"[...]"), OWN.replace(b"Your results", b"[...]")
    forwarded = who.encrypt(who.sign(payload(OTHERS, "cipher", hidden)))
    return {
        "94-certificate-exchanged": Vector(header("x@evil.example") + _exchanged(who, "-cades"), EVIL),
        "95-certificate-exchanged-and-not-named": Vector(header("x@evil.example") + _exchanged(who, "-noattr"), EVIL),
        "96-forwarded-to-another-reader": Vector(outer + forwarded),
        "97-forwarded-with-nothing-protected": Vector(outer + who.encrypt(who.sign(PLAIN))),
        "98-protected-from-of-another": Vector(header("boss@bank.example") + by_stranger, EVIL),
        "99-wrapped-from-of-another": Vector(
            header("boss@bank.example") + who.sign(wrapped(OWN.replace(FROM, evil) + PLAIN), by=("stranger",)), EVIL
        ),
        "100-marks-among-protected-fields": Vector(outer + who.encrypt(who.sign(payload(OWN + MARKS, "cipher", own)))),
        "101-subject-changed-outside": Vector(OWN.replace(b"Your results", b"Pay to the account below") + who.sign(payload(OWN))),
        "102-reply-to-added-outside": Vector(OWN + b"Reply-To: attacker@evil.example\r\n" + who.sign(payload(OWN))),
        "103-protected-by-encryption-alone": Vector(outer + who.encrypt(payload(OTHERS.replace(FROM, evil), "cipher", hidden))),
        "104-protected-under-a-bad-signature": Vector(
            HEADER + who.sign(payload(OWN)).replace(b"Your results", b"Pay to the account below")
        ),
        "105-two-protected-froms": Vector(HEADER + who.sign(payload(FROM + evil + cardiology))),
        "106-forwarded-mail-signed-by-who-forwards": Vector(
            header("x@evil.example") + who.sign(wrapped(OTHERS + PLAIN, ""), by=("stranger",)), EVIL
        ),
        "108-domain-of-no-member": Vector(header("x@evil.example") + who.sign(PLAIN, by=("stranger",))),
        "109-ciphertext-signed-by-another": Vector(header("x@evil.example") + who.sign(who.encrypt(PLAIN), by=("stranger",)), EVIL),
        "110-signed-as-a-time-stamp": Vector(HEADER + who.sign(PLAIN, "-nodetach", "-econtent_type", TIME_STAMP)),
        "107-bomb-inside": Vector(HEADER + who.encrypt(opaque(_compressed(PLAIN + b"x" * (64 << 20)), "compressed-data"))),
    }


def _exchanged(who: People, option: str) -> bytes:
    """The results' signature with a certificate of the stranger's beside it, for the same key: some issuers ask for no proof."""
    other = cms.CertificateChoices.load(who["same-key"].der)

    def change(structure: bytes) -> bytes:
        info = cms.ContentInfo.load(structure)
        info["content"]["certificates"] = cms.CertificateSet([other])
        return bytes(info.dump(force=True))

    return changed_signature(who.sign(PLAIN, "-keyid", option), change)


def _compressed(data: bytes) -> bytes:
    """CompressedData (RFC 3274)."""
    content = der.element(0xA0, der.octet_string(zlib.compress(data, 9)))
    encapsulated = der.sequence(der.oid("1.2.840.113549.1.7.1"), content)
    algorithm = der.sequence(der.oid("1.2.840.113549.1.9.16.3.8"))
    inside = der.sequence(der.integer(0), algorithm, encapsulated)
    return der.sequence(der.oid("1.2.840.113549.1.9.16.1.9"), der.element(0xA0, inside))
