"""Limits of SMTP at their edge: as much as each says is taken, one more is not. Those of PROXY are in test_smtp_proxy.py."""

from __future__ import annotations

import base64

import pytest

from gateway.smtp import command, hopreply, sasl
from gateway.smtp.command import Nothing, parse_command
from gateway.smtp.data import MAX_LINE, DataReader, Fault
from gateway.smtp.hopreply import HopError, ReplyReader
from gateway.smtp.reply import MAX_LINES, Reply
from gateway.smtp.sasl import Exchange, SaslError


def test_a_command_line() -> None:
    line = b"NOOP " + b"x" * (command.MAX_LINE - 5)
    assert isinstance(parse_command(line, frozenset()), Nothing)
    refused = parse_command(line + b"x", frozenset())
    assert isinstance(refused, Reply)
    assert refused.code == 500


@pytest.mark.parametrize(("length", "fault"), [(MAX_LINE, None), (MAX_LINE + 1, Fault.LONG_LINE)])
def test_a_line_of_a_message(length: int, fault: Fault | None) -> None:
    reader = DataReader(10_000, 50)
    reader.feed(b"A: b\r\n\r\n" + b"x" * length + b"\r\n.\r\n")
    assert reader.fault is fault


@pytest.mark.parametrize(("length", "fault"), [(1000, None), (1001, Fault.TOO_LARGE)])
def test_a_message(length: int, fault: Fault | None) -> None:
    reader = DataReader(1000, 50)
    reader.feed(b"A: b\r\n\r\n" + b"x" * (length - 10) + b"\r\n.\r\n")
    assert (reader.size, reader.fault) == (length, fault)


def said(data: bytes) -> Reply | None:
    reader = ReplyReader()
    reader.feed(data)
    return reader.take()


def test_a_line_of_a_reply() -> None:
    """Its CRLF lies within."""
    assert said(b"250 " + b"x" * (hopreply.MAX_LINE - 6) + b"\r\n")
    with pytest.raises(HopError):
        said(b"250 " + b"x" * (hopreply.MAX_LINE - 5) + b"\r\n")


def test_lines_of_a_reply() -> None:
    assert said(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n")
    with pytest.raises(HopError):
        said(b"250-x\r\n" * MAX_LINES + b"250 x\r\n")


def test_a_response_of_a_login() -> None:
    def credentials(octets: int) -> bytes:
        return base64.b64encode(b"\0user\0" + b"p" * (octets - 6))

    longest = credentials(sasl.MAX_RESPONSE // 4 * 3)
    assert len(longest) == sasl.MAX_RESPONSE
    assert Exchange("PLAIN").give(longest)
    with pytest.raises(SaslError):
        Exchange("PLAIN").give(credentials(sasl.MAX_RESPONSE // 4 * 3 + 1))
