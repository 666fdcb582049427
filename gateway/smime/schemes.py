"""How a signature of others is checked, by its object identifiers (RFC 3370, 4056, 5754, 5758, 8419)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    ID_ECDH,
    RSA_ENCRYPTION,
    RSA_PSS,
    RSA_SHA256,
    RSA_SHA384,
    RSA_SHA512,
)
from gateway.smime.ber import CmsError, malformed
from gateway.smime.cms import CONTEXT_0, CONTEXT_1, CONTEXT_2, CONTEXT_3, Algorithm, parts_of, read_algorithm
from gateway.smime.keys import Digest
from gateway.smime.known import SHA1, SHA2, Strength, fields_of, mask_of, unknown

_WEAK_DIGESTS: Final = {der.oid(SHA1): Digest.SHA1, der.oid("1.2.840.113549.2.5"): Digest.MD5}


class Family(StrEnum):
    """The mathematics of a signature."""

    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"
    DSA = "dsa"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A signature algorithm. ``mask`` and ``salt`` (bytes) are those of PSS."""

    family: Family
    digest: Digest
    mask: Digest | None = None
    salt: int = 0

    @property
    def name(self) -> str:
        """As in a verdict."""
        return str(self.family) if self.family is Family.ED25519 else f"{self.family}-{self.digest}"

    @property
    def weak(self) -> bool:
        """Whether only the legacy allowance checks it. The mask of PSS need not resist collisions (RFC 8017 B.1)."""
        return self.family is Family.DSA or self.digest in (Digest.MD5, Digest.SHA1)


_SIGNATURES: Final = {
    der.oid(dotted): Scheme(family, digest)
    for dotted, family, digest in (
        ("1.2.840.113549.1.1.14", Family.RSA_PKCS1, Digest.SHA224),
        (RSA_SHA256, Family.RSA_PKCS1, Digest.SHA256),
        (RSA_SHA384, Family.RSA_PKCS1, Digest.SHA384),
        (RSA_SHA512, Family.RSA_PKCS1, Digest.SHA512),
        ("1.2.840.10045.4.3.1", Family.ECDSA, Digest.SHA224),
        (ECDSA_SHA256, Family.ECDSA, Digest.SHA256),
        (ECDSA_SHA384, Family.ECDSA, Digest.SHA384),
        (ECDSA_SHA512, Family.ECDSA, Digest.SHA512),
        (ED25519, Family.ED25519, Digest.SHA512),  # its attributes digest the content by SHA-512 (RFC 8419 3.1)
    )
}
_LEGACY: Final = {
    der.oid(dotted): Scheme(family, digest)
    for dotted, family, digest in (
        ("1.2.840.113549.1.1.4", Family.RSA_PKCS1, Digest.MD5),
        ("1.2.840.113549.1.1.5", Family.RSA_PKCS1, Digest.SHA1),
        ("1.3.14.3.2.29", Family.RSA_PKCS1, Digest.SHA1),
        ("1.2.840.10045.4.1", Family.ECDSA, Digest.SHA1),
        ("1.2.840.10040.4.3", Family.DSA, Digest.SHA1),
        ("2.16.840.1.101.3.4.3.1", Family.DSA, Digest.SHA224),
        ("2.16.840.1.101.3.4.3.2", Family.DSA, Digest.SHA256),
    )
}
_BY_KEY: Final = {der.oid(RSA_ENCRYPTION): Family.RSA_PKCS1, der.oid("1.2.840.10040.4.1"): Family.DSA}
"""Identifiers of a kind of key, which some write where that of the signature belongs; the digest is that of the SignerInfo."""


def digest_of(algorithm: Algorithm, strength: Strength) -> Digest:
    """A digest for signatures. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    found = SHA2.get(algorithm.oid)
    if found is None and strength is Strength.LEGACY:
        found = _WEAK_DIGESTS.get(algorithm.oid)
    if found is None:
        raise unknown(algorithm, "digest")
    return found


def scheme_of(digest: Algorithm, signature: Algorithm, strength: Strength) -> Scheme:
    """How a signature is checked. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED).

    A signature algorithm that names a digest must name that of the SignerInfo.
    """
    content_digest = digest_of(digest, strength)
    scheme = _scheme(content_digest, signature, strength)
    if scheme is None or (scheme.weak and strength is Strength.MODERN):
        raise unknown(signature, "signature")
    if scheme.digest is not content_digest:
        raise CmsError(Reason.UNSUPPORTED, "content and attributes digested in two ways")
    return scheme


def _scheme(digest: Digest, signature: Algorithm, strength: Strength) -> Scheme | None:
    if signature.oid == der.oid(RSA_PSS):
        return _pss(signature, strength)
    if signature.oid in _BY_KEY:
        return Scheme(_BY_KEY[signature.oid], digest)
    return _SIGNATURES.get(signature.oid) or _LEGACY.get(signature.oid)


@lru_cache(maxsize=4096)
def permits(spki: bytes, scheme: Scheme) -> bool:
    """Whether a key makes such signatures by what its SubjectPublicKeyInfo (DER) says: one that is id-RSASSA-PSS makes no others,
    and where it has parameters none but these, whose salt may be longer (RFC 4055 3.3); one that is id-ecDH makes none (RFC 5480
    2.1.2). Raises :class:`CmsError` (MALFORMED).
    """
    key = read_algorithm(parts_of(der.read(spki), der.SEQUENCE, 2, 2)[0])
    if key.oid != der.oid(RSA_PSS):
        return key.oid != der.oid(ID_ECDH)
    if scheme.family is not Family.RSA_PSS or key.parameters is None:
        return scheme.family is Family.RSA_PSS
    least = _pss(key, Strength.LEGACY)
    return (scheme.digest, scheme.mask) == (least.digest, least.mask) and scheme.salt >= least.salt


def _pss(algorithm: Algorithm, strength: Strength) -> Scheme:
    """RSASSA-PSS (RFC 4056 2.2), whose default is SHA-1 all through."""
    fields = fields_of(algorithm)
    given, mask = fields.get(CONTEXT_0), fields.get(CONTEXT_1)
    salt = _number(fields.get(CONTEXT_2), 20)
    if fields.keys() - {CONTEXT_0, CONTEXT_1, CONTEXT_2, CONTEXT_3} or _number(fields.get(CONTEXT_3), 1) != 1 or salt > 512:
        raise malformed("the parameters of PSS")
    if strength is Strength.MODERN and (given is None or mask is None):
        raise CmsError(Reason.WEAK_ALGORITHM, "signature rsa-pss-sha1")
    digest = Digest.SHA1 if given is None else digest_of(read_algorithm(given), strength)
    return Scheme(Family.RSA_PSS, digest, mask_of(mask, lambda item: digest_of(read_algorithm(item), strength)), salt)


def _number(item: der.Element | None, default: int) -> int:
    """A small INTEGER that is not negative."""
    if item is None:
        return default
    if item.tag != der.INTEGER or not 1 <= len(item.content) <= 2 or item.content[0] & 0x80:
        raise malformed("a number in the parameters of PSS")
    return int.from_bytes(item.content)
