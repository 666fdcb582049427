"""Which of our keys opens a layer, and the content ciphers (RFC 3565, 5084).

Whatever goes wrong behind the private key (padding, tag, structure) is one reason, INTEGRITY, so that nobody learns which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.ber import CmsError, integrity, malformed
from gateway.smime.ccm import CcmDecryptor
from gateway.smime.certificate import agreement_algorithm, identified, readable_key
from gateway.smime.cms import Agreed, Algorithm, CertificateId, Kind, RecipientInfo, Transported, parts_of
from gateway.smime.gcm import GcmDecryptor
from gateway.smime.keys import Ecdh, Kdf, Oaep, Pkcs1, WrappedKey
from gateway.smime.known import BlockCipher, Content, Mode, Strength, agreement_of, content_of, is_oaep, is_pkcs1, oaep_of, unknown
from gateway.smime.rc2 import Rc2Cbc

BLOCK: Final = 16
NONCES_GCM: Final = range(8, 129)  # bytes, which the library takes; RFC 5084 3.2 recommends 12 and allows any number
MIN_TAG: Final = 12
NONCES_CCM: Final = range(7, 14)  # bytes (RFC 5084 2.1)
TAGS_CCM: Final = (8, 10, 12, 14, 16)  # bytes; the RFC has 4 and 6 too, which prove too little
MAX_WRAPPED: Final = 2048  # bytes of a wrapped key: more than the largest RSA modulus


@dataclass(frozen=True, slots=True)
class NeedUnwrap:
    """Unwrap this content-encryption key with our private key of this name."""

    key: str
    wrapped: WrappedKey


@dataclass(frozen=True, slots=True)
class Sealed:
    """How content is encrypted. ``vector`` is that of CBC, or the nonce; ``tag_length`` in bytes, 0 for CBC."""

    content: Content
    vector: bytes
    tag_length: int


def need_unwrap(recipients: tuple[RecipientInfo, ...], keys: Mapping[str, bytes], sealed: Sealed, strength: Strength) -> NeedUnwrap:
    """The first recipient that is one of ours. ``keys`` maps the names of our keys to their certificates (DER), best first.

    Raises :class:`CmsError`: NO_KEY, or what is wrong with the one recipient that is ours.
    """
    length = sealed.content.bits // 8
    fault: GatewayError | None = None
    for name, certificate, recipient in _ours(recipients, keys):
        try:
            return NeedUnwrap(name, _wrapped(recipient, certificate, length, strength))
        except GatewayError as error:
            fault = error
    raise fault or CmsError(Reason.NO_KEY, "encrypted to no key of ours")


def _ours(recipients: tuple[RecipientInfo, ...], keys: Mapping[str, bytes]) -> Iterator[tuple[str, bytes, Transported | Agreed]]:
    """The recipients that name a certificate of ours, in the order of our keys."""
    for name, certificate in keys.items():
        names = names_of(certificate)
        for recipient in recipients:
            if isinstance(recipient, Transported | Agreed) and recipient.reader in names:
                yield name, certificate, recipient


@lru_cache(maxsize=4096)
def names_of(certificate: bytes) -> tuple[CertificateId, ...]:
    """How CMS may name this certificate (DER). Raises :class:`gateway.outcome.GatewayError` where it cannot be read."""
    by_serial = CertificateId(issuer_and_serial=identified(certificate).issuer_and_serial)
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        identifier = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except Exception:  # no such extension, or one of the many ways in which a library says that it cannot read
        return (by_serial,)
    return (by_serial, CertificateId(key_identifier=identifier))


def _wrapped(recipient: Transported | Agreed, certificate: bytes, length: int, strength: Strength) -> WrappedKey:
    """The wrapped key in the form the key agent takes.

    Raises :class:`gateway.outcome.GatewayError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED).
    """
    key = readable_key(certificate, strength)
    if len(recipient.wrapped) > MAX_WRAPPED:
        raise malformed("a wrapped key longer than any key")
    if isinstance(recipient, Agreed):
        if not isinstance(key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey) or recipient.point is None:
            raise CmsError(Reason.UNSUPPORTED, "key agreement without a public key, or with a key that cannot agree")
        return _agreed(recipient, recipient.point, identified(certificate).spki, length, strength)
    if not isinstance(key, rsa.RSAPublicKey):
        raise malformed("key transport with a key that is not RSA")
    if is_pkcs1(recipient.algorithm):
        return Pkcs1(recipient.wrapped, length)
    if is_oaep(recipient.algorithm):
        digest, mask, label = oaep_of(recipient.algorithm)
        return Oaep(recipient.wrapped, length, digest, mask, label)
    raise unknown(recipient.algorithm, "key transport")


def _agreed(recipient: Agreed, point: bytes, spki: bytes, length: int, strength: Strength) -> Ecdh:
    agreement = agreement_of(recipient.algorithm, strength)
    material = b"" if recipient.material is None else der.element(der.CONTEXT_CONSTRUCTED, der.octet_string(recipient.material))
    bits = der.octet_string((agreement.wrap_length * 8).to_bytes(4))
    # RFC 5753 7.2
    shared_info = der.sequence(agreement.identifier, material, der.element(der.CONTEXT_CONSTRUCTED + 2, bits))
    return Ecdh(
        recipient.wrapped,
        length,
        # The originator's key has the recipient's parameters, and often does not say so (RFC 5753 3.1.1).
        der.sequence(agreement_algorithm(spki), point),
        agreement.digest,
        shared_info,
        agreement.wrap_length,
        agreement.kdf,
        agreement.wrap,
        (recipient.material or b"") if agreement.kdf is Kdf.HKDF else b"",
    )


_CIPHERS: Final[dict[BlockCipher, Callable[[bytes], BlockCipherAlgorithm]]] = {
    BlockCipher.AES: AES,
    BlockCipher.TRIPLE_DES: TripleDES,
    BlockCipher.RC2: RC2,
}


class CbcDecryptor:
    """A block cipher in CBC with PKCS #7 padding. What :meth:`finalize` takes does not exist here."""

    def __init__(self, content: Content, key: bytes, vector: bytes) -> None:
        self._cipher: CipherContext | Rc2Cbc
        if content.cipher is BlockCipher.RC2 and content.bits < 128:
            self._cipher = Rc2Cbc(key, content.bits, vector)
        else:
            self._cipher = Cipher(_CIPHERS[content.cipher](key), CBC(vector)).decryptor()
        self._padding = PKCS7(content.block * 8).unpadder()

    def update(self, data: bytes) -> bytes:
        """Plaintext that is ready."""
        return self._padding.update(self._cipher.update(data))

    def finalize(self, tag: bytes | None, attributes: bytes = b"") -> bytes:
        """The last of the plaintext. Raises :class:`CmsError` (INTEGRITY)."""
        try:
            last = self._padding.update(self._cipher.finalize()) + self._padding.finalize()
        except ValueError as error:
            raise integrity() from error
        if tag is not None or attributes:
            raise integrity()
        return last


class Unopened:
    """Takes encrypted content for which there is no key, and only measures it: what no cipher could have written is found out."""

    def __init__(self, sealed: Sealed) -> None:
        self._block = sealed.content.block
        self._tag_length = sealed.tag_length
        self._size = 0

    def update(self, data: bytes) -> bytes:
        """Nothing."""
        self._size += len(data)
        return b""

    def finalize(self, tag: bytes | None, _attributes: bytes = b"") -> bytes:
        """Nothing. Raises :class:`CmsError` (MALFORMED) for a length that is none of this cipher."""
        whole = self._size > 0 and (self._tag_length > 0 or self._size % self._block == 0)  # CBC pads to whole blocks
        if not whole or len(tag or b"") != self._tag_length:
            raise malformed("encrypted content of a length that cannot be")
        return b""


Decryptor = CbcDecryptor | GcmDecryptor | CcmDecryptor | Unopened


def sealed_by(algorithm: Algorithm, kind: Kind, strength: Strength) -> Sealed:
    """What a content encryption says of itself. Raises :class:`CmsError` (WEAK_ALGORITHM, UNSUPPORTED, MALFORMED)."""
    content = content_of(algorithm, strength)
    if content.authenticated != (kind is Kind.AUTHENVELOPED):
        raise malformed("a content encryption of the other kind")
    if algorithm.parameters is None:
        raise malformed("a content encryption without parameters")
    parameters = der.read(algorithm.parameters)
    if not content.authenticated:
        # RC2CBCParameter has the vector behind the number of effective bits (RFC 2268 6)
        vector = tuple(parameters)[1] if content.cipher is BlockCipher.RC2 else parameters
        if vector.tag != der.OCTET_STRING or len(vector.content) != content.block:
            raise malformed("an initialization vector")
        return Sealed(content, vector.content, 0)
    nonce, *length = parts_of(parameters, der.SEQUENCE, 1, 2)
    tag_length = int.from_bytes(length[0].content[:2]) if length else MIN_TAG
    nonces, tags = (NONCES_CCM, TAGS_CCM) if content.mode is Mode.CCM else (NONCES_GCM, range(MIN_TAG, BLOCK + 1))
    if nonce.tag != der.OCTET_STRING or not nonce.content or tag_length not in tags:
        raise malformed("the parameters of GCM or CCM")
    if len(nonce.content) not in nonces:
        raise CmsError(Reason.UNSUPPORTED, "a nonce of an unusual length")
    return Sealed(content, nonce.content, tag_length)


def decryptor(sealed: Sealed, key: bytes, size: int | None) -> Decryptor:
    """A decryptor under the unwrapped ``key`` of content of ``size`` bytes, where that is known.

    Raises :class:`CmsError` (MALFORMED, INTEGRITY).
    """
    if len(key) * 8 != sealed.content.bits:
        raise integrity()
    match sealed.content.mode:
        case Mode.CCM:
            return CcmDecryptor(key, sealed.vector, sealed.tag_length, size)
        case Mode.GCM:
            return GcmDecryptor(key, sealed.vector, sealed.tag_length)
        case _:
            return CbcDecryptor(sealed.content, key, sealed.vector)
