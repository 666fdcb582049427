"""Every limit of reading MIME and addresses at its edge: as much as it says is read, one more is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from gateway.mail import address, message, mime, openpgp, packets, walk
from gateway.mail.address import AddressError, parse_address
from gateway.mail.message import from_address, head_of, read_header
from gateway.mail.mime import parse_content_type
from gateway.mail.openpgp import encrypted_to
from gateway.outcome import GatewayError
from tests.doubles import MemoryBody
from tests.mail.pgp import armored, encrypted, entity, packet, sealed, session_key


def local(count: int) -> None:
    parse_address("a" * count + "@b.example")


def whole_address(count: int) -> None:
    """The longest local part, and labels of at most 63 letters."""
    domain = ".".join(["a" * 60] * 3)
    parse_address("a" * address.MAX_LOCAL + "@" + domain + "." + "a" * (count - address.MAX_LOCAL - 2 - len(domain)))


def header(size: int) -> None:
    data = b"A: " + b"b" * (size - 7) + b"\r\n\r\n"
    read_header(data)
    head_of(MemoryBody(data + b"x" * 100))


def fields(count: int) -> None:
    read_header(b"A: b\r\n" * count + b"\r\n")


def author(size: int) -> None:
    from_address(read_header(b"From: " + b"a" * (size - 14) + b" <a@b.example>\r\n\r\n"))


def content_type(size: int) -> None:
    parse_content_type(b"a/b" + b" " * (size - 3))


def parameters(count: int) -> None:
    parse_content_type(b"a/b" + b"".join(b"; p%d=v" % each for each in range(count)))


def parameters_with_a_comment(count: int) -> None:
    parse_content_type(b"a/b ()" + b"".join(b"; p%d=v" % each for each in range(count)))


def boundary(size: int) -> None:
    assert parse_content_type(b"multipart/mixed; boundary=" + b"b" * size).boundary


def depth(count: int) -> None:
    """Multiparts inside multiparts."""
    walked(b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (each, each) for each in range(count)))


def messages(count: int) -> None:
    """Messages inside messages; what the last holds is one more part."""
    walked(b"Content-Type: message/rfc822\r\n\r\n" * count + b"\r\nx")


def parts(count: int) -> None:
    """The whole is one."""
    walked(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * (count - 1) + b"--b--\r\n")


def part_header(size: int) -> None:
    walked(b"A: " + b"b" * (size - 7) + b"\r\n\r\n")


def headers(size: int) -> None:
    """Of all parts together."""
    first = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    each = b"A: " + b"b" * (walk.MAX_PART_HEADER - 7) + b"\r\n\r\n"
    whole, rest = divmod(size - len(first), len(each))
    last = b"A: " + b"b" * (rest - 7) + b"\r\n\r\n"
    walked(first + b"".join(b"--b\r\n" + one + b"\r\n" for one in [each] * whole + [last]) + b"--b--\r\n")


def all_fields(count: int) -> None:
    first = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    whole, rest = divmod(count - 1, message.MAX_FIELDS)
    each = [b"A:\r\n" * number + b"\r\n" for number in [message.MAX_FIELDS] * whole + [rest]]
    walked(first + b"".join(b"--b\r\n" + one + b"\r\n" for one in each) + b"--b--\r\n")


def walked(data: bytes) -> None:
    for _ in walk.walk(in_pieces(data)):
        pass


def in_pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + 65536] for start in range(0, len(data), 65536))


def preamble(size: int) -> None:
    encrypted_to([entity(armored(encrypted()), preamble=b"t" * size)])


def armor_header(size: int) -> None:
    """In two lines, without their ends."""
    first = b"Comment: " + b"c" * 491
    assert len(first) == 500
    encrypted_to([entity(armored(encrypted(), fields=first + b"\r\nComment: " + b"c" * (size - 509) + b"\r\n"))])


def armor_line(size: int) -> None:
    """With its end."""
    encrypted_to([entity(armored(encrypted(), fields=b"Comment: " + b"c" * (size - 11) + b"\r\n"))])


def one_session_key(size: int) -> None:
    key = session_key()
    encrypted_to([entity(armored(packet(1, key + bytes(size - len(key))) + packet(18, sealed())))])


def session_keys(count: int) -> None:
    encrypted_to([entity(armored(packet(1, session_key()) * count + packet(18, sealed())))])


EDGES: list[tuple[ModuleType, str, Callable[[int], None]]] = [
    (address, "MAX_LOCAL", local),
    (address, "MAX_ADDRESS", whole_address),
    (message, "MAX_HEADER", header),
    (message, "MAX_FIELDS", fields),
    (message, "MAX_FROM", author),
    (mime, "MAX_VALUE", content_type),
    (mime, "MAX_PARAMETERS", parameters),
    (mime, "MAX_PARAMETERS", parameters_with_a_comment),
    (mime, "MAX_BOUNDARY", boundary),
    (walk, "MAX_DEPTH", depth),
    (walk, "MAX_DEPTH", messages),
    (walk, "MAX_PARTS", parts),
    (walk, "MAX_PART_HEADER", part_header),
    (walk, "MAX_HEADERS", headers),
    (walk, "MAX_ALL_FIELDS", all_fields),
    (openpgp, "MAX_PREAMBLE", preamble),
    (openpgp, "MAX_ARMOR_HEADER", armor_header),
    (packets, "MAX_ARMOR_LINE", armor_line),
    (packets, "MAX_SESSION_KEY", one_session_key),
    (packets, "MAX_SESSION_KEYS", session_keys),
]


@pytest.mark.parametrize(("module", "name", "read_so_much"), EDGES, ids=lambda value: getattr(value, "__name__", value))
def test_as_much_as_the_limit_is_read_and_one_more_is_not(
    module: ModuleType, name: str, read_so_much: Callable[[int], None]
) -> None:
    most: int = getattr(module, name)
    read_so_much(most)
    with pytest.raises((GatewayError, AddressError)):
        read_so_much(most + 1)


def test_every_limit_has_its_edge() -> None:
    tested = {(module, name) for module, name, _ in EDGES}
    modules = (address, message, mime, openpgp, packets, walk)
    assert tested == {(module, name) for module in modules for name in vars(module) if name.startswith("MAX_")}
