"""The line ends of a message on the wire (RFC 5322 2.1), for one that comes from a file."""

from __future__ import annotations

import re
from typing import Final

from gateway.outcome import GatewayError, Reason

MAX_LINE: Final = 998  # RFC 5322 2.1.1
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_NOT_OF_CRLF: Final = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")
_NOT_OF_LF: Final = re.compile(rb"\0|\r\n?")
_NAMED: Final = {
    b"\0": "NUL",
    b"\r": "CR alone",
    b"\n": "LF alone, and other lines CRLF",
    b"\r\n": "CRLF, and other lines LF alone",
}


def wire_form(data: bytes) -> bytes:
    """``data`` with the line ends a message has on the wire. Files often have LF alone, and openssl writes both into one."""
    return _BARE_LF.sub(b"\r\n", data)


def canonical_form(data: bytes) -> bytes:
    """``data`` with the line ends a message has on the wire, where it needs no guess: LF alone throughout, or CRLF.

    Raises :class:`GatewayError` (MALFORMED) with the line that is no line of mail (RFC 5322 2.1.1, 2.3; RFC 6532 3.2).
    """
    first = data.find(b"\n")
    crlf = first > 0 and data[first - 1 : first] == b"\r"
    pairs = data.count(b"\r\n") if crlf else 0
    if b"\0" in data or data.count(b"\r") != pairs or (crlf and data.count(b"\n") != pairs):
        raise _odd(data, _NOT_OF_CRLF if crlf else _NOT_OF_LF)
    wire = data if crlf else data.replace(b"\n", b"\r\n")
    _check_header(wire)
    return wire


def _check_header(wire: bytes) -> None:
    end = 0 if wire.startswith(b"\r\n") else wire.find(b"\r\n\r\n")
    for number, line in enumerate((wire if end < 0 else wire[:end]).split(b"\r\n"), 1):
        if len(line) > MAX_LINE:
            raise _no_mail(number, f"is longer than {MAX_LINE} bytes, in the header")
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise _no_mail(number, "has bytes that are neither ASCII nor UTF-8, in the header") from error


def _odd(data: bytes, pattern: re.Pattern[bytes]) -> GatewayError:
    """What first is no line of mail."""
    found = pattern.search(data)
    if found is None:
        raise AssertionError("it was counted")
    return _no_mail(data.count(b"\n", 0, found.start()) + 1, f"has {_NAMED[found.group()]}")


def _no_mail(line: int, fault: str) -> GatewayError:
    return GatewayError(Reason.MALFORMED, f"line {line} of the message {fault}")
