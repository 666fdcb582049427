"""What comes along with a signature: certificates, CRLs, OCSP answers. Whoever signed chose it, so it is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from asn1crypto import parser

from gateway.outcome import GatewayError
from gateway.trust.crl import Crl
from gateway.trust.ocsp import OcspAnswer

MAX_STAPLED: Final = 8
MAX_STAPLED_BYTES: Final = 128 * 1024  # a CRL of this size has some 3,500 entries

_SEQUENCE: Final = 0x30
_OTHER: Final = 0xA1  # OtherRevocationInfoFormat (RFC 5652 10.2.1)
_OCSP_RESPONSE: Final = bytes.fromhex("06082b06010505071002")  # id-ri-ocsp-response (RFC 5940 2.1)


@dataclass(frozen=True, slots=True)
class Along:
    """``certificates`` are DER; ``revocations`` RevocationInfoChoices (DER, RFC 5652 10.2.1), not read yet; ``signed_at`` is when
    the signer says that he signed, in microseconds UTC.
    """

    certificates: tuple[bytes, ...] = ()
    revocations: tuple[bytes, ...] = ()
    signed_at: int | None = None


NOTHING_ALONG: Final = Along()


def as_choice(answer: bytes) -> bytes:
    """The RevocationInfoChoice that holds ``answer``, an OCSPResponse (DER) that need not be one."""
    choice: bytes = parser.emit(2, 1, 1, _OCSP_RESPONSE + answer)
    return choice


def stapled(revocations: Sequence[bytes]) -> tuple[Crl | OcspAnswer, ...]:
    """The CRLs and OCSP answers among ``revocations`` that can be read, the first few of them."""
    found: list[Crl | OcspAnswer] = []
    size = 0
    for choice in revocations[:MAX_STAPLED]:
        size += len(choice)
        if size > MAX_STAPLED_BYTES:
            break
        read = _read(choice)
        if read is not None:
            found.append(read)
    return tuple(found)


@lru_cache(maxsize=64)
def _read(choice: bytes) -> Crl | OcspAnswer | None:
    try:
        if choice[:1] == bytes([_SEQUENCE]):
            return Crl(choice)
        content = parser.parse(choice, strict=True)[4] if choice[:1] == bytes([_OTHER]) else b""
        return OcspAnswer(content[len(_OCSP_RESPONSE) :]) if content.startswith(_OCSP_RESPONSE) else None
    except (GatewayError, ValueError):
        return None  # what cannot be read says nothing
