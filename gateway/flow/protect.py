"""One message made safe: signed, encrypted, or both. Whom for and by which key was decided before; see ``flow.outgoing``.

What is signed is read and digested first. Then, with the signature made by the key agent, what leaves is written: from the same
bytes or, where they are many, from the body read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.flow.work import in_thread
from gateway.mail.body import Bodies, Body
from gateway.mail.compose import compose, is_layer
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection, Headers
from gateway.mail.edit import EditedEntity
from gateway.mail.entity import Entity, MessageEntity, Sized
from gateway.mail.legacyelement import with_elements
from gateway.mail.message import Field, Header, head_of
from gateway.mail.sevenbit import UnencodableError, seven_bit
from gateway.smime.algorithms import ContentCipher
from gateway.smime.content import SignedContent, digested
from gateway.smime.keys import Mechanism, Signer
from gateway.smime.message import BOUNDARY_BYTES, EncryptedEntity, OpaqueEntity, SignedEntity, SignedForm, around_signed, message_of
from gateway.smime.recipients import Reader
from gateway.smime.sign import SignatureWriter


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key by its name, and its certificates (DER): its own first, then those above it that readers need.

    ``preference`` (DER): whom to encrypt an answer to, where that is said. ``mechanism`` None: the one of the key.
    """

    name: str
    certificates: tuple[bytes, ...]
    preference: bytes | None = None
    mechanism: Mechanism | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A message as it came in ``body``, taken apart: ``entity`` is what is protected, ``outer`` the fields that stay outside.

    ``utf8``: header fields of ``entity`` may have UTF-8.
    """

    body: Body
    outer: bytes
    entity: Sized
    utf8: bool


async def source_of(
    body: Body, header: Header, wanted: HeaderProtection, random: Callable[[int], bytes], *, encrypted: bool, utf8: bool = False
) -> Source:
    """The message in ``body``, whose header was read, with its fields protected as ``wanted``. ``utf8``: it came with SMTPUTF8.

    Raises :class:`gateway.outcome.GatewayError` (LIMIT) for a header that is too long for that.
    """
    header = header.before_text  # what may be text is shown to nobody outside, and none of it is lost
    composed = compose(header, wanted.policy, encrypted=encrypted, boundary=random(BOUNDARY_BYTES))
    split = composed.split
    entity: Sized = MessageEntity(split.inner, body, header.size, split.behind)
    if wanted.legacy_display and composed.hidden:
        entity = await in_thread(body, partial(_with_elements, entity, composed.hidden))
    # RFC 8551 3.1.3 wants 7-bit for the sake of relays, which re-encode content and no header fields: a field that leaves with
    # bytes outside ASCII is copied with them. Encoded words (RFC 2047) inside alone would be another field than the one outside.
    utf8 = utf8 or (wanted.policy is not Headers.OFF and not split.outer.isascii())
    return Source(body, split.outer, entity, utf8)


def _with_elements(entity: Sized, hidden: Sequence[Field]) -> Sized:
    return EditedEntity(entity, with_elements(entity.chunks(), hidden))


async def protect_message(
    body: Body,
    bodies: Bodies,
    *,
    signing: tuple[Signer, SigningKey] | None,
    readers: Sequence[Reader],
    at: int,
    random: Callable[[int], bytes],
    cipher: ContentCipher = ContentCipher.AES256_CBC,
    headers: HeaderProtection = NOT_PROTECTED,
    form: SignedForm = SignedForm.CLEAR,
) -> Body:
    """``body`` signed (``signing`` None: not signed) and encrypted to ``readers`` (none: not encrypted), as a new body.

    Its header fields are protected as ``headers`` says, unless the content is a layer already. ``at`` is the signing time in
    microseconds UTC. Raises :class:`gateway.outcome.GatewayError`: MALFORMED and LIMIT for what cannot be protected,
    KEY_UNAVAILABLE, WEAK_ALGORITHM, OWN_WORK_WRONG, and ValueError where neither was asked for.
    """
    if signing is None and not readers:
        raise ValueError("protect with what?")
    header = head_of(body).before_text
    wanted = NOT_PROTECTED if is_layer(header) else headers
    source = await source_of(body, header, wanted, random, encrypted=bool(readers))
    entity: Sized = source.entity
    if signing is not None:
        entity = await sign(source, *signing, at, random, in_clear=not readers, form=form)
    if readers:
        return await encrypt(source, entity, readers, bodies, random, cipher)
    return await write(source, entity, bodies)


async def sign(
    source: Source,
    signer: Signer,
    key: SigningKey,
    at: int,
    random: Callable[[int], bytes],
    *,
    in_clear: bool,
    form: SignedForm = SignedForm.CLEAR,
) -> Sized:
    """The entity of ``source`` signed by ``key``; clear-signed it is made 7-bit first (RFC 8551 3.1.3) where it is to leave
    ``in_clear``.
    """
    opaque = form is SignedForm.OPAQUE
    writer = SignatureWriter(key.certificates, at, key.mechanism, key.preference)
    content = await in_thread(source.body, partial(_digested, source, writer, in_clear and not opaque))
    need = writer.wants
    while need is not None:
        writer.give(await signer.sign(key.name, need.to_be_signed, need.mechanism))
        need = writer.wants
    if opaque:
        return OpaqueEntity(content, *writer.enclose())
    label = content.eight_bit and not in_clear
    around = around_signed(writer.finalize(), writer.digest, random(BOUNDARY_BYTES), eight_bit=label)
    return SignedEntity(content, *around)


def _digested(source: Source, writer: SignatureWriter, relayed: bool) -> SignedContent:
    """The first pass. ``relayed``: nothing keeps relays from changing what is signed."""
    return digested(_seven_bit(source) if relayed else source.entity, writer)


def _seven_bit(source: Source) -> Entity:
    """The entity made 7-bit. What it cannot do it says of a line of the message, where there is one."""
    entity = source.entity
    try:
        return seven_bit(entity, source.utf8)
    except UnencodableError as error:
        if not isinstance(entity, MessageEntity):  # one that was edited, which is done for encryption alone
            raise
        content = error.line - entity.inner.count(b"\n") - 1
        if content < 1:
            raise UnencodableError(error.line, error.fault, "the header of what is signed") from error
        raise UnencodableError(_lines_of_header(entity) + content, error.fault, "the message") from error


def _lines_of_header(entity: MessageEntity) -> int:
    """How many lines stand in the message before the content of ``entity``."""
    left, lines = entity.offset, 0
    for chunk in entity.body.chunks():
        lines += chunk[:left].count(b"\n")
        left -= len(chunk)
        if left <= 0:
            break
    return lines


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
    return await in_thread(source.body, partial(_write, message_of(source.outer, entity), bodies))


def _write(pieces: Iterator[bytes], bodies: Bodies) -> Body:
    writer = bodies.create()
    try:
        for piece in pieces:
            writer.write(piece)
        return writer.close()
    except BaseException:
        writer.discard()
        raise
