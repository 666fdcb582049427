"""The PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt): whose connection a load balancer hands on.

Nothing here guesses whether there is a header (section 2): who listens says from where there must be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

MAX_V1: Final = 107  # octets with CRLF (section 2.1)
MAX_V2: Final = 16 + 4096  # octets; the length field allows 64 KiB, which no balancer needs for its TLVs

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
_LOCAL: Final = 0x20
_PROXIED: Final = 0x21
_TCP4: Final = 0x11
_TCP6: Final = 0x21
# Octets of addresses by family and transport (section 2.2); all others must be rejected
_ADDRESSES: Final = {0x00: 0, _TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """``length`` octets are the header. ``address`` and ``port`` are the source's, or "" and 0: the connection keeps its own."""

    length: int
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class NoProxyHeader:
    """What came cannot become a header, and ``why``."""

    why: str


def read_proxy_header(data: bytes) -> ProxyHeader | NoProxyHeader | None:
    """The header ``data`` begins with; None: not all of it has come."""
    if data.startswith(_V1):
        return _version_1(data)
    if data.startswith(_V2):
        return _version_2(data)
    return None if _V1.startswith(data) or _V2.startswith(data) else NoProxyHeader("no PROXY header")


def _version_1(data: bytes) -> ProxyHeader | NoProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        return None if len(data) < MAX_V1 else NoProxyHeader(f"longer than {MAX_V1} octets")
    words = data[len(_V1) : end].split(b" ")
    if words[0] == b"UNKNOWN":  # whatever follows it is to be ignored
        return ProxyHeader(end + 2)
    kind = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}.get(words[0])
    if kind is None or len(words) != 5:
        return NoProxyHeader("not TCP4, TCP6 or UNKNOWN with two addresses and two ports")
    try:
        source, _ = (kind(_text(word)) for word in words[1:3])
        port, _ = (_port(word) for word in words[3:])
    except ValueError:
        return NoProxyHeader("a wrong address or port")
    return ProxyHeader(end + 2, str(source), port)


def _version_2(data: bytes) -> ProxyHeader | NoProxyHeader | None:
    if len(data) < _FIXED:
        return None
    command, family, length = data[12], data[13], _FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXIED):
        return NoProxyHeader("another version or command")
    if length > MAX_V2:
        return NoProxyHeader(f"longer than {MAX_V2} octets")
    if command == _PROXIED and (family not in _ADDRESSES or length - _FIXED < _ADDRESSES[family]):
        return NoProxyHeader("an unknown family, or too short for its addresses")
    if len(data) < length:
        return None
    if command == _PROXIED and family == _TCP4:
        return ProxyHeader(length, str(IPv4Address(data[16:20])), int.from_bytes(data[24:26]))
    if command == _PROXIED and family == _TCP6:
        return ProxyHeader(length, str(IPv6Address(data[16:32])), int.from_bytes(data[48:50]))
    return ProxyHeader(length)


def _text(word: bytes) -> str:
    text = word.decode("ascii")
    if "%" in text:
        raise ValueError("a scope means nothing on another host")
    return text


def _port(word: bytes) -> int:
    if not word.isdigit() or str(int(word[:6])).encode() != word or int(word) > 65535:
        raise ValueError("a port is 0 to 65535 without leading zeros")
    return int(word)
