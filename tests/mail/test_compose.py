"""Header Protection as it is written: the examples of RFC 9788, field by field, and what our own reader makes of any header."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.compose import Composed, compose, is_layer
from gateway.mail.confidentiality import Headers
from gateway.mail.message import MAX_FIELDS, MAX_HEADER, read_header
from gateway.mail.protected import PROMOTED, Protected, is_tampered, protected_in, with_protected
from gateway.mail.wire import MAX_LINE
from gateway.outcome import GatewayError, Reason
from tests.mail.rfc9788 import EXAMPLES, Example, crlf, fields

BOUNDARY = bytes(16)
TYPE = "Content-Type: text/plain\n"


def composed(text: str, headers: Headers = Headers.BASELINE, *, encrypted: bool = True) -> Composed:
    return compose(read_header(crlf(text) + b"\r\n"), headers, encrypted=encrypted, boundary=BOUNDARY)


def inner(text: str, headers: Headers = Headers.BASELINE, *, encrypted: bool = True) -> str:
    return composed(text, headers, encrypted=encrypted).split.inner.decode().replace("\r\n", "\n")


def outer(text: str, headers: Headers = Headers.BASELINE, *, encrypted: bool = True) -> str:
    return composed(text, headers, encrypted=encrypted).split.outer.decode().replace("\r\n", "\n")


def read(found: Composed, *, encrypted: bool) -> Protected:
    payload = protected_in(read_header(found.split.inner + b"\r\n"), encrypted=encrypted)
    assert payload is not None
    return payload


@pytest.mark.parametrize("given_", EXAMPLES.values(), ids=EXAMPLES)
def test_the_examples_of_the_rfc(given_: Example) -> None:
    found = compose(read_header(given_.source), given_.headers, encrypted=True, boundary=BOUNDARY)
    expected = fields(given_.payload.replace(b' hp-legacy-display="1";', b"").replace(b'\r\n hp-legacy-display="1";', b"", 1))
    assert fields(found.split.inner + b"\r\n") == expected
    assert fields(found.split.outer + b"\r\n") == fields(given_.outer)


@pytest.mark.parametrize("given_", EXAMPLES.values(), ids=EXAMPLES)
def test_signed_only_all_is_outside_too(given_: Example) -> None:
    """RFC 9788 5.2.1: without encryption the policy is ignored, and nothing is told of what is outside (2.2)."""
    source = read_header(given_.source)
    found = compose(source, given_.headers, encrypted=False, boundary=BOUNDARY)
    assert found.hidden == ()
    kept = [each for each in fields(given_.source) if not each[0].startswith("Content-")]
    assert fields(found.split.outer + b"\r\n") == kept
    assert b"HP-Outer" not in found.split.inner
    assert read(found, encrypted=False).fields == tuple(field for field in source.fields if field.name.lower() in PROMOTED)


def test_what_servers_add_and_bcc_is_not_protected() -> None:
    way = (
        "Received: by ward\nReturn-Path: <a@b.example>\nDKIM-Signature: v=1\nAuthentication-Results: x; dkim=pass\nARC-Seal: i=1\n"
        "Resent-From: a@b.example\nResent-To: c@d.example\nList-Id: <l.example>\nX-Gateway-Security: verdict=verified\n"
        "X-MS-Exchange-Organization-SCL: -1\n"
    )
    gone = "Bcc: x@y.example\nResent-Bcc: z@y.example\nMIME-Version: 1.0\nHP-Outer: Subject: forged\n"
    own = "From: a@b.example\nSubject: x\nX-Priority: 1\nDisposition-Notification-To: a@b.example\n"
    for headers, encrypted in ((Headers.NONE, True), (Headers.NONE, False), (Headers.OFF, True)):
        assert sorted(outer(way + gone + own + TYPE, headers, encrypted=encrypted)) == sorted(way + own)
    assert inner(way + gone + own + TYPE, Headers.NONE, encrypted=False) == own + 'Content-Type: text/plain;\n hp="clear"\n'
    assert inner(way + gone + own + TYPE, Headers.OFF) == TYPE


def test_every_subject_is_hidden_however_it_is_spelled() -> None:
    text = "Subject : one\nSUBJECT:two\nsubject\n :\n three\nKeywords: four\nComments:five\n" + TYPE
    assert "\n".join(sorted(outer(text).split("\n"))) == "\nSUBJECT: [...]\nSubject: [...]\nsubject: [...]"
    assert [field.text for field in read(composed(text), encrypted=True).fields] == ["one", "four", "five"]


def test_the_subject_that_exchange_repeats_is_hidden_too() -> None:
    """In Thread-Topic; nobody reads it there, so it is not shown to old programs once more."""
    text = "Subject: Biopsy\nThread-Topic: Biopsy\nThread-Index: AQHa\n" + TYPE
    assert outer(text) == outer(text, Headers.SHY) == "Subject: [...]\nThread-Index: AQHa\n"
    assert outer(text, Headers.NONE) == text.removesuffix(TYPE)
    assert [field.name for field in composed(text).hidden] == ["Subject"]
    assert "\nThread-Topic: Biopsy\n" in inner(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("From: Alice <alice@smime.example>", "From: alice@smime.example"),
        ("To: alice@smime.example (Alice A.)", "To: alice@smime.example"),
        ('Cc: "Doe, \\"J\\" <x@y.example>" <j@d.example>,\n =?utf-8?q?=C3=A9?= B. <b@c.example>', "Cc: j@d.example,\n b@c.example"),
        ("To: M\u00fcller <m\u00fcller@h.example>", "To: m\u00fcller@h.example"),
        ("To: a@b.example, c@d.example", "To: a@b.example, c@d.example"),
        ("To: Ward: a@b.example, Bob <c@d.example>;", "To: Ward: a@b.example, Bob <c@d.example>;"),
        ("To: undisclosed-recipients:;", "To: undisclosed-recipients:;"),
        ("To: Alice <alice@smime.example", "To: Alice <alice@smime.example"),
        ("To: Alice <alice@smime.example> (", "To: Alice <alice@smime.example> ("),
        ("Date: Sat, 20 Feb 2021 10:12:02 -0500", "Date: Sat, 20 Feb 2021 15:12:02 +0000"),
        ("Date: 1 Jan 2024 00:30 +0100 (CET)", "Date: Sun, 31 Dec 2023 23:30:00 +0000"),
        ("Date: Sat, 20 Feb 2021 10:12:02 -0000", "Date: Sat, 20 Feb 2021 10:12:02 -0000"),
        ("Date: Sat, 31 Feb 2021 10:12:02 -0500", "Date: Sat, 31 Feb 2021 10:12:02 -0500"),
        ("Date: Fri, 1 Jan 0001 00:00:00 +0100", "Date: Fri, 1 Jan 0001 00:00:00 +0100"),
        ("Date: today", "Date: today"),
        ("Reply-To: Alice <alice@smime.example>", "Reply-To: Alice <alice@smime.example>"),
    ],
)
def test_shy(before: str, after: str) -> None:
    """RFC 9788 3.2.2: what cannot be read as what it should be stays."""
    assert outer(f"{before}\n{TYPE}", Headers.SHY) == f"{after}\n"
    assert outer(f"{before}\n{TYPE}") == f"{before}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("text/plain", "text/plain;\n hp={}"),
        ("text/plain; charset=x; ; \n ", "text/plain; charset=x;\n hp={}"),
        ("text/plain; HP=clear; charset=x", "text/plain; charset=x;\n hp={}"),
        ('text/plain; a="hp=cipher;"', 'text/plain; a="hp=cipher;";\n hp={}'),
        ("text/plain (of mine;)", "text/plain (of mine;);\n hp={}"),
    ],
)
def test_the_parameter_stands_once(before: str, after: str) -> None:
    for hp, encrypted in (("clear", False), ("cipher", True)):
        found = inner(f"Content-Type: {before}\n", encrypted=encrypted)
        assert found == f"Content-Type: {after}\n".format(f'"{hp}"')


def test_a_message_without_a_type_gets_the_one_it_has() -> None:
    assert inner("Content-Language: fr\n") == 'Content-Language: fr\nContent-Type: text/plain;\n hp="cipher"\n'


@pytest.mark.parametrize(
    "types", ["application/pdf; name=scan 1.pdf", "text/plain\nContent-Type: text/html", "text/plain; a=b; a=c"]
)
def test_a_type_that_cannot_carry_it_is_put_into_one_that_can(types: str) -> None:
    """Nothing is left unprotected for it, and nothing repaired: the content is a part as it was."""
    found = composed(f"Subject: x\nContent-Type: {types}\nContent-ID: <y>\n")
    text, boundary = (found.split.inner + b"\r\n").decode(), f"--=_{'0' * 32}"
    head, _, part = text.replace("\r\n", "\n").partition(f"\n\n{boundary}\n")
    assert part == f"Content-Type: {types}\nContent-ID: <y>\n\n"
    assert head.endswith(f'\nContent-Type: multipart/mixed; boundary="=_{"0" * 32}"; hp="cipher"')
    assert found.split.behind == f"\r\n{boundary}--\r\n".encode()
    assert [field.text for field in read(found, encrypted=True).fields] == ["x"]


@pytest.mark.parametrize(
    "types",
    [
        'multipart/signed; protocol="application/pkcs7-signature"; boundary=x',
        'multipart/signed; protocol="application/pgp-signature"; boundary=x',
        'multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x',
        "application/pkcs7-mime; smime-type=enveloped-data",
        "application/octet-stream; name=smime.p7m",
        "application/pkcs7-mime\nContent-Type: text/plain",
    ],
)
def test_fields_around_a_layer_of_the_senders_are_his(types: str) -> None:
    header = read_header(crlf(f"Subject: x\nContent-Type: {types}\n\n"))
    assert is_layer(header)
    assert not is_layer(read_header(crlf("Subject: x\nContent-Type: a b\n\n")))


def test_long_lines_are_folded_where_they_can_be() -> None:
    """Inside a signature a relay that breaks a line of over 998 bytes (RFC 5322 2.1.1) breaks the signature."""
    references = " ".join(f"<{number}@hospital.example>" for number in range(200))
    found = composed(f"References: {references}\nSubject: {'x' * 2000} y\n{TYPE}", encrypted=False)
    lines = found.split.inner.split(b"\r\n")
    assert [len(line) > MAX_LINE for line in lines].count(True) == 1
    assert [field.text for field in read(found, encrypted=False).fields] == [references, f"{'x' * 2000} y"]


@pytest.mark.parametrize("text", ["X: y\n" * (MAX_FIELDS // 2), f"X: {'y' * (MAX_HEADER // 2)}\n"])
def test_more_than_a_reader_takes_is_refused(text: str) -> None:
    with pytest.raises(GatewayError) as caught:
        composed(text)
    assert caught.value.reason is Reason.LIMIT
    composed(text, encrypted=False)


NAMES = [
    "Subject",
    "subject",
    "From",
    "To",
    "Cc",
    "Date",
    "Message-ID",
    "References",
    "Comments",
    "Keywords",
    "Reply-To",
    "X-Other",
]
NAMES += ["Received", "Bcc", "HP-Outer", "Sender", "Content-Type", "Content-Language"]
SECRET = "s3cret"
VALUES = st.one_of(
    st.sampled_from(
        ["", f"{SECRET} x", f"A {SECRET} <a@b.example>, c@d.example", "Sat, 20 Feb 2021 10:13:02 -0500", "text/html; a=b"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xa0"), max_size=40),
    st.lists(st.text('ab\u00e9,;:<>@"\\()[]=?', min_size=1, max_size=9), max_size=6).map("\n ".join),
)
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([":", ": ", " :", ":\n "]), VALUES), max_size=12)


@given(FIELDS, st.sampled_from([Headers.NONE, Headers.BASELINE, Headers.SHY]), st.booleans())
@example([("Subject", " :", SECRET), ("To", ":\n ", f"A {SECRET} <a@b.example>")], Headers.SHY, True)
def test_what_is_read_is_what_was_written(found: list[tuple[str, str, str]], headers: Headers, encrypted: bool) -> None:
    """The mailbox gets the fields of the message, nothing between counts as tampered, and what is hidden stands nowhere outside."""
    header = read_header(crlf("".join(f"{name}{colon}{value}\n" for name, colon, value in found)) + b"\r\n")
    made = compose(header, headers, encrypted=encrypted, boundary=BOUNDARY)
    outside = read_header(made.split.outer + b"\r\n")
    protected = read(made, encrypted=encrypted)
    assert not is_tampered(outside, protected) or len({field.name.lower() for field in outside.fields}) < len(outside.fields)
    several: list[tuple[str, str]] = []
    for field in header.fields:
        known = field.name.lower() in PROMOTED and (
            field.name.lower() in ("comments", "keywords") or field.name.lower() not in [name for name, _ in several]
        )
        if known:
            several.append((field.name.lower(), field.text))
    assert [(field.name.lower(), field.text) for field in protected.fields] == several
    shown = with_protected(outside.fields, protected, author=True)
    assert {field.raw for field in protected.fields} <= {field.raw for field in shown}
    if encrypted and headers.hides:
        assert not any(field.name.lower() in ("comments", "keywords") for field in outside.fields)
        assert {field.value for field in outside.all("Subject")} <= {b"[...]"}
    assert b"Bcc" not in made.split.inner + made.split.outer
