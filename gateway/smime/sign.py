"""Writes SignedData (RFC 5652 5): digest the content, ask for one signature, write what stands around the content or beside it.

writer = SignatureWriter(certificates, at)
for chunk in entity: writer.update(chunk)
writer.give(sign(writer.wants))          # wants: the SignedAttributes and the mechanism
structure = writer.finalize()            # detached, DER: what goes into smime.p7s
before, behind = writer.enclose()        # or opaque: what stands before and behind the content, read once more
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import DATA, SIGNED_DATA, digest_identifier, signature_identifier
from gateway.smime.certificate import identified, signing_key
from gateway.smime.keys import Digest, Mechanism, digest_of
from gateway.smime.mechanisms import mechanism_for, verify
from gateway.smime.signedattributes import signed_attributes, written_digest

_EXPLICIT: Final = der.CONTEXT_CONSTRUCTED + 0
_NO_CONTENT: Final = der.sequence(der.oid(DATA))


@dataclass(frozen=True, slots=True)
class NeedSignature:
    """Sign this: the DER of SignedAttributes as a SET."""

    to_be_signed: bytes
    mechanism: Mechanism


class SignatureWriter:
    """One signer's SignedData. ``certificates`` are DER: the signer's own first, then those above it that readers need.

    ``at`` is the signing time in microseconds UTC. ``mechanism`` None: the one of the signer's key. ``preference`` (DER) is the
    certificate that answers are to be encrypted to; it travels with the others. Raises :class:`GatewayError`: KEY_UNAVAILABLE for
    no certificate, WEAK_ALGORITHM or UNSUPPORTED for its key.
    """

    def __init__(
        self, certificates: Sequence[bytes], at: int, mechanism: Mechanism | None = None, preference: bytes | None = None
    ) -> None:
        if not certificates:
            raise GatewayError(Reason.KEY_UNAVAILABLE, "no certificate to sign with")
        self._certificate = certificates[0]
        self._certificates = tuple(dict.fromkeys(certificates if preference is None else (*certificates, preference)))
        self._key = signing_key(certificates[0])
        self._preference = preference
        self.mechanism = mechanism_for(certificates[0], mechanism)
        self._at = at
        self._hash = hashlib.new(self.digest)
        self._size = 0
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
        self._size += len(data)

    @property
    def wants(self) -> NeedSignature | None:
        """The signature to be made over all that was given; None once it was."""
        if self._signature is not None:
            return None
        if not self._attributes:
            self._attributes = signed_attributes(self._hash.digest(), self._certificate, self._at, self._preference)
        return NeedSignature(self._attributes, self.mechanism)

    def give(self, signature: bytes) -> None:
        """The answer to ``wants``."""
        self._signature = signature

    def finalize(self) -> bytes:
        """The ContentInfo with the content outside (RFC 8551 3.5.3), read back first. Raises :class:`GatewayError` (OWN_WORK_WRONG)
        where the certificate's key does not verify what was written, or it is not about the content that was given.
        """
        signed_data = der.sequence(_opening(self.digest), _NO_CONTENT, self._closing())
        return der.sequence(der.oid(SIGNED_DATA), der.element(_EXPLICIT, signed_data))

    def enclose(self) -> tuple[bytes, bytes]:
        """The ContentInfo with the content inside (RFC 8551 3.5.2): what stands before the bytes that were given, and behind them.

        Raises as :meth:`finalize`.
        """
        behind, left = self._closing(), self._size
        written = der.head(der.OCTET_STRING, left)
        written = der.oid(DATA) + der.head(_EXPLICIT, len(written) + left) + written
        written = _opening(self.digest) + der.head(der.SEQUENCE, len(written) + left) + written
        left += len(behind)
        written = der.head(der.SEQUENCE, len(written) + left) + written
        written = der.oid(SIGNED_DATA) + der.head(_EXPLICIT, len(written) + left) + written
        return der.head(der.SEQUENCE, len(written) + left) + written, behind

    def _closing(self) -> bytes:
        """SignedData behind its content: certificates, signerInfos. Read back."""
        signer_info = der.sequence(
            _who_signs(self._certificate, self.digest),
            bytes((_EXPLICIT,)) + self._attributes[1:],  # signed as a SET, written as [0] IMPLICIT
            signature_identifier(self.mechanism),
            der.octet_string(self._signature or b""),
        )
        self._check(signer_info)
        return _set_of_certificates(self._certificates) + der.set_of(signer_info)

    def _check(self, signer_info: bytes) -> None:
        """The attributes as written were signed, by this key, and hold the digest of what was given."""
        _, _, _, attributes, _, signature = der.read(signer_info).items()
        as_set = bytes((der.SET,)) + attributes[1:]
        verify(self._key, as_set, der.read(signature).content, self.mechanism)
        if written_digest(as_set) != self._hash.digest():
            raise GatewayError(Reason.OWN_WORK_WRONG, "messageDigest is not the digest of the content")


@lru_cache
def _opening(digest: Digest) -> bytes:
    """SignedData before its content: version, digestAlgorithms."""
    return der.integer(1) + der.set_of(digest_identifier(digest))


@lru_cache(maxsize=1024)
def _who_signs(certificate: bytes, digest: Digest) -> bytes:
    """What of a SignerInfo is the same in every mail, before its attributes: version, who, digestAlgorithm."""
    return der.integer(1) + identified(certificate).issuer_and_serial + digest_identifier(digest)


@lru_cache(maxsize=1024)
def _set_of_certificates(certificates: tuple[bytes, ...]) -> bytes:
    """CertificateSet."""
    return der.set_of(*certificates, tag=_EXPLICIT)
