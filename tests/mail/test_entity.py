from __future__ import annotations

import pytest

from gateway.mail.entity import MessageEntity, split_header
from gateway.mail.message import read_header
from tests.doubles import MemoryBody

MESSAGE = (
    b"Received: from mail.hospital.example\r\n by gateway.hospital.example\r\n"
    b"From: cardiology@hospital.example\r\n"
    b"Bcc: archive@hospital.example\r\n"
    b"bcc : archive@hospital.example\r\n"
    b"Mime-Version: 1.0\r\n"
    b"Content-Type: text/plain;\r\n charset=utf-8\r\n"
    b"content-transfer-encoding : 8bit\r\n"
    b"To: results@laboratory.example\r\n"
    b"no field at all\r\n"
    b"Resent-Bcc: archive@hospital.example\r\n"
    b"\r\n"
    b"Bonjour,\r\n"
)


def test_content_fields_go_in_and_the_rest_stays_out_byte_for_byte() -> None:
    """Bcc, MIME-Version and lines that are no field are in neither part."""
    split = split_header(read_header(MESSAGE))
    assert split.inner == b"Content-Type: text/plain;\r\n charset=utf-8\r\ncontent-transfer-encoding : 8bit\r\n"
    assert split.outer == (
        b"Received: from mail.hospital.example\r\n by gateway.hospital.example\r\n"
        b"From: cardiology@hospital.example\r\nTo: results@laboratory.example\r\n"
    )


@pytest.mark.parametrize("piece", [1, 2, 7, 100, 65536])
def test_entity_is_inner_fields_an_empty_line_and_the_body(piece: int) -> None:
    header = read_header(MESSAGE)
    entity = MessageEntity(split_header(header).inner, MemoryBody(MESSAGE, piece), header.size)
    whole = b"".join(entity.chunks())
    assert whole.endswith(b"8bit\r\n\r\nBonjour,\r\n")
    assert len(whole) == entity.size


@pytest.mark.parametrize("message", [b"Subject: x\r\n", b"Subject: x\r\n\r\n"])
def test_entity_of_a_message_without_content(message: bytes) -> None:
    header = read_header(message)
    entity = MessageEntity(b"", MemoryBody(message), header.size)
    assert b"".join(entity.chunks()) == b"\r\n"
    assert entity.size == 2


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_what_follows_the_content_is_its_end(piece: int) -> None:
    header = read_header(MESSAGE)
    inner = split_header(header).inner
    for data in (MESSAGE, MESSAGE[: header.size]):
        entity = MessageEntity(inner, MemoryBody(data, piece), header.size, b"\r\n--end--\r\n")
        assert b"".join(entity.chunks()) == inner + b"\r\n" + data[header.size :] + b"\r\n--end--\r\n"
        assert entity.size == len(b"".join(entity.chunks()))
