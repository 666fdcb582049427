"""Attributes that are authenticated with encrypted content (RFC 5083 2.1): in what Bouncy Castle writes, and against the library's
own one-shot forms of GCM and CCM.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.attributes import read_authenticated
from gateway.smime.ccm import MAX_CCM, CcmDecryptor
from gateway.smime.cms import Enveloped
from gateway.smime.gcm import GcmDecryptor
from gateway.smime.limits import MAX_ATTRIBUTES
from gateway.smime.reader import CmsReader
from tests.smime import ber
from tests.smime.test_smime_ccm import BOUNCY_CASTLE, TEXT, opened

CONTENT_TYPE = der.sequence(der.oid("1.2.840.113549.1.9.3"), der.set_of(ber.DATA))
BOUNCY = [f"{cipher}{bits}-attributes" for cipher in ("ccm", "gcm") for bits in (128, 192, 256)]


def message(name: str) -> tuple[bytes, bytes]:
    """What Bouncy Castle wrote, and the attributes in it: content type and signing time."""
    structure = (BOUNCY_CASTLE / f"{name}.p7m").read_bytes()
    place = structure.index(b"\xa1\x38" + CONTENT_TYPE)
    return structure, structure[place : place + 58]


def reason(structure: bytes) -> Reason | None:
    try:
        opened(structure)
    except GatewayError as error:
        return error.reason
    return None


@pytest.mark.parametrize("name", BOUNCY)
def test_attributes_are_held_by_the_tag(name: str) -> None:
    structure, attributes = message(name)
    assert reason(structure) is None
    earlier = attributes.replace(b"7001", b"6912")
    assert reason(structure.replace(attributes, earlier)) is Reason.INTEGRITY
    assert reason(structure.replace(attributes, b"")) is Reason.INTEGRITY
    assert reason(structure.replace(attributes, der.element(0xA1, CONTENT_TYPE))) is Reason.INTEGRITY


@pytest.mark.parametrize("name", BOUNCY)
def test_authenticated_is_the_der_of_a_set_whatever_was_written(name: str) -> None:
    structure, attributes = message(name)
    one, other = attributes[2:28], attributes[28:]
    for written in (der.element(0xA1, other, one), ber.open_element(0xA1) + other + one + ber.END):
        assert opened(structure.replace(attributes, written)) == TEXT


@pytest.mark.parametrize("name", BOUNCY)
def test_what_no_attributes_are_is_malformed(name: str) -> None:
    """A content type is that of the content, once, with one value; attributes are one at least (RFC 5083 2.1)."""
    structure, attributes = message(name)
    signed = CONTENT_TYPE.replace(ber.DATA, ber.SIGNED)
    for wrong in (b"", signed, CONTENT_TYPE * 2, CONTENT_TYPE.replace(b"\x31\x0b", b"\x30\x0b"), der.NULL):
        assert reason(structure.replace(attributes, der.element(0xA1, wrong))) is Reason.MALFORMED


@pytest.mark.parametrize("name", BOUNCY)
def test_what_is_for_others_is_read_to_its_end(name: str) -> None:
    structure, attributes = message(name)
    reader = CmsReader(None)
    assert reader.update(structure) == b""
    assert isinstance(reader.finalize(), Enveloped)
    reader = CmsReader(None)
    with pytest.raises(GatewayError):
        reader.update(structure.replace(attributes, der.element(0xA1)))


def test_as_many_attributes_as_a_signer_may_have() -> None:
    many = [ber.attribute(number) for number in range(MAX_ATTRIBUTES + 1)]
    assert read_authenticated(der.element(0xA1, *many[1:])) == der.set_of(*many[1:])
    with pytest.raises(GatewayError) as caught:
        read_authenticated(der.element(0xA1, *many))
    assert caught.value.reason is Reason.LIMIT


def gcm(key: bytes, nonce: bytes, content: bytes, attributes: bytes) -> tuple[bytes, bytes]:
    cipher = Cipher(AES(key), GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(attributes)
    return cipher.update(content) + cipher.finalize(), cipher.tag


def ccm(key: bytes, nonce: bytes, content: bytes, attributes: bytes) -> tuple[bytes, bytes]:
    sealed = AESCCM(key).encrypt(nonce, content, attributes)
    return sealed[:-16], sealed[-16:]


Seal = Callable[[bytes, bytes, bytes, bytes], tuple[bytes, bytes]]
Opener = Callable[[bytes, bytes, int], GcmDecryptor | CcmDecryptor]
WAYS: list[tuple[Seal, int, Opener]] = [
    (gcm, 16, lambda key, nonce, _: GcmDecryptor(key, nonce, 16)),
    (gcm, 12, lambda key, nonce, _: GcmDecryptor(key, nonce, 12)),
    (ccm, 16, lambda key, nonce, size: CcmDecryptor(key, nonce, 16, size)),
    (ccm, 16, lambda key, nonce, _: CcmDecryptor(key, nonce, 16, None)),
]


@given(
    way=st.sampled_from(WAYS),
    key=st.sampled_from([16, 24, 32]),
    nonce=st.integers(8, 12),  # with 13 bytes CCM has no room for the largest
    size=st.integers(0, 200) | st.sampled_from([65_535, 65_536, 65_537]),
    beside=st.integers(1, 100) | st.sampled_from([65_279, 65_280, 65_281, 1_048_576]),
    piece=st.integers(1, 300) | st.just(65_536),
    flip=st.booleans(),
)
@example(way=WAYS[0], key=16, nonce=12, size=200_000, beside=1, piece=65_536, flip=False)
def test_it_is_what_the_library_does(
    way: tuple[Seal, int, Opener], key: int, nonce: int, size: int, beside: int, piece: int, flip: bool
) -> None:
    """In CCM attributes of 65,280 bytes and more have a longer length before them (SP 800-38C A.2.2)."""
    seal, length, opener = way
    secret, number, content, attributes = os.urandom(key), os.urandom(nonce), os.urandom(size), os.urandom(beside)
    ciphertext, tag = seal(secret, number, content, attributes)
    decryptor = opener(secret, number, size)
    out = b"".join(decryptor.update(ciphertext[start : start + piece]) for start in range(0, size, piece))
    if not flip:
        assert out + decryptor.finalize(tag[:length], attributes) == content
        return
    with pytest.raises(GatewayError) as caught:
        decryptor.finalize(tag[:length], attributes[:-1] + bytes((attributes[-1] ^ 1,)))
    assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.parametrize("known", [True, False])
def test_ccm_with_attributes_is_bounded_whether_its_length_was_said_or_not(known: bool) -> None:
    key, nonce, content = bytes(16), bytes(12), bytes(MAX_CCM + 1)
    ciphertext, tag = ccm(key, nonce, content[:MAX_CCM], b"beside")
    decryptor = CcmDecryptor(key, nonce, 16, MAX_CCM if known else None)
    assert decryptor.update(ciphertext) + decryptor.finalize(tag, b"beside") == content[:MAX_CCM]
    if known:
        ciphertext, tag = ccm(key, nonce, content, b"beside")
        decryptor = CcmDecryptor(key, nonce, 16, MAX_CCM + 1)
        assert decryptor.update(ciphertext) == content
        with pytest.raises(GatewayError) as caught:
            decryptor.finalize(tag, b"beside")
        assert caught.value.reason is Reason.LIMIT


def test_gcm_with_attributes_has_no_bound() -> None:
    content = bytes(MAX_CCM + 1)
    ciphertext, tag = gcm(bytes(16), bytes(12), content, b"beside")
    decryptor = GcmDecryptor(bytes(16), bytes(12), 16)
    assert decryptor.update(ciphertext) + decryptor.finalize(tag, b"beside") == content
