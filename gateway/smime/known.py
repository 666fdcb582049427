"""What we understand of the algorithms others use, by their object identifiers. What is too weak says so (RFC 8551 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    ECDH_HKDF_SHA256,
    ECDH_SHA256,
    ECDH_SHA384,
    ECDH_SHA512,
    MGF1,
    RSA_ENCRYPTION,
    RSA_OAEP,
)
from gateway.smime.ber import CmsError, malformed
from gateway.smime.cms import CONTEXT_0, CONTEXT_1, CONTEXT_2, Algorithm, parts_of, read_algorithm
from gateway.smime.keys import Digest, Kdf, Wrap

SHA1: Final = "1.3.14.3.2.26"
SHA224: Final = "2.16.840.1.101.3.4.2.4"
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
        ("2.16.840.1.101.3.4.3.1", "dsa-sha224"),
        ("2.16.840.1.101.3.4.3.2", "dsa-sha256"),
        ("1.2.840.113549.3.7", "des-ede3-cbc"),
        ("1.2.840.113549.1.9.16.3.6", "des-ede3-wrap"),
        ("1.2.840.113549.3.2", "rc2-cbc"),
        ("1.3.14.3.2.7", "des-cbc"),
    )
}


class Strength(StrEnum):
    """How weak what others sent may be to be read at all. However it is read, what is weak proves nothing."""

    MODERN = "modern"
    LEGACY = "legacy"


class BlockCipher(StrEnum):
    """A block cipher of content."""

    AES = "aes"
    TRIPLE_DES = "des-ede3"
    RC2 = "rc2"


class Mode(StrEnum):
    """How a block cipher encrypts content."""

    CBC = "cbc"
    GCM = "gcm"
    CCM = "ccm"


@dataclass(frozen=True, slots=True)
class Content:
    """A content encryption: ``bits`` of its key are the effective ones."""

    bits: int
    mode: Mode = Mode.CBC
    cipher: BlockCipher = BlockCipher.AES

    @property
    def authenticated(self) -> bool:
        """Whether a tag proves it."""
        return self.mode is not Mode.CBC

    @property
    def weak(self) -> bool:
        """Whether only the legacy allowance opens it."""
        return self.cipher is not BlockCipher.AES

    @property
    def block(self) -> int:
        """Bytes of a block, and of the vector of CBC."""
        return 8 if self.weak else 16

    @property
    def name(self) -> str:
        """As in a verdict."""
        bits = "" if self.weak else self.bits
        return f"{self.cipher}{bits}-{self.mode}"


SHA2: Final = {der.oid(dotted): digest for digest, dotted in DIGESTS.items()} | {der.oid(SHA224): Digest.SHA224}
"""The digests of RFC 5754, by identifier."""

CONTENTS: Final = {
    der.oid(dotted): Content(bits, mode)
    for dotted, bits, mode in (
        (AES256_GCM, 256, Mode.GCM),
        ("2.16.840.1.101.3.4.1.26", 192, Mode.GCM),
        (AES128_GCM, 128, Mode.GCM),
        ("2.16.840.1.101.3.4.1.47", 256, Mode.CCM),
        ("2.16.840.1.101.3.4.1.27", 192, Mode.CCM),
        ("2.16.840.1.101.3.4.1.7", 128, Mode.CCM),
        (AES256_CBC, 256, Mode.CBC),
        ("2.16.840.1.101.3.4.1.22", 192, Mode.CBC),
        (AES128_CBC, 128, Mode.CBC),
    )
}
"""The content encryptions that are opened always, by identifier, best first."""

_LEGACY_CONTENTS: Final = {
    der.oid("1.2.840.113549.3.7"): Content(192, cipher=BlockCipher.TRIPLE_DES),
    der.oid("1.2.840.113549.3.2"): Content(128, cipher=BlockCipher.RC2),
}
_RC2_VERSIONS: Final = {160: 40, 120: 64, 58: 128}
# Standard and cofactor Diffie-Hellman agree on the curves we allow, whose cofactor is 1 (RFC 5753 7.1.4). SHA-1 is not used for
# its resistance to collisions here, and is what `openssl cms` uses unless told otherwise.
_AGREEMENTS: Final = {
    der.oid(dotted): (kdf, digest)
    for dotted, kdf, digest in (
        ("1.3.133.16.840.63.0.2", Kdf.X963, Digest.SHA1),
        ("1.3.133.16.840.63.0.3", Kdf.X963, Digest.SHA1),
        ("1.3.132.1.11.0", Kdf.X963, Digest.SHA224),
        (ECDH_SHA256, Kdf.X963, Digest.SHA256),
        (ECDH_SHA384, Kdf.X963, Digest.SHA384),
        (ECDH_SHA512, Kdf.X963, Digest.SHA512),
        ("1.3.132.1.14.0", Kdf.X963, Digest.SHA224),
        ("1.3.132.1.14.1", Kdf.X963, Digest.SHA256),
        ("1.3.132.1.14.2", Kdf.X963, Digest.SHA384),
        ("1.3.132.1.14.3", Kdf.X963, Digest.SHA512),
        (ECDH_HKDF_SHA256, Kdf.HKDF, Digest.SHA256),
        ("1.2.840.113549.1.9.16.3.20", Kdf.HKDF, Digest.SHA384),
        ("1.2.840.113549.1.9.16.3.21", Kdf.HKDF, Digest.SHA512),
    )
}
WRAPS: Final = {
    der.oid(AES256_WRAP): (Wrap.AES, 32),
    der.oid("2.16.840.1.101.3.4.1.25"): (Wrap.AES, 24),
    der.oid(AES128_WRAP): (Wrap.AES, 16),
}
"""The key wraps that are opened always, by identifier, best first."""

_LEGACY_WRAPS: Final = {der.oid("1.2.840.113549.1.9.16.3.6"): (Wrap.TRIPLE_DES, 24)}


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


def content_named(oid: bytes) -> Content | None:
    """The content encryption of this identifier (DER), however weak; None where it is none that we know."""
    return CONTENTS.get(oid) or _LEGACY_CONTENTS.get(oid)


def content_of(algorithm: Algorithm, strength: Strength) -> Content:
    """A content encryption. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    found = CONTENTS.get(algorithm.oid)
    if found is None and strength is Strength.LEGACY:
        found = _LEGACY_CONTENTS.get(algorithm.oid)
    if found is None:
        raise unknown(algorithm, "content encryption")
    return replace(found, bits=_rc2_bits(algorithm)) if found.cipher is BlockCipher.RC2 else found


def _rc2_bits(algorithm: Algorithm) -> int:
    """The effective bits of the key, for which RC2CBCParameter has a number (RFC 2268 6)."""
    if algorithm.parameters is None:
        raise malformed("a content encryption without parameters")
    version, _ = parts_of(der.read(algorithm.parameters), der.SEQUENCE, 2, 2)
    bits = _RC2_VERSIONS.get(int.from_bytes(version.content[:4]))
    if bits is None:
        raise CmsError(Reason.UNSUPPORTED, "RC2 with a key of an unusual length")
    return bits


@dataclass(frozen=True, slots=True)
class Agreement:
    """A key agreement. ``wrap_length``: bytes of the key-wrap key; ``identifier``: AlgorithmIdentifier of the key wrap (DER)."""

    kdf: Kdf
    digest: Digest
    wrap: Wrap
    wrap_length: int
    identifier: bytes


def agreement_of(algorithm: Algorithm, strength: Strength) -> Agreement:
    """A key agreement. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED)."""
    if algorithm.oid not in _AGREEMENTS:
        raise unknown(algorithm, "key agreement")
    if algorithm.parameters is None:
        raise malformed("a key agreement without a key wrap")
    wrap = read_algorithm(der.read(algorithm.parameters))
    found = WRAPS.get(wrap.oid)
    if found is None and strength is Strength.LEGACY:
        found = _LEGACY_WRAPS.get(wrap.oid)
    if found is None:
        raise unknown(wrap, "key wrap")
    return Agreement(*_AGREEMENTS[algorithm.oid], *found, wrap.raw)


def oaep_of(algorithm: Algorithm) -> tuple[Digest, Digest, bytes]:
    """Of RSAES-OAEP (RFC 8017 A.2.1): digest, digest of the mask, label. Raises :class:`CmsError` (UNSUPPORTED, MALFORMED)."""
    fields = fields_of(algorithm)
    if fields.keys() - {CONTEXT_0, CONTEXT_1, CONTEXT_2}:
        raise malformed("a parameter of OAEP that there is not")
    label = b""
    if CONTEXT_2 in fields:
        source = read_algorithm(fields[CONTEXT_2])
        given = der.read(source.parameters or der.NULL)
        if source.oid != der.oid(P_SPECIFIED) or given.tag != der.OCTET_STRING:
            raise malformed("a label of OAEP")
        label = given.content
    return _oaep_digest(fields.get(CONTEXT_0)), mask_of(fields.get(CONTEXT_1), _oaep_digest), label


def is_oaep(algorithm: Algorithm) -> bool:
    """Whether a key is transported by RSAES-OAEP."""
    return algorithm.oid == der.oid(RSA_OAEP)


def is_pkcs1(algorithm: Algorithm) -> bool:
    """Whether a key is transported by RSAES-PKCS1-v1_5."""
    return algorithm.oid == der.oid(RSA_ENCRYPTION)


def fields_of(algorithm: Algorithm) -> dict[int, der.Element]:
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


def mask_of(item: der.Element | None, read: Callable[[der.Element], Digest]) -> Digest:
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
    return any_digest(read_algorithm(item))


def any_digest(algorithm: Algorithm) -> Digest:
    """A digest where collisions do no harm, so that SHA-1 will do. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED)."""
    if algorithm.oid == der.oid(SHA1):
        return Digest.SHA1
    if algorithm.oid not in SHA2:
        raise unknown(algorithm, "digest")
    return SHA2[algorithm.oid]
