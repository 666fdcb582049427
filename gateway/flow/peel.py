"""Takes the layers of S/MIME off a message, one after the other, down to the entity inside: decrypts, and checks signatures.

Whom to believe is not asked here; see ``flow.opening``. Content on its way lies in bodies, which the spool encrypts at rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gateway.flow.already import Encrypted, already_protected
from gateway.flow.structure import Pass, detached_signature
from gateway.flow.work import in_thread
from gateway.mail.body import Bodies, Body
from gateway.mail.clean import LineCheck, entity_header, with_crlf
from gateway.mail.form import Form, NotTwoError, decoded, form_of, signed_parts
from gateway.mail.message import Header, head_of
from gateway.mail.mime import MimeError
from gateway.mail.noise import is_clean
from gateway.mail.slice import Slice
from gateway.outcome import GatewayError, Reason
from gateway.smime.ber import integrity
from gateway.smime.cms import Compressed, Enveloped, Kind, SignedData
from gateway.smime.keys import Unwrapper
from gateway.smime.known import Strength
from gateway.smime.limits import MAX_INFLATED, MAX_LAYERS, MAX_RATIO, MAX_SMALL, MAX_UNWRAPS
from gateway.smime.reader import CmsReader
from gateway.smime.verify import Checked, Signature, beginning, check, needed

# Not about this message but about us: the whole mail is tried again.
OURS: Final = frozenset({Reason.KEY_UNAVAILABLE, Reason.SPOOL_FULL, Reason.SPOOL_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Entity:
    """A MIME entity, or the whole message: ``header`` is that of ``body``."""

    body: Body
    header: Header

    @property
    def content(self) -> Slice:
        """What follows the header."""
        return Slice(self.body, self.header.size, self.body.size)


@dataclass(frozen=True, slots=True)
class SignedLayer:
    """A signature around everything inside it, and what became of each signer."""

    signed: SignedData
    checked: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class EncryptedLayer:
    """An encryption around everything inside it. ``key`` is our key that opened it, None where none did."""

    kind: Kind
    enveloped: Enveloped | None
    key: str | None


@dataclass(frozen=True, slots=True)
class CompressedLayer:
    """A compression around everything inside it. It proves nothing, and hides nothing."""


Layer = SignedLayer | EncryptedLayer | CompressedLayer


@dataclass(frozen=True, slots=True)
class Peeled:
    """``layers`` from the outside in; ``entities`` what was inside each, so one less where the last did not open.

    ``fault`` is why it did not. ``shared``: the signature covers but one of several parts, and all of it was left as it is.
    """

    layers: tuple[Layer, ...]
    entities: tuple[Entity, ...]
    fault: GatewayError | None = None
    shared: bool = False


class Peeler:
    """Peels one message. ``keys`` maps the names of our keys to their certificates (DER), best first; ``at`` is now (us UTC).

    ``bodies`` gets every intermediate content: the caller discards them all once he has read ``Peeled``.
    """

    def __init__(
        self, bodies: Bodies, unwrapper: Unwrapper, keys: Mapping[str, bytes], at: int, strength: Strength = Strength.MODERN
    ) -> None:
        self._bodies = bodies
        self._unwrapper = unwrapper
        self._keys = keys
        self._at = at
        self._strength = strength
        self._unwraps = 0
        self._room = 0
        self._layers: list[Layer] = []
        self._entities: list[Entity] = []

    async def peel(self, message: Entity) -> Peeled:
        """Every layer that opens. Raises :class:`GatewayError` only for the reasons in ``OURS``.

        Once a private key was used, one thing is said of what does not open, whatever the fault and however deep (RFC 3218); but
        for what is not to be opened, since it is for others (END_TO_END).
        """
        inside: Entity | None = message
        fault: GatewayError | None = None
        shared = False
        # Each layer holds less than the one around it, but for compression, which has an allowance, once.
        grown = min(MAX_INFLATED, MAX_SMALL + MAX_RATIO * message.body.size)
        self._room = MAX_LAYERS * message.body.size + grown
        try:
            try:
                while inside is not None:
                    inside = await self._one(inside)
                    if inside is not None:
                        self._entities.append(inside)
                        self._room -= inside.body.size
            except NotTwoError:
                shared = True
            except GatewayError as error:
                if inside is None or not await self._is_for_others(inside, error):
                    raise
                fault = GatewayError(Reason.END_TO_END, "encrypted to no key of ours, inside what is")
            await self._without_noise()
        except GatewayError as error:
            if error.reason in OURS:
                raise
            if self._unwraps:
                return self._unopened()
            fault = error
        return Peeled(tuple(self._layers), tuple(self._entities), fault, shared)

    async def _is_for_others(self, entity: Entity, error: GatewayError) -> bool:
        """Whether ``entity``, which gave ``error``, is inside a layer that we opened, and whole, and names other readers alone.

        It depends on what a private key opened, and is told all the same: no more than of any other content. It is held to the
        same proof (the tag, or :meth:`_without_noise`) and to more, since all of it must be a structure; who can change a
        ciphertext so that this is said of it could change it so that it opens, and would learn as much.
        """
        if not self._unwraps or error.reason is not Reason.NO_KEY:
            return False
        return isinstance(await in_thread(entity.body, partial(already_protected, entity.header, entity.body)), Encrypted)

    def _unopened(self) -> Peeled:
        """As if the first encryption had not opened: nothing of what is behind it is told."""
        told: list[Layer] = []
        for layer in self._layers:
            if isinstance(layer, EncryptedLayer):
                told.append(replace(layer, key=None))
                break
            told.append(layer)
        return Peeled(tuple(told), tuple(self._entities[: len(told) - 1]), integrity())

    async def _without_noise(self) -> None:
        """Content that was encrypted in CBC, and that no signature inside holds together, has to be clean. Raises INTEGRITY."""
        content: Body | None = None
        for layer, entity in zip(self._layers, self._entities, strict=False):
            if isinstance(layer, EncryptedLayer):
                content = entity.body if layer.kind is Kind.ENVELOPED else None
            elif isinstance(layer, CompressedLayer):
                content = content and entity.body
            elif any(each.signature is Signature.GOOD for each in layer.checked):
                content = None
        if content is not None and not await in_thread(content, partial(_is_clean, content)):
            raise integrity()

    async def _one(self, entity: Entity) -> Entity | None:
        """What is inside the layer that ``entity`` is; None where it is none."""
        form = form_of(entity.header)
        if form is None:
            return None
        if len(self._layers) == MAX_LAYERS:
            raise GatewayError(Reason.LIMIT, f"more than {MAX_LAYERS} layers")
        if form is Form.OPAQUE:
            return await self._opaque(entity)
        return await in_thread(entity.body, partial(self._detached, entity))

    def _detached(self, entity: Entity) -> Entity:
        first, second = signed_parts(entity.body, entity.header)
        content = Slice(entity.body, first.start, first.end)
        signed = detached_signature(Slice(entity.body, second.start, second.end))
        checked = self._check(signed, content)
        if not signed.detached:
            # RFC 8551 3.5.3.2 forbids a second content in the signature; programs differ in which of the two they show and check.
            checked = tuple(replace(each, signature=Signature.BAD, reason=Reason.BAD_SIGNATURE) for each in checked)
        self._layers.append(SignedLayer(signed, checked))
        return Entity(content, head_of(content))

    async def _opaque(self, entity: Entity) -> Entity | None:
        reader = CmsReader(self._keys, self._strength)
        step = Pass(reader, decoded(entity.content, entity.header), self._bodies.create(), self._room)
        key: str | None = None
        try:
            while await in_thread(entity.body, step.run):
                need = step.reader.wants
                if need is not None:
                    key = await self._unwrap(step)
            content = step.finalize()
        except GatewayError:
            self._closed(step.reader)
            raise
        layer = step.reader.layer
        if isinstance(layer, Enveloped):
            self._layers.append(EncryptedLayer(layer.kind, layer, key))
            return await self._entity(content, step.lines)
        if isinstance(layer, Compressed):
            self._layers.append(CompressedLayer())
            return await self._entity(content, step.lines)
        if not isinstance(layer, SignedData) or (layer.detached and layer.signers):
            raise MimeError(Reason.MALFORMED, "a signature without its content")
        if layer.detached:
            return None  # certificates alone (RFC 8551 3.8): nothing is signed
        checked = await in_thread(content, partial(self._check, layer, content))
        self._layers.append(SignedLayer(layer, checked))
        return await self._entity(content, step.lines)

    async def _unwrap(self, step: Pass) -> str | None:
        need = step.reader.wants
        if need is None:
            return None
        if self._unwraps == MAX_UNWRAPS:
            raise GatewayError(Reason.LIMIT, f"more than {MAX_UNWRAPS} keys to unwrap")
        self._unwraps += 1
        step.reader.give(await self._unwrapper.unwrap(need.key, need.wrapped))
        return need.key

    def _closed(self, reader: CmsReader) -> None:
        """Remember a layer that did not open, so that it can be shown."""
        if reader.kind is Kind.COMPRESSED:
            self._layers.append(CompressedLayer())
        if reader.kind in (Kind.ENVELOPED, Kind.AUTHENVELOPED):
            layer = reader.layer if isinstance(reader.layer, Enveloped) else None
            self._layers.append(EncryptedLayer(reader.kind, layer, None))

    def _check(self, signed: SignedData, content: Body) -> tuple[Checked, ...]:
        hashes = {digest: hashlib.new(digest) for digest in needed(signed, self._strength)}
        first, enough = bytearray(), beginning(signed)
        for chunk in content.chunks():
            if len(first) < enough:
                first += chunk[: enough - len(first)]
            for each in hashes.values():
                each.update(chunk)
        return check(signed, {digest: each.digest() for digest, each in hashes.items()}, bytes(first), self._at, self._strength)

    async def _entity(self, content: Body, lines: LineCheck) -> Entity:
        if lines.bare:
            content = await in_thread(content, partial(self._canonical, content))
        return Entity(content, entity_header(content, lines))

    def _canonical(self, content: Body) -> Body:
        writer = self._bodies.create()
        for chunk in with_crlf(content.chunks()):
            writer.write(chunk)
        return writer.close()


def _is_clean(body: Body) -> bool:
    return is_clean(body.chunks())
