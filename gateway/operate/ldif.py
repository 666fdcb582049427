"""LDIF (RFC 2849) as far as it carries certificates: entries with their addresses and certificate values. Pure.

What is no LDIF is passed over line by line and said so: a directory's export is not ours to mend.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

MAX_LINE: Final = 256 * 1024
"""Bytes of a line with all its folds; the largest certificate takes a third of it."""
MAX_VALUES: Final = 64
"""Addresses, and certificates, of one entry."""

_MAIL: Final = frozenset({b"mail", b"rfc822mailbox", b"0.9.2342.19200300.100.1.3"})
_CERTIFICATE: Final = frozenset({b"usercertificate", b"2.5.4.36"})
_PKCS7: Final = frozenset({b"usersmimecertificate", b"2.16.840.1.113730.3.1.40"})

_T = TypeVar("_T")


@dataclass(slots=True)
class LdifEntry:
    """``line`` is its first, from 1. ``certificates`` are values of userCertificate, ``bundles`` of userSMIMECertificate (CMS), not
    looked at yet; ``faults`` what could not be read.
    """

    line: int
    addresses: list[str] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    bundles: list[bytes] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_ldif(data: bytes) -> Iterator[LdifEntry]:
    """Every entry of ``data`` that has a certificate, an address or a fault. Raises nothing, whatever ``data`` is."""
    entry: LdifEntry | None = None
    for number, line in _unfolded(data):
        if not line:
            if entry is not None:
                yield entry
            entry = None
        elif not line.startswith(b"#"):
            entry = entry or LdifEntry(number)
            _take(entry, number, line)
    if entry is not None:
        yield entry


def _unfolded(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers: one that begins with a space goes on with the one before (RFC 2849, notes 2 and 3)."""
    waiting: list[bytes] = []
    size = begin = number = 0
    for number, raw in enumerate(data.splitlines(), 1):
        if raw.startswith(b" ") and waiting and waiting[0]:
            size += len(raw)
            if size <= MAX_LINE:
                waiting.append(raw[1:])
            continue
        if waiting:
            yield begin, _joined(waiting, size)
        waiting, size, begin = [raw], len(raw), number
    if waiting:
        yield begin, _joined(waiting, size)


def _joined(pieces: list[bytes], size: int) -> bytes:
    return b"".join(pieces) if size <= MAX_LINE else b"\x00"  # no attribute: it is said to be none


def _take(entry: LdifEntry, number: int, line: bytes) -> None:
    """One attribute. Those that are not asked for are passed over unread."""
    name, colon, rest = line.partition(b":")
    kind = name.partition(b";")[0].strip().lower()
    if not colon or not kind:
        _fault(entry, f"line {number} is no attribute, or longer than {MAX_LINE} bytes")
    elif kind == b"changetype" and rest.strip().lower() != b"add":
        _fault(entry, f"line {number}: a change of an entry, and no entry")
    elif kind in _MAIL or kind in _CERTIFICATE or kind in _PKCS7:
        value = _value(entry, number, rest)
        if value is None:
            return
        if kind in _MAIL:
            _add(entry, number, entry.addresses, value.decode("utf-8", "replace"))
        else:
            _add(entry, number, entry.certificates if kind in _CERTIFICATE else entry.bundles, value)


def _value(entry: LdifEntry, number: int, rest: bytes) -> bytes | None:
    """What stands behind the first colon: text, base64 behind a second colon, or a URL, which is not fetched."""
    if rest.startswith(b"<"):
        _fault(entry, f"line {number}: a URL in the place of a value; export the value itself")
        return None
    if not rest.startswith(b":"):
        return rest.strip(b" ")
    try:
        return base64.b64decode(rest[1:].strip(b" "), validate=True)
    except binascii.Error:
        _fault(entry, f"line {number}: base64 that is none")
        return None


def _add(entry: LdifEntry, number: int, values: list[_T], value: _T) -> None:
    if len(values) < MAX_VALUES:
        values.append(value)
    else:
        _fault(entry, f"line {number}: more than {MAX_VALUES} values")


def _fault(entry: LdifEntry, text: str) -> None:
    if len(entry.faults) < MAX_VALUES:
        entry.faults.append(text)
