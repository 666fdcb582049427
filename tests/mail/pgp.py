"""OpenPGP messages written by hand from RFC 9580, by a fixed seed: nothing here is really encrypted, and nobody could tell."""

from __future__ import annotations

import base64
import random
from textwrap import wrap

_RANDOM = random.Random(9580)  # noqa: S311 - test data


def noise(size: int) -> bytes:
    return _RANDOM.randbytes(size)


def length(size: int) -> bytes:
    """RFC 9580 4.2.1.1 to 4.2.1.3, by their own examples: 100 is 64, 1723 is C5 FB, 100000 is FF 00 01 86 A0."""
    if size < 192:
        return bytes([size])
    if size < 8384:
        return bytes([(size - 192 >> 8) + 192, size - 192 & 0xFF])
    return b"\xff" + size.to_bytes(4)


def packet(kind: int, body: bytes) -> bytes:
    """RFC 9580 4.2: the OpenPGP format."""
    return bytes([0xC0 | kind]) + length(len(body)) + body


def legacy(kind: int, body: bytes) -> bytes:
    """RFC 9580 4.2.2: the legacy format, a length of two octets."""
    return bytes([0x80 | kind << 2 | 1]) + len(body).to_bytes(2) + body


def session_key(key: bytes = b"", algorithm: int = 1) -> bytes:
    """RFC 9580 5.1.1 and 5.1.3: version 3, a key id, RSA, one integer of 2048 bits."""
    return b"\x03" + (key or noise(8)) + bytes([algorithm]) + (2048).to_bytes(2) + b"\x80" + noise(255)


def session_key_6(fingerprint: bytes | None = None) -> bytes:
    """RFC 9580 5.1.2 and 5.1.6: version 6, a fingerprint with its version, X25519; without one the reader is not named."""
    named = b"\x00" if fingerprint is None else bytes([1 + len(fingerprint), 6]) + fingerprint
    return b"\x06" + named + b"\x19" + noise(32) + b"\x28" + noise(40)


def sealed(size: int = 300) -> bytes:
    """RFC 9580 5.13.1: version 1."""
    return b"\x01" + noise(size)


def sealed_2(size: int = 300, cipher: int = 9, mode: int = 2) -> bytes:
    """RFC 9580 5.13.2: version 2, AES-256 and OCB, chunks of 2**16, a salt."""
    return bytes([2, cipher, mode, 10]) + noise(32) + noise(size)


def encrypted(readers: int = 1) -> bytes:
    return b"".join(packet(1, session_key()) for _ in range(readers)) + packet(18, sealed())


def armored(data: bytes, fields: bytes = b"Comment: made by hand\r\n", checksum: bytes = b"=abCD\r\n") -> bytes:
    lines = "\r\n".join(wrap(base64.b64encode(data).decode(), 64)).encode()
    return b"-----BEGIN PGP MESSAGE-----\r\n" + fields + b"\r\n" + lines + b"\r\n" + checksum + b"-----END PGP MESSAGE-----\r\n"


def entity(content: bytes, *, preamble: bytes = b"", epilogue: bytes = b"", encoding: str = "7bit", more: bytes = b"") -> bytes:
    """RFC 3156 4: the example there, with ``content`` in its second part."""
    return (
        b'Content-Type: multipart/encrypted; boundary=foo;\r\n protocol="application/pgp-encrypted"\r\n'
        b"\r\n" + preamble + b"\r\n--foo\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
        b"--foo\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
        + encoding.encode()
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        + more
        + b"--foo--\r\n"
        + epilogue
    )
