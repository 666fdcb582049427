"""Which certificate a signer wants to be written to: SMIMEEncryptionKeyPreference (RFC 8551 2.5.3)."""

from __future__ import annotations

from gateway.smime import der
from gateway.smime.ber import malformed
from gateway.smime.cms import CONTEXT_0, CONTEXT_1, IMPLICIT_2, CertificateId, parts_of


def read_preference(data: bytes) -> CertificateId:
    """The certificate that the DER ``data`` names. Raises :class:`gateway.outcome.GatewayError` (MALFORMED)."""
    choice = der.read(data)
    if choice.end != len(data):
        raise malformed("something behind a key preference")
    if choice.tag == CONTEXT_0:  # [0] IMPLICIT IssuerAndSerialNumber
        issuer, serial = parts_of(choice, CONTEXT_0, 2, 2)
        return CertificateId(issuer_and_serial=der.sequence(issuer.raw, serial.raw))
    if choice.tag == CONTEXT_1:  # [1] IMPLICIT RecipientKeyIdentifier: the key identifier, then a date and more (RFC 5652 6.2.2)
        choice = parts_of(choice, CONTEXT_1, 1, 3)[0]
        if choice.tag == der.OCTET_STRING:
            return CertificateId(key_identifier=choice.content)
    elif choice.tag == IMPLICIT_2:  # [2] IMPLICIT SubjectKeyIdentifier
        return CertificateId(key_identifier=choice.content)
    raise malformed("a key preference of no known form")
