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
_BLOCK: Final = 8 * 1024  # bytes that go in between one look at the bounds and the next; 8 MiB may come out of them


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
        start = 0
        while start < len(data):
            # Always at the same bytes of the stream, so that it ends in the same way however it arrives.
            end = start + _BLOCK - self._taken % _BLOCK
            block = data[start:end]
            yield from self._inflate(block)
            self._taken += len(block)
            start = end
            if self._taken % _BLOCK == 0:
                self._check()

    def _inflate(self, block: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._stream.decompress(block, _PIECE)
            except zlib.error as error:
                raise malformed("compressed content that does not decompress") from error
            if self._stream.unused_data:
                raise malformed("bytes behind the compressed content")
            if not piece:
                return
            self._given += len(piece)
            yield piece
            block = self._stream.unconsumed_tail

    def _check(self) -> None:
        if self._given > min(MAX_INFLATED, MAX_SMALL + MAX_RATIO * self._taken):
            raise CmsError(Reason.LIMIT, "compressed content that grows too much")

    def finalize(self) -> None:
        """Raises :class:`CmsError`: MALFORMED where the stream has not come to its end and its checksum, LIMIT as above."""
        self._check()
        if not self._stream.eof:
            raise malformed("compressed content that ends too early")
