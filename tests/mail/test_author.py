"""Whom a mail program will show as the author. The cases are those of RFC 2047, RFC 5322, RFC 6532 and of Mailsploit."""

from __future__ import annotations

import pytest

from gateway.mail.author import shown_author
from gateway.mail.message import MessageError, read_header
from gateway.outcome import Reason


def _author(value: str) -> str:
    return str(shown_author(read_header(b"From: " + value.encode() + b"\r\n\r\n")))


@pytest.mark.parametrize(
    "value",
    [
        "results@laboratory.example",
        "Results <results@laboratory.example>",
        '"results@laboratory.example" <results@laboratory.example>',  # Outlook, where there is no name
        '"Results (results@laboratory.example)" <results@laboratory.example>',
        "=?utf-8?q?results=40laboratory=2Eexample?= <results@laboratory.example>",
        "\"'RESULTS@Laboratory.example'\" <results@laboratory.example>",
        "=?utf-8?q?R=C3=A9sultats?= =?utf-8?b?ZHUgbGFib3JhdG9pcmU=?= <results@laboratory.example>",
        "Résultats\r\n\t<results@laboratory.example>",
    ],
)
def test_a_name_that_shows_nobody_else_is_read(value: str) -> None:
    assert _author(value) == "results@laboratory.example"


@pytest.mark.parametrize(
    "value",
    [
        '"boss@bank.example" <x@evil.example>',
        '"Boss <boss@bank.example>" <x@evil.example>',
        '"Boss" "boss@bank.example" <x@evil.example>',
        r'"boss\@bank.example" <x@evil.example>',
        "=?utf-8?q?boss=40bank.example?= <x@evil.example>",
        "=?utf-8?b?Ym9zc0BiYW5rLmV4YW1wbGU=?= <x@evil.example>",
        "=?utf-8?b?Ym9zc0BiYW5r?= =?utf-8?b?LmV4YW1wbGU=?= <x@evil.example>",
        "=?iso-8859-1*en?q?boss=40bank.example?= <x@evil.example>",
        "boss\uff20bank.example <x@evil.example>",  # FULLWIDTH COMMERCIAL AT
        "boss\ufe6bbank.example <x@evil.example>",  # SMALL COMMERCIAL AT
        "boss\u200b\uff20\u2060bank.example <x@evil.example>",
        "=?utf-8?q?boss=40bank.example=00?= <x@evil.example>",
        "=?utf-7?q?boss+AEA-bank.example?= <x@evil.example>",
        "=?x-unknown?q?boss=40bank.example?= <x@evil.example>",  # a charset that another program may know, or ignore
        "=?utf-8?q?boss=40bank.example is here?= <x@evil.example>",  # spaces, which RFC 2047 2 forbids and programs bear
        "=?utf-8?x?boss=40bank.example?= <x@evil.example>",
        '"=?utf-8?q?boss=40bank.example?=" <x@evil.example>',  # quoted, where RFC 2047 5 has it left alone
        "=?utf-8?q?Boss=0D=0AFrom=3A_boss?= <x@evil.example>",
        "Boss\u2028 <x@evil.example>",
    ],
)
def test_a_name_that_shows_somebody_else_is_ambiguous(value: str) -> None:
    with pytest.raises(MessageError) as caught:
        _author(value)
    assert caught.value.reason is Reason.FROM_AMBIGUOUS


@pytest.mark.parametrize(
    "value",
    [
        "=?utf-8?b?Ym9zc0BiYW5rLmV4YW1wbGUA?=@evil.example",  # Mailsploit: programs decode it and stop at the NUL
        "=?utf-8?q?boss?=@evil.example",
        '"boss@bank.example"@evil.example',
        '"boss@bank.example> "@evil.example',
        '"boss"@evil.example',
        "boss\uff20bank.example@evil.example",
        "boss\u202e@evil.example",  # RIGHT-TO-LEFT OVERRIDE
        "boss\u200b@evil.example",
        "boss\u00a0@evil.example",
    ],
)
def test_a_local_part_that_may_be_shown_as_something_else_is_ambiguous(value: str) -> None:
    with pytest.raises(MessageError) as caught:
        _author(value)
    assert caught.value.reason is Reason.FROM_AMBIGUOUS


def test_a_local_part_in_another_script_is_what_it_is() -> None:
    assert _author("résultats@laboratory.example") == "résultats@laboratory.example"
