"""Targets: the header, MIME, addresses, OpenPGP."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from fuzz import seeds
from fuzz.target import Target, failed, must, outcome, pieces, same
from gateway.flow.already import already_protected
from gateway.mail.address import AddressError, parse_address
from gateway.mail.compose import Composed, compose
from gateway.mail.confidentiality import Headers
from gateway.mail.entity import split_header
from gateway.mail.form import form_of, signed_parts
from gateway.mail.message import from_address, head_of, read_header
from gateway.mail.mime import Base64Bytes, Base64Lines, parse_content_type, parse_transfer_encoding
from gateway.mail.openpgp import encrypted_to
from gateway.mail.packets import key_count
from gateway.mail.sevenbit import seven_bit
from gateway.mail.verdict import without_marks
from gateway.mail.walk import walk
from tests.doubles import MemoryBody


class _Whole:
    """Bytes as an entity that comes in pieces."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def chunks(self) -> Iterable[bytes]:
        return pieces(self._data, self._size)


def _header(data: bytes) -> None:
    """Every byte of a header is in one field, and each field can be looked at."""
    header = same(lambda given, size: head_of(MemoryBody(given, size)), data)
    if failed(header):
        return
    found = read_header(data)
    must(data.startswith(b"".join(field.raw for field in found.fields)), "a header printed anew")
    for field in found.fields:
        field.value, field.text  # noqa: B018 - that they can be read is the point
    kept = list(without_marks(found.fields, "gateway.example"))
    must(list(without_marks(kept, "gateway.example")) == kept, "marks that are left")
    split_header(found)
    for headers in Headers:
        made = outcome(lambda headers=headers: compose(found, headers, encrypted=True, boundary=bytes(16)))  # type: ignore[misc]
        if isinstance(made, Composed) and headers.hides:
            must(not read_header(made.split.inner + b"\r\n").all("Bcc"), "a Bcc inside")
            outside = read_header(made.split.outer + b"\r\n")
            must({field.value for field in outside.all("Subject")} <= {b"[...]"}, "a subject outside")
    outcome(lambda: from_address(found))


def _content_type(data: bytes) -> None:
    found = outcome(lambda: parse_content_type(data))
    if not failed(found):
        outcome(lambda: parse_content_type(data).boundary)
    outcome(lambda: parse_transfer_encoding(data))


def _walk(data: bytes) -> None:
    """Every byte is in one piece."""
    found = same(_walked, data)
    if isinstance(found, list):
        must(b"".join(raw for _, raw in found) == data, "bytes that are in no piece")


def _walked(data: bytes, size: int) -> object:
    named = ((type(piece).__name__, piece) for piece in walk(pieces(data, size)))
    joined = groupby(named, lambda each: (each[0], each[1] if each[0] == "Head" else None))
    return [
        (name, b"".join(getattr(each, "raw", b"") or getattr(each, "data", b"") for _, each in group))
        for (name, _), group in joined
    ]


def _form(data: bytes) -> None:
    """Where the parts of a multipart/signed lie."""
    same(lambda given, size: form_of(head_of(MemoryBody(given, size))), data)
    header = outcome(lambda: head_of(MemoryBody(data)))
    if not failed(header) and not failed(outcome(lambda: form_of(read_header(data)))) and read_header(data).first("Content-Type"):
        same(lambda given, size: signed_parts(MemoryBody(given, size), read_header(given)), data)


def _seven_bit(data: bytes) -> None:
    """What was made 7-bit is 7-bit."""
    found = same(lambda given, size: b"".join(seven_bit(MemoryBody(given, size), False).chunks()), data)
    must(not isinstance(found, bytes) or found.isascii(), "8-bit bytes")


def _base64(data: bytes) -> None:
    """What decodes is what its own encoding decodes to."""
    found = same(_decoded, data)
    if isinstance(found, bytes):
        lines = Base64Lines()
        must(_decoded(lines.update(found) + lines.finalize(), 7) == found, "base64 that differs")


def _decoded(data: bytes, size: int) -> bytes:
    decoder = Base64Bytes()
    out = b"".join(decoder.update(piece) for piece in pieces(data, size))
    decoder.finalize()
    return out


def _address(data: bytes) -> None:
    """What is an address is one when it is written."""
    try:
        found = parse_address(data.decode("utf-8", "surrogateescape"))
    except AddressError:
        return
    must(parse_address(str(found)) == found, "an address that reads otherwise")


def _openpgp(data: bytes) -> None:
    same(lambda given, size: encrypted_to(pieces(given, size)), data)
    same(lambda given, size: key_count(pieces(given, size)), data)


def _already(data: bytes) -> None:
    """Never an error: what cannot be read is in clear."""
    if not failed(outcome(lambda: read_header(data))):
        same(lambda given, size: already_protected(read_header(given), MemoryBody(given, size)), data)


def _values() -> list[bytes]:
    found = [
        line.partition(b":")[2].strip() for mail in seeds.mails() for line in mail.splitlines() if line.startswith(b"Content-")
    ]
    return [*dict.fromkeys(found), b'text/plain; (a (b\\)) c) x="\\"q"; y=z;', b"quoted-printable (comment)"]


def _addresses() -> list[bytes]:
    plain = [b"results@laboratory.example", b'"a b"@x.example', "é@münchen.example".encode(), b"x@[192.0.2.1]"]
    return [*plain, b"x@xn--mnchen-3ya.example"]


def _entities() -> list[bytes]:
    parts = b"--b\r\n\r\nx\r\n--b \r\n\r\ny\r\n--b--\r\n"
    signed = b'Content-Type: multipart/signed; boundary=b; protocol="application/pkcs7-signature"\r\n\r\n' + parts
    nested = seeds.ENTITY.replace(b"A result.", b"Content-Type: message/rfc822\r\n\r\n" + seeds.ENTITY.replace(b"in", b"is"))
    return [*seeds.mails(), *seeds.pgp()[:2], seeds.ENTITY, nested, signed, "Content-Type: text/plain\r\n\r\né\r\n".encode()]


def _encoded() -> list[bytes]:
    return [b"YWJj\r\nZGU=\r\n", b"YQ==", b"YWJjZGVm" * 20]


TARGETS = (
    Target("header", _header, seeds.mails),
    Target("content-type", _content_type, _values),
    Target("walk", _walk, _entities),
    Target("form", _form, _entities),
    Target("seven-bit", _seven_bit, _entities),
    Target("base64", _base64, _encoded),
    Target("address", _address, _addresses),
    Target("openpgp", _openpgp, seeds.pgp),
    Target("already", _already, _entities),
)
