"""What a reader's program says it can open: SMIMECapabilities (RFC 8551 2.5.2), from a signed mail of his or from his certificate.

Only what a writer of ours has to choose is kept: the cipher of the content, and how a key goes to an RSA reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final, TypeVar

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import MGF1, RSA_OAEP, SHA256, SMIME_CAPABILITIES, ContentCipher, KeyTransport
from gateway.smime.ber import CmsError, malformed
from gateway.smime.cms import CONTEXT_3, Algorithm, parts_of, read_algorithm
from gateway.smime.keys import Digest
from gateway.smime.known import content_named, is_oaep, is_pkcs1, oaep_of

MAX_CAPABILITIES: Final = 4096  # bytes; what mail programs send has 100 to 300
MAX_LISTED: Final = 100
_FIELDS: Final = 10  # of a TBSCertificate (RFC 5280 4.1)
_SHA256: Final = der.sequence(der.oid(SHA256), der.NULL)
# The octets that RFC 3560 5 gives for OAEP with SHA-256 leave out the tags of the parameters
_OAEP_SHA256_UNTAGGED: Final = der.sequence(der.oid(RSA_OAEP), der.sequence(_SHA256, der.sequence(der.oid(MGF1), _SHA256)))

_WRITTEN: Final = {cipher.value: cipher for cipher in ContentCipher}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What somebody's program opens, of what we write. None: he did not say. Empty: he said, and it is nothing of ours."""

    ciphers: frozenset[ContentCipher] | None = None
    transports: frozenset[KeyTransport] | None = None


@lru_cache(maxsize=256)  # programs are few, and each writes the same in every mail
def read_capabilities(data: bytes) -> Capabilities:
    """The DER of SMIMECapabilities. What we do not know is passed over: it is an open list, and programs put digests in it too.

    Raises :class:`GatewayError` (MALFORMED, LIMIT).
    """
    if len(data) > MAX_CAPABILITIES:
        raise CmsError(Reason.LIMIT, f"capabilities of more than {MAX_CAPABILITIES} bytes")
    whole = der.read(data)
    if whole.end != len(data):
        raise malformed("something behind capabilities")
    # SMIMECapability has the form of an AlgorithmIdentifier; its parameters need not be those of the algorithm
    listed = [read_algorithm(each) for each in parts_of(whole, der.SEQUENCE, 0, MAX_LISTED)]
    named = (content_named(each.oid) for each in listed)
    ciphers = [_WRITTEN.get(content.name) for content in named if content is not None]
    transports = [_transport(each) for each in listed if is_pkcs1(each) or is_oaep(each)]
    return Capabilities(_said(ciphers), _said(transports))


@lru_cache(maxsize=4096)
def certificate_capabilities(certificate: bytes) -> Capabilities | None:
    """What ``certificate`` (DER) says of its owner's program (RFC 4262); None where that is nothing we can read."""
    try:
        value = _extension(certificate, der.oid(SMIME_CAPABILITIES))
        return None if value is None else read_capabilities(value)
    except GatewayError:
        return None


def _said(found: Sequence[_T | None]) -> frozenset[_T] | None:
    return frozenset(each for each in found if each is not None) if found else None


def _transport(algorithm: Algorithm) -> KeyTransport | None:
    """A way to an RSA reader, where it is one of ours."""
    if is_pkcs1(algorithm):
        return KeyTransport.PKCS1
    if algorithm.raw == _OAEP_SHA256_UNTAGGED:
        return KeyTransport.OAEP_SHA256
    try:
        digests = oaep_of(algorithm)
    except GatewayError:
        return None
    return KeyTransport.OAEP_SHA256 if digests == (Digest.SHA256, Digest.SHA256, b"") else None


def _extension(certificate: bytes, kind: bytes) -> bytes | None:
    """The value of the extension of this type (a DER OBJECT IDENTIFIER) of ``certificate``."""
    tbs = next(iter(der.read(certificate)), ())
    for field in islice(tbs, _FIELDS):
        if field.tag == CONTEXT_3:
            for each in next(iter(field), ()):
                found, *_, value = parts_of(each, der.SEQUENCE, 2, 3)
                if found.raw == kind:
                    return value.content
    return None
