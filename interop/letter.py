"""The letter of every case: one text, as the 8bit entity that we protect and as the 7-bit one that the others do."""

from __future__ import annotations

import email
import email.message
import email.policy
import quopri
import time
from email.utils import formatdate
from typing import Final

_LINES: Final = ("Résultat : tout va bien.", ".", "Œdème résorbé.")
TEXT: Final = "".join(f"{line}\n" for line in _LINES)
SUBJECT: Final = "Interop"
_TYPE: Final = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
EIGHT_BIT: Final = _TYPE + b"8bit\r\n\r\n" + "".join(f"{line}\r\n" for line in _LINES).encode()
SEVEN_BIT: Final = _TYPE + b"quoted-printable\r\n\r\n" + b"".join(quopri.encodestring(line.encode()) + b"\r\n" for line in _LINES)


def header(sender: str, recipient: str, age: float = 0) -> bytes:
    """The fields of the letter that are not about its content. It was written ``age`` seconds ago."""
    return (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {SUBJECT}\r\nDate: {formatdate(time.time() - age)}\r\n"
        f"Message-ID: <interop@{sender.partition('@')[2]}>\r\n"
    ).encode()


def subject_and_text(entity: bytes) -> tuple[str | None, str]:
    """What ``entity`` (header fields, content) shows; no Subject where it has none of its own."""
    parsed = email.message_from_bytes(entity, _class=email.message.EmailMessage, policy=email.policy.default)
    return parsed["Subject"], parsed.get_content().replace("\r\n", "\n")
