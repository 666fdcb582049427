"""What a sender's own program did: believed where openssl's own messages are, and nothing that only looks alike."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asn1crypto import cms

from gateway.flow.already import MIN_WRAPPED, Already, Clear, Encrypted, Signed, already_protected
from gateway.mail.message import head_of
from gateway.smime.cms import CertificateId
from gateway.smime.decrypt import names_of
from tests.doubles import MemoryBody
from tests.mail.pgp import armored, encrypted, entity
from tests.pki import Ca, Issued
from tests.smime.openssl import openssl

SECRET = "Résultat : œdème pulmonaire".encode()
OUTER = b"From: cardiology@hospital.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
SMIME = b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def people(root: Ca) -> dict[str, Issued]:
    kinds = {"rsa": "rsa2048", "ec": "p256", "other": "p384"}
    return {name: root.reader(f"{name}@laboratory.example", kind) for name, kind in kinds.items()}


Encrypt = Callable[..., bytes]


@pytest.fixture
def encrypt(people: dict[str, Issued], tmp_path: Path) -> Encrypt:
    """What ``openssl cms -encrypt`` makes for these people, DER."""

    def run(*names: str, options: tuple[str, ...] = ("-aes-256-cbc",)) -> bytes:
        files = [people[name].write(tmp_path, name)[0] for name in names]
        return openssl("cms", "-encrypt", "-outform", "DER", "-binary", *options, *files, data=SECRET * 9)

    return run


def wrapped(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def what(message: bytes, piece: int = 64 * 1024) -> Already:
    body = MemoryBody(message, piece)
    return already_protected(head_of(body), body)


def readers(people: dict[str, Issued], *names: str) -> frozenset[CertificateId]:
    """Issuer and serial number, as another library writes them."""
    found = (people[name].certificate for name in names)
    return frozenset(
        CertificateId(
            cms.IssuerAndSerialNumber(
                {"issuer": cms.Name.load(each.issuer.public_bytes()), "serial_number": each.serial_number}
            ).dump()
        )
        for each in found
    )


@pytest.mark.parametrize("piece", [3, 64 * 1024])
@pytest.mark.parametrize("names", [("rsa",), ("ec",), ("rsa", "ec", "other")])
@pytest.mark.parametrize("options", [("-aes-128-cbc",), ("-aes-256-gcm",), ("-aes-256-cbc", "-stream")])
def test_openssl_encrypts_for_whom_it_says(
    encrypt: Encrypt, people: dict[str, Issued], names: tuple[str, ...], options: tuple[str, ...], piece: int
) -> None:
    message = OUTER + SMIME + wrapped(encrypt(*names, options=options))
    assert what(message, piece) == Encrypted(readers(people, *names))


def test_readers_named_by_their_key_and_in_binary(encrypt: Encrypt, people: dict[str, Issued]) -> None:
    data = encrypt("rsa", "ec", options=("-aes-256-cbc", "-keyid"))
    expected = frozenset(CertificateId(None, names_of(people[name].der)[1].key_identifier) for name in ("rsa", "ec"))
    assert all(each.key_identifier is not None for each in expected)
    assert what(OUTER + SMIME + wrapped(data)) == Encrypted(expected)
    assert what(OUTER + SMIME.replace(b"base64", b"binary") + data) == Encrypted(expected)


def test_a_password_is_no_reader(encrypt: Encrypt, people: dict[str, Issued]) -> None:
    options = ("-aes-256-cbc", "-pwri_password", "geheim")
    assert what(OUTER + SMIME + wrapped(encrypt("rsa", options=options))) == Encrypted(readers(people, "rsa"))
    assert what(OUTER + SMIME + wrapped(encrypt(options=options))) == Clear()


@pytest.mark.parametrize("cipher", ["-des3", "-camellia-256-cbc", "-rc2-40"])
def test_ciphers_that_are_weak_or_unknown_protect_nothing(encrypt: Encrypt, cipher: str) -> None:
    try:
        data = encrypt("rsa", options=(cipher,))
    except AssertionError:
        data = encrypt("rsa", options=(cipher, "-provider", "legacy", "-provider", "default"))
    assert what(OUTER + SMIME + wrapped(data)) == Clear()


def changed(data: bytes, change: Callable[[cms.EnvelopedData], None]) -> bytes:
    info = cms.ContentInfo.load(data)
    change(info["content"])
    return bytes(info.dump(force=True))


def no_readers(content: cms.EnvelopedData) -> None:
    content["recipient_infos"] = []


def no_content(content: cms.EnvelopedData) -> None:
    del content["encrypted_content_info"]["encrypted_content"]


def empty_content(content: cms.EnvelopedData) -> None:
    content["encrypted_content_info"]["encrypted_content"] = b""


def text_content(content: cms.EnvelopedData) -> None:
    content["encrypted_content_info"]["encrypted_content"] = SECRET + b"1"  # in whole blocks nobody could tell


def null_cipher(content: cms.EnvelopedData) -> None:
    content["encrypted_content_info"]["content_encryption_algorithm"]["algorithm"] = "1.2.3.4"


def no_key(content: cms.EnvelopedData) -> None:
    content["recipient_infos"][0].chosen["encrypted_key"] = b""


def other_type(content: cms.EnvelopedData) -> None:
    content["encrypted_content_info"]["content_type"] = "signed_data"


@pytest.mark.parametrize("change", [no_readers, no_content, empty_content, text_content, null_cipher, no_key, other_type])
def test_a_shape_that_holds_nothing_encrypted(encrypt: Encrypt, change: Callable[[cms.EnvelopedData], None]) -> None:
    data = encrypt("rsa")
    assert changed(data, lambda _: None) == data
    assert what(OUTER + SMIME + wrapped(changed(data, change))) == Clear()


@pytest.mark.parametrize("size", [MIN_WRAPPED - 1, MIN_WRAPPED])
def test_a_wrapped_key_has_a_length(encrypt: Encrypt, people: dict[str, Issued], size: int) -> None:
    """No shorter text holds one, so whoever it names is no reader."""

    def short(content: cms.EnvelopedData) -> None:
        content["recipient_infos"][0].chosen["encrypted_key"] = bytes(size)

    found = what(OUTER + SMIME + wrapped(changed(encrypt("rsa"), short)))
    assert found == (Clear() if size < MIN_WRAPPED else Encrypted(readers(people, "rsa")))


@pytest.mark.parametrize("options", [("-aes-256-cbc",), ("-aes-256-cbc", "-stream")])
def test_nothing_may_stand_behind_or_around(encrypt: Encrypt, options: tuple[str, ...]) -> None:
    """Also behind a structure of indefinite length, where only its end says how long it is."""
    data = encrypt("rsa", options=options)
    good = wrapped(data)
    assert isinstance(what(OUTER + SMIME + good), Encrypted)
    assert isinstance(what(OUTER + SMIME + good + b"\r\n \r\n"), Encrypted)
    for content in (
        wrapped(data + SECRET),
        wrapped(data + b"\x00"),
        wrapped(data + data),
        wrapped(data[:-1]),
        wrapped(SECRET + data),
        good + SECRET,
        SECRET + b"\r\n" + good,
        b"\r\n".join([good[:76], b"a note, in clear!", good[78:]]),
        good.replace(b"\r\n", b"\r\n* ", 1),
        b"",
    ):
        assert what(OUTER + SMIME + content) == Clear()


@pytest.mark.parametrize(
    "message",
    [
        lambda good: OUTER + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + good + b"\r\n--b--\r\n",
        lambda good: OUTER + b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n" + good + b"\r\n--b--\r\n",
        lambda good: OUTER + b"Content-Type: message/rfc822\r\n\r\n" + OUTER + good,
        lambda good: OUTER + good.replace(b"pkcs7-mime", b"octet-stream"),
        lambda good: OUTER + good.replace(b"pkcs7-mime", b"pkcs7-signature"),
        lambda good: OUTER + b"Content-Type: text/plain\r\n" + good,
        lambda good: OUTER + b"Content-Transfer-Encoding: 7bit\r\n" + good,
        lambda good: OUTER + good.replace(b"base64", b"quoted-printable"),
        lambda good: OUTER + SECRET + b"\r\n" + good,
    ],
)
def test_only_a_whole_message_counts(encrypt: Encrypt, message: Callable[[bytes], bytes]) -> None:
    """A part of a message, two ways to read it, a line that some programs take for the first of the text."""
    good = SMIME + wrapped(encrypt("rsa"))
    assert isinstance(what(OUTER + good), Encrypted)
    assert what(message(good)) == Clear()


def test_pgp_mime_counts_its_readers_and_armor_in_a_text_is_text() -> None:
    assert what(OUTER + entity(armored(encrypted(2)))) == Encrypted(frozenset(), 2)
    assert what(OUTER + entity(armored(encrypted(0)))) == Clear()
    assert what(OUTER + entity(armored(encrypted()) + SECRET)) == Clear()
    assert what(OUTER + SECRET + b"\r\n" + entity(armored(encrypted()))) == Clear()
    assert what(OUTER + b"Content-Type: text/plain\r\n\r\n" + armored(encrypted())) == Clear()
    part = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + entity(armored(encrypted())) + b"\r\n--b--\r\n"
    assert what(OUTER + part) == Clear()


def test_a_signature_is_one_and_encryption_is_none_of_it(encrypt: Encrypt, root: Ca, tmp_path: Path) -> None:
    certificate, key = root.signer("cardiology@hospital.example").write(tmp_path, "signer")
    given = ("cms", "-sign", "-outform", "SMIME", "-signer", certificate, "-inkey", key)
    text = b"Content-Type: text/plain\r\n\r\nhello\r\n"
    detached = openssl(*given, data=text).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    opaque = openssl(*given, "-nodetach", data=text).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert what(detached) == what(opaque) == Signed()
    inside = detached[: detached.index(b"MII")] + wrapped(encrypt("rsa")) + detached[detached.rindex(b"\r\n--") :]
    assert what(inside) == Clear()


class UnreadBody(MemoryBody):
    """A body that nobody may read."""

    def chunks(self) -> Iterator[bytes]:
        raise AssertionError


@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=b"])
def test_an_ordinary_mail_is_not_read_at_all(kind: bytes) -> None:
    message = OUTER + b"Content-Type: " + kind + b"\r\n\r\n" + SECRET
    assert already_protected(head_of(MemoryBody(message)), UnreadBody(message)) == Clear()
