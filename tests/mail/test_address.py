"""Addresses that are one mailbox have one key, and no others have it."""

from __future__ import annotations

import pytest

from gateway.mail.address import parse_address


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ('"results"@laboratory.example', "results@laboratory.example"),  # RFC 5321 4.1.2: the quotes are no part of the name
        ('"first.last"@laboratory.example', "first.last@laboratory.example"),
        ('"re\\sults"@laboratory.example', "results@laboratory.example"),
        ('"Ward 3"@hospital.example', '"ward\\ 3"@hospital.example'),
        ('"a\\"b"@hospital.example', '"\\a\\"\\b"@hospital.example'),
        ("RESULTS@laboratory.example", "results@LABORATORY.example"),
        ("results@bücher.example", "results@xn--bcher-kva.EXAMPLE"),
    ],
)
def test_one_mailbox_has_one_key(left: str, right: str) -> None:
    assert parse_address(left).key == parse_address(right).key


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ('"a b"@hospital.example', '"ab"@hospital.example'),
        ('".results"@laboratory.example', "results@laboratory.example"),
        ('"a\\\\b"@hospital.example', "ab@hospital.example"),
        ('"results@laboratory.example"@evil.example', "results@laboratory.example"),
        ('""@hospital.example', '" "@hospital.example'),
        ('"a\\"b"@hospital.example', '"ab"@hospital.example'),
        ("straße@hospital.example", "strasse@hospital.example"),
        ("results+urgent@laboratory.example", "results@laboratory.example"),  # RFC 5233
    ],
)
def test_two_mailboxes_have_two(left: str, right: str) -> None:
    assert parse_address(left).key != parse_address(right).key


def test_an_address_goes_on_as_it_was_written() -> None:
    assert str(parse_address('"Results"@laboratory.example')) == '"Results"@laboratory.example'
