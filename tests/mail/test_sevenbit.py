from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.mime import MimeError
from gateway.mail.sevenbit import seven_bit
from gateway.mail.walk import Aside, Content, Delimiter, Head, walk

ACCENTS = "Compte rendu : œdème, à surveiller.\r\n".encode()


@dataclass(frozen=True)
class Bytes:
    """An entity in memory, given in pieces of one length."""

    data: bytes
    piece: int = 65536

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self.piece):
            yield self.data[start : start + self.piece]


def converted(data: bytes, piece: int = 65536, utf8_headers: bool = False) -> bytes:
    return b"".join(seven_bit(Bytes(data, piece), utf8_headers).chunks())


def leaves(data: bytes) -> list[tuple[str, bytes]]:
    """The decoded leaves, as the standard library sees them."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    found = []
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append((part.get_content_type(), payload))
    return found


def assert_seven_bit(data: bytes) -> None:
    assert data.isascii()
    assert b"\0" not in data
    assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
    assert max(map(len, data.split(b"\r\n"))) <= 998


def multipart(*parts: bytes, boundary: bytes = b"=_b", extra: bytes = b"", preamble: bytes = b"") -> bytes:
    lines = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n' + extra + b"\r\n"
    return head + preamble + lines + b"--" + boundary + b"--\r\n"


TEXT8 = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + ACCENTS * 3
PDF = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n%PDF-1.4\n\xff\0\r\rend"
BASE64 = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"Content-Type: text/plain\r\n\r\nplain\r\n",
        multipart(BASE64, b"\r\nplain"),
        multipart(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9"),
        b"Content-Type: multipart/mixed\r\n\r\nno boundary, but nothing to convert\r\n",
    ],
)
def test_what_is_clean_keeps_every_byte(data: bytes) -> None:
    assert converted(data) == data


@pytest.mark.parametrize("piece", [1, 3, 50, 65536])
def test_8bit_text_becomes_quoted_printable(piece: int) -> None:
    written = converted(TEXT8, piece)
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in written
    assert_seven_bit(written)
    assert leaves(written) == [("text/plain", ACCENTS * 3)]


@pytest.mark.parametrize("piece", [1, 3, 50, 65536])
def test_nested_parts_are_each_converted_as_needed(piece: int) -> None:
    inner = multipart(TEXT8, BASE64, boundary=b"=_inner", extra=b"Content-Transfer-Encoding: 8bit\r\n")
    data = multipart(inner, PDF, BASE64, extra=b"Content-Transfer-Encoding: binary\r\n", preamble="préambule\r\n".encode())
    written = converted(data, piece)
    assert_seven_bit(written)
    assert leaves(written) == [
        ("text/plain", ACCENTS * 3),
        ("image/png", b"hello world"),
        ("application/pdf", b"%PDF-1.4\n\xff\0\r\rend"),
        ("image/png", b"hello world"),
    ]
    assert BASE64 in written
    assert written.count(b"Content-Transfer-Encoding: 7bit\r\n") == 2


def test_attached_message_is_converted_inside() -> None:
    """RFC 2046 5.2.1: message/rfc822 itself is never encoded."""
    attached = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n" + TEXT8
    written = converted(multipart(attached))
    assert_seven_bit(written)
    assert b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\n" in written
    assert leaves(written) == [("text/plain", ACCENTS * 3)]


def test_long_line_of_text_is_folded_by_quoted_printable() -> None:
    line = b"x" * 200_000 + b" \r\nend"
    written = converted(b"Content-Type: text/plain\r\n\r\n" + line)
    assert_seven_bit(written)
    assert leaves(written) == [("text/plain", line)]


def test_label_of_8bit_on_ascii_is_corrected() -> None:
    """A relay re-encodes by the label, not by the bytes."""
    written = converted(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8BIT\r\n\r\nascii\r\n")
    assert written == b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nascii\r\n"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n" + b"A" * 999 + b"\r\n", 5),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nok\r\nok\r\n\xe9\r\n", 5),
        (multipart(TEXT8).replace(b"multipart/mixed", b"multipart/signed"), 7),
        ('Content-Type: text/plain; name="é"\r\n\r\nx\r\n'.encode(), 1),
        (multipart(b"\r\na", preamble=b"p\r\n" + b"p" * 999 + b"\r\n", extra=b"Content-Transfer-Encoding: 8bit\r\n"), 5),
        (multipart(b"Content-Type: message/delivery-status\r\n\r\n\xe9\r\n"), 6),
    ],
)
def test_what_cannot_be_converted_is_refused_with_its_line(data: bytes, line: int) -> None:
    with pytest.raises(MimeError, match=rf"line {line} "):
        converted(data)


def test_utf8_header_stays_in_smtputf8_mail() -> None:
    data = 'Content-Type: text/plain; name="é"\r\n\r\n'.encode() + b"x\r\n"
    assert converted(data, utf8_headers=True) == data


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: multipart/mixed\r\n\r\n\xe9",
        b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n\xe9",
        multipart(b"no field\r\n\r\n\xe9"),
        b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe9",
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60)) + b"\r\n\xe9",
    ],
)
def test_structure_of_more_than_one_reading_is_refused(data: bytes) -> None:
    with pytest.raises(MimeError):
        converted(data)


@given(
    st.lists(st.sampled_from([b"a", b"\xe9", b"\r\n", b" ", b"\t", b"=", b".", b"x" * 80, b"\0", b"\n"]), max_size=60),
    st.integers(1, 20),
)
def test_any_leaf_decodes_to_what_it_was(pieces: list[bytes], piece: int) -> None:
    content = b"".join(pieces)
    written = converted(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + content, piece)
    assert_seven_bit(written)
    [(_, decoded)] = leaves(written)
    assert decoded == content


@given(
    st.lists(
        st.sampled_from(
            [
                b"--b",
                b"--bb",
                b"--b--",
                b"--bb--",
                b"\r\n",
                b"\r",
                b"\n",
                b"-",
                b" ",
                b"a",
                b"\xe9",
                b":",
                b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n",
            ]
        ),
        max_size=40,
    ),
    st.integers(1, 30),
)
def test_walking_loses_no_byte_and_does_not_depend_on_the_pieces(pieces: list[bytes], piece: int) -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(pieces)

    def walked(length: int) -> tuple[bytes, str]:
        found = b""
        try:
            for item in walk(Bytes(data, length).chunks()):
                found += item.raw if isinstance(item, Head) else item.data
        except MimeError as error:
            return b"", error.detail
        except Exception as error:
            return b"", str(error)
        return found, ""

    found, why = walked(piece)
    assert (found, why) == walked(65536)
    assert why or found == data


def test_pieces_tell_what_they_are() -> None:
    kinds = [type(piece) for piece in walk(Bytes(multipart(BASE64, preamble=b"pre\r\n")).chunks())]
    assert kinds == [Head, Aside, Delimiter, Head, Content, Delimiter]
