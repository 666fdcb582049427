"""33 to 58, 115 and 116: what a signature covers, and what of the header is ours. The signer is the From, and believed."""

from __future__ import annotations

from gateway.mail.mime import wrap
from tests.flow.opened import HEADER, PLAIN
from tests.vectors.forge import (
    TEXT,
    boundary_of,
    changed_signature,
    mixed,
    multipart,
    no_signers,
    opaque,
    structure_of,
    with_content,
    without_mime_version,
)
from tests.vectors.people import People
from tests.vectors.vector import Vector

HTML = b"Content-Type: text/html\r\n\r\n<p>Please pay to the account below.</p><div style='display:none'>\r\n"
OTHER = b"Content-Type: text/plain\r\n\r\nPlease pay to the account below.\r\n"
OUTSIDE = (
    b"X-Gateway-Security: forged=1\r\nx-GATEWAY-security : forged=2\r\nX-Gateway-\r\n Security: forged=3\r\n"
    b"X-Gateway-Security\r\n\t: forged=4\r\n\xef\xbb\xbfX-Gateway-Security: forged=5\r\nX-Gateway-Forged: forged=6\r\n"
    b"Authentication-Results: elsewhere.example; smime=pass forged=7\r\n"
    b'AUTHENTICATION-results\t: "gateway.hospital\\.example"; dkim=pass forged=8\r\n'
    b"Authentication-Results: (;((;))) GATEWAY.hospital.example 1; spf=pass forged=9\r\n"
    b"Authentication\r\n -Results: gateway.hospital.example; smime=pass forged=10\r\n"
    b"Authentication-Results: elsewhere.example; s(a)mime=pass forged=11\r\n"
    b"Authentication-Results: front.hospital.example; dkim=pass kept=yes\r\n"
)


def vectors(who: People) -> dict[str, Vector]:
    return {name: Vector(HEADER + entity) for name, entity in (*_around(who).items(), *_inside(who).items(), *_marks(who).items())}


def _around(who: People) -> dict[str, bytes]:
    """Things beside the signed part."""
    signed = who.sign(PLAIN)
    part, sealed = without_mime_version(signed), without_mime_version(who.sign(PLAIN, "-nodetach"))
    attached = b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"
    delimiter = b"--" + boundary_of(signed)
    head, _, rest = signed.partition(delimiter)
    return {
        "33-preamble-and-epilogue": head + b"Please pay to the account below.\r\n" + delimiter + rest + b"Please pay as above.\r\n",
        "34-signed-in-related": multipart("related", HTML, part),
        "35-signed-in-alternative": multipart("alternative", part, HTML),
        "36-signed-behind-html": mixed(HTML, sealed),
        "37-signed-in-an-attachment": mixed(TEXT, attached + HEADER + signed),
        "38-signed-in-a-base64-attachment": mixed(
            TEXT, b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrap(HEADER + signed)
        ),
        "39-footer-behind-base64": who.sign(PLAIN, "-nodetach") + b"\r\nPlease pay to the account below.\r\n",
        "40-boundary-of-a-part-too": _with_boundary(who, "outer"),
        "41-boundary-longer-by-a-letter": _with_boundary(who, "outerX"),
        "42-boundary-twice": signed.replace(b'; boundary="', b'; boundary="other"; boundary="'),
        "43-mime-version-twice": b"MIME-Version: 1.0\r\n" + signed,
        "44-micalg-lies": signed.replace(b'micalg="sha-256"', b'micalg="md5"'),
    }


def _with_boundary(who: People, inner: str) -> bytes:
    """A signed multipart with this boundary, in a multipart/signed whose boundary is made ``outer``."""
    signed = who.sign(multipart("mixed", PLAIN, TEXT, boundary=inner))
    return signed.replace(boundary_of(signed), b"outer")


def _inside(who: People) -> dict[str, bytes]:
    """What the signature is over."""
    signed, sealed = who.sign(PLAIN), who.sign(PLAIN, "-nodetach")
    over_lf = who.sign(PLAIN.replace(b"\r\n", b"\n"))
    return {
        "45-other-content-in-the-signature": changed_signature(signed, lambda structure: with_content(structure, OTHER)),
        "46-same-content-in-the-signature": changed_signature(signed, lambda structure: with_content(structure, PLAIN)),
        "47-signature-of-the-content-inside": changed_signature(
            signed.replace(PLAIN, OTHER), lambda structure: with_content(structure, PLAIN)
        ),
        "48-signed-with-other-line-ends": over_lf,
        "49-space-at-a-line-end": signed.replace(b"all well.", b"all well. "),
        "50-no-signers-sealed": opaque(no_signers(structure_of(sealed)), "signed-data"),
        "51-two-content-types-inside": who.sign(b"Content-Type: text/plain\r\n" + without_mime_version(sealed), "-nodetach"),
        "52-detached-without-its-content": opaque(_detached(signed), "signed-data"),
    }


def _detached(signed: bytes) -> bytes:
    """The structure in a multipart/signed."""
    found: list[bytes] = []

    def keep(structure: bytes) -> bytes:
        found.append(structure)
        return structure

    changed_signature(signed, keep)
    return found[0]


def _marks(who: People) -> dict[str, bytes]:
    signed = who.sign(PLAIN)
    inner = OUTSIDE.replace(b"\xef\xbb\xbf", b"").replace(b"X-Gateway-\r\n Security", b"X-Gateway-Folded")
    inner = inner.replace(b"Authentication\r\n -Results", b"Authentication-Results").replace(b"kept=yes", b"forged=12")
    return {
        "53-marks-outside": OUTSIDE + signed,
        "54-marks-inside-in-every-spelling": who.encrypt(who.sign(inner + PLAIN)),
        "55-broken-line-inside": who.encrypt(who.sign(b"X-Gateway-\r\n Security: forged=1\r\n" + PLAIN)),
        "56-nul-in-the-header-inside": who.encrypt(who.sign(b"X-Gateway-Security\0: forged=1\r\n" + PLAIN)),
        "57-marks-on-unsigned-mail": OUTSIDE + b"MIME-Version: 1.0\r\n" + PLAIN,
        "115-space-before-a-colon": b"Please : pay to the account below.\r\n" + signed,
        "116-blank-line-in-a-fold": b"X-Mailer: x\r\n \t\r\n Please pay to the account below.\r\n" + signed,
        "58-marks-on-an-attached-message": mixed(TEXT, b"Content-Type: message/rfc822\r\n\r\n" + OUTSIDE + HEADER + PLAIN),
    }
