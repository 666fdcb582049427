"""The values that reading CMS gives (RFC 5652, 5083, 5753), and how its small structures are taken apart.

Every function here takes DER (``gateway.smime.normal`` makes it of BER) and raises :class:`gateway.outcome.GatewayError`
(MALFORMED, LIMIT) for what the grammar does not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.ber import CmsError, malformed
from gateway.smime.limits import MAX_ATTRIBUTES, MAX_ELEMENTS, MAX_RECIPIENTS

CONTEXT_0: Final = der.CONTEXT_CONSTRUCTED
CONTEXT_1: Final = der.CONTEXT_CONSTRUCTED + 1
CONTEXT_2: Final = der.CONTEXT_CONSTRUCTED + 2
CONTEXT_3: Final = der.CONTEXT_CONSTRUCTED + 3
IMPLICIT_0: Final = der.CONTEXT
IMPLICIT_1: Final = der.CONTEXT + 1
IMPLICIT_2: Final = der.CONTEXT + 2

_SHORT: Final = 64  # bytes of an algorithm that is remembered


class Kind(StrEnum):
    """What a layer is."""

    SIGNED = "signed"
    ENVELOPED = "enveloped"
    AUTHENVELOPED = "authenveloped"
    COMPRESSED = "compressed"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """AlgorithmIdentifier. ``oid`` and ``parameters`` are DER elements; ``raw`` is the whole."""

    oid: bytes
    parameters: bytes | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class CertificateId:
    """Whose certificate is meant: ``issuer_and_serial`` (DER SEQUENCE) or ``key_identifier`` (the bytes); the other is None."""

    issuer_and_serial: bytes | None = None
    key_identifier: bytes | None = None


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature. ``attributes`` is the DER of SignedAttributes as a SET, as it is signed; None where there are none.

    ``unsigned`` is the DER of UnsignedAttributes as a SET.
    """

    signer: CertificateId
    digest: Algorithm
    attributes: bytes | None
    algorithm: Algorithm
    signature: bytes
    unsigned: bytes | None = None


@dataclass(frozen=True, slots=True)
class SignedData:
    """``content_type`` is a DER OBJECT IDENTIFIER; ``detached``: no content inside. ``certificates`` and ``revocations``
    (RevocationInfoChoices) are as written, in their order.
    """

    content_type: bytes
    detached: bool
    certificates: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]
    revocations: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Transported:
    """KeyTransRecipientInfo (RFC 5652 6.2.1)."""

    reader: CertificateId
    algorithm: Algorithm
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Agreed:
    """One reader of a KeyAgreeRecipientInfo (RFC 5652 6.2.2). ``point`` is the originator's BIT STRING element, None where the
    originator is named and not given; ``material`` is the user keying material.
    """

    reader: CertificateId
    algorithm: Algorithm
    wrapped: bytes
    point: bytes | None
    material: bytes | None


@dataclass(frozen=True, slots=True)
class OtherReader:
    """A reader by a password, a shared key, or a way of RFC 5652 6.2.5: none of ours."""


RecipientInfo = Transported | Agreed | OtherReader


@dataclass(frozen=True, slots=True)
class Enveloped:
    """EnvelopedData, or AuthEnvelopedData (``kind``). ``content`` is the content encryption."""

    kind: Kind
    recipients: tuple[RecipientInfo, ...]
    content: Algorithm


@dataclass(frozen=True, slots=True)
class Compressed:
    """CompressedData (RFC 3274 1.1)."""

    algorithm: Algorithm


def read_algorithm(item: der.Element) -> Algorithm:
    """AlgorithmIdentifier."""
    raw = item.raw
    return _short_algorithm(raw) if len(raw) <= _SHORT else _algorithm(raw)


def _algorithm(data: bytes) -> Algorithm:
    parts = parts_of(der.read(data), der.SEQUENCE, 1, 2)
    if parts[0].tag != der.OBJECT_IDENTIFIER or not parts[0].content:
        raise malformed("an algorithm without an identifier")
    return Algorithm(parts[0].raw, parts[1].raw if len(parts) == 2 else None, data)


_short_algorithm: Final = lru_cache(maxsize=256)(_algorithm)
"""The same few stand in nearly every message."""


def parts_of(item: der.Element, tag: int, least: int, most: int) -> list[der.Element]:
    """The elements inside ``item``, which must have this identifier and this many elements."""
    if item.tag != tag:
        raise malformed(f"identifier {item.tag:#04x} where {tag:#04x} is wanted")
    parts = item.parts(most + 1)
    if not least <= len(parts) <= most:
        raise malformed("a structure with too few or too many elements")
    return parts


def read_signer(data: bytes) -> SignerInfo:
    """SignerInfo (RFC 5652 5.3), DER but for the order of its attributes."""
    parts = parts_of(der.read(data), der.SEQUENCE, 5, 7)
    if parts.pop(0).tag != der.INTEGER:
        raise malformed("a signer without a version")
    signer, digest = _certificate_id(parts.pop(0)), read_algorithm(parts.pop(0))
    attributes = None
    if parts and parts[0].tag == CONTEXT_0:
        # Signed is the DER of a SET (5.4), which sorts; a signer may have written them in another order.
        attributes = der.set_of(*parts.pop(0).items())
    unsigned = None
    if len(parts) == 3 and parts[2].tag == CONTEXT_1:
        unsigned = der.set_of(*parts.pop().items())
    if len(parts) != 2 or parts[1].tag != der.OCTET_STRING:
        raise malformed("a signer without a signature")
    return SignerInfo(signer, digest, attributes, read_algorithm(parts[0]), parts[1].content, unsigned)


def read_attributes(data: bytes) -> dict[bytes, tuple[tuple[bytes, ...], ...]]:
    """Of the DER of a SET OF Attribute: for each type, the values of each attribute of that type, all as DER elements."""
    found: dict[bytes, tuple[tuple[bytes, ...], ...]] = {}
    attributes = der.read(data).parts(MAX_ATTRIBUTES + 1)
    if len(attributes) > MAX_ATTRIBUTES:
        raise CmsError(Reason.LIMIT, f"more than {MAX_ATTRIBUTES} attributes")
    for item in attributes:
        inside = item.items()
        if item.tag != der.SEQUENCE or len(inside) != 2:
            raise malformed("an attribute that is none")
        kind, values = inside
        if kind[0] != der.OBJECT_IDENTIFIER or values[0] != der.SET:
            raise malformed("an attribute that is none")
        found[kind] = (*found.get(kind, ()), tuple(der.read(values).items()))
    return found


def read_recipients(items: Sequence[bytes]) -> tuple[RecipientInfo, ...]:
    """RecipientInfos (RFC 5652 6.2), each item the DER of one."""
    found: list[RecipientInfo] = []
    for data in items:
        item = der.read(data)
        if item.tag == der.SEQUENCE:
            found.append(_transported(item))
        elif item.tag == CONTEXT_1:
            found += _agreed(item)
        else:
            found.append(OtherReader())
        if len(found) > MAX_RECIPIENTS:
            raise CmsError(Reason.LIMIT, f"more than {MAX_RECIPIENTS} recipients")
    return tuple(found)


def _transported(item: der.Element) -> Transported:
    version, reader, algorithm, wrapped = parts_of(item, der.SEQUENCE, 4, 4)
    if version.tag != der.INTEGER or wrapped.tag != der.OCTET_STRING:
        raise malformed("a recipient by key transport")
    return Transported(_certificate_id(reader), read_algorithm(algorithm), wrapped.content)


def _agreed(item: der.Element) -> list[Agreed]:
    parts = parts_of(item, CONTEXT_1, 4, 5)
    if parts.pop(0).tag != der.INTEGER:
        raise malformed("a recipient by key agreement")
    (originator,) = parts_of(parts.pop(0), CONTEXT_0, 1, 1)
    material = None
    if parts[0].tag == CONTEXT_1:
        (inside,) = parts_of(parts.pop(0), CONTEXT_1, 1, 1)
        material = inside.content
    if len(parts) != 2:
        raise malformed("a recipient by key agreement")
    point = _point(originator)
    algorithm = read_algorithm(parts[0])
    readers = []
    for one in parts_of(parts[1], der.SEQUENCE, 1, MAX_ELEMENTS):
        reader, wrapped = parts_of(one, der.SEQUENCE, 2, 2)
        if wrapped.tag != der.OCTET_STRING:
            raise malformed("a recipient by key agreement")
        readers.append(Agreed(_agreement_reader(reader), algorithm, wrapped.content, point, material))
    return readers


def _point(originator: der.Element) -> bytes | None:
    """The public key of OriginatorPublicKey, as a BIT STRING element; None where the originator is only named."""
    if originator.tag != CONTEXT_1:
        return None
    _, point = parts_of(originator, CONTEXT_1, 2, 2)
    if point.tag != der.BIT_STRING:
        raise malformed("an originator without a public key")
    return point.raw


def _certificate_id(item: der.Element) -> CertificateId:
    """SignerIdentifier or RecipientIdentifier: IssuerAndSerialNumber, or [0] SubjectKeyIdentifier."""
    if item.tag == IMPLICIT_0:
        return CertificateId(key_identifier=item.content)
    issuer, serial = parts_of(item, der.SEQUENCE, 2, 2)
    if issuer.tag != der.SEQUENCE or serial.tag != der.INTEGER:
        raise malformed("an issuer and serial number")
    return CertificateId(issuer_and_serial=item.raw)


def _agreement_reader(item: der.Element) -> CertificateId:
    """KeyAgreeRecipientIdentifier: IssuerAndSerialNumber, or [0] RecipientKeyIdentifier (whose date and other are unused)."""
    if item.tag != CONTEXT_0:
        return _certificate_id(item)
    identifier = parts_of(item, CONTEXT_0, 1, 3)[0]
    if identifier.tag != der.OCTET_STRING:
        raise malformed("a recipient key identifier")
    return CertificateId(key_identifier=identifier.content)
