"""Headers are slices of the original bytes, and From has one strict grammar."""

from __future__ import annotations

import encodings
import pkgutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import MAX_HEADER, Header, MessageError, from_address, read_header
from gateway.outcome import Reason


def _from(value: bytes) -> str:
    return str(from_address(read_header(b"From: " + value + b"\r\n\r\n")))


def test_fields_are_slices_and_folds_are_kept() -> None:
    """All raw fields together are the header as it came."""
    data = b"Subject: a\r\n b\r\nTo : x@lab.example\r\nFrom\r\n : y@lab.example\r\n\r\nbody"
    header = read_header(data)
    assert b"".join(field.raw for field in header.fields) + b"\r\n" == data[: header.size]
    assert [field.name for field in header.fields] == ["Subject", "To", "From"]
    assert [field.value for field in header.fields] == [b"a b", b"x@lab.example", b"y@lab.example"]


def test_a_line_that_is_no_field_is_kept_without_a_name() -> None:
    header = read_header(b"Subject: a\r\nnot a field\r\nTo: b\r\n\r\n")
    assert [field.name for field in header.fields] == ["Subject", "", "To"]


@pytest.mark.parametrize("line", [b"Subject", b"S", b"Subject\r\n x", b"Subject \r\n\t\r\n x", b"a b", b"\xe9: x"])
def test_such_a_line_keeps_all_its_bytes(line: bytes) -> None:
    read = read_header(b"From: a@b.example\r\n" + line + b"\r\n:x\r\nTo: c@d.example\r\n\r\n")
    assert [(field.name, field.raw) for field in read.fields] == [
        ("From", b"From: a@b.example\r\n"),
        ("", line + b"\r\n"),
        ("", b":x\r\n"),
        ("To", b"To: c@d.example\r\n"),
    ]


def test_the_body_begins_behind_the_empty_line() -> None:
    assert read_header(b"\r\nbody") == Header((), 2)
    assert read_header(b"A: b\r\n").size == 6


@pytest.mark.parametrize("data", [b"A: b\nC: d\r\n\r\n", b"A: b\rC\r\n\r\n", b"A: \0\r\n\r\n", b"A: b"])
def test_line_ends_are_strict(data: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        read_header(data)
    assert caught.value.reason is Reason.MALFORMED


def test_an_endless_header_is_refused() -> None:
    with pytest.raises(MessageError) as caught:
        read_header(b"A: b\r\n" * (MAX_HEADER // 6 + 1) + b"\r\n")
    assert caught.value.reason is Reason.LIMIT


def test_encoded_words_are_decoded_for_matching() -> None:
    """The example forms of RFC 2047 section 8."""
    header = read_header(b"Subject: =?ISO-8859-1?Q?Andr=E9?= Pirard\r\n X: =?utf-8?B?w6k=?= =?utf-8?q?_b?=\r\n\r\n")
    assert header.fields[0].text == "André Pirard X: é b"


@pytest.mark.parametrize("encoding", [b"B", b"Q"])
def test_encoded_words_are_decoded_in_time_in_proportion(encoding: bytes) -> None:
    """In all that Python decodes, of which not everything is a charset; a word as long as a header may be."""
    slow = []
    for charset in sorted(codec.name for codec in pkgutil.iter_modules(encodings.__path__)):
        for length in (MAX_HEADER - 100, 1000):
            word = b"=?%b?%b?%b?= " % (charset.encode(), encoding, b"abcdefgh4567" * (length // 12))
            value = word * ((MAX_HEADER - 20) // len(word)) + b"\xff"
            [field] = read_header(b"Subject: " + value + b"\r\n\r\n").fields
            begun = time.process_time()
            assert all(field.readings)
            if time.process_time() - begun > 0.5:
                slow.append(charset)
    assert slow == []


@pytest.mark.parametrize("fault", [b"\0", b"\r", b"\n"])
@pytest.mark.parametrize("filler", [b"x", b" ", b"\r\n ", b"x\r\n ", b"x: y\r\n "])
def test_a_fault_at_the_end_is_found_in_time_in_proportion(filler: bytes, fault: bytes) -> None:
    for start in (b"x", b"x:", b" "):
        begun = time.process_time()
        with pytest.raises(MessageError) as caught:
            read_header(start + filler * ((MAX_HEADER - 10) // len(filler)) + fault + b"x\r\n\r\n")
        assert caught.value.reason is Reason.MALFORMED
        assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "value",
    [
        b"cardiology@hospital.example",
        b"<cardiology@hospital.example>",
        b"Cardiology <cardiology@hospital.example>",
        b'"Ward 3, Cardiology" <cardiology@hospital.example>',
        b"=?utf-8?q?C=C3=A9?= Ward.\r\n <cardiology@HOSPITAL.example>",
    ],
)
def test_from_is_read(value: bytes) -> None:
    assert _from(value) == "cardiology@hospital.example"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"a@hospital.example, b@hospital.example",
        b"a@hospital.example <b@hospital.example>",
        b"group: a@hospital.example;",
        b"a@hospital.example (comment)",
        b"<a@hospital.example> b@hospital.example",
        b"<@relay.example:a@hospital.example>",
        b"x <a@hospital.example> <b@hospital.example>",
        b"\xff <a@hospital.example>",
        b"a@[192.0.2.1]",
    ],
)
def test_from_that_may_be_read_in_two_ways_is_ambiguous(value: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        _from(value)
    assert caught.value.reason is Reason.FROM_AMBIGUOUS


@pytest.mark.parametrize(
    "second", [b"from: b@hospital.example\r\n", b"From : b@hospital.example\r\n", b"Fr\x00om: b@x.example\r\n"]
)
def test_two_froms_in_any_spelling_are_ambiguous(second: bytes) -> None:
    data = b"From: a@hospital.example\r\n" + second.replace(b"\0", b" ") + b"\r\n"
    with pytest.raises(MessageError) as caught:
        from_address(read_header(data))
    assert caught.value.reason is Reason.FROM_AMBIGUOUS


@given(st.binary(max_size=300))
def test_any_bytes_give_a_header_or_our_error(data: bytes) -> None:
    try:
        header = read_header(data)
    except MessageError:
        return
    assert len(b"".join(field.raw for field in header.fields)) in (header.size, header.size - 2)
