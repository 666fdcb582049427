"""One reading of one CMS structure in a message: what is inside it goes into a body, or is looked at and let go."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.body import Body, BodyWriter
from gateway.mail.clean import LineCheck
from gateway.mail.form import decoded, is_signature
from gateway.mail.message import head_of
from gateway.mail.mime import MimeError, parse_content_type
from gateway.mail.slice import Slice
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import SignedData
from gateway.smime.limits import MAX_SIGNATURE_PART
from gateway.smime.reader import CmsReader


class Pass:
    """One reading of one CMS structure, which may stop for a key and go on."""

    def __init__(self, reader: CmsReader, chunks: Iterator[bytes], writer: BodyWriter, room: int) -> None:
        self.reader = reader
        self.lines = LineCheck()
        self._chunks = chunks
        self._writer = writer
        self._room = room

    def run(self) -> bool:
        """Reads until a key is wanted (True) or the structure has ended (False)."""
        self._write(self.reader.update(b""))
        for chunk in self._chunks:
            self._write(self.reader.update(chunk))
            if self.reader.wants is not None:
                return True
        return False

    def finalize(self) -> Body:
        """The content, once the structure is read whole and proven as far as its kind allows."""
        self.reader.finalize()
        return self._writer.close()

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._room -= len(data)
        if self._room < 0:
            raise GatewayError(Reason.LIMIT, "layers that hold more than a mail may grow to")
        self.lines.update(data)
        self._writer.write(data)


def detached_signature(part: Slice) -> SignedData:
    """The SignedData in the second part of a multipart/signed."""
    if part.size > MAX_SIGNATURE_PART:
        raise MimeError(Reason.LIMIT, "a signature part too long")
    header = head_of(part)
    kind = header.first("Content-Type")
    if kind is None or not is_signature(parse_content_type(kind.value), header):
        raise MimeError(Reason.MALFORMED, "a signature part of another type")
    reader = CmsReader({})
    for chunk in decoded(part.behind(header.size), header):
        reader.update(chunk)
    layer = reader.finalize()
    if not isinstance(layer, SignedData):
        raise MimeError(Reason.MALFORMED, "a signature part that is no signature")
    return layer
