"""Mail is clean, noise is not. The rules are those of RFC 2045 (encodings), RFC 6532 (header fields) and RFC 3629 (UTF-8)."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.noise import is_clean

UTF8 = "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nBefund: œdème, 良い\r\n".encode()
QUOTED = b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E9</p>\r\n"
LATIN = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nr\xe9sultat\tbon\x0c\r\n"
JIS = b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$O$$\x1b(B\r\n"
BASE64 = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(bytes(600)).replace(
    b"\n", b"\r\n"
)
BINARY = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\x1a\xff\xfe\r\n"
PLAIN = b"\r\nno header at all\r\n"


def both(*parts: bytes) -> bytes:
    return (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
        + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
        + b"--b--\r\nepilogue\r\n"
    )


GOOD = [UTF8, QUOTED, LATIN, JIS, BASE64, BINARY, PLAIN]


def clean(entity: bytes, piece: int = 7) -> bool:
    return is_clean(entity[start : start + piece] for start in range(0, len(entity), piece))


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_mail_is_clean(piece: int) -> None:
    for entity in (*GOOD, both(*GOOD), both(both(*GOOD), b"Content-Type: message/rfc822\r\n\r\nSubject: a\r\n" + UTF8)):
        assert clean(entity, piece), entity


@pytest.mark.parametrize(
    "entity",
    [
        b"Content-Type: (\xb1\x9d\xe0)text/html\r\n\r\n<p>\r\n",
        b"Content-Type: text/html\r\n\r\n<img alt='\xb1\x9d\xe0'>\r\n",
        b"Content-Type: text/html\r\n\r\n<img alt='\x01\x02'>\r\n",
        UTF8 + b"\xe9\r\n",
        UTF8 + b"\xc3",
        UTF8 + b"\x05\r\n",
        QUOTED + b"\xe9\r\n",
        LATIN + b"\x1f\r\n",
        BASE64 + b"\xff\r\n",
        both(UTF8, b"X: \xb1\x9d\r\n\r\nx\r\n"),
        both(UTF8).replace(b"preamble", b"\xb1\x9d"),
        both(UTF8).replace(b"epilogue", b"\xb1\x9d"),
        both(b"no field\r\n\r\nx\r\n"),
        both(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n"),
    ],
)
def test_what_a_header_does_not_say_is_not_clean(entity: bytes) -> None:
    assert not clean(entity)


@pytest.mark.parametrize("entity", [UTF8, QUOTED, JIS, BASE64, PLAIN, both(UTF8, QUOTED, BASE64)])
def test_blocks_of_noise_are_found(entity: bytes) -> None:
    """A thousand times sixteen bytes that nobody chose, anywhere, without what the line check alone would find."""
    source = random.Random(1)  # noqa: S311 - noise
    allowed = [each for each in range(256) if each not in b"\0\r\n"]
    for _ in range(1000):
        place = source.randrange(len(entity))
        noise = bytes(source.choice(allowed) for _ in range(16))
        assert not clean(entity[:place] + noise + entity[place:], 100_000), noise


@given(st.binary(max_size=400))
def test_any_bytes_give_an_answer(data: bytes) -> None:
    assert is_clean([data]) in (True, False)
