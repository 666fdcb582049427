"""Certs-only messages (RFC 8551 3.8): SignedData with certificates and nothing else, in which partners hand theirs over."""

from __future__ import annotations

from gateway.smime import der
from gateway.smime.algorithms import SIGNED_DATA
from gateway.smime.ber import malformed
from gateway.smime.cms import CONTEXT_0, parts_of
from gateway.smime.normal import to_der


def read_bundle(data: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) in the ContentInfo ``data`` (DER or BER), in their order; whatever else is there is not looked at.

    Raises :class:`gateway.outcome.GatewayError` (MALFORMED, LIMIT).
    """
    kind, wrapped = parts_of(der.read(to_der(data)), der.SEQUENCE, 2, 2)
    if kind.raw != der.oid(SIGNED_DATA):
        raise malformed("no certs-only message")
    (signed,) = parts_of(wrapped, CONTEXT_0, 1, 1)
    _, _, _, *others = parts_of(signed, der.SEQUENCE, 4, 6)
    return tuple(each.raw for field in others if field.tag == CONTEXT_0 for each in field if each.tag == der.SEQUENCE)
