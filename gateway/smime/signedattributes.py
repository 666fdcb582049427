"""The signed attributes that we write (RFC 8551 2.5): what was signed, when, by which certificate, and how to answer it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from gateway.smime import der
from gateway.smime.algorithms import (
    CONTENT_TYPE,
    DATA,
    ENCRYPTION_KEY_PREFERENCE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    SMIME_CAPABILITIES,
    oaep_identifier,
)
from gateway.smime.certificate import identified
from gateway.smime.keys import Digest
from gateway.smime.known import CONTENTS, WRAPS

_DIRECTORY_NAME: Final = der.CONTEXT_CONSTRUCTED + 4  # GeneralName, RFC 5280 4.2.1.6

CAPABILITIES: Final = der.sequence(
    *(der.sequence(cipher) for cipher in CONTENTS), oaep_identifier(Digest.SHA256), *(der.sequence(wrap) for wrap in WRAPS)
)
"""SMIMECapabilities (RFC 8551 2.5.2): what is opened that is sent to us, best first, and nothing that is weak."""


def signed_attributes(digest: bytes, certificate: bytes, at: int, preference: bytes | None = None) -> bytes:
    """The SignedAttributes over content of this ``digest``, as the DER of a SET. ``at`` in microseconds UTC.

    ``certificate`` (DER) is the signer's; ``preference`` (DER) the one to encrypt to in an answer, where that is said.
    """
    return der.set_of(
        _attribute(MESSAGE_DIGEST, der.octet_string(digest)), _signing_time(der.time(at)), *_unchanging(certificate, preference)
    )


@lru_cache(maxsize=16)
def _signing_time(time: bytes) -> bytes:
    """The same in all mails of a second."""
    return _attribute(SIGNING_TIME, time)


@lru_cache(maxsize=1024)
def _unchanging(certificate: bytes, preference: bytes | None) -> tuple[bytes, ...]:
    """The attributes that are the same in every mail of a signer."""
    common = (
        _attribute(CONTENT_TYPE, der.oid(DATA)),
        _signing_certificate(certificate),
        _attribute(SMIME_CAPABILITIES, CAPABILITIES),
    )
    return common if preference is None else (*common, _key_preference(preference))


def _signing_certificate(certificate: bytes) -> bytes:
    signer = identified(certificate)
    # ESSCertIDv2 (RFC 5035 4): SHA-256 is its default and therefore left out
    general_names = der.sequence(der.element(_DIRECTORY_NAME, signer.issuer))
    identifier = der.sequence(der.octet_string(hashlib.sha256(certificate).digest()), der.sequence(general_names, signer.serial))
    return _attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(identifier)))


def _key_preference(certificate: bytes) -> bytes:
    """SMIMEEncryptionKeyPreference (RFC 8551 2.5.3), by issuer and serial number: [0] IMPLICIT."""
    person = identified(certificate)
    return _attribute(ENCRYPTION_KEY_PREFERENCE, der.element(der.CONTEXT_CONSTRUCTED + 0, person.issuer, person.serial))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(value))


def written_digest(attributes: bytes) -> bytes | None:
    """The messageDigest in the DER of SignedAttributes; None where there is not exactly one."""
    kind = der.oid(MESSAGE_DIGEST)
    found = [each for each in der.read(attributes).items() if each.startswith(kind, 2 + max(0, each[1] - 0x80))]
    if len(found) != 1:
        return None
    _, values = der.read(found[0]).items()
    return der.read(der.read(values).content).content
