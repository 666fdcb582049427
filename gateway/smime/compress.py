"""Takes the compression off CompressedData (RFC 3274): zlib, bounded in what may come out of how little."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from gateway.outcome import Reason
from gateway.smime.ber import CmsError, malformed
from gateway.smime.cms import Algorithm
from gateway.smime.known import dotted
from gateway.smime.limits import MAX_INFLATED, MAX_RATIO, MAX_SMALL

ZLIB: Final = "1.2.840.113549.1.9.16.3.8"
_PIECE: Final = 64 * 1024


def inflater(algorithm: Algorithm) -> Inflater:
    """What takes the compression ``algorithm`` off. Raises :class:`CmsError` (UNSUPPORTED)."""
    if dotted(algorithm.oid) != ZLIB:
        raise CmsError(Reason.UNSUPPORTED, f"compression {dotted(algorithm.oid)}")
    return Inflater()


class Inflater:
    """One zlib stream (RFC 1950), in pieces."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()
        self._taken = self._given = 0

    def update(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` holds, in pieces of 64 KiB at most.

        Raises :class:`CmsError`: MALFORMED for what is no such stream, LIMIT for more than a mail may grow to.
        """
        self._taken += len(data)
        while data:
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise malformed("compressed content that does not decompress") from error
            if self._stream.unused_data:
                raise malformed("bytes behind the compressed content")
            self._given += len(piece)
            if self._given > min(MAX_INFLATED, MAX_SMALL + MAX_RATIO * self._taken):
                raise CmsError(Reason.LIMIT, "compressed content that grows too much")
            if piece:
                yield piece
            data = self._stream.unconsumed_tail
            if not piece and not data:
                break

    def finalize(self) -> None:
        """Raises :class:`CmsError` (MALFORMED) where the stream has not come to its end and its checksum."""
        if not self._stream.eof:
            raise malformed("compressed content that ends too early")
