"""PROXY headers, written from the specification (proxy-protocol.txt, sections 2.1 and 2.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.proxy import MAX_V1, MAX_V2, NoProxyHeader, ProxyHeader, read_proxy_header

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
INET = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + (56324).to_bytes(2) + (25).to_bytes(2)
INET6 = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001") + b"\xdc\x04" + b"\x00\x19"


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2) + block


HEADERS = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n": ("192.0.2.7", 56324),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255", 65535),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 25\r\n": ("2001:db8::7", 56324),
    b"PROXY UNKNOWN\r\n": ("", 0),
    b"PROXY UNKNOWN ffff:f... ffff:f... 65535 65535\r\n": ("", 0),
    v2(0x21, 0x11, INET): ("192.0.2.7", 56324),
    v2(0x21, 0x21, INET6): ("2001:db8::7", 56324),
    v2(0x21, 0x11, INET + b"\x04\x00\x03abc"): ("192.0.2.7", 56324),
    v2(0x21, 0x12, INET): ("", 0),
    v2(0x21, 0x31, bytes(216)): ("", 0),
    v2(0x21, 0x00, b""): ("", 0),
    v2(0x20, 0x00, b""): ("", 0),
    v2(0x20, 0xFF, b"whatever"): ("", 0),
    v2(0x21, 0x11, INET + bytes(MAX_V2 - 28)): ("192.0.2.7", 56324),
}
WRONG = [
    b"EHLO mail.hospital.example\r\n",
    b"\x16\x03\x01",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 25\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 56324 25\r\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25 \r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 25\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 56324 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 25\r\n",
    b"PROXY TCP4 192.0.2.7\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 25\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 15) + b"\r\n",
    v2(0x11, 0x11, INET),
    v2(0x22, 0x11, INET),
    v2(0x21, 0x13, INET),
    v2(0x21, 0x10, INET),
    v2(0x21, 0x41, INET),
    v2(0x21, 0x11, INET[:-1]),
    v2(0x21, 0x21, INET6[:-1]),
    v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x11, INET + bytes(MAX_V2 - 27)),
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_names_its_source_however_it_arrives(header: bytes) -> None:
    address, port = HEADERS[header]
    for end in range(len(header)):
        assert read_proxy_header(header[:end]) is None
    for behind in (b"", b"EHLO x\r\n", b"\r\n", header):
        assert read_proxy_header(header + behind) == ProxyHeader(len(header), address, port)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_header_is_said_to_be_none(wrong: bytes) -> None:
    assert isinstance(read_proxy_header(wrong), NoProxyHeader)


def test_the_longest_line_of_version_1() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 16) + b"\r\n"
    assert len(longest) == 107
    assert read_proxy_header(longest) == ProxyHeader(107)


@given(st.one_of(st.binary(), st.binary().map(b"PROXY ".__add__), st.binary().map(SIGNATURE.__add__)))
def test_anything_has_one_answer_and_octets_behind_do_not_change_it(data: bytes) -> None:
    whole = read_proxy_header(data)
    for end in range(len(data)):
        part = read_proxy_header(data[:end])
        assert part is None or part == whole
    if whole is None:
        assert len(data) < MAX_V2
