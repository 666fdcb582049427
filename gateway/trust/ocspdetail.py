"""What stands in an OCSP answer and cryptography does not tell: parameters of RSASSA-PSS, and critical extensions of what is said
about a single certificate. Read with asn1crypto, after cryptography has read the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asn1crypto import ocsp as asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509 import ocsp
from cryptography.x509.oid import SignatureAlgorithmOID

DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - it names a certificate and protects nothing (RFC 5019 2.1.1 wants it)
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""By the name that both libraries have for them."""

_CRITICAL: Final = b"\x01\x01\xff"  # the BOOLEAN before the value of every critical extension

Scheme = padding.PSS | padding.PKCS1v15


@dataclass(frozen=True, slots=True)
class Signature:
    """``digest`` is None where the key's own scheme has one; ``scheme`` is for RSA."""

    digest: hashes.HashAlgorithm | None
    scheme: Scheme


def signature_of(der: bytes, parsed: ocsp.OCSPResponse) -> Signature:
    """How the answer ``der`` is signed, which is ``parsed``. Raises ValueError, KeyError and whatever the libraries do."""
    if parsed.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS:
        return Signature(parsed.signature_hash_algorithm, padding.PKCS1v15())
    parameters = _basic(der)["signature_algorithm"]["parameters"]
    mask = parameters["mask_gen_algorithm"]
    if mask["algorithm"].native != "mgf1" or parameters["trailer_field"].native != "trailer_field_bc":
        raise ValueError("a scheme of RSASSA-PSS that is not in RFC 4055")
    digest, masking = (DIGESTS[each["algorithm"].native] for each in (parameters["hash_algorithm"], mask["parameters"]))
    return Signature(digest, padding.PSS(padding.MGF1(masking), parameters["salt_length"].native))


def with_critical_extensions(der: bytes, parsed: ocsp.OCSPResponse) -> frozenset[int]:
    """Which of the single responses, by their place from 0, carry a critical extension. None is known to us (RFC 6960 4.4)."""
    if _CRITICAL not in parsed.tbs_response_bytes:
        return frozenset()
    singles = _basic(der)["tbs_response_data"]["responses"]
    return frozenset(
        place for place, single in enumerate(singles) if any(each["critical"].native for each in single["single_extensions"] or ())
    )


def _basic(der: bytes) -> asn1.BasicOCSPResponse:
    return asn1.OCSPResponse.load(der, strict=True)["response_bytes"]["response"].parsed
