"""The messages of RFC 9788, Appendix C, with the people of RFC 9216: the verdict, and the header the mailbox gets."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened, open_message
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.message import read_header
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime.message import SignedForm
from gateway.trust.judgement import Assurance, Trusted
from tests.doubles import MemoryBodies, MemoryBody
from tests.flow.opened import HOSTNAME, bytes_of
from tests.mail.rfc9788 import content, fields

SETS: Final = Path(os.environ.get("CONFORMANCE_DIR", Path(__file__).parents[3] / "shared" / "conformance")) / "smime"
MAILS, PEOPLE = SETS / "rfc9788", SETS / "rfc9216-lamps-samples"
AT: Final = 1_613_900_000 * 10**6  # 21 February 2021, a day after they were signed

pytestmark = pytest.mark.skipif(not (MAILS.is_dir() and PEOPLE.is_dir()), reason="the sets smime/rfc9788 and rfc9216 are not here")


def certificate(name: str) -> bytes:
    (path,) = PEOPLE.glob(name)
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


async def vouch(given: bytes, others: object, at: int, /) -> Signed:
    """Believes what the RSA authority of RFC 9216 issued."""
    root = certificate("3.1_*.crt.pem")
    x509.load_der_x509_certificate(given).verify_directly_issued_by(x509.load_der_x509_certificate(root))
    return Signed(Trusted((root, given)), Assurance.ZONE)


async def opened(name: str, old: bytes = b"", new: bytes = b"") -> Opened:
    (key_file,) = PEOPLE.glob("5.4_Bob*.key.pem")
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    message = (MAILS / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    outer, end, content = message.partition(b"\r\n\r\n")
    assert old in outer
    return await open_message(
        MemoryBody(outer.replace(old, new, 1) + end + content),
        MemoryBodies(),
        unwrapper=FileKeys({"bob": FileKey(key)}),
        keys={"bob": certificate("5.3_*.crt.pem")},
        judge=vouch,
        at=AT,
        hostname=HOSTNAME,
    )


def shown(result: Opened) -> dict[str, list[str]]:
    header = read_header(bytes_of(result))
    return {field.name: [each.text for each in header.all(field.name)] for field in header.fields}


# As the RFC prints them.
ONE_PART: Final = {
    "Subject": ["smime-one-part-hp"],
    "Message-ID": ["<smime-one-part-hp@example>"],
    "From": ["Alice <alice@smime.example>"],
    "To": ["Bob <bob@smime.example>"],
    "Date": ["Sat, 20 Feb 2021 10:06:02 -0500"],
    "User-Agent": ["Sample MUA Version 1.0"],
    "Content-Type": ['text/plain; charset="utf-8"'],
}
COMPLEX: Final = ONE_PART | {
    "Subject": ["smime-one-part-complex-hp"],
    "Message-ID": ["<smime-one-part-complex-hp@example>"],
    "Date": ["Sat, 20 Feb 2021 12:06:02 -0500"],
    "Content-Type": ['multipart/mixed; boundary="ab8"'],
}
UNPROTECTED: Final = COMPLEX | {
    "Subject": ["smime-signed-enc-complex"],
    "Message-ID": ["<smime-signed-enc-complex@example>"],
    "Date": ["Sat, 20 Feb 2021 12:03:02 -0500"],
    "Content-Type": ['multipart/mixed; boundary="363"'],
}


@pytest.mark.parametrize(
    ("name", "header", "encrypted"),
    [
        ("C.1.8_smime-signed-enc-complex.reencrypted.eml", UNPROTECTED, True),
        ("C.2.1_smime-one-part-hp.eml", ONE_PART, False),
        ("C.2.3_smime-one-part-complex-hp.eml", COMPLEX, False),
    ],
)
async def test_the_vectors_are_verified(name: str, header: dict[str, list[str]], encrypted: bool) -> None:
    result = await opened(name)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
    assert (result.verdict.author, result.verdict.encrypted) == (("alice@smime.example",), encrypted)
    found = shown(result)
    assert {key: found[key] for key in header} == header


@pytest.mark.parametrize("name", ["C.2.1_smime-one-part-hp.eml", "C.2.3_smime-one-part-complex-hp.eml"])
async def test_a_subject_that_was_changed_is_not_shown(name: str) -> None:
    result = await opened(name, b"Subject: smime", b"Subject: pay")
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, (Reason.HEADER_TAMPERED,))
    assert shown(result)["Subject"][0].startswith("smime-one-part")


@pytest.mark.parametrize("name", ["C.2.1_smime-one-part-hp.eml", "C.2.3_smime-one-part-complex-hp.eml"])
async def test_another_author_outside_is_not_verified(name: str) -> None:
    result = await opened(name, b"alice@", b"mallory@")
    assert (result.verdict.judged, result.verdict.reasons[0]) == (Judged.SIGNED_UNVERIFIED, Reason.FROM_MISMATCH)
    assert shown(result)["From"] == ["Alice <mallory@smime.example>"]


async def test_without_protection_the_outer_subject_is_shown() -> None:
    result = await opened("C.1.8_smime-signed-enc-complex.reencrypted.eml", b"Subject: smime", b"Subject: pay")
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
    assert shown(result)["Subject"] == ["pay-signed-enc-complex"]


@pytest.mark.parametrize("name", ["C.2.1_smime-one-part-hp.eml", "C.2.3_smime-one-part-complex-hp.eml"])
async def test_we_make_of_the_same_message_the_same(name: str) -> None:
    """What the vector signs, without the parameter, is the message it was made from: of it we make that payload and that header."""
    vector = (MAILS / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    structure = base64.b64decode(vector.partition(b"\r\n\r\n")[2])
    payload = cms.ContentInfo.load(structure)["content"]["encap_content_info"]["content"].native
    source = payload.replace(b'; hp="clear"', b"")
    (key_file,) = PEOPLE.glob("4.2_Alice*.key.pem")
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    alice = certificate("4.1_*.crt.pem")
    body = await protect_message(
        MemoryBody(source),
        MemoryBodies(),
        signing=(FileKeys({"alice": FileKey(key)}), SigningKey("alice", (alice,))),
        readers=(),
        at=AT,
        random=os.urandom,
        headers=HeaderProtection(Headers.BASELINE),
        form=SignedForm.OPAQUE,
    )
    made = b"".join(body.chunks())
    signed = cms.ContentInfo.load(base64.b64decode(made.partition(b"\r\n\r\n")[2]))["content"]["encap_content_info"]
    assert fields(signed["content"].native) == fields(payload)
    assert content(signed["content"].native) == content(payload)
    assert [each for each in fields(made) if not each[0].startswith("Content-")] == [
        each for each in fields(vector) if not each[0].startswith("Content-")
    ]
