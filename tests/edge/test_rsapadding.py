"""Paddings, made by `cryptography` and opened from the raw block of RFC 8017."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.edge.rsapadding import mgf1, open_oaep, open_pkcs1
from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Digest

KEY = bytes(range(100, 132))
INSTEAD = b"\xaa" * 32


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def raw(private: rsa.RSAPrivateKey, wrapped: bytes) -> bytes:
    """The block before its padding is removed."""
    numbers = private.private_numbers()
    return pow(int.from_bytes(wrapped), numbers.d, numbers.public_numbers.n).to_bytes(256)


def pkcs1_block(key: bytes = KEY, size: int = 256) -> bytearray:
    return bytearray(b"\0\2" + b"\x77" * (size - 3 - len(key)) + b"\0" + key)


def test_pkcs1_made_by_cryptography_opens(private: rsa.RSAPrivateKey) -> None:
    for length in (16, 24, 32, 1):
        key = KEY[:length]
        block = raw(private, private.public_key().encrypt(key, padding.PKCS1v15()))
        assert open_pkcs1(block, b"\xaa" * length) == key


@pytest.mark.parametrize("digest", [digest for digest in HASHES if digest is not Digest.MD5])
@pytest.mark.parametrize("mgf", [Digest.SHA1, Digest.SHA256])
def test_oaep_made_by_cryptography_opens(private: rsa.RSAPrivateKey, digest: Digest, mgf: Digest) -> None:
    for label in (b"", b"a label"):
        scheme = padding.OAEP(padding.MGF1(HASHES[mgf]), HASHES[digest], label)
        block = raw(private, private.public_key().encrypt(KEY, scheme))
        assert open_oaep(block, INSTEAD, digest, mgf, label) == KEY
        assert open_oaep(block, INSTEAD, digest, mgf, label + b"x") == INSTEAD
        assert open_oaep(block, INSTEAD[:16], digest, mgf, label) == INSTEAD[:16]


@pytest.mark.parametrize("place", [0, 1, 256 - 33])
@pytest.mark.parametrize("value", [1, 3, 0x80, 0xFF])
def test_pkcs1_with_a_wrong_fixed_byte_gives_the_random_key(place: int, value: int) -> None:
    block = pkcs1_block()
    block[place] = value
    assert open_pkcs1(bytes(block), INSTEAD) == INSTEAD


def test_pkcs1_with_a_zero_anywhere_in_its_padding_gives_the_random_key() -> None:
    for place in range(2, 256 - 33):
        block = pkcs1_block()
        block[place] = 0
        assert open_pkcs1(bytes(block), INSTEAD) == INSTEAD


def test_pkcs1_of_another_length_gives_the_random_key() -> None:
    for wanted, inside in pairwise((16, 24, 32, 48)):
        assert open_pkcs1(bytes(pkcs1_block(b"\x55" * inside)), b"\xaa" * wanted) == b"\xaa" * wanted
        assert open_pkcs1(bytes(pkcs1_block(b"\x55" * wanted)), b"\xaa" * inside) == b"\xaa" * inside


def test_pkcs1_needs_eight_bytes_of_padding() -> None:
    assert open_pkcs1(bytes(pkcs1_block(size=32 + 11)), INSTEAD) == KEY
    assert open_pkcs1(bytes(pkcs1_block(size=32 + 10)), INSTEAD) == INSTEAD


def test_oaep_with_any_bit_changed_gives_the_random_key(private: rsa.RSAPrivateKey) -> None:
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    block = raw(private, private.public_key().encrypt(KEY, scheme))
    for place in range(256):
        broken = bytearray(block)
        broken[place] ^= 1 << place % 8
        opened = open_oaep(bytes(broken), INSTEAD, Digest.SHA256, Digest.SHA256, b"")
        # The last 32 bytes are masked key: there a change also changes the seed, and so everything.
        assert opened == INSTEAD


def test_oaep_with_a_block_too_small_gives_the_random_key() -> None:
    assert open_oaep(bytes(64), INSTEAD, Digest.SHA256, Digest.SHA256, b"") == INSTEAD


def test_mgf1_is_what_its_definition_says() -> None:
    """RFC 8017 B.2.1 for one block: Hash(seed || 00000000). Value from `openssl dgst -sha1` over `66 6f 6f 00 00 00 00`."""
    assert mgf1(b"foo", 3, Digest.SHA1).hex() == "1ac907"
