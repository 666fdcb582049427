"""Files of certificates: PEM with one or many, or a single one in DER."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.trust.anchors import Anchors
from gateway.trust.certificate import CertificateError, facts

MAX_FILE: Final = 4 * 1024 * 1024


def read_certificates(path: Path) -> tuple[bytes, ...]:
    """The certificates in ``path``, DER, in their order. Raises :class:`CertificateError`, or OSError where it cannot be read."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise CertificateError(f"{path}: larger than {MAX_FILE} bytes")
    try:
        if b"-----BEGIN CERTIFICATE-----" in content:
            found = tuple(item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(content))
        else:
            found = (content,)
        for certificate in found:
            facts(certificate)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error.detail}") from None
    except ValueError:
        raise CertificateError(f"{path}: not a file of certificates") from None
    return found


def read_anchors(path: Path) -> Anchors:
    """The trust anchors listed in ``path``. Raises as :func:`read_certificates` does."""
    return Anchors(read_certificates(path))
