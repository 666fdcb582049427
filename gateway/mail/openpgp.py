"""OpenPGP as far as it shows without a key: to how many keys a PGP/MIME message (RFC 3156 4) is encrypted.

Strict, because what is believed here leaves as it is: exactly two parts, nothing but white space behind them, encrypted packets
to the last byte. Armor inside a text is not looked for: the text around it would leave in clear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from gateway.mail.form import without_encoding
from gateway.mail.mime import Base64Bytes, MimeError
from gateway.mail.packets import ByteStream, key_count, malformed
from gateway.mail.walk import IDENTITY, Aside, Content, Delimiter, Head, Piece, walk
from gateway.outcome import Reason

TYPE: Final = "multipart/encrypted"
MAX_PREAMBLE: Final = 200  # room for the one sentence that programs write there for readers without MIME
MAX_ARMOR_HEADER: Final = 1000

_PROTOCOL: Final = "application/pgp-encrypted"
_VERSION: Final = b"Version: 1"
_BEGIN: Final = b"-----BEGIN PGP MESSAGE-----"
_END: Final = b"-----END PGP MESSAGE-----"
_BEHIND_DATA: Final = re.compile(rb"^[=-]", re.MULTILINE)
_CHECKSUM: Final = re.compile(rb"=[A-Za-z0-9+/]{4}")
_ARMOR_FIELD: Final = re.compile(rb"[A-Za-z]+: .*")


def encrypted_to(chunks: Iterable[bytes]) -> int:
    """To how many public keys the entity in ``chunks``, its header first, is encrypted; passwords count for nobody.

    Raises :class:`gateway.outcome.GatewayError` (MALFORMED, LIMIT) for whatever is not PGP/MIME encryption whole and alone.
    """
    pieces = walk(chunks)
    outer = _head(pieces, TYPE)
    if outer.type.params.get("protocol", "").lower() != _PROTOCOL:
        raise malformed("multipart/encrypted of another protocol")
    _short(_content(pieces), MAX_PREAMBLE)
    version = _head(pieces, _PROTOCOL)
    if version.encoding not in IDENTITY or _short(_content(pieces), MAX_PREAMBLE).strip() != _VERSION:
        raise malformed("PGP/MIME of another version")
    encrypted = _head(pieces, "application/octet-stream")
    count = key_count(_binary(without_encoding(_content(pieces), encrypted.encoding)))
    for piece in pieces:  # a third part, or an epilogue: the one is shown, the other travels in clear
        if not isinstance(piece, Aside) or piece.data.strip():
            raise malformed("more than encrypted content")
    return count


def _head(pieces: Iterator[Piece], wanted: str) -> Head:
    piece = next(pieces, None)
    if not isinstance(piece, Head) or piece.type.type != wanted:
        raise malformed(f"no {wanted} where it should be")
    return piece


def _content(pieces: Iterator[Piece]) -> Iterator[bytes]:
    """What stands before the next delimiter line, which is taken too."""
    for piece in pieces:
        if isinstance(piece, Delimiter):
            return
        if not isinstance(piece, Content):
            break
        yield piece.data
    raise malformed("a multipart without its end")


def _short(chunks: Iterator[bytes], limit: int) -> bytes:
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise MimeError(Reason.LIMIT, f"more than {limit} bytes in clear")
    return data


def _binary(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Packets from ``chunks``, which may be armored: every packet begins with the bit that no text has (RFC 9580 4.2)."""
    first = next((chunk for chunk in chunks if chunk), b"")
    together = chain((first,), chunks)
    return together if first[:1] >= b"\x80" else _dearmored(ByteStream(together))


def _dearmored(lines: ByteStream) -> Iterator[bytes]:
    """What is inside one ASCII armor with nothing around it (RFC 9580 6.2). Its checksum proves nothing, and is not computed."""
    while not (line := lines.line().strip()):
        pass
    if line != _BEGIN:
        raise malformed("neither packets nor armor")
    size = 0
    while line := lines.line().strip():
        size += len(line)
        if size > MAX_ARMOR_HEADER or not _ARMOR_FIELD.fullmatch(line):
            raise malformed("the header of an armor")
    decoder = Base64Bytes()
    behind = None
    while behind is None:
        block = lines.lines()
        behind = _BEHIND_DATA.search(block)
        yield decoder.update(block[: behind.start() if behind else None])
    decoder.finalize()
    lines.unread(block[behind.start() :])
    line = lines.line().strip()
    if _CHECKSUM.fullmatch(line):
        line = lines.line().strip()
    if line != _END:
        raise malformed("an armor without its end")
    while not lines.ended():
        if lines.line().strip():
            raise malformed("text behind an armor")
