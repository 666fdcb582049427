"""Writes SignedData with the content outside (RFC 5652 5, RFC 8551 3.5.3): digest the content, ask for one signature, write.

writer = SignatureWriter(certificates, at)
for chunk in entity: writer.update(chunk)
writer.give(sign(writer.wants))          # wants: the SignedAttributes and the mechanism
structure = writer.finalize()            # DER, what goes into smime.p7s
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import (
    AES128_CBC,
    AES256_CBC,
    AES256_GCM,
    CONTENT_TYPE,
    DATA,
    HASHES,
    MESSAGE_DIGEST,
    SIGNED_DATA,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    SMIME_CAPABILITIES,
    digest_identifier,
    mechanism_for,
    signature_identifier,
)
from gateway.smime.certificate import identified, own_key
from gateway.smime.keys import Digest, Mechanism, digest_of

_DIRECTORY_NAME: Final = der.CONTEXT_CONSTRUCTED + 4  # GeneralName, RFC 5280 4.2.1.6
# What may be sent to us, best first (RFC 8551 2.5.2)
_CAPABILITIES: Final = der.sequence(*(der.sequence(der.oid(cipher)) for cipher in (AES256_GCM, AES256_CBC, AES128_CBC)))


@dataclass(frozen=True, slots=True)
class NeedSignature:
    """Sign this: the DER of SignedAttributes as a SET."""

    to_be_signed: bytes
    mechanism: Mechanism


class SignatureWriter:
    """One signer's detached SignedData. ``certificates`` are DER: the signer's own first, then those above it that readers need.

    ``at`` is the signing time in microseconds UTC.
    """

    def __init__(self, certificates: Sequence[bytes], at: int, mechanism: Mechanism | None = None) -> None:
        if not certificates:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "no certificate to sign with")
        self._certificates = tuple(certificates)
        self._key = own_key(certificates[0])
        self.mechanism = mechanism or mechanism_for(self._key)
        self._at = at
        self._hash = hashlib.new(self.digest)
        self._attributes = b""
        self._signature: bytes | None = None

    @property
    def digest(self) -> Digest:
        """What the content is digested with."""
        return digest_of(self.mechanism)

    @property
    def message_digest(self) -> bytes:
        """The digest of what was given to ``update``."""
        return self._hash.digest()

    def update(self, data: bytes) -> None:
        """The next bytes of the content."""
        self._hash.update(data)

    @property
    def wants(self) -> NeedSignature | None:
        """The signature to be made over all that was given; None once it was."""
        if self._signature is not None:
            return None
        if not self._attributes:
            self._attributes = signed_attributes(self._hash.digest(), self._certificates[0], self._at)
        return NeedSignature(self._attributes, self.mechanism)

    def give(self, signature: bytes) -> None:
        """The answer to ``wants``."""
        self._signature = signature

    def finalize(self) -> bytes:
        """The ContentInfo, read back first. Raises :class:`GatewayError` (OWN_WORK_WRONG) where the certificate's key does not
        verify what was written, or it is not about the content that was given.
        """
        digest = digest_identifier(self.digest)
        signer_info = der.sequence(
            der.integer(1),
            identified(self._certificates[0]).issuer_and_serial,
            digest,
            bytes((der.CONTEXT_CONSTRUCTED + 0,)) + self._attributes[1:],  # signed as a SET, written as [0] IMPLICIT
            signature_identifier(self.mechanism),
            der.octet_string(self._signature or b""),
        )
        signed_data = der.sequence(
            der.integer(1),
            der.set_of(digest),
            der.sequence(der.oid(DATA)),
            der.set_of(*self._certificates, tag=der.CONTEXT_CONSTRUCTED + 0),
            der.set_of(signer_info),
        )
        written = der.sequence(der.oid(SIGNED_DATA), der.element(der.CONTEXT_CONSTRUCTED + 0, signed_data))
        self._check(written)
        return written

    def _check(self, written: bytes) -> None:
        """The attributes as written were signed, by this key, and hold the digest of what was given."""
        _, wrapped = der.read(written)
        *_, signer_infos = next(iter(wrapped))
        _, _, _, attributes, _, signature = next(iter(signer_infos))
        as_set = bytes((der.SET,)) + attributes.raw[1:]
        verify(self._key, as_set, signature.content, self.mechanism)
        if written_digest(as_set) != self._hash.digest():
            raise GatewayError(Reason.OWN_WORK_WRONG, "messageDigest is not the digest of the content")


def signed_attributes(digest: bytes, certificate: bytes, at: int) -> bytes:
    """The SignedAttributes of RFC 8551 2.5 and RFC 5035 over content of this ``digest``, as the DER of a SET."""
    return der.set_of(
        _attribute(CONTENT_TYPE, der.oid(DATA)),
        _attribute(MESSAGE_DIGEST, der.octet_string(digest)),
        _attribute(SIGNING_TIME, der.time(at)),
        _signing_certificate(certificate),
        _attribute(SMIME_CAPABILITIES, _CAPABILITIES),
    )


@lru_cache(maxsize=1024)
def _signing_certificate(certificate: bytes) -> bytes:
    signer = identified(certificate)
    # ESSCertIDv2 (RFC 5035 4): SHA-256 is its default and therefore left out
    general_names = der.sequence(der.element(_DIRECTORY_NAME, signer.issuer))
    identifier = der.sequence(der.octet_string(hashlib.sha256(certificate).digest()), der.sequence(general_names, signer.serial))
    return _attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(identifier)))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(value))


def written_digest(attributes: bytes) -> bytes | None:
    """The messageDigest in the DER of SignedAttributes; None where there is not exactly one."""
    wanted = der.oid(MESSAGE_DIGEST)
    found = [attribute for attribute in der.read(attributes) if attributes.startswith(wanted, attribute.inside)]
    if len(found) != 1:
        return None
    _, values = found[0]
    return der.read(values.content).content


def verify(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, attributes: bytes, signature: bytes, mechanism: Mechanism) -> None:
    """Returns when ``signature`` over ``attributes`` verifies. Raises :class:`GatewayError` (OWN_WORK_WRONG) otherwise."""
    digest = HASHES[digest_of(mechanism)]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, attributes, ec.ECDSA(digest))
        elif mechanism.startswith("rsa-pss"):
            key.verify(signature, attributes, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        else:
            key.verify(signature, attributes, padding.PKCS1v15(), digest)
    except InvalidSignature as error:
        raise GatewayError(Reason.OWN_WORK_WRONG, "our signature does not verify with our certificate") from error
