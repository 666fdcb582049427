"""What Bouncy Castle writes; AES-CCM, every size, nonce and tag against the library's own one-shot form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.keyfile import FileKey
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.ccm import MAX_CCM, CcmDecryptor
from gateway.smime.reader import CmsReader
from tests.smime import ber

BOUNCY_CASTLE = Path(__file__).parent / "bouncycastle"
TEXT = b"Content-Type: text/plain\r\n\r\nResult: all well.\r\n"
KEYS = ("reader", "agreeing")
CERTIFICATES = {
    name: x509.load_pem_x509_certificate((BOUNCY_CASTLE / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER) for name in KEYS
}


def opened(structure: bytes, piece: int = 4096) -> bytes:
    reader, out = CmsReader(CERTIFICATES), []
    for start in range(0, len(structure), piece):
        out.append(reader.update(structure[start : start + piece]))
        if reader.wants is not None:
            reader.give(FileKey.load(BOUNCY_CASTLE / f"{reader.wants.key}.key").unwrap(reader.wants.wrapped))
            out.append(reader.update(b""))
    reader.finalize()
    return b"".join(out)


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("name", sorted(path.name for path in BOUNCY_CASTLE.glob("*.p7m")))
def test_what_bouncy_castle_encrypts_is_opened(name: str, piece: int) -> None:
    """AES-CCM of three sizes; GCM and CCM with authenticated attributes; RSAES-OAEP with five digests, two masks and a label; keys
    agreed on, with user keying material.
    """
    assert opened((BOUNCY_CASTLE / name).read_bytes(), piece) == TEXT


def in_pieces(structure: bytes, *, changed: bool = False) -> bytes:
    """The same structure with its content in pieces of seven bytes, as another program may write it."""
    place = structure.index(b"\x80" + bytes((len(TEXT),)))
    content = bytearray(structure[place + 2 : place + 2 + len(TEXT)])
    if changed:
        content[-1] ^= 1
    pieces = b"".join(der.octet_string(bytes(content[start : start + 7])) for start in range(0, len(content), 7))
    return structure[:place] + ber.open_element(0xA0) + pieces + ber.END + structure[place + 2 + len(TEXT) :]


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("bits", [128, 192, 256])
def test_content_in_pieces_is_opened(bits: int, piece: int) -> None:
    structure = (BOUNCY_CASTLE / f"ccm{bits}.p7m").read_bytes()
    assert opened(in_pieces(structure), piece) == TEXT
    with pytest.raises(GatewayError) as caught:
        opened(in_pieces(structure, changed=True), piece)
    assert caught.value.reason is Reason.INTEGRITY


def test_content_in_pieces_shows_nothing_before_its_tag() -> None:
    structure = in_pieces((BOUNCY_CASTLE / "ccm128.p7m").read_bytes())
    reader, key = CmsReader(CERTIFICATES), FileKey.load(BOUNCY_CASTLE / "reader.key")
    assert reader.update(structure[:-10]) == b""
    assert reader.wants is not None
    reader.give(key.unwrap(reader.wants.wrapped))
    assert reader.update(b"") == b""


@given(
    key=st.sampled_from([16, 24, 32]),
    nonce=st.integers(7, 13),
    tag=st.sampled_from([8, 10, 12, 14, 16]),
    size=st.integers(0, 200) | st.sampled_from([255, 256, 257, 65_535]),
    piece=st.integers(1, 300),
    known=st.booleans(),
    flip=st.integers(-1, 1000),
)
def test_it_is_what_the_library_does(key: int, nonce: int, tag: int, size: int, piece: int, known: bool, flip: int) -> None:
    secret, number, content = os.urandom(key), os.urandom(nonce), os.urandom(size)
    sealed = bytearray(AESCCM(secret, tag).encrypt(number, content, None))
    if flip >= 0:
        sealed[flip % len(sealed)] ^= 1 << flip % 8
    decryptor = CcmDecryptor(secret, number, tag, size if known else None)
    ciphertext = bytes(sealed[:-tag])
    out = b"".join(decryptor.update(ciphertext[start : start + piece]) for start in range(0, size, piece))
    if flip < 0:
        assert out + decryptor.finalize(bytes(sealed[-tag:])) == content
        return
    with pytest.raises(GatewayError) as caught:
        decryptor.finalize(bytes(sealed[-tag:]))
    assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.parametrize("tag", [None, b"", bytes(11), bytes(13)])
def test_a_tag_of_another_length_is_integrity(tag: bytes | None) -> None:
    for size in (0, None):
        with pytest.raises(GatewayError) as caught:
            CcmDecryptor(bytes(16), bytes(12), 12, size).finalize(tag)
        assert caught.value.reason is Reason.INTEGRITY


def test_a_length_for_which_the_nonce_leaves_no_room_is_integrity() -> None:
    """SP 800-38C A.1: with a nonce of 13 bytes the length has two."""
    with pytest.raises(GatewayError) as caught:
        CcmDecryptor(bytes(16), bytes(13), 16, 65_536)
    assert caught.value.reason is Reason.INTEGRITY
    held = CcmDecryptor(bytes(16), bytes(13), 16, None)
    held.update(bytes(65_536))
    with pytest.raises(GatewayError) as caught:
        held.finalize(bytes(16))
    assert caught.value.reason is Reason.INTEGRITY


def test_only_content_of_unknown_length_is_bounded() -> None:
    decryptor = CcmDecryptor(bytes(16), bytes(12), 16, None)
    assert decryptor.update(bytes(MAX_CCM)) == b""
    with pytest.raises(GatewayError) as caught:
        decryptor.update(b"!")
    assert caught.value.reason is Reason.LIMIT
    assert len(CcmDecryptor(bytes(16), bytes(12), 16, MAX_CCM + 1).update(bytes(MAX_CCM + 1))) == MAX_CCM + 1
