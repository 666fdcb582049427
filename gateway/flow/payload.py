"""What is inside all layers of a message, and what it protects of the header: who its author is, what the mailbox gets.

The rule (RFC 9788 4.1, 4.3.1): protected fields count where layers of signing or encrypting lie around the whole message, all of
them opened, and either one of them encrypts or every signature is good. Encryption alone makes them confidential; that they are the
author's, only the verdict says, as of the text beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.flow.peel import EncryptedLayer, Entity, Peeled, SignedLayer
from gateway.mail.address import Address
from gateway.mail.author import shown_author
from gateway.mail.body import Bodies
from gateway.mail.edit import edited
from gateway.mail.legacydisplay import without_elements
from gateway.mail.message import Field, Header, from_address, head_of
from gateway.mail.protected import (
    Protected,
    is_tampered,
    is_wrapper,
    protected_by_wrapping,
    protected_in,
    with_protected,
    without_parameter,
)
from gateway.outcome import GatewayError
from gateway.smime.verify import Signature


@dataclass(frozen=True, slots=True)
class Payload:
    """``entity`` is what is inside all layers, and the wrapper of RFC 8551 3.1; ``protected`` what it protects, if anything."""

    entity: Entity
    protected: Protected | None


@dataclass(frozen=True, slots=True)
class Author:
    """``address`` is compared with the signers: that of the protected From, where there is one, else of the outer. None: ambiguous.

    ``other`` is the author outside where it is not the same: what a server believed of the envelope, and what the mailbox is shown
    (RFC 9788 4.4). ``said``: what the verdict says of the From.
    """

    address: Address | None
    other: Address | None
    said: tuple[str, ...]
    promoted: bool = False


def payload_of(message: Entity, peeled: Peeled) -> Payload:
    """The payload of ``message``, itself where it has no layers. Reads from bodies. Raises :class:`GatewayError` as they do."""
    if peeled.fault is not None or peeled.shared or not peeled.entities:
        return Payload(peeled.entities[-1] if peeled.entities else message, None)
    inside = peeled.entities[-1]
    encrypted = any(isinstance(layer, EncryptedLayer) for layer in peeled.layers)
    if not encrypted and not _is_signed(peeled):
        return Payload(inside, None)
    if is_wrapper(inside.header):
        return _unwrapped(inside, encrypted=encrypted)
    return Payload(inside, protected_in(inside.header, encrypted=encrypted))


def _is_signed(peeled: Peeled) -> bool:
    """Whether there are signatures, and none that is not good."""
    checked = [each for layer in peeled.layers if isinstance(layer, SignedLayer) for each in layer.checked or (None,)]
    return bool(checked) and all(each is not None and each.signature is Signature.GOOD for each in checked)


def _unwrapped(inside: Entity, *, encrypted: bool) -> Payload:
    content = inside.content
    try:
        header = head_of(content)
    except GatewayError:
        return Payload(inside, None)
    protected = protected_by_wrapping(header, encrypted=encrypted)
    return Payload(Entity(content, header) if protected else inside, protected)


def author_of(outer: Header, protected: Protected | None) -> Author:
    """The author of a message. Where the two From fields disagree, nobody is."""
    if protected is None or not protected.header.all("From"):
        author = _read(shown_author, outer)
        return Author(author, None, _said(outer, author))
    # One in an odd spelling is not promoted: then the outer one is shown, name and all
    promoted = any(field.name.lower() == "from" for field in protected.fields)
    inside, outside = _read(shown_author, protected.header), _read(from_address if promoted else shown_author, outer)
    if inside is None or outside is None:
        return Author(None, None, _said(outer, None))
    if inside.key != outside.key:
        return Author(inside, outside, (str(outside), str(inside)))
    return Author(inside, None, (str(inside),), promoted=promoted)


def _read(reading: Callable[[Header], Address], header: Header) -> Address | None:
    try:
        return reading(header)
    except GatewayError:
        return None


def _said(header: Header, author: Address | None) -> tuple[str, ...]:
    return (str(author),) if author is not None else tuple(each.text[:300] for each in header.all("From")[:10])


def tampered(outer: Header, payload: Payload) -> bool:
    """Whether somebody changed outer fields on the way."""
    return payload.protected is not None and is_tampered(outer, payload.protected)


def shown_fields(outer: Header, payload: Payload, author: Author) -> tuple[Field, ...]:
    """The outer fields as the mailbox gets them."""
    if payload.protected is None:
        return outer.fields
    return with_protected(outer.fields, payload.protected, author=author.promoted)


def bare(payload: Payload, bodies: Bodies) -> Entity:
    """The entity that is shown where no layer is left around it: what was said for readers of the layers alone is gone.

    ``hp`` speaks of layers that are no longer there, and would speak of others, once somebody signs or encrypts the entity anew.
    """
    entity = payload.entity
    if payload.protected is None:
        return entity
    if payload.protected.confidential and (edits := without_elements(entity.body.chunks())):
        writer = bodies.create()
        for chunk in edited(entity.body.chunks(), edits):
            writer.write(chunk)
        body = writer.close()
        entity = Entity(body, head_of(body))
    fields = tuple(
        replace(field, raw=without_parameter(field.raw, "hp")) if field.name.lower() == "content-type" else field
        for field in entity.header.fields
    )
    return Entity(entity.body, replace(entity.header, fields=fields))
