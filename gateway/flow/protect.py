"""One message made safe: signed, encrypted, or both. Whom for and by which key was decided before; see ``flow.outgoing``.

The body is read twice: first to digest what is signed, then, with the signature made by the key agent, to write what leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from gateway.mail.body import Bodies, Body
from gateway.mail.entity import Entity, MessageEntity, Split, split_header
from gateway.mail.message import Header, head_of
from gateway.mail.sevenbit import seven_bit
from gateway.smime.algorithms import ContentCipher
from gateway.smime.keys import Signer
from gateway.smime.message import BOUNDARY_BYTES, EncryptedEntity, SignedEntity, message_of
from gateway.smime.recipients import Reader
from gateway.smime.sign import SignatureWriter

INLINE: Final = 64 * 1024  # a larger body is read in a thread, so that the event loop stays free

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key by its name, and its certificates (DER): its own first, then those above it that readers need."""

    name: str
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A message as it came, its header taken apart. ``utf8``: it came with SMTPUTF8."""

    body: Body
    header: Header
    split: Split
    utf8: bool

    @property
    def entity(self) -> MessageEntity:
        """What is protected: the content, with its own fields."""
        return MessageEntity(self.split.inner, self.body, self.header.size)


class Sized(Entity, Protocol):
    """An entity of known length."""

    @property
    def size(self) -> int:
        """Length in bytes."""


def source_of(body: Body, header: Header, utf8: bool = False) -> Source:
    """The message in ``body``, whose header was read."""
    return Source(body, header, split_header(header), utf8)


async def protect_message(
    body: Body,
    bodies: Bodies,
    *,
    signing: tuple[Signer, SigningKey] | None,
    readers: Sequence[Reader],
    at: int,
    random: Callable[[int], bytes],
    cipher: ContentCipher = ContentCipher.AES256_CBC,
) -> Body:
    """``body`` signed (``signing`` None: not signed) and encrypted to ``readers`` (none: not encrypted), as a new body.

    ``at`` is the signing time in microseconds UTC. Raises :class:`gateway.outcome.GatewayError`: MALFORMED for what cannot be
    protected, KEY_UNAVAILABLE, WEAK_ALGORITHM, OWN_WORK_WRONG, and ValueError where neither was asked for.
    """
    source = source_of(body, head_of(body))
    if signing is None and not readers:
        raise ValueError("protect with what?")
    entity: Sized = source.entity
    if signing is not None:
        entity = await sign(source, *signing, at, random, in_clear=not readers)
    if readers:
        return await encrypt(source, entity, readers, bodies, random, cipher)
    return await write(source, entity, bodies)


async def sign(
    source: Source, signer: Signer, key: SigningKey, at: int, random: Callable[[int], bytes], *, in_clear: bool
) -> SignedEntity:
    """The entity of ``source`` signed by ``key``; made 7-bit first (RFC 8551 3.1.3) where it is to leave ``in_clear``."""
    writer = SignatureWriter(key.certificates, at)
    content, size, eight_bit = await in_thread(source.body, partial(_digest, source, writer, in_clear))
    need = writer.wants
    while need is not None:
        writer.give(await signer.sign(key.name, need.to_be_signed, need.mechanism))
        need = writer.wants
    boundary = random(BOUNDARY_BYTES)
    label = eight_bit and not in_clear
    return SignedEntity(content, size, writer.finalize(), writer.digest, writer.message_digest, boundary, label)


def _digest(source: Source, writer: SignatureWriter, in_clear: bool) -> tuple[Entity, int, bool]:
    """The first pass: what is signed, its length, and whether it is not 7-bit."""
    entity: Entity = seven_bit(source.entity, source.utf8) if in_clear else source.entity
    size, eight_bit = 0, False
    for chunk in entity.chunks():
        writer.update(chunk)
        size += len(chunk)
        eight_bit = eight_bit or not chunk.isascii()
    return entity, size, eight_bit


async def encrypt(
    source: Source,
    entity: Sized,
    readers: Sequence[Reader],
    bodies: Bodies,
    random: Callable[[int], bytes],
    cipher: ContentCipher = ContentCipher.AES256_CBC,
) -> Body:
    """A new body: the message with ``entity`` encrypted to ``readers`` in the place of its content."""
    return await write(source, EncryptedEntity(entity, entity.size, tuple(readers), random, cipher), bodies)


async def write(source: Source, entity: Entity, bodies: Bodies) -> Body:
    """A new body: the outer header fields of ``source`` around ``entity``. Nothing is left behind where it fails."""
    return await in_thread(source.body, partial(_write, message_of(source.split.outer, entity), bodies))


def _write(pieces: Iterator[bytes], bodies: Bodies) -> Body:
    writer = bodies.create()
    try:
        for piece in pieces:
            writer.write(piece)
        return writer.close()
    except BaseException:
        writer.discard()
        raise


async def in_thread(body: Body, work: Callable[[], _T]) -> _T:
    """``work``, which reads ``body``: at once where it is small, else in a thread."""
    return work() if body.size <= INLINE else await asyncio.to_thread(work)
