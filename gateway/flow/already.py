"""What the sender's own program did to a message. Believed only after parsing: what a header says of itself is worth nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.mail.body import Body
from gateway.mail.entity import MessageEntity, split_header
from gateway.mail.form import OPAQUE, SIGNATURE, decoded, without_encoding
from gateway.mail.message import Header
from gateway.mail.mime import parse_content_type
from gateway.mail.openpgp import TYPE, encrypted_to
from gateway.mail.slice import Slice
from gateway.mail.walk import Content, Head, walk
from gateway.outcome import GatewayError
from gateway.smime.cms import CertificateId, Enveloped, OtherReader, SignedData
from gateway.smime.limits import MAX_SIGNATURE_PART
from gateway.smime.reader import CmsReader

MIN_WRAPPED: Final = 16  # bytes: no shorter text holds a wrapped key


@dataclass(frozen=True, slots=True)
class Clear:
    """Nothing that is believed."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature around all of it. Whose, and whether it verifies, is not asked."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Encryption of all of it, for ``readers``, and for ``unnamed`` more, of whom nothing can be compared with a certificate.

    Who is a reader is all that shows without a key: that the content is really encrypted cannot be seen.
    """

    readers: frozenset[CertificateId]
    unnamed: int = 0


Already = Clear | Signed | Encrypted


def already_protected(header: Header, body: Body) -> Already:
    """What ``body`` is, whole: S/MIME or PGP/MIME that parses to its last byte and has at least one reader, or one signer.
    Everything else is :class:`Clear`.
    """
    try:
        types = header.all("Content-Type")
        if len(types) != 1:
            return Clear()
        kind = parse_content_type(types[0].value).type
        if kind not in OPAQUE and kind not in (TYPE, "multipart/signed"):
            return Clear()
        if any(not field.name for field in header.fields):
            return Clear()  # some programs take a line that is no field for the end of the header, and what follows for text
        entity = MessageEntity(split_header(header).inner, body, header.size)
        if kind in OPAQUE:
            return _structure(decoded(Slice(body, header.size, body.size), header))
        if kind == TYPE:
            count = encrypted_to(entity.chunks())
            return Encrypted(frozenset(), count) if count else Clear()
        return _detached(entity)
    except GatewayError:
        return Clear()


def _structure(chunks: Iterator[bytes]) -> Already:
    """What one whole CMS structure is."""
    reader = CmsReader(None)
    for chunk in chunks:
        reader.update(chunk)
    layer = reader.finalize()
    if isinstance(layer, Enveloped):
        readers = (each for each in layer.recipients if not isinstance(each, OtherReader))
        named = frozenset(each.reader for each in readers if len(each.wrapped) >= MIN_WRAPPED)
        return Encrypted(named) if named else Clear()
    return Signed() if isinstance(layer, SignedData) and layer.signers else Clear()


def _detached(entity: MessageEntity) -> Already:
    """A multipart/signed whose last part is SignedData."""
    head: Head | None = None
    pieces: list[bytes] = []
    size = 0
    for piece in walk(entity.chunks()):
        if isinstance(piece, Head):
            head, pieces, size = piece, [], 0
        elif isinstance(piece, Content) and head is not None and head.type.type in SIGNATURE:
            pieces.append(piece.data)
            size += len(piece.data)
            if size > MAX_SIGNATURE_PART:
                return Clear()
    if head is None or head.type.type not in SIGNATURE:
        return Clear()
    found = _structure(without_encoding(iter(pieces), head.encoding))
    return found if isinstance(found, Signed) else Clear()
