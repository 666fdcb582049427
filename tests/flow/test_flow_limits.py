"""Limits of a whole message at their edge: as much as each says is read, one more is not."""

from __future__ import annotations

import base64
import zlib

import pytest

from gateway.flow.peel import Entity, Peeled, Peeler
from gateway.flow.tell import certificate_name
from gateway.mail.message import head_of
from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.cms import CertificateId
from gateway.smime.encrypt import Encryptor
from gateway.smime.keys import WrappedKey
from gateway.smime.limits import MAX_INFLATED, MAX_LAYERS, MAX_NAME, MAX_RATIO, MAX_SIGNATURE_PART, MAX_SMALL, MAX_UNWRAPS
from gateway.smime.recipients import Reader
from tests.doubles import MemoryBodies, MemoryBody
from tests.pki import Ca, Issued
from tests.smime import ber
from tests.smime.test_smime_compress import compressed

PLAIN = b"Content-Type: text/plain\r\n\r\nx\r\n"
OPAQUE = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"


class OneKey:
    """Every wrapped key is a key of zeros; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:  # noqa: ARG002
        self.asked += 1
        return bytes(wrapped.length)


async def peel(message: bytes, keys: OneKey | None = None, reader: Issued | None = None) -> Peeled:
    body = MemoryBody(message)
    names = {"ours": reader.der} if reader else {}
    return await Peeler(MemoryBodies(), keys or OneKey(), names, 0).peel(Entity(body, head_of(body)))


def opaque(structure: bytes) -> bytes:
    return OPAQUE + base64.encodebytes(structure).replace(b"\n", b"\r\n")


def signed_by_nobody(entity: bytes) -> bytes:
    return opaque(ber.signed(content=der.element(0xA0, der.octet_string(entity))))


def encrypted(entity: bytes, reader: Issued) -> bytes:
    encryptor = Encryptor([Reader(reader.der)], len(entity), bytes)
    return opaque(encryptor.begin() + encryptor.update(entity) + encryptor.finalize())


@pytest.mark.parametrize(("layers", "reason"), [(MAX_LAYERS, None), (MAX_LAYERS + 1, Reason.LIMIT)])
async def test_layers(layers: int, reason: Reason | None) -> None:
    entity = PLAIN
    for _ in range(layers):
        entity = signed_by_nobody(entity)
    peeled = await peel(entity)
    assert len(peeled.layers) == MAX_LAYERS
    assert (peeled.fault and peeled.fault.reason) is reason


@pytest.mark.parametrize(("layers", "opens"), [(MAX_UNWRAPS, True), (MAX_UNWRAPS + 1, False)])
async def test_unwraps(layers: int, opens: bool) -> None:
    """What is beyond ends as everything behind a private key does, and the key is not asked again."""
    reader, keys, entity = Ca.root().reader("cardiology@hospital.example"), OneKey(), PLAIN
    for _ in range(layers):
        entity = encrypted(entity, reader)
    peeled = await peel(entity, keys, reader)
    assert keys.asked == MAX_UNWRAPS
    assert (peeled.fault is None) is opens
    assert peeled.fault is None or peeled.fault.reason is Reason.INTEGRITY


def squeezed(entity: bytes) -> bytes:
    return opaque(compressed(zlib.compress(entity, 9)))


def with_blank_lines(entity: bytes, size: int) -> bytes:
    return entity + b"\r\n" * ((size - len(entity)) // 2)


async def test_what_is_compressed_again_and_again_grows_once() -> None:
    """Each would be within its own bounds: the blank lines behind base64 belong to the content of the layer around it."""
    entity = PLAIN
    for _ in range(MAX_LAYERS):
        entity = squeezed(with_blank_lines(entity, MAX_SMALL))
    peeled = await peel(entity)
    assert (peeled.fault and peeled.fault.reason) is Reason.LIMIT
    assert sum(each.body.size for each in peeled.entities) < 2 * MAX_SMALL


@pytest.mark.parametrize(("more", "reason"), [(0, None), (-1, Reason.LIMIT)])
async def test_what_all_layers_of_a_mail_hold(more: int, reason: Reason | None) -> None:
    entity = with_blank_lines(signed_by_nobody(PLAIN), MAX_SMALL)
    entity = with_blank_lines(signed_by_nobody(entity), MAX_SMALL * 3 // 2)
    mail = squeezed(entity)
    held = sum(each.body.size for each in (await peel(with_blank_lines(mail, MAX_SMALL))).entities)
    enough = -(-(held - MAX_SMALL) // (MAX_LAYERS + MAX_RATIO))
    assert len(mail) + 10 < enough < MAX_INFLATED // MAX_RATIO
    head = b"X: " + b"a" * (enough - len(mail) - 5 + more) + b"\r\n"
    peeled = await peel(head + mail)
    assert (peeled.fault and peeled.fault.reason) is reason


@pytest.mark.parametrize(("more", "reason"), [(0, None), (1, Reason.LIMIT)])
async def test_the_signature_part(more: int, reason: Reason | None) -> None:
    head = b'Content-Type: multipart/signed; boundary=b; protocol="application/pkcs7-signature"\r\n\r\n--b\r\n'
    part = b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    part += base64.encodebytes(ber.signed()).replace(b"\n", b"\r\n")
    part += b" " * (MAX_SIGNATURE_PART - len(part) + more)
    peeled = await peel(head + PLAIN + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n")
    assert (peeled.fault and peeled.fault.reason) is reason


@pytest.mark.parametrize(("more", "shown"), [(0, True), (1, False)])
def test_the_name_that_is_shown(more: int, shown: bool) -> None:
    value = b"a" * (MAX_NAME - 21 + more)
    name = der.sequence(der.set_of(der.sequence(der.oid("2.5.4.3"), der.element(0x0C, value))))
    assert len(name) == MAX_NAME + more
    told = certificate_name(CertificateId(der.sequence(name, der.integer(1))))
    assert told.endswith(value.decode()) is shown


@pytest.mark.parametrize("count", [300, 3000])
def test_a_name_that_says_one_thing_again_and_again(count: int) -> None:
    """Which the library that writes names takes as a reason to call itself for each."""
    part = der.set_of(der.sequence(der.oid("2.5.4.3"), der.element(0x0C, b"a")))
    assert certificate_name(CertificateId(der.sequence(der.sequence(part * count), der.integer(1)))) == "serial 1, ?"
