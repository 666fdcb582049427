"""The ways S/MIME programs write the same thing: types, file names, encodings. The structure decides, not its name."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from gateway.mail.message import read_header
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime import der
from tests.flow.opened import ENTITY, PLAIN, SENDER, as_message, believing, bytes_of, encrypt, opened, sign
from tests.pki import NOW, Ca, Issued, microseconds
from tests.smime.openssl import openssl

AT = microseconds(NOW) + 10 * 365 * 86400 * 10**6  # openssl signs with the time of this machine
BASE64 = b"Content-Transfer-Encoding: base64\r\n"


@pytest.fixture(scope="module")
def structures(signer: Issued, reader: Issued, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """CMS in DER and in the indefinite form: signed content, and the same encrypted."""
    folder = tmp_path_factory.mktemp("forms")
    certificate, key = signer.write(folder, "signer")
    to, _ = reader.write(folder, "reader")
    signing = ("cms", "-sign", "-binary", "-nodetach", "-signer", certificate, "-inkey", key)
    signed = sign(folder, PLAIN, signer, options=("-nodetach",))
    return {
        "signed": openssl(*signing, "-outform", "DER", data=PLAIN),
        "signed-ber": openssl(*signing, "-stream", "-outform", "DER", data=PLAIN),
        "enveloped": openssl("cms", "-encrypt", "-binary", "-aes-256-cbc", "-outform", "DER", to, data=signed),
        "enveloped-ber": openssl("cms", "-encrypt", "-binary", "-aes-256-gcm", "-stream", "-outform", "DER", to, data=signed),
    }


def content_of(message: bytes) -> bytes:
    return message[read_header(message).size :]


TEXT = content_of(PLAIN)


def lines(data: bytes, length: int, end: bytes = b"\r\n") -> bytes:
    """``data`` in base64, in lines of ``length``."""
    text = b64encode(data)
    return b"".join(text[start : start + length] + end for start in range(0, len(text), length))


KINDS = ("signed", "signed-ber", "enveloped", "enveloped-ber")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n",
        b"Content-Type: application/x-pkcs7-mime; smime-type=enveloped-data\r\n",
        b'CONTENT-TYPE: APPLICATION/X-PKCS7-MIME; SMIME-TYPE="Enveloped-Data"; NAME="SMIME.P7M"\r\n',
        b'content-type: application/pkcs7-mime;\r\n\tname="smime.p7m";\r\n\tsmime-type="SIGNED-DATA"\r\n',
        b"Content-Type: application/pkcs7-mime; smime-type=certs-only; name=smime.p7c\r\n",
        b"Content-Type: application/pkcs7-mime; smime-type=unheard-of\r\n",
        b'Content-Type: application/pkcs7-mime (signed); smime-type = "signed-data" (RFC 8551)\r\n',
        b"Content-Type: application/pkcs7-mime\r\n",
        b"Content-Type: application/octet-stream; name=smime.p7m\r\n",
        b'Content-Type: application/octet-stream; name="SMIME.P7M"; smime-type=x\r\n',
        b'Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="smime.p7m"\r\n',
        b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename=smime.p7m; size=12\r\n",
        b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename*=utf-8''smime.p7m\r\n",
        b"Content-Type: application/octet-stream; name*=utf-8''smime.p7m\r\n",
    ],
    ids=range(14),
)
async def test_the_structure_decides_and_not_what_is_said_of_it(
    ca: Ca, reader: Issued, structures: dict[str, bytes], kind: str, head: bytes
) -> None:
    result = await opened(as_message(head + BASE64 + b"\r\n" + lines(structures[kind], 64)), {"d": reader}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.VERIFIED, ())
    assert content_of(bytes_of(result)) == TEXT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [1, 997, 64 * 1024])
@pytest.mark.parametrize(
    ("length", "end"), [(4, b"\r\n"), (1, b"\r\n"), (75, b"\r\n"), (76, b" \t\r\n\r\n"), (998, b"\r\n"), (10**6, b"")]
)
async def test_base64_in_lines_of_any_length(
    ca: Ca, reader: Issued, structures: dict[str, bytes], kind: str, piece: int, length: int, end: bytes
) -> None:
    head = b"Content-Type: application/pkcs7-mime\r\n" + BASE64 + b"\r\n"
    message = as_message(head + lines(structures[kind], length, end))
    result = await opened(message, {"d": reader}, believing(ca), AT, piece=piece)
    assert (result.verdict.judged, content_of(bytes_of(result))) == (Judged.VERIFIED, TEXT)


@pytest.mark.parametrize("piece", [1, 64 * 1024])
@pytest.mark.parametrize("good", [True, False])
async def test_content_that_is_signed_itself_and_not_its_digest_is_kept_for_it(ca: Ca, piece: int, good: bool) -> None:
    """Ed25519 without signed attributes (RFC 8419 3.2), by Bouncy Castle."""
    structure = (Path(__file__).parents[1] / "smime/bouncycastle/ed25519-content.p7s").read_bytes()
    if not good:
        structure = structure.replace(b"all well", b"not well")
    message = as_message(b"Content-Type: application/pkcs7-mime\r\n" + BASE64 + b"\r\n" + lines(structure, 64))
    result = await opened(message, {}, believing(ca), AT, piece=piece)
    (signer,) = result.verdict.layers[0].signers
    assert (signer.signature, result.verdict.layers[0].algorithms) == ("good" if good else "bad", {"signature": "ed25519"})
    assert signer.reasons == ((Reason.CHAIN,) if good else (Reason.BAD_SIGNATURE,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", [b"binary", b"8bit", b"BINARY", None])
async def test_binary_needs_no_encoding(
    ca: Ca, reader: Issued, structures: dict[str, bytes], kind: str, encoding: bytes | None
) -> None:
    said = b"" if encoding is None else b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    message = as_message(b"Content-Type: application/pkcs7-mime\r\n" + said + b"\r\n" + structures[kind])
    result = await opened(message, {"d": reader}, believing(ca), AT)
    assert (result.verdict.judged, content_of(bytes_of(result))) == (Judged.VERIFIED, TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"application/pkcs7-signature", b"application/x-pkcs7-signature"),
        (b"application/pkcs7-signature", b"Application/X-PKCS7-Signature"),
        (b'protocol="application/pkcs7-signature"', b"protocol=application/x-pkcs7-signature"),
        (b'protocol="application/pkcs7-signature"', b'PROTOCOL="Application/PKCS7-SIGNATURE"'),
        (b'; micalg="sha-256"', b""),
        (b'micalg="sha-256"', b"micalg=unknown"),
        (b"Content-Type: application/pkcs7-signature;", b"Content-Type: application/octet-stream;"),
        (b'Content-Type: application/pkcs7-signature; name="smime.p7s"', b"Content-Type: application/octet-stream"),
    ],
)
async def test_every_way_to_call_a_signature(ca: Ca, signer: Issued, tmp_path: Path, old: bytes, new: bytes) -> None:
    message = as_message(sign(tmp_path, PLAIN, signer))
    assert old in message
    result = await opened(message.replace(old, new), {}, believing(ca), AT)
    assert (result.verdict.judged, content_of(bytes_of(result))) == (Judged.VERIFIED, TEXT)


@pytest.mark.parametrize("kind", [b"application/octet-stream; name=smime.p7m", b"text/plain; name=smime.p7s"])
async def test_what_is_not_called_a_signature_is_none(ca: Ca, signer: Issued, tmp_path: Path, kind: bytes) -> None:
    message = as_message(sign(tmp_path, PLAIN, signer))
    head, _, rest = message.rpartition(b'application/pkcs7-signature; name="smime.p7s"')
    result = await opened((head + kind + rest).replace(b'filename="smime.p7s"', b"filename=x"), {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.MALFORMED, (Reason.MALFORMED,))


@pytest.mark.parametrize("name", [b"letter.p7m.pdf", b"smime.p7s", b"p7m", b"smime.p7mx"])
@pytest.mark.parametrize("said", [b"; name=%b", b"\r\nContent-Disposition: attachment; filename=%b", b'; x="smime.p7m"; name="%b"'])
async def test_other_files_are_attachments(ca: Ca, structures: dict[str, bytes], name: bytes, said: bytes) -> None:
    head = b"Content-Type: application/octet-stream" + said % name + b"\r\n" + BASE64 + b"\r\n"
    message = as_message(head + lines(structures["signed"], 64))
    result = await opened(message, {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.layers) == (Judged.UNSIGNED, ())
    assert bytes_of(result).endswith(message)


def certs_only(*certificates: bytes, content: bytes = b"") -> bytes:
    """SignedData that nobody signed (RFC 8551 3.8)."""
    return der.sequence(
        der.oid("1.2.840.113549.1.7.2"),
        der.element(
            0xA0,
            der.sequence(
                der.integer(1),
                der.set_of(),
                der.sequence(der.oid("1.2.840.113549.1.7.1"), *([der.element(0xA0, der.octet_string(content))] if content else [])),
                der.element(0xA0, b"".join(certificates)),
                der.set_of(),
            ),
        ),
    )


@pytest.mark.parametrize("smime_type", [b"certs-only", b"signed-data", b"enveloped-data"])
async def test_certificates_alone_are_no_signature(ca: Ca, signer: Issued, smime_type: bytes) -> None:
    """Shown as they are: somebody wants to import them."""
    head = b"Content-Type: application/pkcs7-mime; smime-type=" + smime_type + b"; name=smime.p7c\r\n" + BASE64 + b"\r\n"
    message = as_message(head + lines(certs_only(signer.der, ca.der), 64))
    result = await opened(message, {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons, result.verdict.layers) == (Judged.UNSIGNED, (), ())
    assert bytes_of(result).endswith(message)


async def test_content_that_nobody_signed_is_not_verified(ca: Ca, signer: Issued) -> None:
    head = b"Content-Type: application/pkcs7-mime; smime-type=certs-only; name=smime.p7c\r\n" + BASE64 + b"\r\n"
    result = await opened(as_message(head + lines(certs_only(signer.der, content=PLAIN), 64)), {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.SIGNED_UNVERIFIED, (Reason.NO_SIGNER,))


async def test_certificates_alone_inside_encryption_are_content(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    inner = (
        b"Content-Type: application/pkcs7-mime; smime-type=certs-only\r\n" + BASE64 + b"\r\n" + lines(certs_only(signer.der), 64)
    )
    result = await opened(as_message(encrypt(tmp_path, inner, reader)), {"d": reader}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.UNSIGNED, ())
    assert content_of(bytes_of(result)) == content_of(inner)


# Nesting, and what is not a layer of the whole


async def test_layers_up_to_the_limit_are_opened(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    entity = sign(tmp_path, ENTITY, signer)
    for number in range(7):
        entity = encrypt(tmp_path, entity, reader) if number % 2 else sign(tmp_path, entity, signer, options=("-nodetach",))
    result = await opened(as_message(entity), {"d": reader}, believing(ca), AT)
    assert (result.verdict.judged, len(result.verdict.layers)) == (Judged.VERIFIED, 8)
    assert content_of(bytes_of(result)) == content_of(ENTITY)


@pytest.mark.parametrize("around", ["signed", "encrypted"])
@pytest.mark.parametrize("inside", ["signed", "opaque", "encrypted"])
async def test_a_forwarded_message_is_content_and_stays_as_it_is(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, around: str, inside: str
) -> None:
    """It is told as a part, vouched for by nobody; its reader may open it."""
    layers = {
        "signed": lambda entity: sign(tmp_path, entity, signer),
        "opaque": lambda entity: sign(tmp_path, entity, signer, options=("-nodetach",)),
        "encrypted": lambda entity: encrypt(tmp_path, entity, reader),
    }
    forwarded = b"From: director@hospital.example\r\nSubject: x\r\n" + layers[inside](PLAIN)
    entity = (
        b"Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\n\r\nSee below.\r\n--f\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    entity += forwarded + b"\r\n--f--\r\n"
    result = await opened(as_message(layers[around](entity)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is (Judged.VERIFIED if around == "signed" else Judged.MIXED)
    assert result.verdict.author == (SENDER,)
    assert [(each.kind, each.where) for each in result.verdict.layers] == [
        ("signed" if around == "signed" else "enveloped", "whole"),
        ("enveloped" if inside == "encrypted" else "signed", "part"),
    ]
    assert forwarded in bytes_of(result)
