"""Delimiter lines among many that only look like one: found where they are, at the price of a plain body."""

from __future__ import annotations

import random
import time

import pytest

from gateway.mail.walk import Delimiter, walk

MEGABYTES = 16
HEAD = b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n\r\n--bb\r\n\r\n"
END = b"\r\n--bb--\r\n"
# No delimiters, whatever comes next
DECOYS = [b"\r\n--" + text for text in (b"", b"x", b"bbx", b"b", b"bb\rx", b"bb \rx", b"bb\nx", b"bb -- x", b"bb-x")]
# RFC 2046 5.1.1: padding may follow. Beyond 1000 bytes of a line nobody looks, and it counts as one
DELIMITERS = [b"\r\n--bb" + text for text in (b"", b" \t ", b"--", b"--\t", b" " * 996, b" " * 1500 + b"x")]


@pytest.mark.parametrize("decoy", [b"\r\n--", b"\r\n--x", b"\r\n--" * 1000 + b"\r\n--bbx"])
def test_lines_that_only_look_like_delimiters_cost_little(decoy: bytes) -> None:
    """They took a fifth of a second for each megabyte."""
    data = HEAD + decoy * (MEGABYTES * 1024 * 1024 // len(decoy)) + END
    chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    begun = time.process_time()
    found = [piece for piece in walk(chunks) if isinstance(piece, Delimiter)]
    assert time.process_time() - begun < 0.8
    assert [piece.data for piece in found] == [b"\r\n--bb\r\n", END]


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("seed", range(20))
def test_a_delimiter_is_found_among_lines_that_look_like_it(seed: int, delimiter: bytes) -> None:
    """Wherever it lies, and in whatever pieces the body comes."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    before = b"".join(draw.choices(DECOYS, k=draw.randrange(4000)))
    data = HEAD + before + delimiter + b"\r\n\r\n" + b"".join(draw.choices(DECOYS, k=2000))
    for size in (1000, 4096, 65536, len(data)):
        found, at = [], 0
        for piece in walk(data[start : start + size] for start in range(0, len(data), size)):
            raw = piece.data if not hasattr(piece, "raw") else piece.raw
            assert data.startswith(raw, at)
            if isinstance(piece, Delimiter):
                found.append(at)
            at += len(raw)
            if len(found) == 2:
                break
        assert found == [len(HEAD) - len(b"\r\n--bb\r\n\r\n"), len(HEAD) + len(before)]
