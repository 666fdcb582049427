from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.mime import Base64Bytes, Base64Lines, MimeError, parse_content_type, parse_transfer_encoding, wrap, wrapped_size

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.+", min_size=1, max_size=20)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=40)


@pytest.mark.parametrize(
    ("value", "kind", "params"),
    [
        (b"text/plain", "text/plain", {}),
        (b"Text/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b"text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}),
        (b'multipart/mixed; boundary="a; b=\\"c"', "multipart/mixed", {"boundary": 'a; b="c'}),
        (b"multipart/mixed; boundary=----=_Part_1", "multipart/mixed", {"boundary": "----=_Part_1"}),
        (b"text / plain ;", "text/plain", {}),
        (b"application/pdf; name*0*=utf-8''a; name*1=b", "application/pdf", {"name*0*": "utf-8''a", "name*1": "b"}),
        ('application/pdf; name="résumé.pdf"'.encode(), "application/pdf", {"name": "résumé.pdf"}),
    ],
)
def test_content_type_is_read(value: bytes, kind: str, params: dict[str, str]) -> None:
    parsed = parse_content_type(value)
    assert (parsed.type, parsed.params) == (kind, params)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"text",
        b"text/",
        b"/plain",
        b"text/plain charset=utf-8",
        b"text/plain; charset",
        b"text/plain; charset=",
        b"text/plain; charset=a; charset=b",
        b'text/plain; name="open',
        b"text/plain (open",
        b"text/plain; name=a b",
        b"text/plain, text/html",
        b"text/plain; name=\xc3\xa9",
        b"text/plain; a" + b"a" * 20000,
    ],
)
def test_content_type_of_more_than_one_reading_is_refused(value: bytes) -> None:
    with pytest.raises(MimeError):
        parse_content_type(value)


@given(TOKENS, TOKENS, st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=5))
def test_any_quoted_parameters_come_back(kind: str, subtype: str, params: dict[str, str]) -> None:
    """What is quoted by the rule of RFC 5322 3.2.4 is read as it was."""
    written = f"{kind}/{subtype}"
    for name, text in params.items():
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        written += f'; {name}="{escaped}"'
    parsed = parse_content_type(written.encode())
    assert parsed.type == f"{kind}/{subtype}".lower()
    assert parsed.params == params


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    try:
        parsed = parse_content_type(value)
    except MimeError:
        return
    assert re.fullmatch(r"[^/\s]+/[^/\s]+", parsed.type)


@pytest.mark.parametrize("boundary", ["", "a" * 71, "trailing ", "a\tb", "é"])
def test_bad_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(MimeError):
        _ = parse_content_type(f'multipart/mixed; boundary="{boundary}"'.encode()).boundary


def test_boundary_is_given_as_bytes_or_is_missing() -> None:
    assert parse_content_type(b'multipart/mixed; boundary="a b"').boundary == b"a b"
    assert parse_content_type(b"multipart/mixed").boundary is None


def test_transfer_encoding_is_read_with_its_default() -> None:
    assert parse_transfer_encoding(None) == "7bit"
    assert parse_transfer_encoding(b" Quoted-Printable (why not)") == "quoted-printable"
    with pytest.raises(MimeError):
        parse_transfer_encoding(b"base64 8bit")


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_base64_lines_do_not_depend_on_the_pieces(pieces: list[bytes]) -> None:
    lines = Base64Lines()
    written = b"".join(map(lines.update, pieces)) + lines.finalize()
    whole = b"".join(pieces)
    assert written == wrap(whole) == base64.encodebytes(whole).replace(b"\n", b"\r\n")
    assert len(written) == wrapped_size(len(whole))
    assert all(len(line) <= 76 for line in written.split(b"\r\n"))


@given(st.binary(max_size=300), st.integers(1, 100))
def test_base64_is_decoded_whatever_its_pieces(data: bytes, piece: int) -> None:
    written = base64.encodebytes(data).replace(b"\n", b" \r\n")
    assert decoded(written, piece) == data


def decoded(text: bytes, piece: int) -> bytes:
    decoder = Base64Bytes()
    read = b"".join(decoder.update(text[start : start + piece]) for start in range(0, len(text), piece))
    decoder.finalize()
    return read


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 1000])
@pytest.mark.parametrize(
    "text",
    [
        b"AAA",
        b"AA==AAAA",
        b"AA==\r\nAAAA",
        b"AA=A",
        b"A===",
        b"AAA!",
        b"AAAA\r\nclear text\r\n",
        b"AAA=AAA=",
        b"=AAA",
        b"AA-_",
        b"AAAA\xe9AAA",
    ],
)
def test_base64_of_more_than_one_reading_is_refused(text: bytes, piece: int) -> None:
    with pytest.raises(MimeError):
        decoded(text, piece)


STRICT = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@given(
    st.binary(max_size=200),
    st.integers(4, 80),
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([b"=", b"==", b"-", b"\r", b"\n", b" ", b"A", b"AB", b"\xff"])), max_size=3
    ),
    st.integers(1, 300),
)
def test_base64_in_lines_is_what_it_is_without_white_space_or_nothing(
    data: bytes, width: int, edits: list[tuple[int, bytes]], piece: int
) -> None:
    """As the standard library reads it, strictly; whatever the width of lines, what was put in, and the pieces."""
    encoded = base64.b64encode(data)
    text = b"".join(encoded[start : start + width] + b"\r\n" for start in range(0, len(encoded), width))
    for place, more in edits:
        text = text[:place] + more + text[place:]
    bare = re.sub(rb"[ \r\n]", b"", text)
    if STRICT.fullmatch(bare):
        assert decoded(text, piece) == base64.b64decode(bare)
    else:
        with pytest.raises(MimeError):
            decoded(text, piece)
