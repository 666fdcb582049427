"""A test certification authority in a folder, for ``init --lab``, the demo and the tests. Never for real use: its key lies in a
file.

The folder holds ``ca.pem``, ``ca.key`` (owner only), ``ca.crl`` and ``revoked``, the serial numbers taken back, one a line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

LIFETIME: Final = timedelta(days=365)
CA_LIFETIME: Final = timedelta(days=3650)
CRL_LIFETIME: Final = timedelta(days=30)
_BACKDATED: Final = timedelta(minutes=10)  # the clocks of a lab differ a little

_NO_USAGE: Final = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate is to say: whose it is, the names it shows, and what its key may do."""

    name: str
    emails: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    usages: tuple[str, ...] = ("digital_signature",)
    purposes: tuple[x509.ObjectIdentifier, ...] = (Eku.EMAIL_PROTECTION,)

    @property
    def alternative_names(self) -> x509.SubjectAlternativeName:
        """All its names as the extension holds them."""
        names: list[x509.GeneralName] = [x509.RFC822Name(email) for email in self.emails]
        return x509.SubjectAlternativeName(names + [x509.DNSName(name) for name in self.dns_names])


def distinguished(name: str) -> x509.Name:
    """``name`` as common name, and that it is for a lab."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smime-gateway lab"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


class LabCa:
    """A certification authority of one level. ``at`` is a time in UTC."""

    def __init__(self, folder: Path, crl_url: str | None) -> None:
        """Opens the authority in ``folder``. Certificates it issues name ``crl_url``, where ``ca.crl`` is to be published."""
        self.folder = folder
        self._crl_url = crl_url
        self.certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("not the key of a lab authority")
        self._key = key

    @classmethod
    def create(cls, folder: Path, crl_url: str | None, at: datetime) -> LabCa:
        """A new authority, with an empty CRL."""
        folder.mkdir(mode=0o755, parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = distinguished("Lab CA")
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - _BACKDATED)
            .not_valid_after(at + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        certificate = builder.sign(key, hashes.SHA256())
        (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        write_private(folder / "ca.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        authority = cls(folder, crl_url)
        authority.publish(at)
        return authority

    def issue(self, subject: Subject, public_key: bytes, at: datetime) -> bytes:
        """A certificate (PEM) for ``public_key`` (DER SubjectPublicKeyInfo)."""
        key = load_der_public_key(public_key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(distinguished(subject.name))
            .issuer_name(self.certificate.subject)
            .public_key(key)  # type: ignore[arg-type]  # key kinds that cannot be certified are refused inside
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - _BACKDATED)
            .not_valid_after(at + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(subject.usages, True)}), critical=True)
            .add_extension(x509.ExtendedKeyUsage(subject.purposes), critical=False)
            .add_extension(subject.alternative_names, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if self._crl_url is not None:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(self._crl_url)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def revoke(self, serials: Sequence[int], at: datetime) -> None:
        """Take certificates back, and publish."""
        with (self.folder / "revoked").open("a") as file:
            file.writelines(f"{serial:x}\n" for serial in serials)
        self.publish(at)

    def publish(self, at: datetime) -> None:
        """Write ``ca.crl`` anew."""
        listed = self.folder / "revoked"
        serials = [int(line, 16) for line in listed.read_text().split()] if listed.exists() else []
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at - _BACKDATED)
            .next_update(at + CRL_LIFETIME)
            .add_extension(x509.CRLNumber(int(at.timestamp() * 1000)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at - _BACKDATED).build()
            )
        fresh = self.folder / "ca.crl.new"
        fresh.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER))
        fresh.replace(self.folder / "ca.crl")


def write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner may read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
