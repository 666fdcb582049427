"""What we understand of the algorithms others use, by their object identifiers. What is too weak says so (RFC 8551 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.algorithms import (
    AES128_CBC,
    AES128_GCM,
    AES128_WRAP,
    AES256_CBC,
    AES256_GCM,
    AES256_WRAP,
    DIGESTS,
    ECDH_SHA256,
    ECDH_SHA384,
    ECDH_SHA512,
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    MGF1,
    RSA_ENCRYPTION,
    RSA_OAEP,
    RSA_PSS,
    RSA_SHA256,
    RSA_SHA384,
    RSA_SHA512,
)
from gateway.smime.ber import CmsError, malformed
from gateway.smime.cms import CONTEXT_0, CONTEXT_1, CONTEXT_2, Algorithm, parts_of, read_algorithm
from gateway.smime.keys import Digest

SHA1: Final = "1.3.14.3.2.26"
P_SPECIFIED: Final = "1.2.840.113549.1.1.9"

_WEAK: Final = {
    der.oid(dotted): name
    for dotted, name in (
        (SHA1, "sha1"),
        ("1.2.840.113549.2.5", "md5"),
        ("1.2.840.113549.2.2", "md2"),
        ("1.2.840.113549.1.1.5", "rsa-sha1"),
        ("1.3.14.3.2.29", "rsa-sha1"),
        ("1.2.840.113549.1.1.4", "rsa-md5"),
        ("1.2.840.10045.4.1", "ecdsa-sha1"),
        ("1.2.840.10040.4.3", "dsa-sha1"),
        ("1.2.840.10040.4.1", "dsa"),
        ("1.2.840.113549.3.7", "des-ede3-cbc"),
        ("1.2.840.113549.3.2", "rc2-cbc"),
        ("1.3.14.3.2.7", "des-cbc"),
    )
}


class Family(StrEnum):
    """How a signature is checked."""

    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"


@dataclass(frozen=True, slots=True)
class Content:
    """A content encryption: ``bits`` of AES; ``authenticated`` is GCM, else CBC."""

    bits: int
    authenticated: bool

    @property
    def name(self) -> str:
        """As in a verdict."""
        return f"aes{self.bits}-{'gcm' if self.authenticated else 'cbc'}"


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
        return f"{self.family}-{self.digest}"


_DIGEST_OF: Final = {der.oid(dotted): digest for digest, dotted in DIGESTS.items()}
_SIGNATURES: Final = {
    der.oid(dotted): Scheme(family, digest)
    for dotted, family, digest in (
        (RSA_SHA256, Family.RSA_PKCS1, Digest.SHA256),
        (RSA_SHA384, Family.RSA_PKCS1, Digest.SHA384),
        (RSA_SHA512, Family.RSA_PKCS1, Digest.SHA512),
        (ECDSA_SHA256, Family.ECDSA, Digest.SHA256),
        (ECDSA_SHA384, Family.ECDSA, Digest.SHA384),
        (ECDSA_SHA512, Family.ECDSA, Digest.SHA512),
    )
}
_CONTENTS: Final = {
    der.oid(dotted): Content(bits, authenticated)
    for dotted, bits, authenticated in (
        (AES128_CBC, 128, False),
        ("2.16.840.1.101.3.4.1.22", 192, False),
        (AES256_CBC, 256, False),
        (AES128_GCM, 128, True),
        ("2.16.840.1.101.3.4.1.26", 192, True),
        (AES256_GCM, 256, True),
    )
}
# Standard and cofactor Diffie-Hellman agree on the curves we allow, whose cofactor is 1 (RFC 5753 7.1.4). SHA-1 is not used
# for its resistance to collisions here, and is what `openssl cms` uses unless told otherwise.
_AGREEMENTS: Final = {
    der.oid(dotted): digest
    for dotted, digest in (
        ("1.3.133.16.840.63.0.2", Digest.SHA1),
        ("1.3.133.16.840.63.0.3", Digest.SHA1),
        (ECDH_SHA256, Digest.SHA256),
        (ECDH_SHA384, Digest.SHA384),
        (ECDH_SHA512, Digest.SHA512),
        ("1.3.132.1.14.1", Digest.SHA256),
        ("1.3.132.1.14.2", Digest.SHA384),
        ("1.3.132.1.14.3", Digest.SHA512),
    )
}
_WRAPS: Final = {der.oid(AES128_WRAP): 16, der.oid("2.16.840.1.101.3.4.1.25"): 24, der.oid(AES256_WRAP): 32}


def dotted(oid: bytes) -> str:
    """The dotted form of a DER OBJECT IDENTIFIER, for people."""
    numbers, number = [], 0
    for byte in der.read(oid).content[:64]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(str(part) for part in (first, numbers[0] - 40 * first, *numbers[1:])) if numbers else ""


def unknown(algorithm: Algorithm, use: str) -> CmsError:
    """The error for an algorithm we do not use: WEAK_ALGORITHM where it is known to be too weak, else UNSUPPORTED."""
    weak = _WEAK.get(algorithm.oid)
    if weak:
        return CmsError(Reason.WEAK_ALGORITHM, f"{use} {weak}")
    return CmsError(Reason.UNSUPPORTED, f"{use} {dotted(algorithm.oid)}")


def digest_of(algorithm: Algorithm) -> Digest:
    """A digest for signatures. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    if algorithm.oid not in _DIGEST_OF:
        raise unknown(algorithm, "digest")
    return _DIGEST_OF[algorithm.oid]


def scheme_of(digest: Algorithm, signature: Algorithm) -> Scheme:
    """How a signature is checked. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED).

    A signature algorithm that names a digest must name that of the SignerInfo.
    """
    content_digest = digest_of(digest)
    if signature.oid == der.oid(RSA_ENCRYPTION):
        return Scheme(Family.RSA_PKCS1, content_digest)
    scheme = _pss(signature) if signature.oid == der.oid(RSA_PSS) else _SIGNATURES.get(signature.oid)
    if scheme is None:
        raise unknown(signature, "signature")
    if scheme.digest is not content_digest:
        raise CmsError(Reason.UNSUPPORTED, "content and attributes digested in two ways")
    return scheme


def content_of(algorithm: Algorithm) -> Content:
    """A content encryption. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    if algorithm.oid not in _CONTENTS:
        raise unknown(algorithm, "content encryption")
    return _CONTENTS[algorithm.oid]


def agreement_of(algorithm: Algorithm) -> tuple[Digest, int, bytes]:
    """Of a key agreement: the digest of its KDF, the size of the key-wrap key in bytes, the AlgorithmIdentifier of the key wrap.

    Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED).
    """
    if algorithm.oid not in _AGREEMENTS:
        raise unknown(algorithm, "key agreement")
    if algorithm.parameters is None:
        raise malformed("a key agreement without a key wrap")
    wrap = read_algorithm(der.read(algorithm.parameters))
    if wrap.oid not in _WRAPS:
        raise unknown(wrap, "key wrap")
    return _AGREEMENTS[algorithm.oid], _WRAPS[wrap.oid], wrap.raw


def oaep_of(algorithm: Algorithm) -> tuple[Digest, Digest, bytes]:
    """Of RSAES-OAEP (RFC 8017 A.2.1): digest, digest of the mask, label. Raises :class:`CmsError` (UNSUPPORTED, MALFORMED)."""
    fields = _fields(algorithm)
    label = b""
    if CONTEXT_2 in fields:
        source = read_algorithm(fields[CONTEXT_2])
        if source.oid != der.oid(P_SPECIFIED) or source.parameters is None:
            raise malformed("a label of OAEP")
        label = der.read(source.parameters).content
    return _oaep_digest(fields.get(CONTEXT_0)), _mask(fields.get(CONTEXT_1), _oaep_digest), label


def is_oaep(algorithm: Algorithm) -> bool:
    """Whether a key is transported by RSAES-OAEP."""
    return algorithm.oid == der.oid(RSA_OAEP)


def is_pkcs1(algorithm: Algorithm) -> bool:
    """Whether a key is transported by RSAES-PKCS1-v1_5."""
    return algorithm.oid == der.oid(RSA_ENCRYPTION)


def _pss(algorithm: Algorithm) -> Scheme:
    """RSASSA-PSS (RFC 4056 2.2). Its defaults are SHA-1, and so too weak."""
    fields = _fields(algorithm)
    digest, mask, salt = fields.get(CONTEXT_0), fields.get(CONTEXT_1), fields.get(CONTEXT_2)
    if digest is None or mask is None:
        raise CmsError(Reason.WEAK_ALGORITHM, "signature rsa-pss-sha1")
    length = 20 if salt is None else int.from_bytes(salt.content[:4], signed=True)
    if not 0 <= length <= 512:
        raise malformed("a salt of PSS")
    return Scheme(
        Family.RSA_PSS, digest_of(read_algorithm(digest)), _mask(mask, lambda item: digest_of(read_algorithm(item))), length
    )


def _fields(algorithm: Algorithm) -> dict[int, der.Element]:
    """Parameters that are a SEQUENCE of fields [n] EXPLICIT, each at most once: identifier to the element inside."""
    if algorithm.parameters is None:
        return {}
    fields: dict[int, der.Element] = {}
    for field in parts_of(der.read(algorithm.parameters), der.SEQUENCE, 0, 4):
        (inside,) = parts_of(field, field.tag | 0x20, 1, 1)
        if field.tag in fields:
            raise malformed("a parameter given twice")
        fields[field.tag] = inside
    return fields


def _mask(item: der.Element | None, read: Callable[[der.Element], Digest]) -> Digest:
    """The digest of MGF1."""
    if item is None:
        return Digest.SHA1
    mask = read_algorithm(item)
    if mask.oid != der.oid(MGF1) or mask.parameters is None:
        raise CmsError(Reason.UNSUPPORTED, "a mask that is not MGF1")
    return read(der.read(mask.parameters))


def _oaep_digest(item: der.Element | None) -> Digest:
    """A digest of OAEP, where SHA-1 is the default and does no harm (RFC 8017 B.1)."""
    if item is None:
        return Digest.SHA1
    algorithm = read_algorithm(item)
    return Digest.SHA1 if algorithm.oid == der.oid(SHA1) else digest_of(algorithm)
