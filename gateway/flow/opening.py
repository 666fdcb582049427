"""Opens one message and says what it is: peel, judge the signers, compare with the From, write what the mailbox gets.

Needs no spool and no configuration: ``message open`` uses it as the inbound flow does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from gateway.flow.already import Encrypted, already_protected
from gateway.flow.evidence import Signed
from gateway.flow.kept import Kept
from gateway.flow.payload import Author, Payload, author_of, bare, payload_of, shown_fields, tampered
from gateway.flow.peel import CompressedLayer, EncryptedLayer, Entity, Layer, Peeled, Peeler, SignedLayer
from gateway.flow.proof import Proof
from gateway.flow.tell import encrypted_verdict, part_verdict, signed_algorithms, signer_verdict
from gateway.flow.work import in_thread
from gateway.mail.address import Address
from gateway.mail.body import Bodies, Body
from gateway.mail.form import SIGNATURE, Form, form_of, is_plainly_signed, is_structure
from gateway.mail.message import Field, Header, head_of
from gateway.mail.slice import Slice
from gateway.mail.verdict import Judged, LayerVerdict, SignerVerdict, Verdict, marked
from gateway.mail.walk import Head, walk
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import SignedData
from gateway.smime.keys import Unwrapper
from gateway.smime.known import Strength, content_of
from gateway.smime.verify import Checked, Signature
from gateway.trust.along import Along
from gateway.trust.certificate import binds, facts
from gateway.trust.judgement import Trusted

MAX_PARTS_TOLD = 20


class JudgeSigner(Protocol):
    """Says who vouches for a signer."""

    async def __call__(self, certificate: bytes, along: Along, at: int, /) -> Signed:
        """``certificate`` is DER, ``along`` what came with it; ``at`` in microseconds UTC."""


@dataclass(frozen=True, slots=True)
class Opened:
    """``body`` is the message as the mailbox gets it, marks included; as it came but for the marks where it did not open.

    ``keys`` are our keys that opened it; ``eight_bit``: some byte of ``body`` is not ASCII. ``proof`` and ``author`` are what
    verifies it and the From, None where it is not verified.
    """

    verdict: Verdict
    body: Body
    keys: tuple[str, ...]
    eight_bit: bool
    proof: Proof | None = None
    author: Address | None = None


async def open_message(
    body: Body,
    bodies: Bodies,
    *,
    unwrapper: Unwrapper,
    keys: Mapping[str, bytes],
    judge: JudgeSigner,
    at: int,
    hostname: str,
    keep_signature: bool = False,
    strength: Strength = Strength.MODERN,
) -> Opened:
    """Open the message in ``body``. ``keys`` maps our keys' names to certificates (DER), best first; ``at`` is in us UTC.

    ``strength``: how weak its algorithms may be to be read; what is weak verifies nothing, whatever it is.
    A signature that verifies the message is taken off unless ``keep_signature``; another always stays where it can.
    Raises :class:`GatewayError`: MALFORMED or LIMIT for a header that cannot be read, KEY_UNAVAILABLE, SPOOL_FULL,
    SPOOL_UNAVAILABLE. What is written to ``bodies`` on the way is discarded.
    """
    message = Entity(body, await in_thread(body, partial(head_of, body)))
    between = Kept(bodies)
    try:
        peeled = await in_thread(
            body, partial(_or_foreign, message, await Peeler(between, unwrapper, keys, at, strength).peel(message))
        )
        payload = await in_thread(body, partial(payload_of, message, peeled))
        author = author_of(message.header, payload.protected)
        verdict, proof = await _judge(message, peeled, payload, author, judge, at)
        shown = await in_thread(body, partial(_shown, message, peeled, verdict, keep_signature=keep_signature))
        if peeled.entities and shown is peeled.entities[-1]:
            shown = await in_thread(body, partial(bare, payload, between))
        outer = shown_fields(message.header, payload, author)
        fields = outer if shown is message else _merged(outer, shown.header)
        if verdict.judged is Judged.VERIFIED:
            fields = [field.plain for field in fields if field.name]  # others might take the rest for a From, or for the text
        written, eight_bit = await in_thread(body, partial(write_all, bodies, marked(fields, verdict, hostname), shown.content))
    finally:
        between.discard()
    used = tuple(layer.key for layer in peeled.layers if isinstance(layer, EncryptedLayer) and layer.key is not None)
    return Opened(verdict, written, used, eight_bit, proof, author.address if proof is not None else None)


def _or_foreign(message: Entity, peeled: Peeled) -> Peeled:
    """``peeled``, or that what is inside is OpenPGP: encrypted, and to no key of ours."""
    inside = peeled.entities[-1] if peeled.entities else message
    if peeled.fault or any(isinstance(layer, SignedLayer) for layer in peeled.layers):
        return peeled
    if not isinstance(already_protected(inside.header, inside.body), Encrypted):
        return peeled
    return replace(peeled, fault=GatewayError(Reason.END_TO_END, "encrypted by OpenPGP"))


def _is_encrypted(peeled: Peeled) -> bool:
    """Whether the whole is, opened or not."""
    foreign = peeled.fault is not None and peeled.fault.reason is Reason.END_TO_END
    return foreign or any(isinstance(layer, EncryptedLayer) for layer in peeled.layers)


async def _judge(
    message: Entity, peeled: Peeled, payload: Payload, author: Author, judge: JudgeSigner, at: int
) -> tuple[Verdict, Proof | None]:
    """The verdict, and what it stands on. ``verified`` needs one that covers everything shown, by a believed signer
    who is the From; another that is bad, or of nobody, denies it.

    A signature around encryption counts neither for nor against: it covers ciphertext, and anybody may put one there.
    """
    covering = _covering(peeled.layers)
    layers: list[LayerVerdict] = []
    reasons: list[Reason] = []
    found: list[tuple[SignerVerdict, Proof]] = []
    for number, layer in enumerate(peeled.layers):
        if isinstance(layer, EncryptedLayer):
            layers.append(encrypted_verdict(layer.kind, layer.enveloped))
            continue
        if isinstance(layer, CompressedLayer):
            layers.append(LayerVerdict("compressed", "whole"))
            continue
        told = [await _signer(each, layer.signed, author.address, judge, at) for each in layer.checked]
        layers.append(LayerVerdict("signed", "whole", signed_algorithms(layer.checked), (), tuple(each for each, _ in told)))
        reasons += [reason for each, _ in told for reason in each.reasons] or ([] if told else [Reason.NO_SIGNER])
        if number >= covering:
            both = zip(told, layer.checked, strict=True)
            found += [(each, Proof(by, vouched, layer.signed)) for (each, vouched), by in both if vouched is not None]
    parts = await in_thread(message.body, partial(_parts, message, peeled))
    reasons += _about_the_whole(peeled, author.address, covering, parts)
    reasons += _about_the_header(message.header, payload, author)
    believed = bool(found) and author.other is None and not any(map(_denies, peeled.layers[covering:]))
    judged = _judged(peeled, believed, bool(parts))
    by, proof = found[0] if judged is Judged.VERIFIED else (None, None)
    assurance = proof.vouched.assurance if proof is not None else None
    told_once = tuple(dict.fromkeys(reasons))
    return Verdict(judged, author.said, _is_encrypted(peeled), told_once, (*layers, *parts), assurance, by), proof


def _covering(layers: Sequence[Layer]) -> int:
    """From which layer on a signature covers what is shown: behind the last encryption."""
    return max((number + 1 for number, layer in enumerate(layers) if isinstance(layer, EncryptedLayer)), default=0)


def _denies(layer: Layer) -> bool:
    """Whether this layer says that something is wrong, whatever others say."""
    if not isinstance(layer, SignedLayer):
        return False
    return not layer.checked or any(each.signature is Signature.BAD for each in layer.checked)


def _about_the_whole(peeled: Peeled, author: Address | None, covering: int, parts: Sequence[LayerVerdict]) -> list[Reason]:
    """Reasons that are not those of one signer."""
    reasons: list[Reason] = []
    signed = [number for number, layer in enumerate(peeled.layers) if isinstance(layer, SignedLayer)]
    if signed and author is None:
        reasons.append(Reason.FROM_AMBIGUOUS)
    if peeled.shared or (max(signed) < covering and peeled.fault is None if signed else parts):
        reasons.append(Reason.PARTIAL_COVERAGE)
    if any(isinstance(layer, EncryptedLayer) and _is_weak(layer) for layer in peeled.layers):
        reasons.append(Reason.WEAK_ALGORITHM)
    if peeled.fault is not None:
        reasons.append(peeled.fault.reason)
    return reasons


def _about_the_header(outer: Header, payload: Payload, author: Author) -> list[Reason]:
    """What protected fields say of the outer ones."""
    mismatch = [Reason.FROM_MISMATCH] if author.other is not None else []
    return [*mismatch, *([Reason.HEADER_TAMPERED] if tampered(outer, payload) else [])]


def _is_weak(layer: EncryptedLayer) -> bool:
    """Whether it was opened by the legacy allowance."""
    return layer.key is not None and layer.enveloped is not None and content_of(layer.enveloped.content, Strength.LEGACY).weak


def _judged(peeled: Peeled, verified: bool, parts: bool) -> Judged:
    if peeled.fault is not None:
        hopeless = peeled.fault.reason in (Reason.MALFORMED, Reason.LIMIT)
        return Judged.MALFORMED if hopeless else Judged.UNDECRYPTABLE
    if peeled.shared:
        return Judged.MIXED
    if any(isinstance(layer, SignedLayer) for layer in peeled.layers):
        return Judged.VERIFIED if verified else Judged.SIGNED_UNVERIFIED
    return Judged.MIXED if parts else Judged.UNSIGNED


async def _signer(
    checked: Checked, signed: SignedData, author: Address | None, judge: JudgeSigner, at: int
) -> tuple[SignerVerdict, Signed | None]:
    """What is said of one signer, and who vouches for it where it verifies the message."""
    if checked.certificate is None or checked.reason is not None:
        return signer_verdict(checked, "unknown", []), None
    others = tuple(each for each in signed.certificates if each != checked.certificate)
    vouched = await judge(checked.certificate, Along(others, signed.revocations, checked.time), at)
    if not isinstance(vouched.judgement, Trusted):
        return signer_verdict(checked, "distrusted", [vouched.judgement.reason]), None
    why = [] if author is None else _not_the_author(checked.certificate, vouched, author)
    return signer_verdict(checked, "trusted", [*vouched.judgement.marks, *why]), None if why or author is None else vouched


def _not_the_author(certificate: bytes, vouched: Signed, author: Address) -> list[Reason]:
    """Why a believed signer is not this author, if so: he is another, or those who vouch for him do not speak for that domain."""
    if binds(facts(certificate), author, vouched.domains) is None or (vouched.pinned and author.key not in vouched.pinned):
        return [Reason.FROM_MISMATCH]
    return [Reason.DOMAIN_NOT_BOUND] if vouched.zone is not None and author.domain not in vouched.domains else []


def _parts(message: Entity, peeled: Peeled) -> tuple[LayerVerdict, ...]:
    """S/MIME in parts of what is inside all layers; it stays closed, and counts for nothing."""
    inside = peeled.entities[-1] if peeled.entities else message
    if peeled.fault is not None:
        return ()
    found: list[LayerVerdict] = []
    depth = 0
    try:
        for piece in walk(inside.body.chunks()):
            if isinstance(piece, Head):
                depth += 1
                if piece.type.type in SIGNATURE or (depth > 1 and is_structure(piece.type, piece.header)):
                    found.append(part_verdict(piece.type))
            if len(found) == MAX_PARTS_TOLD:
                break
    except GatewayError:
        return tuple(found)  # beyond this point no reader would agree with another; nothing of it is vouched for
    return tuple(found)


def _shown(message: Entity, peeled: Peeled, verdict: Verdict, *, keep_signature: bool) -> Entity:
    """The entity the mailbox gets. Encryption and compression are always taken off, around what is closed for its reader to open
    too; a signature inside them where it verifies the message and is not to be kept, because one that does not may still tell
    somebody something. Nor is one kept in which another reader might find a part that it does not cover.
    """
    closed = peeled.fault is not None and peeled.fault.reason is not Reason.END_TO_END
    if closed or not peeled.entities:
        return message
    if verdict.judged is Judged.VERIFIED and not (keep_signature and _reads_one_way(message, peeled)):
        return peeled.entities[-1]
    opened = list(zip(peeled.layers, peeled.entities, strict=False))
    return next((entity for layer, entity in reversed(opened) if not isinstance(layer, SignedLayer)), message)


def _reads_one_way(message: Entity, peeled: Peeled) -> bool:
    around = zip(peeled.layers, (message, *peeled.entities), strict=False)
    detached = [each for layer, each in around if isinstance(layer, SignedLayer) and form_of(each.header) is Form.DETACHED]
    return all(is_plainly_signed(each.body, each.header) for each in detached)


def write_all(bodies: Bodies, head: bytes, content: Slice) -> tuple[Body, bool]:
    """A new body of ``head`` and ``content``, and whether it has 8-bit bytes. Nothing is left behind where it fails."""
    writer = bodies.create()
    eight_bit = not head.isascii()
    try:
        for chunk in _pieces(head, content):
            eight_bit = eight_bit or not chunk.isascii()
            writer.write(chunk)
        return writer.close(), eight_bit
    except BaseException:
        writer.discard()
        raise


def _pieces(head: bytes, content: Slice) -> Iterator[bytes]:
    yield head
    yield from content.chunks()


def _merged(outer: Sequence[Field], inner: Header) -> Iterable[Field]:
    """The outer fields with the inner ``Content-*`` in the place of theirs. Of the inner header only protected fields are promoted
    besides, which are among the outer ones by now; and a line that is no field is not carried over: another reader might take it
    for a field we did not judge.
    """
    kept = [field for field in outer if field.name and not _is_content(field)]
    promoted = [field for field in inner.fields if _is_content(field)]
    version = (
        () if any(field.name.lower() == "mime-version" for field in kept) else (Field("MIME-Version", b"MIME-Version: 1.0\r\n"),)
    )
    return (*kept, *version, *promoted)


def _is_content(field: Field) -> bool:
    return field.name.lower().startswith("content-")
