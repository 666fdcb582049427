"""Legacy Display Elements as they are written: the examples of RFC 9788, and that nothing is left of them where they are read."""

from __future__ import annotations

import base64
import email.message
import email.policy
import html
import quopri
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.edit import Edit, EditedEntity, edited
from gateway.mail.entity import MessageEntity
from gateway.mail.form import Span
from gateway.mail.legacydisplay import without_elements
from gateway.mail.legacyelement import MAX_REPEATED, with_elements
from gateway.mail.message import Field, read_header
from tests.doubles import MemoryBody
from tests.mail.rfc9788 import COMPLEX_SHY_LEGACY, SHY_LEGACY, Example, content, crlf

MEETING = read_header(b"Subject: Thursday's meeting\r\nCc: alice@example.net\r\n\r\n").fields
TEXT = "I think we should skip the meeting.\n"
QUOTED = "Content-Transfer-Encoding: quoted-printable\n"
BASE64 = "Content-Transfer-Encoding: base64\n"


def put(entity: bytes, hidden: tuple[Field, ...] = MEETING, piece: int = 64 * 1024) -> bytes:
    body = MemoryBody(entity, piece)
    return b"".join(edited(body.chunks(), with_elements(body.chunks(), hidden)))


def taken(entity: bytes) -> bytes:
    body = MemoryBody(entity)
    return b"".join(edited(body.chunks(), without_elements(body.chunks())))


def subject(value: str) -> tuple[Field, ...]:
    return read_header(f"Subject: {value}\r\n\r\n".encode()).fields


def test_the_example_of_plain_text() -> None:
    """RFC 9788 5.2.2; the order of the lines is that of the header, as in C.3.4."""
    entity = crlf("Content-Type: text/plain; charset=UTF-8\n\n" + TEXT)
    assert put(entity) == crlf(
        'Content-Type: text/plain; charset=UTF-8;\n hp-legacy-display="1"\n\n'
        "Subject: Thursday's meeting\nCc: alice@example.net\n\n" + TEXT
    )


def test_the_example_of_html() -> None:
    """RFC 9788 5.2.3, in the form of C.3.12: escaped (10.3)."""
    page = "<html><head><title></title></head><body>\n{}<p>I think we should skip the meeting.</p>\n</body></html>\n"
    entity = crlf("Content-Type: text/html; charset=UTF-8\n\n" + page.format(""))
    element = '<div class="header-protection-legacy-display">\n<pre>\nSubject: Thursday&#x27;s meeting\nCc: alice@example.net\n'
    assert put(entity) == crlf(
        'Content-Type: text/html; charset=UTF-8;\n hp-legacy-display="1"\n\n' + page.format(element + "</pre>\n</div>")
    )


@pytest.mark.parametrize("piece", [1, 7, 64 * 1024])
@pytest.mark.parametrize("example", [SHY_LEGACY, COMPLEX_SHY_LEGACY])
def test_the_messages_of_the_rfc(example: Example, piece: int) -> None:
    header = read_header(example.source)
    hidden = tuple(field for field in header.fields if field.name in ("Subject", "From", "To", "Date"))
    made = put(example.source, hidden, piece)
    assert content(made) == content(example.payload)
    assert taken(made) == example.source


@pytest.mark.parametrize(
    ("entity", "value", "shown"),
    [
        ("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + TEXT, "é 中 &lt;", "é 中 &lt;"),
        ("Content-Type: text/plain; charset=iso-8859-15\nContent-Transfer-Encoding: 8bit\n\n" + TEXT, "é € 中", "é € ?"),
        ("Content-Type: text/plain; charset=utf-8\n\n" + TEXT, "é œdème 中", "e ?deme ?"),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\n" + TEXT, "Müller", "Muller"),
        (f"Content-Type: text/plain; charset=utf-8\n{QUOTED}\n" + TEXT, "=3D é " + "x" * 90, "=3D é " + "x" * 90),
        (f"Content-Type: text/plain; charset=windows-1252\n{QUOTED}\n" + TEXT, "é“", "é“"),
        (f'Content-Type: text/html; charset=utf-8\n{QUOTED}\n<html><body style=3D"=\na">\n<p>=C3=A9</p></body>', "<é>", "<é>"),
        ("Content-Type: text/html; charset=utf-8\n\n<p>" + TEXT + "</p>", "<b> 'é' &amp;", "<b> 'é' &amp;"),
        (
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + TEXT,
            "=?utf-8?q?a=0D=0A=0D=0Ab?=",
            "a b",
        ),
        (
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + TEXT,
            "=?utf-8?q?a=1B[2Jb=E2=80=A8?= c",
            "a [2Jb c",
        ),
    ],
)
def test_a_mail_program_of_others_shows_it(entity: str, value: str, shown: str) -> None:
    """Read by Python's own library, which knows nothing of it; and by us nothing is left of it."""
    made = put(crlf(entity), subject(value))
    message = email.message_from_bytes(made, policy=email.policy.default)
    text = message.get_content().replace("\r\n", "\n")
    if message.get_content_type() == "text/html":
        assert 'class="header-protection-legacy-display"' in text
        text = html.unescape(text.partition("<pre>\n")[2])
    assert text.startswith(f"Subject: {shown}\n")
    assert message.get_param("hp-legacy-display") == "1"
    assert taken(made) == crlf(entity)


@pytest.mark.parametrize("kind", ["plain", "html"])
@pytest.mark.parametrize("filler", ["", "<html><head><title>x</title></head><body>"])
@pytest.mark.parametrize("width", [57, 60, 10_000])
def test_in_base64_what_is_behind_stays_as_it_is(kind: str, filler: str, width: int) -> None:
    for length in range(1, 8):
        text = (filler + "é" * length * 20).encode()
        lines = [base64.b64encode(text[at : at + width]) for at in range(0, len(text), width)]
        head = f"Content-Type: text/{kind}; charset=utf-8\r\n{BASE64}\r\n".replace("base64\n", "base64\r\n").encode()
        entity = head + b"\r\n".join(lines) + b"\r\n"
        made = put(entity, subject("é <1>"))
        shown = email.message_from_bytes(made, policy=email.policy.default).get_content()
        before, element, after = shown.partition("Subject: é" if kind == "plain" else '<div class="header-protection')
        assert element
        assert before == ("" if kind == "plain" else filler)
        assert after.endswith("é" * length * 20)
        back = taken(made)
        assert "Content-Type" in str(back)
        assert b"hp-legacy" not in back
        assert email.message_from_bytes(back, policy=email.policy.default).get_content() == text.decode()
        if kind == "plain":
            assert back == entity


@pytest.mark.parametrize(
    "entity",
    [
        "Content-Type: text/plain; charset=utf-16\n\n" + TEXT,
        "Content-Type: text/plain; charset=iso-8859-99\nContent-Transfer-Encoding: 8bit\n\n" + TEXT,
        f"Content-Type: text/plain; charset=utf-16\n{BASE64}\nSGVsbG8=\n",
        f"Content-Type: text/html; charset=utf-8\n{BASE64}\nPGJvZHk+\n!!!!",
        "Content-Type: text/html\n\n<html><head></head><p>no body</p></html>",
        "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n",
        "Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\n" + TEXT,
        "Content-Type: text/plain\nContent-Type: text/html\n\n" + TEXT,
        "Content-Type: message/rfc822\n\nSubject: x\nContent-Type: text/plain\n\n" + TEXT,
        "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/plain\n\n" + TEXT + "--b--\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\n--b\nContent-Type: text/plain\n\n"
        + TEXT
        + "--b--\n",
    ],
)
def test_other_parts_keep_their_bytes(entity: str) -> None:
    assert put(crlf(entity)) == crlf(entity)


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=60)
CHARSETS = ["us-ascii", "utf-8", "iso-8859-1", "windows-1252"]
BODIES = st.lists(
    st.sampled_from(["text\r\n", "\r\n", " ", "=\r\n", "<p>", "<body>", "<BODY class=x>", "<html>", "Subject: x\r\n"])
).map("".join)


@given(st.lists(st.tuples(st.sampled_from(["Subject", "To", "Comments"]), VALUES), min_size=1, max_size=3), BODIES, st.data())
def test_what_is_written_is_taken_out_to_the_last_byte(found: list[tuple[str, str]], text: str, data: st.DataObject) -> None:
    kind, charset = data.draw(st.sampled_from(["plain", "html"])), data.draw(st.sampled_from(CHARSETS))
    encoding = data.draw(st.sampled_from(["7bit", "8bit", "quoted-printable"]))
    head = f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    entity = (head + text).encode()
    hidden = tuple(Field(name, f"{name}: {value}\r\n".encode()) for name, value in found)
    made = put(entity, hidden, data.draw(st.sampled_from([1, 16, 1000])))
    assert taken(made) == entity
    if made != entity:
        shown = quopri.decodestring(made) if encoding == "quoted-printable" else made
        assert shown.count(f"{found[0][0]}: ".encode()) > entity.count(f"{found[0][0]}: ".encode())


@given(
    st.binary(max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.binary(max_size=5)), max_size=4),
    st.integers(1, 9),
)
def test_bytes_are_exchanged_where_they_lie(whole: bytes, found: list[tuple[int, int, bytes]], piece: int) -> None:
    edits: list[Edit] = []
    for at, length, text in sorted(found):
        start = max(at, edits[-1].span.end if edits else 0)
        if start + length <= len(whole):
            edits.append(Edit(Span(start, start + length), text))
    expected = bytearray(whole)
    for edit in reversed(edits):
        expected[edit.span.start : edit.span.end] = edit.text
    assert b"".join(edited(MemoryBody(whole, piece).chunks(), edits)) == bytes(expected)
    shifted = tuple(Edit(Span(each.span.start + 2, each.span.end + 2), each.text) for each in edits)
    entity = EditedEntity(MessageEntity(b"", MemoryBody(whole, piece), 0), shifted)
    assert b"".join(entity.chunks()) == b"\r\n" + bytes(expected)
    assert entity.size == len(expected) + 2


@pytest.mark.parametrize("filler", ["<body", "<body ", "<html>", " ", "Subject: x\n"])
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_long_text_takes_time_in_proportion_to_it(kind: str, filler: str) -> None:
    begun = time.process_time()
    put(crlf(f"Content-Type: text/{kind}\n\n" + filler * (200_000 // len(filler))))
    assert time.process_time() - begun < 1


def test_as_much_as_the_limit_is_repeated_and_no_more() -> None:
    """Of three texts as many as there is room for, from the first."""
    text = "--b\nContent-Type: text/plain\n\nHello\n"
    mail = crlf("Content-Type: multipart/alternative; boundary=b\n\n" + text * 3 + "--b--\n")
    for size, parts in ((MAX_REPEATED, 1), (MAX_REPEATED + 1, 0), (MAX_REPEATED // 2, 2), (MAX_REPEATED // 3, 3)):
        hidden = subject("s" * (size - len("Subject: \r\n\r\n")))
        assert put(mail, hidden).count(b"Subject: s") == parts


def test_a_long_header_in_many_texts_takes_no_time() -> None:
    hidden = read_header(b"Comments: " + b"c" * 200_000 + b"\r\n\r\n").fields
    text = "--b\nContent-Type: text/plain\n\nHello\n"
    mail = crlf("Content-Type: multipart/alternative; boundary=b\n\n" + text * 1000 + "--b--\n")
    begun = time.process_time()
    assert put(mail, hidden) == mail
    assert time.process_time() - begun < 1


def test_where_the_parts_can_be_read_in_two_ways_no_text_is_changed() -> None:
    """A multipart has no transfer encoding but those that change nothing (RFC 2045 6.4); a text before it is not touched either."""
    odd = "Content-Type: multipart/mixed; boundary=c\nContent-Transfer-Encoding: base64\n\n--c\n\nx\n--c--\n"
    mail = crlf(f"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello\n--b\n{odd}--b--\n")
    assert put(mail) == mail
    assert put(mail.replace(b": base64", b": 8bit")) != mail
