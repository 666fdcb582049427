"""Identifiers of mails: 26 characters, sorted by time (Crockford base32 of 48 bits of milliseconds and 80 random bits)."""

from __future__ import annotations

from typing import Final, NewType

MailId = NewType("MailId", str)

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES: Final = frozenset(_ALPHABET)
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
RANDOM_BYTES: Final = 10


def make_mail_id(now_us: int, random: bytes) -> MailId:
    """The identifier of a mail born at ``now_us`` (microseconds UTC) with ten random bytes."""
    if len(random) != RANDOM_BYTES:
        raise ValueError("ten random bytes make an identifier")
    number = (now_us // 1000) << 80 | int.from_bytes(random)
    return MailId("".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]))


def is_mail_id(text: str) -> bool:
    """Whether ``text`` has the form of an identifier; to be asked before it becomes part of a path."""
    return len(text) == 26 and _VALUES.issuperset(text)
