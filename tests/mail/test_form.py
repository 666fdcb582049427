"""What says that it is S/MIME, and where the two parts of a multipart/signed lie."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.clean import LineCheck, entity_header, has_clean_lines
from gateway.mail.form import Form, NotTwoError, Span, decoded, form_of, signed_parts
from gateway.mail.message import read_header
from gateway.mail.mime import MimeError
from gateway.outcome import GatewayError, Reason
from tests.doubles import MemoryBody

PROTOCOL = b'protocol="application/pkcs7-signature"'


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        (b"Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data", Form.OPAQUE),
        (b"Content-Type: application/X-PKCS7-MIME", Form.OPAQUE),
        (b"content-type : application/octet-stream; name=smime.P7M", Form.OPAQUE),
        (b'Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="smime.p7m"', Form.OPAQUE),
        (b"Content-Type: application/octet-stream; name=letter.pdf", None),
        (b"Content-Type: multipart/signed; boundary=x; " + PROTOCOL, Form.DETACHED),
        (b"Content-Type: multipart/signed; boundary=x; protocol=application/x-pkcs7-signature", Form.DETACHED),
        (b'Content-Type: multipart/signed; boundary=x; protocol="application/pgp-signature"', None),
        (b"Content-Type: text/plain\r\nContent-Type: text/html", None),
        (b"Content-Type: ", None),
        (b"Subject: x", None),
    ],
)
def test_a_header_says_what_it_is(lines: bytes, form: Form | None) -> None:
    assert form_of(read_header(lines + b"\r\n\r\n")) is form


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Type: text/plain\r\nContent-Type: application/pkcs7-mime",
        b"Content-Type: application/pkcs7-mime; smime-type=a; smime-type=b",
    ],
)
def test_what_can_be_read_in_two_ways_is_malformed(lines: bytes) -> None:
    with pytest.raises(MimeError):
        form_of(read_header(lines + b"\r\n\r\n"))


def parts(text: bytes, piece: int = 64 * 1024, boundary: bytes = b"b") -> tuple[bytes, bytes]:
    data = b"Content-Type: multipart/signed; boundary=" + boundary + b"; " + PROTOCOL + b"\r\n\r\n" + text
    first, second = signed_parts(MemoryBody(data, piece), read_header(data))
    return data[first.start : first.end], data[second.start : second.end]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 64, 1100, 64 * 1024])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"--b\r\none\r\n--b\r\ntwo\r\n--b--\r\n", (b"one", b"two")),
        (b"--b\r\none\r\n--b\r\ntwo\r\n--b--", (b"one", b"two")),
        (b"before\r\n--b \t\r\none\r\n\r\n--b\r\ntwo\r\n--b-- \r\nafter\r\n--b\r\n", (b"one\r\n", b"two")),
        (b"--b\r\n--bb\r\n--b-\r\nx--b\r\n--b\r\ntwo\r\n--b--\r\n", (b"--bb\r\n--b-\r\nx--b", b"two")),
        (b"--b\r\n" + b"line\r\n" * 3000 + b"\r\n--b\r\ntwo\r\n--b--\r\n", (b"line\r\n" * 3000, b"two")),
    ],
    ids=range(5),
)
def test_two_parts_are_found_whatever_the_pieces(piece: int, text: bytes, found: tuple[bytes, bytes]) -> None:
    assert parts(text, piece) == found


def test_a_third_part_is_not_covered() -> None:
    with pytest.raises(NotTwoError):
        parts(b"--b\r\n1\r\n--b\r\n2\r\n--b\r\n3\r\n--b--\r\n")


@pytest.mark.parametrize(
    "text", [b"", b"--b\r\none\r\n", b"--b\r\none\r\n--b--\r\n", b"--b--\r\n", b"--b\r\none\r\n--b\r\ntwo\r\n"]
)
def test_fewer_parts_or_no_end_is_malformed(text: bytes) -> None:
    with pytest.raises(MimeError) as caught:
        parts(text)
    assert caught.value.reason is Reason.MALFORMED


@given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"x", b" ", b"--b--"]), max_size=30), st.integers(1, 9))
def test_pieces_make_no_difference(words: list[bytes], piece: int) -> None:
    def outcome(size: int) -> tuple[bytes, bytes] | Reason:
        try:
            return parts(b"".join(words), size)
        except GatewayError as error:
            return error.reason

    assert outcome(piece) == outcome(10**6)


@pytest.mark.parametrize("line", [b"\r\n--bx", b"\r\n--b \rx"])
def test_lines_that_only_begin_like_a_delimiter_cost_little(line: bytes) -> None:
    content = line * ((16 << 20) // len(line))
    text = b"--b\r\n" + content + b"\r\n--b\r\ntwo\r\n--b--\r\n"
    begun = time.process_time()
    assert parts(text) == (content, b"two")
    assert time.process_time() - begun < 0.7


def test_a_span_is_in_bytes_of_the_body() -> None:
    data = b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n1\r\n--b\r\n2\r\n--b--\r\n"
    assert signed_parts(MemoryBody(data), read_header(data))[0] == Span(51, 52)


def test_an_encoding_no_smime_program_uses_is_malformed() -> None:
    header = read_header(b"Content-Transfer-Encoding: x-uuencode\r\n\r\n")
    with pytest.raises(MimeError):
        list(decoded(MemoryBody(b"x"), header))


def lines(data: bytes, piece: int) -> LineCheck:
    check = LineCheck()
    for start in range(0, len(data), piece):
        check.update(data[start : start + piece])
    return check


@pytest.mark.parametrize("piece", [1, 2, 100])
@pytest.mark.parametrize(
    ("data", "clean", "bare"),
    [
        (b"a\r\nb\r\n", True, False),
        (b"a", True, False),
        (b"a\nb\n", False, True),
        (b"a\r\nb\n", False, False),
        (b"a\rb\r\n", False, False),
        (b"a\r\n\r", False, False),
        (b"a\n\rb", False, False),
        (b"\0\r\n", False, False),
        (b"\0\n", False, False),
    ],
)
def test_lines_end_in_one_way(data: bytes, clean: bool, bare: bool, piece: int) -> None:
    check = lines(data, piece)
    assert (check.clean, check.bare) == (clean, bare)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\0", b"\x85"])), st.integers(1, 5))
def test_the_ends_of_any_lines_are_seen(parts: list[bytes], piece: int) -> None:
    """As a regular expression sees them in the whole."""
    data = b"".join(parts)
    check = lines(data, piece)
    assert check.clean is not bool(re.search(rb"\0|\r(?!\n)|(?<!\r)\n", data))
    assert check.bare is (b"\n" in data and not re.search(rb"[\0\r]", data))


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\xff\r\n",
        b"Content-Transfer-Encoding: 7bit\r\n\r\n\x80\r\n",
        b"no field\r\n\r\nx\r\n",
        b"A: b\r\n\r\nx\ry\r\n",
    ],
)
def test_noise_is_no_entity(data: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        entity_header(MemoryBody(data), lines(data, 100))
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("data", "clean"),
    [
        *((data, True) for data in (b"", b"no end", b"\r\n", b"a\r\n\r\nb", b"\xff\r\n")),
        *((data, False) for data in (b"\n", b"\r", b"a\r\n\n", b"a\r.\n", b"\r\r\n", b"a\r\nb\r", b"\n\r", b"a\0b\r\n")),
    ],
)
def test_a_cr_or_lf_alone_is_seen_wherever_it_stands(data: bytes, clean: bool) -> None:
    assert has_clean_lines(data) is clean
