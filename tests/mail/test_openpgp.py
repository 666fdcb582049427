"""PGP/MIME is believed where it is encrypted to its last byte, and to nobody beyond that. Written from RFC 9580 and RFC 3156."""

from __future__ import annotations

import base64
import contextlib
import time

import pytest

from gateway.mail.openpgp import encrypted_to
from gateway.outcome import GatewayError, Reason
from tests.mail.pgp import (
    armored,
    encrypted,
    entity,
    legacy,
    length,
    noise,
    packet,
    sealed,
    sealed_2,
    session_key,
    session_key_6,
)

ENIGMAIL = b"This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)\r\n"
SECRET = "Résultat : œdème pulmonaire".encode()


def count(data: bytes, piece: int = 64 * 1024) -> int:
    return encrypted_to(data[start : start + piece] for start in range(0, len(data), piece))


def refused(data: bytes) -> Reason:
    with pytest.raises(GatewayError) as caught:
        count(data)
    return caught.value.reason


def test_lengths_are_those_of_the_examples_in_the_rfc() -> None:
    assert [length(100), length(1723), length(100000)] == [b"\x64", b"\xc5\xfb", b"\xff\x00\x01\x86\xa0"]


@pytest.mark.parametrize("piece", [1, 7, 64 * 1024])
@pytest.mark.parametrize(
    ("message", "readers"),
    [
        (entity(armored(encrypted())), 1),
        (entity(armored(encrypted(3))), 3),
        (entity(armored(encrypted(), fields=b"")), 1),
        (entity(armored(encrypted(), checksum=b"")), 1),
        (entity(encrypted(2), encoding="binary"), 2),
        (entity(base64.encodebytes(encrypted(2)).replace(b"\n", b"\r\n"), encoding="base64"), 2),
        (entity(base64.encodebytes(armored(encrypted(2))).replace(b"\n", b"\r\n"), encoding="base64"), 2),
        (entity(armored(encrypted()), preamble=ENIGMAIL, epilogue=b"\r\n \r\n"), 1),
        (entity(armored(legacy(1, session_key()) + packet(18, sealed()))), 1),
        (entity(armored(packet(10, b"PGP") + packet(1, session_key()) + packet(18, sealed()))), 1),
        (entity(armored(packet(1, session_key()) + packet(3, noise(40)) + packet(18, sealed()))), 1),
        (entity(armored(packet(1, session_key_6(noise(32))) + packet(21, noise(9)) + packet(18, sealed_2()))), 1),
    ],
)
def test_what_is_encrypted_counts_its_readers(message: bytes, readers: int, piece: int) -> None:
    assert count(message, piece) == readers


@pytest.mark.parametrize("piece", [5, 64 * 1024])
def test_data_in_partial_lengths(piece: int) -> None:
    """RFC 9580 4.2.1.4: pieces of a power of two, the last of an ordinary length."""
    data = sealed(1024 + 512 + 99)
    body = b"\xe9" + data[:512] + b"\xea" + data[512:1536] + length(len(data) - 1536) + data[1536:]
    message = packet(1, session_key()) + b"\xd2" + body
    assert count(entity(armored(message)), piece) == 1
    assert refused(entity(armored(message[:-1]))) is Reason.MALFORMED
    assert (
        refused(entity(armored(packet(1, session_key()) + b"\xd2\xe1" + data[:2] + length(100) + data[:100]))) is Reason.MALFORMED
    )


def test_a_key_counts_once_and_each_unnamed_reader_as_one() -> None:
    key = noise(8)
    keys = [session_key(key), session_key(key), session_key(bytes(8)), session_key(bytes(8))]
    assert count(entity(armored(b"".join(packet(1, each) for each in keys) + packet(18, sealed())))) == 3
    six = noise(32)
    keys = [session_key_6(six), session_key_6(six), session_key_6(), session_key_6()]
    assert count(entity(armored(b"".join(packet(1, each) for each in keys) + packet(18, sealed_2())))) == 3


@pytest.mark.parametrize(
    "data",
    [
        packet(18, sealed()),
        packet(3, noise(40)) + packet(18, sealed()),
        packet(1, session_key(algorithm=17)) + packet(18, sealed()),  # DSA encrypts nothing
        packet(1, session_key()[:20]) + packet(18, sealed()),
        packet(1, b"\x02" + session_key()[1:]) + packet(18, sealed()),
        packet(1, b"") + packet(18, sealed()),
        packet(1, session_key()) + packet(18, sealed_2()),  # of another generation
        packet(1, session_key_6(noise(32))) + packet(18, sealed()),
    ],
)
def test_nobody_is_a_reader(data: bytes) -> None:
    assert count(entity(armored(data))) == 0


READER = packet(1, session_key())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        READER,
        READER + packet(9, noise(300)),  # encrypted without integrity
        READER + packet(20, noise(300)),  # not of the RFC
        READER + packet(8, noise(300)),  # compressed
        READER + packet(11, b"b\x00\x00\x00\x00\x00" + SECRET * 9),  # literal
        packet(18, sealed()) + READER,
        READER + packet(18, sealed()) + packet(11, SECRET),
        READER + packet(18, sealed()) + b"\x00",
        READER + packet(18, sealed()) + READER + packet(18, sealed()),
        READER + packet(18, sealed())[:-1],
        READER + packet(18, sealed(30)),
        READER + packet(18, sealed_2(20)),
        READER + packet(18, sealed_2(cipher=0)),  # RFC 9580 9.3: plaintext
        READER + packet(18, sealed_2(mode=0)),
        READER + packet(18, b"\x03" + noise(300)),
        READER + packet(18, b""),
        b"\x87" + session_key() + packet(18, sealed()),  # of unknown length
        packet(1, session_key() + noise(9000)) + packet(18, sealed()),
        b"\xc1\xea" + noise(1024) + packet(18, sealed()),  # a session key in partial lengths
        SECRET * 20,
    ],
)
def test_packets_that_are_not_one_encrypted_message(data: bytes) -> None:
    assert refused(entity(armored(data))) in (Reason.MALFORMED, Reason.LIMIT)
    assert refused(entity(base64.encodebytes(data).replace(b"\n", b"\r\n"), encoding="base64")) in (Reason.MALFORMED, Reason.LIMIT)


GOOD = armored(encrypted())
THIRD = b"--foo\r\nContent-Type: text/plain\r\n\r\n" + SECRET + b"\r\n"


@pytest.mark.parametrize(
    "message",
    [
        entity(GOOD, more=THIRD),
        entity(GOOD, epilogue=SECRET),
        entity(GOOD, preamble=SECRET * 20),
        entity(GOOD).removesuffix(b"--foo--\r\n"),
        entity(SECRET + b"\r\n" + GOOD),
        entity(GOOD + SECRET),
        entity(GOOD + GOOD),
        entity(armored(encrypted(), fields=SECRET + b"\r\n")),
        entity(armored(encrypted(), fields=b"Comment: x\r\n" * 200)),
        entity(armored(encrypted(), checksum=SECRET + b"\r\n")),
        entity(armored(encrypted(), checksum=b"=ab\r\n")),
        entity(GOOD.replace(b"-----END PGP MESSAGE-----\r\n", b"")),
        entity(GOOD.replace(b"PGP MESSAGE", b"PGP SIGNED MESSAGE")),
        entity(GOOD, encoding="quoted-printable"),
        entity(GOOD).replace(b"Version: 1", b"Version: 2"),
        entity(GOOD).replace(b"Version: 1", b"Version: 1\r\n" + SECRET),
        entity(GOOD).replace(b"octet-stream", b"pdf"),
        entity(GOOD).replace(b'protocol="application/pgp-encrypted"', b"x=y"),
        entity(GOOD).replace(b"Type: application/pgp-encrypted", b"Type: text/plain"),
        entity(GOOD).replace(b"multipart/encrypted", b"multipart/mixed"),
        entity(GOOD).replace(b"multipart/encrypted", b"multipart/signed"),
        entity(GOOD).replace(b"; boundary=foo", b""),
        entity(GOOD).replace(b"Content-Type: application/octet", SECRET + b"\r\nContent-Type: application/octet"),
        b"Content-Type: text/plain\r\n\r\n" + GOOD,
        b"Content-Type: application/octet-stream\r\n\r\n" + GOOD,
        b'Content-Type: multipart/encrypted; boundary=foo; protocol="application/pgp-encrypted"\r\n\r\n--foo--\r\n',
        b"",
    ],
)
def test_what_is_not_pgp_mime_whole_and_alone(message: bytes) -> None:
    assert refused(message) in (Reason.MALFORMED, Reason.LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        READER * 6000 + packet(18, sealed()),
        b"\xc1\x00" * 300_000,
        READER + b"\xd2\xe9" + noise(512) + b"\xe0x" * 1_000_000 + b"\x00",
        packet(1, session_key()) + packet(18, sealed(2_000_000)),
    ],
)
def test_hostile_packets_cost_no_more_than_their_length(data: bytes) -> None:
    began = time.process_time()
    for message in (entity(armored(data)), entity(data, encoding="binary")):
        with contextlib.suppress(GatewayError):
            assert count(message) <= 1
    assert time.process_time() - began < 20


def test_hostile_lines_are_bounded() -> None:
    assert refused(entity(b"-----BEGIN PGP MESSAGE-----\r\n\r\n" + b"A" * 1_000_000)) is Reason.LIMIT
    assert refused(entity(b"\r\n" * 400_000)) is Reason.MALFORMED
