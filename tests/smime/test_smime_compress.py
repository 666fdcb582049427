"""CompressedData (RFC 3274), written here from the RFC and Python's zlib: Debian's openssl has no compression."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zlib

import pytest

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import Compressed
from gateway.smime.compress import Inflater
from gateway.smime.limits import MAX_INFLATED, MAX_RATIO, MAX_SMALL
from gateway.smime.reader import CmsReader

CONTENT = b"Content-Type: text/plain\r\n\r\n" + b"Result: all well.\r\n" * 5000
DATA = der.oid("1.2.840.113549.1.7.1")
ZLIB = der.oid("1.2.840.113549.1.9.16.3.8")


def compressed(stream: bytes, *, algorithm: bytes = ZLIB, content_type: bytes = DATA, pieces: int = 0) -> bytes:
    """A ContentInfo of CompressedData; with ``pieces``, its content in the indefinite form and pieces of so many bytes."""
    octets = der.octet_string(stream)
    if pieces:
        inside = b"".join(der.octet_string(stream[start : start + pieces]) for start in range(0, len(stream), pieces))
        octets = b"\x24\x80" + inside + b"\0\0"
    encapsulated = der.sequence(content_type, der.element(0xA0, octets))
    data = der.sequence(der.integer(0), der.sequence(algorithm), encapsulated)
    return der.sequence(der.oid("1.2.840.113549.1.9.16.1.9"), der.element(0xA0, data))


def read(structure: bytes, piece: int = 4096) -> bytes:
    reader = CmsReader({})
    out = b"".join(reader.update(structure[start : start + piece]) for start in range(0, len(structure), piece))
    assert isinstance(reader.finalize(), Compressed)
    return out


@pytest.mark.parametrize("pieces", [0, 1, 16, 1000])
@pytest.mark.parametrize("piece", [1, 7, 4096, 10**6])
def test_what_was_compressed_comes_out(piece: int, pieces: int) -> None:
    assert read(compressed(zlib.compress(CONTENT), pieces=pieces), piece) == CONTENT


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (compressed(zlib.compress(CONTENT)[:-1]), Reason.MALFORMED),
        (compressed(zlib.compress(CONTENT) + b"more"), Reason.MALFORMED),
        (compressed(zlib.compress(CONTENT)[:-1] + b"!"), Reason.MALFORMED),
        (compressed(b"no stream"), Reason.MALFORMED),
        (compressed(b""), Reason.MALFORMED),
        (compressed(zlib.compress(CONTENT), algorithm=DATA), Reason.UNSUPPORTED),
        (compressed(zlib.compress(CONTENT), content_type=ZLIB), Reason.UNSUPPORTED),
    ],
    ids=["cut", "more behind", "wrong checksum", "no stream", "nothing", "other algorithm", "other content"],
)
@pytest.mark.parametrize("piece", [1, 4096])
def test_what_is_not_whole_is_an_error(structure: bytes, reason: Reason, piece: int) -> None:
    with pytest.raises(GatewayError) as caught:
        read(structure, piece)
    assert caught.value.reason is reason


def inflated(stream: bytes, piece: int) -> int:
    """How much comes out."""
    inflater = Inflater()
    size = sum(len(out) for start in range(0, len(stream), piece) for out in inflater.update(stream[start : start + piece]))
    inflater.finalize()
    return size


NOISE = random.Random(3274)  # noqa: S311 - only so that it does not compress


@pytest.mark.parametrize("piece", [1, 7, 4096, 5000, 10**6])
def test_as_much_as_a_mail_may_grow_to_and_no_more(piece: int) -> None:
    """The two bounds: what is free, and a hundred times what went in. The same whatever the pieces."""
    assert inflated(zlib.compress(bytes(MAX_SMALL)), piece) == MAX_SMALL
    zeros, noise = bytes(3_000_000), NOISE.randbytes(40_000)
    for content in (noise + zeros, (noise[:1000] + bytes(50_000)) * 20, noise[:20_000] + zeros + noise[20_000:]):
        assert inflated(zlib.compress(content), piece) == len(content)
    for content in (bytes(MAX_SMALL + 2 * MAX_RATIO * 10_000), zeros + noise, noise + bytes(10_000_000)):
        with pytest.raises(GatewayError) as caught:
            inflated(zlib.compress(content), piece)
        assert caught.value.reason is Reason.LIMIT


def test_as_much_as_ever_comes_out_of_one_compression() -> None:
    """Of content that text is like: it shrinks, and less than the other bounds ask."""
    page = NOISE.randbytes(16 * 1024) + bytes(240 * 1024)
    stream = zlib.compressobj(1)
    content = b"".join(stream.compress(page) for _ in range(MAX_INFLATED // len(page)))
    assert MAX_INFLATED % len(page) == 0
    assert inflated(content + stream.copy().flush(), 10**6) == MAX_INFLATED
    with pytest.raises(GatewayError) as caught:
        inflated(content + stream.compress(b"!") + stream.flush(), 10**6)
    assert caught.value.reason is Reason.LIMIT


BOMB = """
import resource, time, zlib
from tests.smime.test_smime_compress import compressed, read
from gateway.outcome import GatewayError
stream = zlib.compressobj(9)
bomb = compressed(b"".join([*(stream.compress(bytes(1 << 20)) for _ in range(512)), stream.flush()]))
before, start = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
try:
    read(bomb, len(bomb))
except GatewayError as error:
    print(error.reason, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss, time.process_time() - start)
"""


def test_a_bomb_of_half_a_gigabyte_ends_at_once() -> None:
    """Within a second and 32 MB, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BOMB], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."}
    )
    reason, kilobytes, seconds = done.stdout.split()
    assert reason == "LIMIT"
    assert int(kilobytes) < 32 * 1024
    assert float(seconds) < 1.0
