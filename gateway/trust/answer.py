"""What may come back for a :class:`gateway.trust.judgement.Need`, read strictly; nothing that somebody else made is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from gateway.outcome import GatewayError, Reason
from gateway.trust.certificate import MAX_CERTIFICATE, CertificateError, facts
from gateway.trust.crl import Crl, CrlError
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.ocsp import OcspAnswer, OcspError

MAX_CERTIFICATES: Final = 16
MAX_BUNDLE: Final = MAX_CERTIFICATES * MAX_CERTIFICATE


@dataclass(frozen=True, slots=True)
class Certificates:
    """Authorities that may have issued the one that was asked about (DER): found, not believed."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be had. ``detail`` is for the administrator."""

    detail: str


Answer = Crl | OcspAnswer | Certificates | Failed


def read_answer(need: Need, contents: Sequence[bytes]) -> Crl | OcspAnswer | Certificates:
    """What ``contents`` are in answer to ``need``: one body over HTTP, the values of an attribute over LDAP.

    Raises GatewayError for what cannot be read, and for what was not made by the authority that ``need`` names.
    """
    if need.kind is NeedKind.CERTIFICATE:
        return _certificates(contents)
    if not contents:
        raise GatewayError(Reason.REVOCATION_UNKNOWN, "nothing is kept there")
    if need.kind is NeedKind.OCSP:
        answer = OcspAnswer(contents[0])
        if not answer.answers(need.request):
            raise OcspError("about another certificate")
        if not answer.signed_by(need.issuer):
            raise OcspError("not made by the issuer of the certificate that names this place, nor by a responder it appointed")
        return answer
    crls = [crl for crl in map(Crl, contents) if not need.issuer or crl.signed_by(need.issuer)]
    if not crls:
        raise CrlError("not signed by the authority that the certificate names for it")
    return max(crls, key=lambda crl: crl.this_update)


def _certificates(contents: Sequence[bytes]) -> Certificates:
    """RFC 5280 4.2.2.1: a certificate, or a certs-only CMS message."""
    found: list[bytes] = []
    for content in contents:
        found += _bundle(content)
    authorities = tuple(der for der in found[:MAX_CERTIFICATES] if facts(der).is_ca)
    if not authorities:
        raise CertificateError("no authority among the certificates")
    return Certificates(authorities)


def _bundle(content: bytes) -> list[bytes]:
    try:
        facts(content)
    except CertificateError:
        if len(content) > MAX_BUNDLE:
            raise
    else:
        return [content]
    try:
        return [each.public_bytes(Encoding.DER) for each in pkcs7.load_der_pkcs7_certificates(content)]
    except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
        raise CertificateError(f"neither a certificate nor a certs-only message ({type(error).__name__})") from error
