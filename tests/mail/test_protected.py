"""Header protection: examples of RFC 9788, and what somebody on the way may have done to the fields outside."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.message import Field, Header, read_header
from gateway.mail.protected import (
    Protected,
    is_tampered,
    is_wrapper,
    protected_by_wrapping,
    protected_in,
    with_protected,
    without_parameter,
)

# RFC 9788 1.9
OUTER = b"""Date: Wed, 11 Jan 2023 16:08:43 -0500
From: Bob <bob@example.net>
To: Alice <alice@example.net>
Subject: [...]
Message-ID: <20230111T210843Z.1234@lhp.example>
Content-Type: application/pkcs7-mime; smime-type="enveloped-data"
MIME-Version: 1.0
"""
INNER = b"""Date: Wed, 11 Jan 2023 16:08:43 -0500
From: Bob <bob@example.net>
To: Alice <alice@example.net>
Subject: Handling the Jones contract
Keywords: Contract, Urgent
Message-ID: <20230111T210843Z.1234@lhp.example>
Content-Type: multipart/alternative; hp="cipher"
MIME-Version: 1.0
HP-Outer: Date: Wed, 11 Jan 2023 16:08:43 -0500
HP-Outer: From: Bob <bob@example.net>
HP-Outer: To: Alice <alice@example.net>
HP-Outer: Subject: [...]
HP-Outer: Message-ID: <20230111T210843Z.1234@lhp.example>
"""
CLEAR = b"From: Bob <bob@example.net>\nSubject: x\nContent-Type: text/plain; hp=clear\n"


def header(text: bytes) -> Header:
    return read_header(text.replace(b"\n", b"\r\n") + b"\r\n")


def protected(text: bytes, *, encrypted: bool = True) -> Protected:
    found = protected_in(header(text), encrypted=encrypted)
    assert found is not None
    return found


def shown(outer: bytes, inner: bytes, *, encrypted: bool = True, author: bool = True) -> bytes:
    fields = with_protected(header(outer).fields, protected(inner, encrypted=encrypted), author=author)
    return b"".join(field.raw for field in fields).replace(b"\r\n", b"\n")


def test_protected_fields_take_the_place_of_the_outer_ones() -> None:
    assert not is_tampered(header(OUTER), protected(INNER))
    assert shown(b"Received: x\n" + OUTER, INNER) == (
        b"Received: x\nDate: Wed, 11 Jan 2023 16:08:43 -0500\nFrom: Bob <bob@example.net>\nTo: Alice <alice@example.net>\n"
        b"Subject: Handling the Jones contract\nMessage-ID: <20230111T210843Z.1234@lhp.example>\n"
        b'Content-Type: application/pkcs7-mime; smime-type="enveloped-data"\nMIME-Version: 1.0\n'
        b"Keywords: Contract, Urgent\n"
    )


@pytest.mark.parametrize("hp", [b"", b'; hp="none"', b"; hp=1", b"; hp=", b"; hp=clear; hp=cipher"])
def test_without_the_parameter_nothing_is_protected(hp: bytes) -> None:
    assert protected_in(header(INNER.replace(b'; hp="cipher"', hp)), encrypted=True) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[...]", b"Urgent: pay now"),
        (b"Subject: [...]\n", b""),
        (b"Subject: [...]\n", b"Subject: [...]\nSubject: [...]\n"),
        (b"Subject: [...]\n", b"Subject: [...]\nReply-To: mallory@evil.example\n"),
        (b"Subject: [...]\n", b"Subject: [...]\nCc: mallory@evil.example\n"),
        (b"Bob <bob", b"Mallory <bob"),
        (b"11 Jan 2023 16", b"11 Jan 2023 17"),
    ],
)
def test_a_field_that_somebody_changed_is_noticed(old: bytes, new: bytes) -> None:
    assert is_tampered(header(OUTER.replace(old, new)), protected(INNER))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: Bob <bob", b'From: "Bob" <bob'),
        (b"Jan 2023 16", b"Jan 2023\n 16"),
        (b"Subject: [...]", b"subject:  =?utf-8?q?=5B...=5D?="),
        (b"Subject", b"Received: x\nX-Spam: no\nList-Id: <l.example>\nUser-Agent: x\nSubject"),
    ],
)
def test_what_servers_do_is_no_change(old: bytes, new: bytes) -> None:
    assert not is_tampered(header(OUTER.replace(old, new)), protected(INNER))


@pytest.mark.parametrize("name", [b"Message-ID", b"Date"])
def test_a_server_may_add_what_is_missing(name: bytes) -> None:
    """RFC 6409 8.2 and 8.3. It stays where nothing protected takes its place."""
    inner = b"".join(line for line in INNER.splitlines(keepends=True) if not line.startswith((b"HP-Outer: " + name, name)))
    assert not is_tampered(header(OUTER), protected(inner))
    assert b"\n" + name + b": " in b"\n" + shown(OUTER, inner)


def test_what_stands_only_outside_is_not_shown_beside_protected_fields() -> None:
    """RFC 9788 4 and 6.2: somebody added them, perhaps to get the answer."""
    more = b"Reply-To: mallory@evil.example\nCC: mallory@evil.example\nSubject : x\nSubject\x0b: y\nIn-Reply-To: <1@x>\n"
    assert shown(OUTER + more, INNER) == shown(OUTER, INNER)


@pytest.mark.parametrize(
    "name",
    [
        b"Authentication-Results",
        b"X-Gateway-Security",
        b"X-MS-Exchange-Organization-SCL",
        b"Received",
        b"Return-Path",
        b"Bcc",
        b"Resent-From",
        b"DKIM-Signature",
        b"List-Unsubscribe",
        b"Disposition-Notification-To",
        b"HP-Outer",
        b"Sender ",
        b"Subject ",
        b"Subject\n ",
    ],
)
def test_nothing_else_is_promoted(name: bytes) -> None:
    assert b"forged" not in shown(OUTER, name + b": forged\n" + INNER)


def test_each_field_is_promoted_as_often_as_it_may_stand() -> None:
    inner = INNER + b"Subject: second\nKeywords: More\nTO: third@example.net\n"
    found = shown(OUTER, inner)
    assert b"second" not in found
    assert b"third" not in found
    assert found.count(b"Keywords: ") == 2


def test_the_author_is_promoted_where_the_caller_says_so() -> None:
    outer = OUTER.replace(b"bob@", b"mallory@")
    assert b"From: Bob <mallory@example.net>\n" in shown(outer, INNER, author=False)
    assert b"bob@" not in shown(outer, INNER, author=False)


def test_signed_fields_are_compared_as_they_are() -> None:
    """No HP-Outer belongs there (RFC 9788 2.2), whatever it says."""
    outer = header(b"From: Bob <bob@example.net>\nSubject: x\n")
    for inner in (CLEAR, CLEAR + b"HP-Outer: Subject: y\n", CLEAR.replace(b"clear", b"cipher") + b"HP-Outer: Subject: y\n"):
        assert not is_tampered(outer, protected(inner, encrypted=False))
    assert not is_tampered(outer, protected(CLEAR + b"HP-Outer: Subject: y\n"))
    assert is_tampered(header(b"From: Bob <bob@example.net>\nSubject: y\n"), protected(CLEAR, encrypted=False))


@pytest.mark.parametrize("value", [b"", b"no colon", b": x", b"Subject"])
def test_an_hp_outer_that_names_no_field_says_nothing(value: bytes) -> None:
    assert protected(INNER + b"HP-Outer: " + value + b"\n").outside == protected(INNER).outside


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (b"message/rfc822; forwarded=no", True),
        (b'Message/RFC822; Forwarded="No"', True),
        (b"message/rfc822", False),
        (b"message/rfc822; forwarded=yes", False),
        (b"message/rfc822; forwarded=no; hp=clear", False),
        (b"message/global; forwarded=no", False),
        (b"message/rfc822; forwarded=no\nContent-Transfer-Encoding: base64", False),
        (b"message/rfc822; forwarded=no\nContent-Type: text/plain", False),
    ],
)
def test_a_wrapper_says_that_it_is_not_forwarded(kind: bytes, found: bool) -> None:
    assert is_wrapper(header(b"Content-Type: " + kind + b"\n")) is found


@pytest.mark.parametrize(
    "more",
    [b"Content-Type: application/pkcs7-mime\n", b'Content-Type: text/plain; hp="clear"\n', b"no field\n"],
)
def test_a_message_with_layers_or_protection_of_its_own_is_not_wrapped(more: bytes) -> None:
    """RFC 9788 4.10.1."""
    assert protected_by_wrapping(header(b"Subject: x\n" + more), encrypted=False) is None


def test_of_a_wrapped_message_that_was_encrypted_nobody_knows_what_was_left_outside() -> None:
    inner = header(b"Subject: x\nContent-Type: text/plain\n")
    encrypted, signed = protected_by_wrapping(inner, encrypted=True), protected_by_wrapping(inner, encrypted=False)
    assert encrypted is not None
    assert signed is not None
    assert not is_tampered(header(b"Subject: ...\n"), encrypted)
    assert is_tampered(header(b"Subject: ...\n"), signed)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b'text/plain; charset="utf-8"; hp="clear"', b'text/plain; charset="utf-8"'),
        (b"text/plain;\r\n hp=cipher;\r\n charset=utf-8", b"text/plain;\r\n charset=utf-8"),
        (b"text/plain\r\n ;HP = cipher", b"text/plain"),
        (b'text/plain; name="; hp=x "', b'text/plain; name="; hp=x "'),
        (b'text/plain; name="; hp=x "; hp=clear', b'text/plain; name="; hp=x "; hp=clear'),
        (b"text/plain; hp=clear (why)", b"text/plain (why)"),
        (b"text/plain; xhp=clear", b"text/plain; xhp=clear"),
        (b"text/plain; hp=clear; hp=clear", b"text/plain; hp=clear; hp=clear"),
    ],
)
def test_a_parameter_is_cut_out_or_nothing_is_changed(value: bytes, left: bytes) -> None:
    raw = b"Content-Type: " + value + b"\r\n"
    assert without_parameter(raw, "hp") == b"Content-Type: " + left + b"\r\n"
    assert Field("Content-Type", raw).raw == raw


PIECES = [b"Subject", b"From", b"HP-Outer", b": ", b":", b";", b" ", b"\n ", b"\n", b"x@y.example", b'hp="cipher"', b"hp=clear"]
PIECES += [b"Content-Type: text/plain", b'"', b"\xc3\xa9", b"=?utf-8?q?x?=", b"message/rfc822; forwarded=no"]


@given(st.lists(st.sampled_from(PIECES)), st.lists(st.sampled_from(PIECES)), st.booleans(), st.booleans())
def test_any_header_gives_a_value(outer: list[bytes], inner: list[bytes], encrypted: bool, author: bool) -> None:
    """And what is promoted stands as often as it may, byte for byte as it stood inside."""
    outside, payload = header(b"".join(outer) + b"\n"), header(b"".join(inner) + b"\n")
    is_wrapper(payload)
    for found in (protected_in(payload, encrypted=encrypted), protected_by_wrapping(payload, encrypted=encrypted)):
        if found is not None:
            is_tampered(outside, found)
            names = [field.name.lower() for field in with_protected(outside.fields, found, author=author)]
            assert names.count("subject") == any(field.name == "Subject" for field in found.fields)
            assert set(found.fields) <= set(payload.fields)


@pytest.mark.parametrize("filler", [b" ", b";", b"; ", b"\n ", b"\n ;", b";hp", b'; hp="', b"; hp =", b"("])
def test_a_long_field_takes_time_in_proportion_to_it(filler: bytes) -> None:
    raw = b"Content-Type: text/plain" + (filler * (250_000 // len(filler))).replace(b"\n", b"\r\n") + b"\r\n"
    begun = time.process_time()
    without_parameter(raw, "hp")
    without_parameter(raw[: 15_000 // len(filler) * len(filler)] + b"\r\n", "hp")
    assert time.process_time() - begun < 1
