"""Legacy Display Elements: the examples of RFC 9788 5.2.2 and 5.2.3, and all that is left alone."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.edit import EditedEntity, edited
from gateway.mail.entity import MessageEntity
from gateway.mail.legacydisplay import without_elements
from gateway.mail.mainpart import MAX_TEXT
from tests.doubles import MemoryBody

ELEMENT = "Subject: Thursday's meeting\nCc: alice@example.net\n\n"
TEXT = "I think we should skip the meeting.\n"
HTML = "<html><head><title></title></head><body>\n{}<p>I think we should skip the meeting.</p>\n</body></html>\n"
DIV = '<div class="header-protection-legacy-display">\n<pre>Subject: Thursday\'s meeting\nCc: alice@example.net</pre></div>\n'
MARKED = "Content-Type: text/plain; charset=UTF-8; hp-legacy-display=1\n"
PLAIN = "Content-Type: text/plain; charset=UTF-8\n"
MARKED_HTML = "Content-Type: text/html; charset=UTF-8; hp-legacy-display=1\n"
PLAIN_HTML = "Content-Type: text/html; charset=UTF-8\n"


def cut(text: str, piece: int = 64 * 1024) -> str:
    body = MemoryBody(text.replace("\n", "\r\n").encode(), piece)
    return b"".join(edited(body.chunks(), without_elements(body.chunks()))).decode().replace("\r\n", "\n")


def parts(kind: str, *found: str) -> str:
    return (
        f'Content-Type: multipart/{kind}; boundary="{kind}"\n\n' + "".join(f"--{kind}\n{each}" for each in found) + f"--{kind}--\n"
    )


@pytest.mark.parametrize("piece", [1, 7, 64 * 1024])
def test_the_examples_of_the_rfc(piece: int) -> None:
    assert cut(MARKED + "\n" + ELEMENT + TEXT, piece) == PLAIN + "\n" + TEXT
    assert cut(MARKED_HTML + "\n" + HTML.format(DIV), piece) == PLAIN_HTML + "\n" + HTML.format("")


@pytest.mark.parametrize("piece", [1000, 64 * 1024])
def test_an_element_is_looked_for_in_the_head_of_a_text(piece: int) -> None:
    longest = "Subject: " + "x" * (MAX_TEXT - 9 - 4) + "\n\n"  # whose line ends have two bytes
    assert cut(MARKED + "\n" + longest + TEXT, piece) == PLAIN + "\n" + TEXT
    longer = longest.replace("x\n", "xx\n")
    assert cut(MARKED + "\n" + longer + TEXT, piece) == MARKED + "\n" + longer + TEXT


@pytest.mark.parametrize("piece", [1, 64 * 1024])
def test_every_main_part_of_a_tree(piece: int) -> None:
    def tree(plain: str, html: str) -> str:
        return parts(
            "mixed", parts("alternative", plain, parts("related", html, PLAIN + "\n" + ELEMENT + TEXT)), PLAIN + "\n" + TEXT
        )

    marked = tree(MARKED + "\n" + ELEMENT + TEXT, MARKED_HTML + "\n" + HTML.format(DIV))
    assert cut(marked, piece) == tree(PLAIN + "\n" + TEXT, PLAIN_HTML + "\n" + HTML.format(""))


def test_quoted_printable_lines_go_on_behind_an_equals_sign() -> None:
    head = "Content-Transfer-Encoding: quoted-printable\n\n"
    assert cut(MARKED + head + "Subject: =C3=A9=\n\nCc: x=\n y@z\n\n" + TEXT) == PLAIN + head + TEXT
    assert cut(MARKED + head + "Subject: =C3=A9=\nmore\nCc: a@b.example\n\n" + TEXT) == PLAIN + head + TEXT


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + "\n" + ELEMENT + TEXT,
        MARKED.replace("=1", "=0") + "\n" + ELEMENT + TEXT,
        MARKED.replace("UTF-8", "utf-16") + "\n" + ELEMENT + TEXT,
        MARKED.replace("text/plain", "text/calendar") + "\n" + ELEMENT + TEXT,
        MARKED + "Content-Transfer-Encoding: base64\n\n" + "U3ViamVjdDogeA0KDQo=\n",
        MARKED + "Content-Disposition: attachment; filename=a.txt\n\n" + ELEMENT + TEXT,
        MARKED + "\n" + TEXT + "\n" + TEXT,
        MARKED + "\n" + ELEMENT.replace("Cc", "Bank") + TEXT,
        MARKED + "\n" + ELEMENT.rstrip("\n"),
        MARKED + "\n\n" + ELEMENT + TEXT,
        MARKED_HTML + "\n" + HTML.format("<p>x</p>" + DIV),
        MARKED_HTML + "\n" + HTML.format(DIV.replace("<pre>", "<pre><b>")),
        MARKED_HTML + "\n" + HTML.format(DIV.replace("header-protection", "header")),
        parts("mixed", PLAIN + "\n" + TEXT, MARKED + "\n" + ELEMENT + TEXT),
        parts("mixed", "Content-Type: message/rfc822\n\n" + MARKED + "\n" + ELEMENT + TEXT),
        "Content-Type: multipart/mixed; boundary=b\nContent-Type: multipart/mixed; boundary=c\n\n" + ELEMENT,
    ],
)
def test_all_else_is_left_alone(text: str) -> None:
    assert cut(text) == text


PIECES = [
    MARKED,
    MARKED_HTML,
    PLAIN,
    ELEMENT,
    DIV,
    TEXT,
    HTML,
    "\n",
    "\n--b\n",
    "\n--b--\n",
    "Content-Type: multipart/mixed; boundary=b\n",
]


@given(st.lists(st.sampled_from(PIECES)), st.sampled_from([1, 13, 64 * 1024]))
def test_what_is_cut_lies_in_order_inside_the_entity(found: list[str], piece: int) -> None:
    data = "".join(found).replace("\n", "\r\n").encode()
    body = MemoryBody(data, piece)
    edits = without_elements(body.chunks())
    ends = [end for edit in edits for end in (edit.span.start, edit.span.end)]
    assert ends == sorted(ends)
    assert all(0 <= end <= len(data) for end in ends)
    assert len(b"".join(edited(body.chunks(), edits))) == EditedEntity(MessageEntity(b"", body, 0), edits).size - 2


@pytest.mark.parametrize(
    "filler",
    ["Subject: x\n", "Subject: x\n ", "<body>", "<body> \n", "<body>\n" + DIV.removesuffix("</div>\n"), "Subject: =\n", "<pre>"],
)
@pytest.mark.parametrize("head", [MARKED, MARKED_HTML])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_a_long_text_takes_time_in_proportion_to_it(head: str, encoding: str, filler: str) -> None:
    text = filler * (200_000 // len(filler))
    if encoding == "base64":
        text = base64.b64encode((ELEMENT + text).encode()).decode()
    begun = time.process_time()
    cut(head + f"Content-Transfer-Encoding: {encoding}\n\n" + text)
    assert time.process_time() - begun < 1
