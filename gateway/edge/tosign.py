"""What the sign agent agrees to sign: CMS SignedAttributes of a mail, of now, and nothing else.

A worker that was taken over could ask for a signature under anything; a hash would hide what it is. So the agent is given
the attributes themselves, reads them strictly (DER, RFC 5652 5.3 and 11) and hashes them itself. A certificate, a CRL or a
TLS handshake is no SET OF Attribute with these three attributes in it. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Mechanism, digest_of, signed_input

MAX_ATTRIBUTES: Final = 16 * 1024
FRESH: Final = 5 * 60 * 1_000_000  # microseconds a signing time may lie before or after now

_SET: Final = 0x31
_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_OCTETS: Final = 0x04
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18

# Contents of the OBJECT IDENTIFIERs, DER
_CONTENT_TYPE: Final = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST: Final = bytes.fromhex("2a864886f70d010904")
_SIGNING_TIME: Final = bytes.fromhex("2a864886f70d010905")
_ID_DATA: Final = bytes.fromhex("2a864886f70d010701")


class NotSignableError(GatewayError):
    """The agent refuses. The detail says what is wrong with the attributes.

    For a signing time that is not now the reason is KEY_UNAVAILABLE: a clock that was set, or a worker that stood still, amid a
    mail makes no wrong copy, and the next try has another time.
    """

    def __init__(self, detail: str, reason: Reason = Reason.OWN_WORK_WRONG) -> None:
        super().__init__(reason, f"not signed: {detail}")


def input_to_sign(attributes: bytes, mechanism: Mechanism, now: int) -> bytes:
    """What the private key is given for ``attributes``, the DER of a SET OF Attribute, if they are what we sign (see
    :func:`gateway.smime.keys.signed_input`). Raises :class:`NotSignableError`.
    """
    digest = digest_of(mechanism)
    if len(attributes) > MAX_ATTRIBUTES:
        raise NotSignableError("too long")
    found = _read_attributes(attributes)
    if _single(found, _CONTENT_TYPE, "content type") != (_OID, _ID_DATA):
        raise NotSignableError("the content type is not id-data")
    tag, value = _single(found, _MESSAGE_DIGEST, "message digest")
    if tag != _OCTETS or len(value) != hashlib.new(digest).digest_size:
        raise NotSignableError(f"the message digest is not one of {digest}")
    if abs(_time(*_single(found, _SIGNING_TIME, "signing time")) - now) > FRESH:
        raise NotSignableError("the signing time is not now", Reason.KEY_UNAVAILABLE)
    return signed_input(attributes, mechanism)


def _read_attributes(data: bytes) -> dict[bytes, list[tuple[int, bytes]]]:
    """Type to values. Raises :class:`NotSignableError` for anything but one SET OF Attribute in DER."""
    tag, content, end = _element(data, 0)
    if tag != _SET or end != len(data):
        raise NotSignableError("not one SET")
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    before = b""
    for _, attribute, encoded in _elements(content, _SEQUENCE):
        if encoded <= before:
            raise NotSignableError("attributes are not in the order of DER")
        before = encoded
        tag, kind, at = _element(attribute, 0)
        values_tag, values, end = _element(attribute, at)
        if tag != _OID or values_tag != _SET or end != len(attribute):
            raise NotSignableError("not an Attribute")
        if kind in found:
            raise NotSignableError("an attribute stands there twice")
        found[kind] = [(tag, value) for tag, value, _ in _elements(values)]
    return found


def _elements(data: bytes, only: int | None = None) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and whole encoding of each element that stands in ``data``."""
    at = 0
    while at < len(data):
        tag, content, end = _element(data, at)
        if only is not None and tag != only:
            raise NotSignableError("not an Attribute")
        yield tag, content, data[at:end]
        at = end


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the element at ``at``: one-byte tag, shortest definite length."""
    if len(data) - at < 2 or data[at] & 0x1F == 0x1F:
        raise NotSignableError("not DER")
    tag, length, start = data[at], data[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size])
        if not 1 <= size <= 2 or length < (0x80 if size == 1 else 0x100):
            raise NotSignableError("not DER")
        start += size
    if start + length > len(data):
        raise NotSignableError("cut short")
    return tag, data[start : start + length], start + length


def _single(found: dict[bytes, list[tuple[int, bytes]]], kind: bytes, name: str) -> tuple[int, bytes]:
    values = found.get(kind, [])
    if len(values) != 1:
        raise NotSignableError(f"not one {name}")
    return values[0]


def _time(tag: int, value: bytes) -> int:
    """Microseconds UTC. UTCTime for 1950 to 2049, else GeneralizedTime, both to the second and in Z (RFC 5652 11.3)."""
    text = value.decode("ascii", "replace")
    if tag == _UTC_TIME and len(text) == 13:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME or len(text) != 15:
        raise NotSignableError("not a signing time")
    if not (text[:14].isascii() and text[:14].isdigit() and text[14] == "Z"):
        raise NotSignableError("not a signing time")
    if tag == _GENERALIZED_TIME and "1950" <= text[:4] <= "2049":
        raise NotSignableError("not a signing time")
    try:
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        moment = datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise NotSignableError("not a signing time") from None
    return int(moment.timestamp()) * 1_000_000
