"""The numbered mails: what each holds follows from its number alone, so that whoever finds one can say whether it is whole."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

SENDER: Final = "cardiology@hospital.example"
PEER: Final = "results@laboratory.example"
STRANGER: Final = "archive@outside.example"
MARKER: Final = b"in-clear-to-nobody-on-the-way"

_NUMBER: Final = re.compile(rb"^Message-ID: <torture-(\d+)@", re.MULTILINE | re.IGNORECASE)
_REPORTED: Final = re.compile(rb"^Original-Envelope-Id: torture-(\d+)\r?$", re.MULTILINE)
_LARGE_EVERY: Final = 25  # a body of several segments, which is a file; the others lie in the database
_STRANGER_EVERY: Final = 10


def recipient(number: int) -> str:
    """Whom the mail is for: the peer of the zone, or now and then somebody in no zone."""
    return STRANGER if number % _STRANGER_EVERY == 0 else PEER


def body(number: int) -> bytes:
    """The text of the mail, CRLF lines, the marker in each."""
    lines = 3000 if number % _LARGE_EVERY == 0 else 5 + number % 60
    seed = hashlib.sha256(str(number).encode()).hexdigest().encode()
    return b"".join(MARKER + b" %d %d " % (number, line) + seed[line % 32 :] + b"\r\n" for line in range(lines))


def letter(number: int) -> bytes:
    """The whole message, CRLF lines."""
    head = (
        f"From: {SENDER}\r\nTo: {recipient(number)}\r\nSubject: torture {number}\r\nDate: Mon, 02 Mar 2026 09:30:00 +0100\r\n"
        f"Message-ID: <torture-{number}@hospital.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    )
    return head.encode() + body(number)


def envelope_id(number: int) -> str:
    """The parameter of MAIL by which a report can say which mail it is about, though it may show nothing of it (RFC 3461 4.4)."""
    return f"ENVID=torture-{number}"


def reported_number(message: bytes) -> int | None:
    """The number of the mail that a report is about; None for what is no report."""
    found = _REPORTED.search(message)
    return int(found[1]) if found else None


def number_of(message: bytes) -> int | None:
    """The number in the header of a message; None where there is none."""
    found = _NUMBER.search(message.partition(b"\r\n\r\n")[0])
    return int(found[1]) if found else None


def shows_marker(data: bytes) -> bool:
    """Whether the marker stands in ``data``, as it is or in base64 at any of the three places it may begin."""
    return any(form in data for form in _FORMS)


def _in_base64(lead: int) -> bytes:
    """What base64 makes of the marker behind ``lead`` octets, without the letters that depend on what is around it."""
    whole = base64.b64encode(bytes(lead) + MARKER)
    return whole[-(-lead * 8 // 6) : (lead + len(MARKER)) * 8 // 6]


_FORMS: Final = (MARKER, *(_in_base64(lead) for lead in range(3)))
