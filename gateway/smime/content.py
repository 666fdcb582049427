"""What a signature is over. It is read to be digested, and once more to be written: what is written is what was digested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.mail.entity import Entity, gathered
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Digest
from gateway.smime.sign import SignatureWriter

KEPT: Final = 1024 * 1024  # bytes of content that stay in memory, from the digest until all copies of the mail are written


@dataclass(frozen=True, slots=True)
class SignedContent:
    """``size`` bytes whose ``digest`` is ``message_digest``; ``eight_bit``: some are not ASCII. ``kept`` are these very bytes;
    None where they are more than ``KEPT``, and are read from ``entity`` once more.
    """

    entity: Entity
    size: int
    eight_bit: bool
    digest: Digest
    message_digest: bytes
    kept: tuple[bytes, ...] | None

    def chunks(self) -> Iterator[bytes]:
        """The bytes that were digested. Raises :class:`GatewayError` (OWN_WORK_WRONG) at their end where ``entity`` has others by
        now.
        """
        return self._again() if self.kept is None else iter(self.kept)

    def _again(self) -> Iterator[bytes]:
        digest = hashlib.new(self.digest)
        for chunk in self.entity.chunks():
            digest.update(chunk)
            yield chunk
        if digest.digest() != self.message_digest:
            raise GatewayError(Reason.OWN_WORK_WRONG, "what leaves is not what was signed")


def digested(entity: Entity, writer: SignatureWriter) -> SignedContent:
    """The first reading of ``entity``, all of which ``writer`` gets."""
    kept: list[bytes] = []
    size, eight_bit = 0, False
    for chunk in gathered(entity.chunks()):
        writer.update(chunk)
        size += len(chunk)
        eight_bit = eight_bit or not chunk.isascii()
        if size <= KEPT:
            kept.append(chunk)
        else:
            kept.clear()
    return SignedContent(entity, size, eight_bit, writer.digest, writer.message_digest, tuple(kept) if size <= KEPT else None)
