"""MIME grammar (RFC 2045, 2046): Content-Type, boundaries, wrapped base64. One strict reading, so that no two readers differ."""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import pybase64

from gateway.outcome import GatewayError, Reason

MAX_VALUE: Final = 16 * 1024
MAX_PARAMETERS: Final = 64
_SHORT: Final = 300  # bytes of a value that is remembered
MAX_BOUNDARY: Final = 70  # RFC 2046 5.1.1
LINE: Final = 57  # octets that make a line of 76 characters, RFC 2045 6.8
_WIDTH: Final = 76
_CUT: Final = tuple(struct.Struct(f"{_WIDTH}s" * lines) for lines in range(65))  # cuts so many lines at once

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
# A bare value may also hold / [ ] ? = : @ (boundaries like ----=_Part_1 are common): there is only one way to read it.
_BARE: Final = re.compile(rb"[!#$%&'*+\-./0-9:=?@A-Z\[\]^_`a-z{|}~]+")
_QUOTED: Final = re.compile(rb'"((?:[^"\\\r\n\0]|\\[^\r\n\0])*)"')
# What has no comments can be read at once. No character may stand in two places, so there is only one way to read it here too.
_NAMED: Final = rb"[ \t]*;[ \t]*(%b)[ \t]*=[ \t]*" % _TOKEN.pattern
_PARAMETER: Final = re.compile(rb"%b(?:(%b)|%b)" % (_NAMED, _BARE.pattern, _QUOTED.pattern))
_PLAIN: Final = re.compile(rb"[ \t]*(%b)[ \t]*/[ \t]*(%b)((?:%b)*)[ \t]*" % (_TOKEN.pattern, _TOKEN.pattern, _PARAMETER.pattern))
_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]")
_SPACE: Final = b" \t"
_QUANTA: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class MimeError(GatewayError):
    """Not MIME as the RFCs have it. The detail names the field or the line, never its content."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """``type`` is ``type/subtype`` in lower case; ``params`` has names in lower case and values as written, unquoted.

    Bytes outside ASCII in a value are UTF-8; what is not even that is kept by ``surrogateescape``.
    """

    type: str
    params: Mapping[str, str]

    @property
    def boundary(self) -> bytes | None:
        """The boundary of a multipart, or None where the parameter is missing. Raises :class:`MimeError` for a bad one."""
        text = self.params.get("boundary")
        if text is None:
            return None
        if len(text) > MAX_BOUNDARY or not _BOUNDARY.fullmatch(text):
            raise MimeError(Reason.MALFORMED, "bad boundary")
        return text.encode("ascii")


TEXT_PLAIN: Final = ContentType("text/plain", MappingProxyType({"charset": "us-ascii"}))  # RFC 2045 5.2


def parse_content_type(value: bytes) -> ContentType:
    """The value of one Content-Type field, unfolded, comments allowed.

    Raises :class:`MimeError` (MALFORMED, LIMIT): no type, a parameter given twice, anything left over.
    """
    if len(value) > MAX_VALUE:
        raise MimeError(Reason.LIMIT, "Content-Type too long")
    return _remembered(value) if len(value) <= _SHORT else _parsed(value)


def _parsed(value: bytes) -> ContentType:
    if plain := _PLAIN.fullmatch(value):
        return _plain(plain)
    kind, at = _token(value, _skip(value, 0))
    at = _skip(value, at)
    if value[at : at + 1] != b"/":
        raise MimeError(Reason.MALFORMED, "Content-Type without a subtype")
    subtype, at = _token(value, _skip(value, at + 1))
    params: dict[str, str] = {}
    while (at := _skip(value, at)) < len(value):
        if value[at : at + 1] != b";":
            raise MimeError(Reason.MALFORMED, "Content-Type with more than parameters")
        at = _skip(value, at + 1)
        if at == len(value) or value[at : at + 1] == b";":
            continue  # a semicolon too many says nothing
        name, at = _token(value, at)
        at = _skip(value, at)
        if value[at : at + 1] != b"=":
            raise MimeError(Reason.MALFORMED, "Content-Type parameter without a value")
        text, at = _value(value, _skip(value, at + 1))
        if name in params or len(params) == MAX_PARAMETERS:
            raise MimeError(Reason.MALFORMED, "Content-Type parameter given twice, or too many of them")
        params[name] = text
    return ContentType(f"{kind}/{subtype}", MappingProxyType(params))


@lru_cache(maxsize=1024)
def _remembered(value: bytes) -> ContentType:
    """Most are those of every mail, and that of a multipart is asked for several times."""
    return _parsed(value)


def _plain(matched: re.Match[bytes]) -> ContentType:
    """A value without comments, as nearly all are; the same reading, in a quarter of the time."""
    kind, subtype, rest = matched.group(1, 2, 3)
    params: dict[str, str] = {}
    for name, bare, quoted in _PARAMETER.findall(rest):
        key = name.decode("ascii").lower()
        if key in params or len(params) == MAX_PARAMETERS:
            raise MimeError(Reason.MALFORMED, "Content-Type parameter given twice, or too many of them")
        params[key] = bare.decode("ascii") or _unquoted(quoted)
    return ContentType(f"{kind.decode('ascii').lower()}/{subtype.decode('ascii').lower()}", MappingProxyType(params))


def _token(value: bytes, at: int) -> tuple[str, int]:
    found = _TOKEN.match(value, at)
    if found is None:
        raise MimeError(Reason.MALFORMED, "Content-Type with a bad token")
    return found.group().decode("ascii").lower(), found.end()


def _value(value: bytes, at: int) -> tuple[str, int]:
    if found := _BARE.match(value, at):
        return found.group().decode("ascii"), found.end()
    if found := _QUOTED.match(value, at):
        return _unquoted(found.group(1)), found.end()
    raise MimeError(Reason.MALFORMED, "Content-Type parameter with a bad value")


def _unquoted(quoted: bytes) -> str:
    return (_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted).decode("utf-8", "surrogateescape")


def _skip(value: bytes, at: int) -> int:
    """The place after white space and nested comments (RFC 5322 3.2.2)."""
    depth, size = 0, len(value)
    while at < size:
        byte = value[at]
        if byte == 0x28:  # (
            depth += 1
        elif not depth:
            if byte not in _SPACE:
                return at
        elif byte == 0x29:  # )
            depth -= 1
        elif byte == 0x5C:  # backslash
            at += 1
        at += 1
    if depth:
        raise MimeError(Reason.MALFORMED, "comment without an end")
    return size


def parse_transfer_encoding(value: bytes | None) -> str:
    """The value of one Content-Transfer-Encoding field in lower case; ``7bit`` where there is none (RFC 2045 6.1).

    Raises :class:`MimeError` (MALFORMED).
    """
    if value is None:
        return "7bit"
    if _TOKEN.fullmatch(value):
        return value.decode("ascii").lower()
    token, at = _token(value, _skip(value, 0))
    if _skip(value, at) != len(value):
        raise MimeError(Reason.MALFORMED, "bad Content-Transfer-Encoding")
    return token


class Base64Lines:
    """Bytes in, base64 in lines of 76 characters with CRLF out (RFC 2045 6.8), as a stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def update(self, data: bytes) -> bytes:
        """The whole lines that can be written now."""
        data = self._rest + data
        whole = len(data) - len(data) % LINE
        self._rest = data[whole:]
        return wrap(memoryview(data)[:whole])

    def finalize(self) -> bytes:
        """The last, shorter line, with its CRLF; nothing where there is none."""
        rest, self._rest = self._rest, b""
        return wrap(rest)


class Base64Bytes:
    """Base64 in lines in, bytes out, as a stream. Only the alphabet, padding at the very end, and white space are allowed.

    What one reader skips another may read, so anything else is a fault: the bytes before it are given, and the next call raises
    :class:`MimeError` (MALFORMED), whatever the pieces.
    """

    __slots__ = ("_ended", "_fault", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False
        self._fault: MimeError | None = None

    def update(self, data: bytes) -> bytes:
        """The bytes that the next characters make."""
        if self._fault is not None:
            raise self._fault
        data = self._rest + data
        even = None if self._ended else self._of_even_lines(data)
        return self._of_any_lines(data) if even is None else even

    def _of_even_lines(self, data: bytes) -> bytes | None:
        """The bytes of lines that all have one length, as nearly always, in half the time; None for others.

        The decoder skips what is no base64. It skipped line ends and the last padding alone where all else gave its six bits.
        """
        data = data.rstrip(b"\r\n")
        first = data.find(b"\r\n")
        step = data.find(b"\r\n", first + 2) - first
        if first < 0 or step <= 0:
            return None
        returns, feeds = data[first::step], data[first + 1 :: step]
        characters = len(data) - len(returns) - len(feeds)
        whole = len(data) - characters % 4
        rest = data[whole:]
        if returns.strip(b"\r") or feeds.strip(b"\n") or rest.translate(None, b"\r\n= \t") != rest:
            return None
        padding = len(data) - len(data.rstrip(b"="))
        try:
            decoded = pybase64.b64decode(memoryview(data)[:whole])
        except binascii.Error:
            return None
        if len(decoded) != characters // 4 * 3 - padding or padding > 2 or (padding and rest):
            return None
        self._rest, self._ended = rest, padding > 0
        return decoded

    def _of_any_lines(self, data: bytes) -> bytes:
        data = data.translate(None, b"\r\n \t")
        if self._ended and data:
            raise MimeError(Reason.MALFORMED, "base64 behind its end")
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        self._ended = self._ended or data[:whole].endswith(b"=")
        try:
            return pybase64.b64decode(data[:whole], validate=True)
        except binascii.Error:
            self._fault = MimeError(Reason.MALFORMED, "not base64")
            found = _QUANTA.match(data)
            return pybase64.b64decode(found[0], validate=True) if found else b""

    def finalize(self) -> None:
        """No more characters will come."""
        if self._fault is not None:
            raise self._fault
        if self._rest:
            raise MimeError(Reason.MALFORMED, "base64 that ends too early")


def wrap(data: bytes | memoryview) -> bytes:
    """``data`` in base64, each line of at most 76 characters ended by CRLF."""
    encoded, most = pybase64.b64encode(data), _CUT[-1]
    left = len(encoded) % most.size
    at = len(encoded) - left
    lines = list(map(b"\r\n".join, most.iter_unpack(memoryview(encoded)[:at])))
    lines += _CUT[left // _WIDTH].unpack_from(encoded, at)
    if last := left % _WIDTH:
        lines.append(encoded[-last:])
    lines.append(b"")
    return b"\r\n".join(lines)


def wrapped_size(size: int) -> int:
    """How long ``wrap`` makes ``size`` bytes."""
    return (size + 2) // 3 * 4 + (size + LINE - 1) // LINE * 2
