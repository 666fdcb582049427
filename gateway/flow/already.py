"""Whether a message is protected already. Believed only after parsing: what a header says of itself is worth nothing."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from gateway.mail.body import Body
from gateway.mail.entity import MessageEntity, split_header
from gateway.mail.message import Header
from gateway.mail.mime import Base64Bytes, parse_content_type, parse_transfer_encoding
from gateway.mail.walk import IDENTITY, Content, Head, walk
from gateway.outcome import GatewayError
from gateway.smime import der
from gateway.smime.cms import Enveloped, OtherReader, SignedData
from gateway.smime.limits import MAX_SIGNATURE_PART
from gateway.smime.reader import CmsReader


class Already(Enum):
    """What the sender's own program did."""

    NOTHING = auto()
    SIGNED = auto()
    ENCRYPTED = auto()


_OPAQUE = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_DETACHED = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature"})


def already_protected(header: Header, body: Body) -> Already:
    """What ``body`` is, whole. Only S/MIME that parses counts: for encryption the head with its readers and base64 to the end, for
    a signature all of SignedData with at least one signer. Everything else is NOTHING.
    """
    try:
        types = header.all("Content-Type")
        if len(types) != 1:
            return Already.NOTHING
        kind = parse_content_type(types[0].value).type
        entity = MessageEntity(split_header(header).inner, body, header.size)
        if kind in _OPAQUE:
            encodings = header.all("Content-Transfer-Encoding")
            if len(encodings) > 1:
                return Already.NOTHING
            encoding = parse_transfer_encoding(encodings[0].value if encodings else None)
            return _structure(_decoded(_behind(entity), encoding))
        if kind == "multipart/signed":
            return _detached(entity)
    except GatewayError:
        return Already.NOTHING
    return Already.NOTHING


def _behind(entity: MessageEntity) -> Iterator[bytes]:
    """The content of ``entity`` without its header."""
    chunks = MessageEntity(b"", entity.body, entity.offset).chunks()
    first = next(chunks, b"")
    yield first[2:]
    yield from chunks


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in IDENTITY:
        yield from chunks
    elif encoding == "base64":
        decoder = Base64Bytes()
        for chunk in chunks:
            yield decoder.update(chunk)
        decoder.finalize()


def _structure(chunks: Iterator[bytes]) -> Already:
    """What one whole CMS structure is. Reads to the end, so that a fault anywhere in its base64 shows."""
    reader = CmsReader({})
    size, first = 0, b""
    reading = True
    for chunk in chunks:
        size += len(chunk)
        first = first if len(first) > 16 else first + chunk[:32]
        if reading:
            try:
                reader.update(chunk)
            except GatewayError:
                # We have no key for it: as far as this reader goes for EnvelopedData. Anything else left no layer.
                reading = False
    if isinstance(reader.layer, Enveloped):
        named = any(not isinstance(recipient, OtherReader) for recipient in reader.layer.recipients)
        return Already.ENCRYPTED if named and _is_whole(first, size) else Already.NOTHING
    layer = reader.finalize() if reading else None
    return Already.SIGNED if isinstance(layer, SignedData) and layer.signers else Already.NOTHING


def _is_whole(first: bytes, size: int) -> bool:
    """Whether the structure that begins with ``first`` is ``size`` bytes long, or of indefinite length."""
    return first[1:2] == b"\x80" or der.read_head(first).end == size


def _detached(entity: MessageEntity) -> Already:
    """A multipart/signed whose last part is SignedData."""
    head: Head | None = None
    pieces: list[bytes] = []
    size = 0
    for piece in walk(entity.chunks()):
        if isinstance(piece, Head):
            head, pieces, size = piece, [], 0
        elif isinstance(piece, Content) and head is not None and head.type.type in _DETACHED:
            pieces.append(piece.data)
            size += len(piece.data)
            if size > MAX_SIGNATURE_PART:
                return Already.NOTHING
    if head is None or head.type.type not in _DETACHED:
        return Already.NOTHING
    return _structure(_decoded(iter(pieces), head.encoding))
