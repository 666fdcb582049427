"""Inputs made to exhaust time or memory, and what each costs: ``python -m tests.smime.hostile NAME`` in a process of its own.

An input comes in pieces, so that it lies in memory nowhere but in the reader.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import Final

from fuzz.flow import opened
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.verify import check, needed
from tests.smime import ber

PIECE: Final = 64 * 1024
MEGABYTE: Final = 1024 * 1024
NULLS: Final = der.NULL * 500_000  # as many elements as fit one structure
AT: Final = 1_800_000_000_000_000

Pieces = Iterable[bytes]


def _in_set(item: bytes, count: int, tag: int = 0x31) -> Pieces:
    """A set of ``count`` times ``item``, of indefinite length."""
    yield ber.open_element(tag)
    batch = max(1, PIECE // len(item))
    for start in range(0, count, batch):
        yield item * min(batch, count - start)
    yield ber.END


def _signed(digests: Pieces = (b"\x31\x00",), certificates: Pieces = (), signers: Pieces = (b"\x31\x00",)) -> Pieces:
    content = ber.open_element(0x30) + ber.DATA + ber.END
    return chain((ber.signed_head(),), digests, (content,), certificates, signers, (ber.END * 3,))


def _enveloped(recipients: Pieces) -> Pieces:
    encrypted = der.sequence(ber.DATA, ber.AES256_CBC, der.element(0x80, bytes(32)))
    return chain((ber.enveloped_head(),), recipients, (encrypted + ber.END * 3,))


def _octets(piece: bytes, count: int) -> Pieces:
    batch = max(1, PIECE // len(piece))
    pieces = (piece * min(batch, count - start) for start in range(0, count, batch))
    return chain((ber.octets_head(),), pieces, (ber.octets_tail(),))


def _attributes(count: int, tag: int) -> bytes:
    return der.element(tag, ber.attribute(1, der.NULL) * count)


def _wide_certificates() -> Pieces:
    """Certificates of nothing but small elements, and as many signers as may look for theirs among them."""
    wide = der.sequence(der.sequence(NULLS[:1_000_000]))
    return _signed(certificates=_in_set(wide, 4, 0xA0), signers=_in_set(ber.signer(), 16))


def _wide_signers() -> Pieces:
    wide = ber.signer(unsigned=der.element(0xA1, der.sequence(der.oid("1.2.3"), der.element(0x31, der.NULL * 90_000))))
    return _signed(signers=_in_set(wide, 16))


def _endless(head: bytes) -> Pieces:
    return chain((head,), repeat(bytes(PIECE), 20 * 16))


_LENGTH: Final = b"\x88\x7f\xff\xff\xff\xff\xff\xff\xff"

# Structures, and what reading them may end in; None: they are read
STRUCTURES: Final[dict[str, tuple[Callable[[], Pieces], Reason | None]]] = {
    "5 MB in pieces of 16 bytes": (lambda: _octets(b"\x04\x10" + b"0123456789abcdef", 327_680), None),
    "pieces of one byte": (lambda: _octets(b"\x04\x01a", 3 * MEGABYTE), Reason.LIMIT),
    "empty pieces": (lambda: _octets(b"\x04\x00", 3 * MEGABYTE), Reason.LIMIT),
    "pieces of pieces": (lambda: _octets(b"\x24\x80\x04\x01a\0\0", MEGABYTE), Reason.LIMIT),
    "pieces without pieces": (lambda: _octets(b"\x24\x00", 3 * MEGABYTE), Reason.LIMIT),
    "pieces in long form": (lambda: _octets(b"\x04\x84\x00\x00\x00\x01a", 3 * MEGABYTE), Reason.LIMIT),
    "pieces 50,000 deep": (lambda: _octets(b"\x24\x80", 50_000), Reason.LIMIT),
    "elements 50,000 deep": (lambda: chain((ber.signed_head(), b"\x31\x80"), [b"\x30\x80" * 50_000]), Reason.LIMIT),
    "a definite signer 50,000 deep": (lambda: _signed(signers=(der.set_of(ber.nested(50_000)),)), Reason.LIMIT),
    "60,000 recipients": (lambda: _enveloped(_in_set(ber.recipient(), 60_000)), Reason.LIMIT),
    "60,000 recipients of nothing": (lambda: _enveloped(_in_set(b"\xa4\x00", 60_000)), Reason.LIMIT),
    "recipients of 100,000 elements": (lambda: _enveloped(_in_set(der.element(0xA4, NULLS[:180_000]), 20)), Reason.LIMIT),
    "recipients of indefinite elements": (
        lambda: _enveloped(_in_set(b"\xa4\x80" + b"\x30\x80\0\0" * 45_000 + b"\0\0", 20)),
        Reason.LIMIT,
    ),
    "a recipient of 500,000 elements": (lambda: _enveloped(_in_set(der.element(0xA4, NULLS), 1)), Reason.LIMIT),
    "60,000 signers": (lambda: _signed(signers=_in_set(ber.signer(), 60_000)), Reason.LIMIT),
    "100,000 attributes": (lambda: _signed(signers=_in_set(ber.signer(_attributes(24_000, 0xA0)), 1)), None),
    "100,000 values in each of 16 signers": (_wide_signers, Reason.LIMIT),
    "100,000 certificates": (lambda: _signed(certificates=_in_set(der.sequence(), 100_000, 0xA0)), Reason.LIMIT),
    "certificates of 500,000 elements": (_wide_certificates, None),
    "100,000 digest algorithms": (lambda: _signed(digests=_in_set(ber.SHA256, 100_000)), Reason.LIMIT),
    "a structure of enormous length": (lambda: _endless(ber.signed_head() + b"\x31\x80\x30" + _LENGTH), Reason.LIMIT),
    "a set of enormous length": (lambda: _endless(ber.signed_head() + b"\x31" + _LENGTH), Reason.MALFORMED),
    "a piece of enormous length": (lambda: _endless(ber.octets_head() + b"\x04" + _LENGTH), Reason.MALFORMED),
    "an element that never ends": (
        lambda: chain((ber.signed_head() + b"\x31\x80\x30\x80",), repeat(der.NULL * 32_000, 320)),
        Reason.LIMIT,
    ),
}


def _read(pieces: Pieces) -> Reason | None:
    """What reading ends in, the signatures checked where there are any."""
    reader = CmsReader({"ours": b"\x30\x00"})
    try:
        for piece in pieces:
            reader.update(piece)
        layer = reader.finalize()
        if isinstance(layer, SignedData):
            check(layer, {digest: bytes(32) for digest in needed(layer, Strength.MODERN)}, b"C", AT, Strength.MODERN)
    except GatewayError as error:
        return error.reason
    return None


def _part(head: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\nx\r\n"


def _multipart(parts: bytes) -> bytes:
    return b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def _deep() -> bytes:
    opened = [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (each, each) for each in range(50_000)]
    return b"From: a@b.example\r\n" + b"".join(opened)


def _lookalikes() -> bytes:
    """Forty multiparts, and then lines that may each be the end of any."""
    boundaries = [b"%069d%d" % (0, each % 10) + b"" for each in range(40)]
    opened = [b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n" % (each, each) for each in boundaries]
    return b"From: a@b.example\r\n" + b"".join(opened) + b"\r\n\r\n" + b"\r\n--" * (MEGABYTE // 2)


def _layers() -> bytes:
    """Signed, signed again, and so on."""
    entity = b"Content-Type: text/plain\r\n\r\nx\r\n"
    for _ in range(20):
        content = der.element(0xA0, der.octet_string(entity))
        data = der.sequence(der.integer(1), b"\x31\x00", der.sequence(ber.DATA, content), der.set_of(ber.signer()))
        structure = der.sequence(ber.SIGNED, der.element(0xA0, data))
        entity = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        entity += base64.encodebytes(structure).replace(b"\n", b"\r\n")
    return b"From: a@b.example\r\n" + entity


def _large_signature() -> bytes:
    head = b"From: a@b.example\r\nContent-Type: multipart/signed; boundary=b; protocol=application/pkcs7-signature\r\n\r\n"
    lines = (b"A" * 76 + b"\r\n") * 100_000
    parts = b"--b\r\n\r\nx\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + parts + lines + b"\r\n--b--\r\n"


def _readers_with_names(count: int, size: int) -> bytes:
    """Encrypted to readers whose issuers' names say one thing again and again."""
    part = der.set_of(der.sequence(der.oid("2.5.4.3"), der.element(0x0C, b"a")))
    name = der.sequence(part * (size // len(part)))
    readers = (
        der.sequence(der.integer(0), der.sequence(name, der.integer(n)), ber.RSA, der.octet_string(bytes(256)))
        for n in range(count)
    )
    head = b"From: a@b.example\r\nContent-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(ber.enveloped(der.set_of(*readers))).replace(b"\n", b"\r\n")


def _false_ends() -> bytes:
    head = b"From: a@b.example\r\nContent-Type: multipart/signed; boundary=b; protocol=application/pkcs7-signature\r\n\r\n"
    return head + b"\r\n--bb" * 400_000


# Messages, and the verdict or the reason wanted of opening them
MESSAGES: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "multiparts 50,000 deep": (_deep, "unsigned"),
    "messages 50,000 deep": (lambda: b"Content-Type: message/rfc822\r\n\r\n" * 50_000, "unsigned"),
    "100,000 parts": (lambda: _multipart(_part(b"A: b") * 100_000), "unsigned"),
    "parts of comments": (lambda: _multipart(_part(b"Content-Type: text/plain " + b"(())" * 4000) * 300), "unsigned"),
    "parts of fields": (lambda: _multipart(_part(b"\r\n".join([b"A: b"] * 4000)) * 300), "unsigned"),
    "lines like delimiters": (_lookalikes, "unsigned"),
    "false ends of a multipart/signed": (_false_ends, "malformed"),
    "readers with long names": (lambda: _readers_with_names(400, 1000), "undecryptable"),
    "readers with names of 40 kB": (lambda: _readers_with_names(10, 40_000), "undecryptable"),
    "a header of 10 MB": (lambda: b"A: b\r\n" * 1_700_000, "LIMIT"),
    "a header of one line of 10 MB": (lambda: b"A: " + b"b" * (10 * MEGABYTE), "LIMIT"),
    "a header of comments": (lambda: b"Authentication-Results: " + b"((((((\\" * 30_000 + b"\r\n\r\n", "unsigned"),
    "20 layers": (_layers, "malformed"),
    "a signature of 7 MB": (_large_signature, "malformed"),
}


async def _open(message: bytes) -> str:
    try:
        verdict, *_ = await opened(message, PIECE)
    except GatewayError as error:
        return error.reason
    return str(verdict.judged)


def _peak() -> int:
    """Not ``ru_maxrss``, which a process inherits from the one that started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """CPU seconds, bytes by which the peak of memory grew, and how it ended."""
    name = sys.argv[1]
    if name in STRUCTURES:
        pieces = STRUCTURES[name][0]()
        before, begun = _peak(), time.process_time()
        end = str(_read(pieces))
    else:
        message = MESSAGES[name][0]()
        before, begun = _peak(), time.process_time()
        end = asyncio.run(_open(message))
    print(f"{time.process_time() - begun} {_peak() - before} {end}")


if __name__ == "__main__":
    main()
