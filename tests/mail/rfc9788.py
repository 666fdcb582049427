"""Examples of RFC 9788 with what they were made from: Cryptographic Payloads as it prints them, and Outer Header Sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.mail.confidentiality import Headers
from gateway.mail.message import Field, read_header
from gateway.mail.mime import parse_content_type


@dataclass(frozen=True)
class Example:
    """``source`` is the unprotected message, ``payload`` and ``outer`` what the RFC makes of it; all with CRLF."""

    source: bytes
    payload: bytes
    outer: bytes
    headers: Headers
    legacy: bool = False


def fields(data: bytes) -> list[tuple[str, str]]:
    """The fields of a header as name and unfolded value, in the order of their names and parameters: the RFC asks for none."""
    return sorted((field.name, _value(field)) for field in read_header(data).fields if field.name != "MIME-Version")


def _value(field: Field) -> str:
    if field.name != "Content-Type":
        return " ".join(field.value.decode().split())
    kind = parse_content_type(field.value)
    return "; ".join([kind.type, *sorted(f"{name}={value}" for name, value in kind.params.items())])


def content(data: bytes) -> bytes:
    """What follows the header."""
    return data[read_header(data).size :]


def crlf(text: str) -> bytes:
    """Text of the RFC as it travels."""
    return text.replace("\n", "\r\n").encode()


_JONES: Final = """\
Date: Wed, 11 Jan 2023 16:08:43 -0500
From: Bob <bob@example.net>
To: Alice <alice@example.net>
Subject: {subject}
Message-ID: <20230111T210843Z.1234@lhp.example>
"""
_JONES_TEXT: Final = """\
Please review and approve or decline by Thursday, it's critical!

Thanks,
Bob

--
Bob Gonzalez
ACME, Inc.
"""
JONES: Final = Example(  # D.1
    crlf(
        _JONES.format(subject="Handling the Jones contract")
        + 'Content-Type: text/plain; charset="us-ascii"\nMIME-Version: 1.0\n\n'
        + _JONES_TEXT
    ),
    crlf(
        _JONES.format(subject="Handling the Jones contract")
        + """\
Content-Type: text/plain; charset="us-ascii"; hp-legacy-display="1";
 hp="cipher"
MIME-Version: 1.0
HP-Outer: Date: Wed, 11 Jan 2023 16:08:43 -0500
HP-Outer: From: Bob <bob@example.net>
HP-Outer: To: Alice <alice@example.net>
HP-Outer: Subject: [...]
HP-Outer: Message-ID: <20230111T210843Z.1234@lhp.example>

Subject: Handling the Jones contract

"""
        + _JONES_TEXT
    ),
    crlf(_JONES.format(subject="[...]")),
    Headers.BASELINE,
    legacy=True,
)

_FIELDS: Final = """\
Subject: {0}
Message-ID: <{1}@example>
From: Alice <alice@smime.example>
To: Bob <bob@smime.example>
Date: Sat, 20 Feb 2021 {2}
User-Agent: Sample MUA Version 1.0
"""
_SHY: Final = """\
HP-Outer: Subject: [...]
HP-Outer: Message-ID: <{0}@example>
HP-Outer: From: alice@smime.example
HP-Outer: To: bob@smime.example
HP-Outer: Date: Sat, 20 Feb 2021 {1}
HP-Outer: User-Agent: Sample MUA Version 1.0
"""
_SHY_OUTER: Final = """\
Subject: [...]
Message-ID: <{0}@example>
From: alice@smime.example
To: bob@smime.example
Date: Sat, 20 Feb 2021 {1}
User-Agent: Sample MUA Version 1.0
"""
_SIMPLE: Final = "This is the\n{0}\nmessage.\n"
_LEGACY_NAME: Final = "smime-signed-enc-complex-hp-shy-legacy"
_PLAIN_NAME: Final = "smime-signed-enc-hp-shy-legacy"
_REPLY_NAME: Final = "smime-signed-enc-hp-baseline-reply"

SHY_LEGACY: Final = Example(  # C.3.4
    crlf(
        "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
        + _FIELDS.format(_PLAIN_NAME, _PLAIN_NAME, "10:13:02 -0500")
        + 'Content-Type: text/plain; charset="utf-8"\n\n'
        + _SIMPLE.format(_PLAIN_NAME)
    ),
    crlf(
        "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
        + _FIELDS.format(_PLAIN_NAME, _PLAIN_NAME, "10:13:02 -0500")
        + _SHY.format(_PLAIN_NAME, "15:13:02 +0000")
        + f"""\
Content-Type: text/plain; charset="utf-8";
 hp-legacy-display="1"; hp="cipher"

Subject: {_PLAIN_NAME}
From: Alice <alice@smime.example>
To: Bob <bob@smime.example>
Date: Sat, 20 Feb 2021 10:13:02 -0500

"""
        + _SIMPLE.format(_PLAIN_NAME)
    ),
    crlf(_SHY_OUTER.format(_PLAIN_NAME, "15:13:02 +0000")),
    Headers.SHY,
    legacy=True,
)

_THREAD: Final = "In-Reply-To: <smime-signed-enc-hp-baseline@example>\nReferences: <smime-signed-enc-hp-baseline@example>\n"
BASELINE_REPLY: Final = Example(  # C.3.5
    crlf(
        "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
        + _FIELDS.format(_REPLY_NAME, _REPLY_NAME, "10:15:02 -0500")
        + _THREAD
        + 'Content-Type: text/plain; charset="utf-8"\n\n'
        + _SIMPLE.format(_REPLY_NAME)
    ),
    crlf(
        "MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n"
        + _FIELDS.format(_REPLY_NAME, _REPLY_NAME, "10:15:02 -0500")
        + _THREAD
        + "".join(
            f"HP-Outer: {line}\n"
            for line in (_FIELDS.format("[...]", _REPLY_NAME, "10:15:02 -0500") + _THREAD).rstrip("\n").split("\n")
        )
        + 'Content-Type: text/plain; charset="utf-8"; hp="cipher"\n\n'
        + _SIMPLE.format(_REPLY_NAME)
    ),
    crlf(_FIELDS.format("[...]", _REPLY_NAME, "10:15:02 -0500") + _THREAD),
    Headers.BASELINE,
)

_TREE: Final = """\
--88b
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="6bd"

--6bd
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Type: text/plain; charset="us-ascii"{0}

{1}This is the
{3}
message.
--6bd
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Type: text/html; charset="us-ascii"{0}

<html><head><title></title></head><body>
{2}<p>This is the
<b>{3}</b>
message.</p></body></html>
--6bd--

--88b
Content-Type: image/png
Content-Transfer-Encoding: base64
Content-Disposition: inline

iVBORw0KGgoAAAANSUhEUgAAABQAAAAUCAYAAACNiR0NAAAAcElEQVR42uVTOxbA

--88b--
"""
_COMPLEX: Final = "MIME-Version: 1.0\n" + _FIELDS.format(_LEGACY_NAME, _LEGACY_NAME, "12:13:02 -0500")
_ELEMENT: Final = f"Subject: {_LEGACY_NAME}\nFrom: Alice {{0}}alice@smime.example{{1}}\nTo: Bob {{0}}bob@smime.example{{1}}\n"
_ELEMENT_DATE: Final = "Date: Sat, 20 Feb 2021 12:13:02 -0500\n"
COMPLEX_SHY_LEGACY: Final = Example(  # C.3.12
    crlf(_COMPLEX + 'Content-Type: multipart/mixed; boundary="88b"\n\n' + _TREE.format("", "", "", _LEGACY_NAME)),
    crlf(
        _COMPLEX
        + _SHY.format(_LEGACY_NAME, "17:13:02 +0000")
        + 'Content-Type: multipart/mixed; boundary="88b"; hp="cipher"\n\n'
        + _TREE.format(
            ';\n hp-legacy-display="1"',
            _ELEMENT.format("<", ">") + _ELEMENT_DATE + "\n",
            '<div class="header-protection-legacy-display">\n<pre>\n'
            + _ELEMENT.format("&lt;", "&gt;")
            + _ELEMENT_DATE
            + "</pre>\n</div>",
            _LEGACY_NAME,
        )
    ),
    crlf(_SHY_OUTER.format(_LEGACY_NAME, "17:13:02 +0000")),
    Headers.SHY,
    legacy=True,
)

EXAMPLES: Final = {"D.1": JONES, "C.3.4": SHY_LEGACY, "C.3.5": BASELINE_REPLY, "C.3.12": COMPLEX_SHY_LEGACY}
