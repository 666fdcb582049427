from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.body import Body
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.content import KEPT
from gateway.smime.keys import Mechanism
from gateway.smime.message import SignedForm
from gateway.smime.recipients import Reader
from tests.doubles import MemoryBodies, MemoryBody, SoftwareSigner
from tests.flow.hospital import AT
from tests.pki import Ca, Issued, to_pem
from tests.smime.openssl import decrypt, openssl, verify_message

FIELDS = b"From: cardiology@hospital.example\r\nTo: results@laboratory.example\r\nSubject: letter\r\n"
NOBODY = FIELDS.partition(b"\r\n")[2]
NESTED = (
    b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\npreamble\r\n--outer\r\n'
    b'Content-Type: multipart/alternative; boundary="inner"\r\n\r\n--inner\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc5\x93d\xc3\xa8me\r\n--inner\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C5=93\r\n--inner--\r\n"
    b"--outer\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQ=\r\n--outer--\r\n"
)
ENTITIES = {
    "7bit": b"Content-Type: text/plain\r\n\r\nplain\r\n",
    "8bit": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n",
    "quoted-printable": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9=\r\n \r\n",
    "base64": b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n",
    "nested": NESTED,
    "dots": b"Content-Type: text/plain\r\n\r\n.\r\n..\r\n.dot\r\n",
    "empty": b"Content-Type: text/plain\r\n\r\n",
    "no fields": b"\r\nbefore MIME\r\n",
    "no last line end": b"Content-Type: text/plain\r\n\r\nno end",
    "blank lines": b"Content-Type: text/plain\r\n\r\n\r\n\r\n  \r\n\r\n",
}


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def author(root: Ca) -> Issued:
    return root.signer("cardiology@hospital.example", "rsa2048")


@pytest.fixture(scope="module")
def reader(root: Ca) -> Issued:
    return root.reader("results@laboratory.example", "rsa2048")


def signing(author: Issued) -> tuple[SoftwareSigner, SigningKey]:
    return SoftwareSigner({"key": author.key}), SigningKey("key", (author.der,))


async def protected(
    message: bytes,
    author: Issued | None,
    readers: list[Reader],
    cipher: ContentCipher = ContentCipher.AES256_CBC,
    form: SignedForm = SignedForm.CLEAR,
) -> bytes:
    body = await protect_message(
        MemoryBody(message),
        MemoryBodies(),
        signing=None if author is None else signing(author),
        readers=readers,
        at=AT,
        random=os.urandom,
        cipher=cipher,
        form=form,
    )
    return b"".join(body.chunks())


@pytest.mark.parametrize("name", ENTITIES)
@pytest.mark.parametrize("cipher", ContentCipher)
async def test_entity_comes_out_byte_for_byte(
    author: Issued, reader: Issued, tmp_path: Path, name: str, cipher: ContentCipher
) -> None:
    """Signed and encrypted by us, decrypted and verified by openssl."""
    entity = ENTITIES[name]
    certificate, key = reader.write(tmp_path, "reader")
    root_file = tmp_path / "root.pem"
    root_file.write_bytes(to_pem(author.above[-1]))
    to = [Reader(reader.der, KeyTransport.OAEP_SHA256 if cipher is ContentCipher.AES256_GCM else KeyTransport.PKCS1)]
    written = await protected(FIELDS + b"MIME-Version: 1.0\r\n" + entity, author, to, cipher)
    assert written.isascii()
    assert verify_message(decrypt(written, certificate, key, "SMIME"), root_file) == entity


@pytest.mark.parametrize("fields", [FIELDS, b"From results@laboratory.example Mon Jan  5 10:00:00 2026\r\n" + FIELDS, NOBODY])
@pytest.mark.parametrize("headers", Headers)
async def test_text_that_no_empty_line_comes_before_is_text(
    author: Issued, reader: Issued, tmp_path: Path, headers: Headers, fields: bytes
) -> None:
    """A device forgot it. From the first line that is no field on most programs see text, though more lines look like fields: none
    of it is shown outside, and none is lost. A line above the From, as mbox files have it, is not meant.
    """
    text = b"Dear colleague\r\nDiagnosis: positive\r\n\r\nRegards\r\n"
    certificate, key = reader.write(tmp_path, "reader")
    root_file = tmp_path / "root.pem"
    root_file.write_bytes(to_pem(author.above[-1]))
    body = await protect_message(
        MemoryBody(fields + text),
        MemoryBodies(),
        signing=signing(author),
        readers=[Reader(reader.der)],
        at=AT,
        random=os.urandom,
        headers=HeaderProtection(headers),
    )
    written = b"".join(body.chunks())
    assert b"To: results@laboratory.example\r\n" in written
    assert b"Diagnosis" not in written
    assert verify_message(decrypt(written, certificate, key, "SMIME"), root_file).endswith(b"\r\n" + text)


@pytest.mark.parametrize("name", ENTITIES)
@pytest.mark.parametrize("cipher", [None, *ContentCipher])
async def test_opaque_comes_out_byte_for_byte(
    author: Issued, reader: Issued, tmp_path: Path, name: str, cipher: ContentCipher | None
) -> None:
    """RFC 8551 3.5.2, alone and inside encryption; what is 8bit stays so either way, and only base64 is on the way."""
    certificate, key = reader.write(tmp_path, "reader")
    (tmp_path / "root.pem").write_bytes(to_pem(author.above[-1]))
    readers, opaque = [Reader(reader.der)], SignedForm.OPAQUE
    if cipher is None:
        written = await protected(FIELDS + ENTITIES[name], author, [], form=opaque)
        assert written.isascii()
    else:
        written = decrypt(await protected(FIELDS + ENTITIES[name], author, readers, cipher, opaque), certificate, key, "SMIME")
    kind = b"Content-Type: application/pkcs7-mime; smime-type=signed-data;"
    assert written.startswith(kind if cipher else FIELDS + b"MIME-Version: 1.0\r\n" + kind)
    verify = ("cms", "-verify", "-inform", "SMIME", "-CAfile", tmp_path / "root.pem", "-purpose", "smimesign", "-binary")
    assert openssl(*verify, data=written) == ENTITIES[name]


@dataclass
class Changing:
    """A signer, and a body that is another one once it was signed."""

    data: bytes
    later: bytes
    signer: SoftwareSigner

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        yield self.data

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        self.data = self.later
        return await self.signer.sign(key, to_be_signed, mechanism)


def text_of(size: int, last: bytes = b"plain\r\n") -> bytes:
    """An entity of ``size`` bytes in short lines, the last one given."""
    head = b"Content-Type: text/plain\r\n\r\n"
    lines, odd = divmod(size - len(head) - len(last), 10)
    return head + b"x" * odd + b"12345678\r\n" * lines + last


@pytest.mark.parametrize("second", [b"plane\r\n", b"pla\r\n", b"plainer\r\n"], ids=["other bytes", "fewer", "more"])
@pytest.mark.parametrize("form", SignedForm)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_leaves_is_what_was_signed(
    author: Issued, reader: Issued, second: bytes, form: SignedForm, encrypted: bool
) -> None:
    """Own work is checked as it is written (a disk, a cache, a fault of ours), and nothing of it is left behind."""
    bodies, entity = MemoryBodies(), text_of(KEPT + 1)
    signer, key = signing(author)
    changing = Changing(FIELDS + entity, FIELDS + entity.removesuffix(b"plain\r\n") + second, signer)
    with pytest.raises(GatewayError) as caught:
        await protect_message(
            changing,
            bodies,
            signing=(changing, key),
            readers=[Reader(reader.der)] if encrypted else [],
            at=AT,
            random=os.urandom,
            form=form,
        )
    assert caught.value.reason is Reason.OWN_WORK_WRONG
    assert bodies.kept == []


@pytest.mark.parametrize("size", [1000, KEPT])
@pytest.mark.parametrize("form", SignedForm)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_was_signed_leaves_whatever_the_body_is_by_now(
    author: Issued, reader: Issued, tmp_path: Path, size: int, form: SignedForm, encrypted: bool
) -> None:
    """As much as is kept is not read again."""
    certificate, private = reader.write(tmp_path, "reader")
    root_file = tmp_path / "root.pem"
    root_file.write_bytes(to_pem(author.above[-1]))
    entity = text_of(size)
    signer, key = signing(author)
    changing = Changing(FIELDS + entity, FIELDS + text_of(size, b"plane\r\n"), signer)
    readers = [Reader(reader.der)] if encrypted else []
    body = await protect_message(
        changing, MemoryBodies(), signing=(changing, key), readers=readers, at=AT, random=os.urandom, form=form
    )
    written = b"".join(body.chunks())
    signed = decrypt(written, certificate, private, "SMIME") if encrypted else written
    if form is SignedForm.CLEAR:
        assert verify_message(signed, root_file) == entity
    else:
        verify = ("cms", "-verify", "-inform", "SMIME", "-CAfile", root_file, "-purpose", "smimesign", "-binary")
        assert openssl(*verify, data=signed) == entity


@pytest.mark.parametrize("name", ENTITIES)
async def test_encrypted_alone_comes_out_byte_for_byte(reader: Issued, tmp_path: Path, name: str) -> None:
    certificate, key = reader.write(tmp_path, "reader")
    written = await protected(FIELDS + ENTITIES[name], None, [Reader(reader.der)])
    assert decrypt(written, certificate, key, "SMIME") == ENTITIES[name]


@pytest.mark.parametrize("piece", [1, 50, 65536])
async def test_what_cannot_be_7bit_is_told_as_a_line_of_the_message(author: Issued, piece: int) -> None:
    """Or of the header of what is signed, which has not all the fields of the message."""
    content = b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n\xe9\r\n"
    description = b"Content-Description: \xe9\r\n\r\nx\r\n"
    for entity, told in ((content, "line 7 of the message"), (description, "line 1 of the header of what is signed")):
        with pytest.raises(GatewayError, match=told):
            await protect_message(
                MemoryBody(FIELDS + entity, piece),
                MemoryBodies(),
                signing=signing(author),
                readers=[],
                at=AT,
                random=os.urandom,
            )


@pytest.mark.parametrize("name", [name for name, entity in ENTITIES.items() if entity.isascii()])
async def test_signed_alone_keeps_what_is_7bit(author: Issued, tmp_path: Path, name: str) -> None:
    root_file = tmp_path / "root.pem"
    root_file.write_bytes(to_pem(author.above[-1]))
    written = await protected(FIELDS + ENTITIES[name], author, [])
    assert verify_message(written, root_file) == ENTITIES[name]


async def test_8bit_inside_encryption_is_labelled(author: Issued, reader: Issued, tmp_path: Path) -> None:
    """RFC 2045 6.4: a multipart that holds 8bit says so; it is what the reader's own mail program gets to see."""
    certificate, key = reader.write(tmp_path, "reader")
    for name, label in (("8bit", True), ("7bit", False)):
        inside = decrypt(await protected(FIELDS + ENTITIES[name], author, [Reader(reader.der)]), certificate, key, "SMIME")
        assert (b"Content-Transfer-Encoding: 8bit\r\n\r\n--=_" in inside) is label


async def test_nothing_asked_for_is_an_error() -> None:
    with pytest.raises(ValueError, match="what"):
        await protected(FIELDS + ENTITIES["7bit"], None, [])


async def test_no_certificate_of_the_key_is_no_signature(reader: Issued, author: Issued) -> None:
    signer, _ = signing(author)
    with pytest.raises(GatewayError) as caught:
        await protect_message(
            MemoryBody(FIELDS + ENTITIES["7bit"]),
            MemoryBodies(),
            signing=(signer, SigningKey("key", ())),
            readers=[Reader(reader.der)],
            at=AT,
            random=os.urandom,
        )
    assert caught.value.reason is Reason.KEY_UNAVAILABLE


class Sink:
    """Counts what is written and keeps none of it."""

    def __init__(self) -> None:
        self.size = 0

    def create(self) -> Sink:
        return self

    def write(self, data: bytes, /) -> None:
        self.size += len(data)

    def close(self) -> Body:
        return MemoryBody(b"")

    def discard(self) -> None:
        raise AssertionError


class Large:
    """A message with ``count`` chunks of attachment, made as it is read; one part of it 8bit."""

    CHUNK = (b"QUJD" * 19 + b"\r\n") * 840
    HEAD = (
        FIELDS + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n--b\r\n"
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    TAIL = b"--b--\r\n"

    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def size(self) -> int:
        return len(self.HEAD) + self.count * len(self.CHUNK) + len(self.TAIL)

    def chunks(self) -> Iterator[bytes]:
        yield self.HEAD
        for _ in range(self.count):
            yield self.CHUNK
        yield self.TAIL


@pytest.mark.parametrize("form", SignedForm)
@pytest.mark.parametrize("cipher", [None, *ContentCipher])
async def test_memory_does_not_grow_with_the_message(
    author: Issued, reader: Issued, form: SignedForm, cipher: ContentCipher | None
) -> None:
    """25 MB pass in under 2 MB, signed and encrypted as well as signed alone, made 7-bit or opaque."""
    body, sink = Large(420), Sink()
    assert body.size > 25 * 1024 * 1024
    tracemalloc.start()
    try:
        await protect_message(
            body,
            sink,
            signing=signing(author),
            readers=[Reader(reader.der)] if cipher else [],
            at=AT,
            random=os.urandom,
            cipher=cipher or ContentCipher.AES256_CBC,
            form=form,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sink.size > body.size
    assert peak < 2 * 1024 * 1024


async def test_small_message_costs_little_beside_its_private_key(root: Ca, reader: Issued) -> None:
    """Signed and encrypted, 5 KB: generous against a busy machine, so that only a wrong way of working fails."""
    author = root.signer("cardiology@hospital.example", "p256")
    message = FIELDS + b"Content-Type: text/plain\r\n\r\n" + b"a line of the letter\r\n" * 230
    await protected(message, author, [Reader(reader.der)])
    best = 1.0
    for _ in range(20):
        began = time.process_time()
        await protected(message, author, [Reader(reader.der)])
        best = min(best, time.process_time() - began)
    assert best < 0.003
