"""Signed attributes that bind a signature to its certificate and its algorithms, where the signer gave them.

SigningCertificate (RFC 2634 5.4, RFC 5035) keeps another certificate with the same key from being put in the place of the signer's;
CMSAlgorithmProtection (RFC 6211) keeps the algorithms from being exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.outcome import Reason
from gateway.smime import der
from gateway.smime.algorithms import CONTENT_TYPE, DATA, SIGNING_CERTIFICATE_V2
from gateway.smime.ber import CmsError, malformed
from gateway.smime.certificate import identified
from gateway.smime.cms import CONTEXT_1, Algorithm, SignerInfo, parts_of, read_algorithm, read_attributes
from gateway.smime.keys import Digest
from gateway.smime.known import any_digest

SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
ALGORITHM_PROTECTION: Final = "1.2.840.113549.1.9.52"
MAX_NAMED: Final = 64  # certificates a signer names; the first is his own, the others those above it

_DIRECTORY_NAME: Final = der.CONTEXT_CONSTRUCTED + 4  # GeneralName, RFC 5280 4.2.1.6

Attributes = Mapping[bytes, tuple[tuple[bytes, ...], ...]]


class RepeatedError(CmsError):
    """An attribute that must be there once, with one value, is not."""

    def __init__(self, kind: str) -> None:
        super().__init__(Reason.MALFORMED, f"attribute {kind} must be there once, with one value")


def single(attributes: Attributes, kind: str) -> bytes:
    """The one value of the one attribute of this type (RFC 5652 11). Raises :class:`RepeatedError`."""
    found = attributes.get(der.oid(kind), ())
    if len(found) != 1 or len(found[0]) != 1:
        raise RepeatedError(kind)
    return found[0][0]


def read_authenticated(data: bytes) -> bytes:
    """Of authAttrs of AuthEnvelopedData (DER but for their order) what is authenticated: the DER of a SET (RFC 5083 2.2).

    A content type among them is that of a MIME entity, as no other content is read. Raises :class:`CmsError` (MALFORMED, LIMIT).
    """
    authenticated = der.set_of(*(item.raw for item in der.read(data)))
    attributes = read_attributes(authenticated)
    if not attributes or (der.oid(CONTENT_TYPE) in attributes and single(attributes, CONTENT_TYPE) != der.oid(DATA)):
        raise malformed("authenticated attributes that are none, or of another content")
    return authenticated


@dataclass(frozen=True, slots=True)
class Named:
    """What ESSCertID says of the signer's certificate: its hash, and perhaps issuer and serial number (DER)."""

    digest: Digest
    value: bytes
    issuer_and_serial: bytes | None

    def is_of(self, certificate: bytes) -> bool:
        """Whether it is ``certificate`` (DER) that is named."""
        if hashlib.new(self.digest, certificate, usedforsecurity=False).digest() != self.value:
            return False
        return self.issuer_and_serial is None or self.issuer_and_serial == identified(certificate).issuer_and_serial


def named_certificates(attributes: Attributes) -> tuple[Named, ...]:
    """Whom the signer names as himself: in SigningCertificate, in SigningCertificateV2, in both, or nowhere.

    Raises :class:`CmsError` (MALFORMED, UNSUPPORTED).
    """
    found = []
    if der.oid(SIGNING_CERTIFICATE) in attributes:
        found.append(_first(single(attributes, SIGNING_CERTIFICATE), Digest.SHA1))
    if der.oid(SIGNING_CERTIFICATE_V2) in attributes:
        found.append(_first(single(attributes, SIGNING_CERTIFICATE_V2), None))
    return tuple(found)


def _first(value: bytes, always: Digest | None) -> Named:
    """The first ESSCertID or, without a digest that it ``always`` uses, ESSCertIDv2: "the certificate of the signer" (5.4.1)."""
    certificates, *_ = parts_of(der.read(value), der.SEQUENCE, 1, 2)
    fields = list(parts_of(parts_of(certificates, der.SEQUENCE, 1, MAX_NAMED)[0], der.SEQUENCE, 1, 3))
    digest = always or Digest.SHA256
    if always is None and fields[0].tag == der.SEQUENCE:
        digest = any_digest(read_algorithm(fields.pop(0)))
    if not fields or fields[0].tag != der.OCTET_STRING or len(fields) > 2:
        raise malformed("a signing certificate")
    return Named(digest, fields[0].content, _issuer_and_serial(fields[1]) if len(fields) == 2 else None)


def _issuer_and_serial(item: der.Element) -> bytes:
    """IssuerSerial: GeneralNames with the one directory name of the issuer, and the serial number."""
    names, serial = parts_of(item, der.SEQUENCE, 2, 2)
    (name,) = parts_of(names, der.SEQUENCE, 1, 1)
    (issuer,) = parts_of(name, _DIRECTORY_NAME, 1, 1)
    return der.sequence(issuer.raw, serial.raw)


def algorithms_agree(attributes: Attributes, signer: SignerInfo) -> bool:
    """Whether CMSAlgorithmProtection, where it is there, names the algorithms of ``signer`` (RFC 6211 3).

    Raises :class:`CmsError` (MALFORMED).
    """
    if der.oid(ALGORITHM_PROTECTION) not in attributes:
        return True
    digest, *rest = parts_of(der.read(single(attributes, ALGORITHM_PROTECTION)), der.SEQUENCE, 1, 3)
    if len(rest) != 1 or rest[0].tag != CONTEXT_1:  # [2] is of a MAC, and one of the two must be there
        return False
    signature = read_algorithm(der.read(der.element(der.SEQUENCE, rest[0].content)))
    return _same(read_algorithm(digest), signer.digest) and _same(signature, signer.algorithm)


def _same(one: Algorithm, other: Algorithm) -> bool:
    """No parameters and NULL mean the same for every algorithm that allows both (RFC 6211 3)."""
    return one.oid == other.oid and (one.parameters or der.NULL) == (other.parameters or der.NULL)
