"""Inputs to begin with: the messages of ``tests/vectors``, the dialogues, structures we write, and some written by hand."""

from __future__ import annotations

import base64
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.smime import der
from gateway.smime.algorithms import ContentCipher
from gateway.smime.encrypt import Encryptor
from gateway.smime.recipients import Reader

TESTS: Final = Path(__file__).parent.parent / "tests"
MOST: Final = 30  # vectors: small and large ones, few enough to change each often
ENTITY: Final = b'Content-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\n\r\nA result.\r\n--in--\r\n'
_PROTECTED: Final = (
    b'Content-Type: text/plain; hp="cipher"; hp-legacy-display="1"\r\nFrom: results@laboratory.example\r\nSubject: A result\r\n'
    b"HP-Outer: From: results@laboratory.example\r\nHP-Outer: Subject: [...]\r\n\r\nSubject: A result\r\n\r\nAll well.\r\n"
)
_WRAPPED: Final = (
    b"Content-Type: message/rfc822; forwarded=no\r\n\r\nSubject: A result\r\nFrom: results@laboratory.example\r\n\r\nx\r\n"
)


@lru_cache
def mails() -> list[bytes]:
    """Whole messages."""
    inside = [(ENTITY, cipher) for cipher in ContentCipher]
    inside += [(entity, ContentCipher.AES256_CBC) for entity in (_PROTECTED, _WRAPPED, _compressed(ENTITY))]
    found = sorted((path.read_bytes() for path in (TESTS / "vectors").glob("*/mail.eml")), key=lambda mail: (len(mail), mail))
    return [*found[:: max(1, len(found) // MOST)], *(_mail(*each) for each in inside)]


@lru_cache
def certificates() -> list[bytes]:
    """Certificates, DER."""
    found = [path.read_bytes() for path in sorted((TESTS / "vectors" / "world").glob("*.pem"))]
    return [x509.load_pem_x509_certificate(each).public_bytes(Encoding.DER) for each in found]


def reader_certificate() -> bytes:
    """Whose mail the targets open."""
    path = TESTS / "vectors" / "world" / "reader.pem"
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@lru_cache
def structures() -> list[bytes]:
    """CMS structures, DER and BER."""
    found = [structure for mail in mails() for structure in _base64_in(mail)]
    octets = b"\x24\x80" + b"\x04\x03abc" * 5 + b"\x24\x80\x04\x01d\0\0" + b"\0\0"
    signed = (
        b"\x30\x80" + der.oid("1.2.840.113549.1.7.2") + bytes.fromhex("a080 3080 020101 3100 3080") + der.oid(_DATA) + b"\xa0\x80"
    )
    return [*dict.fromkeys(found), signed + octets + bytes(4) + b"\x31\x00" + bytes(6), *certificates()]


_DATA: Final = "1.2.840.113549.1.7.1"


def _mail(entity: bytes, cipher: ContentCipher) -> bytes:
    """Encrypted under a key of zeros, so that a target which always answers with that key gets to see what is inside."""
    encryptor = Encryptor([Reader(reader_certificate())], len(entity), bytes, cipher)
    return b"From: results@laboratory.example\r\n" + _entity(encryptor.begin() + encryptor.update(entity) + encryptor.finalize())


def _compressed(entity: bytes) -> bytes:
    """As RFC 3274 has it."""
    content = der.sequence(der.oid(_DATA), der.element(0xA0, der.octet_string(zlib.compress(entity))))
    layer = der.sequence(der.integer(0), der.sequence(der.oid("1.2.840.113549.1.9.16.3.8")), content)
    return _entity(der.sequence(der.oid("1.2.840.113549.1.9.16.1.9"), der.element(0xA0, layer)))


def _entity(structure: bytes) -> bytes:
    lines = base64.encodebytes(structure).replace(b"\n", b"\r\n")
    return b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines


def _base64_in(mail: bytes) -> list[bytes]:
    """What stands in base64 in a message and begins as CMS does."""
    blocks = mail.replace(b"\r\n", b"\n").split(b"\n\n")
    decoded = [base64.b64decode(block.partition(b"\n--")[0]) for block in blocks if block.startswith(b"MI")]
    return [each for each in decoded if each[:1] == b"\x30"]


@lru_cache
def commands() -> list[bytes]:
    """Command lines, without their ends."""
    lines = [line for path in sorted((TESTS / "dialogues").glob("*.smtp")) for line in path.read_bytes().splitlines()]
    return list(dict.fromkeys(line[3:] for line in lines if line.startswith(b"C: ")))


def texts() -> list[bytes]:
    """What follows DATA."""
    return [
        b"From: a@b.example\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
        b"A: b\r\n\r\nbare\n.\nx\r.\r\r\n\0.\r\n.\r\n",
        b"Received: x\r\n" * 3 + b"\r\n" + b"x" * 1100 + b"\r\n.\r\n",
    ]


def pgp() -> list[bytes]:
    """PGP/MIME (RFC 3156), and its packets alone behind it."""
    packets = _packets()
    armored = (
        b"-----BEGIN PGP MESSAGE-----\r\n\r\n"
        + base64.encodebytes(packets).replace(b"\n", b"\r\n")
        + b"-----END PGP MESSAGE-----\r\n"
    )
    head = b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"\r\n\r\n--b\r\n'
    version = (
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    return [head + version + armored + b"\r\n--b--\r\n", head + version + packets + b"\r\n--b--\r\n", packets]


def _packets() -> bytes:
    """Two session keys (RFC 9580 5.1.1) and sealed data (5.13), of lengths in each form."""
    session = b"\x03" + b"12345678" + b"\x12" + bytes(40)
    sealed = b"\x01" + bytes(60)
    return (
        b"\xc1"
        + bytes((len(session),))
        + session
        + b"\x84"
        + bytes((len(session),))
        + session
        + b"\xd2\xff"
        + len(sealed).to_bytes(4)
        + sealed
    )
