"""What CMS needs of a certificate: who it is (issuer and serial, byte for byte as issued) and its public key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import check_key


@dataclass(frozen=True, slots=True)
class Identified:
    """``issuer`` (Name), ``serial`` (INTEGER) and ``spki`` (SubjectPublicKeyInfo) are DER elements, cut from the certificate."""

    issuer: bytes
    serial: bytes
    spki: bytes
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    @property
    def issuer_and_serial(self) -> bytes:
        """IssuerAndSerialNumber (RFC 5652 10.2.4)."""
        return der.sequence(self.issuer, self.serial)


@lru_cache(maxsize=4096)
def identified(certificate: bytes) -> Identified:
    """What CMS needs of ``certificate`` (DER). Raises :class:`GatewayError` (MALFORMED, WEAK_ALGORITHM, UNSUPPORTED)."""
    # Cut out, because printing a Name anew may change its string types, and readers compare bytes.
    tbs = next(iter(der.read(certificate)), ())
    fields = [field for field in tbs if field.tag != der.CONTEXT_CONSTRUCTED + 0]
    if len(fields) < 6:
        raise GatewayError(Reason.MALFORMED, "not a certificate")
    try:
        key = check_key(x509.load_der_x509_certificate(certificate).public_key())
    except GatewayError:
        raise
    except Exception as error:  # the library raises a dozen kinds, and hostile bytes find each of them
        raise GatewayError(Reason.UNSUPPORTED, "certificate whose key cannot be read") from error
    return Identified(fields[2].raw, fields[0].raw, fields[5].raw, key)
