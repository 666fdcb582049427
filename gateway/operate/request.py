"""Requests for certificates (PKCS#10, RFC 2986) for keys that live in a token: built here, signed there. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from asn1crypto import csr, keys, pem, x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from gateway.operate.lab import Subject

_ALGORITHMS: Final = {"rsa": "sha256_rsa", "ec": "sha256_ecdsa"}


def request_certificate(subject: Subject, organisation: str, public_key: bytes, prove: Callable[[bytes], bytes]) -> bytes:
    """A request (PEM) for ``public_key`` (DER SubjectPublicKeyInfo).

    ``prove`` signs the bytes it is given with the private key, by SHA-256 and RSA PKCS#1 or ECDSA (DER).
    """
    info = keys.PublicKeyInfo.load(public_key)
    wanted = csr.CertificationRequestInfo(
        {
            "version": "v1",
            "subject": x509.Name.build({"organization_name": organisation, "common_name": subject.name}),
            "subject_pk_info": info,
            "attributes": [{"type": "extension_request", "values": [[_names(subject)]]}],
        }
    )
    algorithm = {"algorithm": _ALGORITHMS[info.algorithm]}
    request = csr.CertificationRequest(
        {"certification_request_info": wanted, "signature_algorithm": algorithm, "signature": prove(wanted.dump())}
    )
    return bytes(pem.armor("CERTIFICATE REQUEST", request.dump()))


def _names(subject: Subject) -> dict[str, object]:
    return {
        "extn_id": "subject_alt_name",
        "extn_value": x509.GeneralNames.load(subject.alternative_names.public_bytes()),
    }


def public_pem(public_key: bytes) -> bytes:
    """DER SubjectPublicKeyInfo as PEM."""
    return load_der_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
