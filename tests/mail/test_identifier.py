"""Identifiers of mails: their form, their order, and what is none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.identifier import is_mail_id, make_mail_id

CROCKFORD = string.digits + "".join(letter for letter in string.ascii_uppercase if letter not in "ILOU")
TIMES = st.integers(0, 4_000_000_000_000_000)  # microseconds, to the year 2096
RANDOM = st.binary(min_size=10, max_size=10)
FORMED = st.text(CROCKFORD, min_size=26, max_size=26)


def number(text: str) -> int:
    """Crockford's digits, read by Python's own base 32."""
    ours = str.maketrans(CROCKFORD, (string.digits + string.ascii_uppercase)[:32])
    return int(text.translate(ours), 32)


@given(TIMES, RANDOM)
def test_26_characters_that_hold_time_and_chance(at: int, random: bytes) -> None:
    mail = make_mail_id(at, random)
    assert len(mail) == 26
    assert is_mail_id(mail)
    assert set(mail) <= set(CROCKFORD)
    assert number(mail) >> 80 == at // 1000
    assert (number(mail) & (1 << 80) - 1).to_bytes(10) == random


def test_as_others_write_it() -> None:
    """The example of the ULID specification, whose form this is."""
    assert make_mail_id(1_469_918_176_385_000, bytes(10)) == "01ARYZ6S41" + "0" * 16


@given(TIMES, TIMES, RANDOM, RANDOM)
def test_sorted_by_name_is_sorted_by_time(one: int, other: int, random: bytes, more: bytes) -> None:
    """Also by bytes, as a directory or a database sorts. Within a millisecond chance decides."""
    earlier, later = sorted([(one // 1000, make_mail_id(one, random)), (other // 1000, make_mail_id(other, more))])
    if earlier[0] < later[0]:
        assert earlier[1].encode() < later[1].encode()


@given(TIMES, RANDOM, RANDOM)
def test_two_of_one_moment_differ(at: int, random: bytes, more: bytes) -> None:
    assert (make_mail_id(at, random) == make_mail_id(at, more)) == (random == more)


@given(TIMES, st.binary(max_size=32).filter(lambda data: len(data) != 10))
def test_chance_is_ten_bytes(at: int, random: bytes) -> None:
    with pytest.raises(ValueError, match="ten"):
        make_mail_id(at, random)


@given(st.text() | FORMED | st.text(CROCKFORD + "ILOUabcz/.\\\0\n é٣", min_size=25, max_size=27))
def test_what_is_an_identifier_is_one_name_of_a_file(text: str) -> None:
    assert is_mail_id(text) == (len(text) == 26 and all(character in CROCKFORD for character in text))


@given(FORMED, st.integers(0, 25), st.characters().filter(lambda character: character not in CROCKFORD))
def test_one_foreign_character_is_enough(mail: str, at: int, foreign: str) -> None:
    assert not is_mail_id(mail[:at] + foreign + mail[at + 1 :])


@given(FORMED)
def test_neither_shorter_nor_longer(mail: str) -> None:
    assert is_mail_id(mail)
    for other in (mail[:-1], mail + "0", mail + "\n", ""):
        assert not is_mail_id(other)
