"""Files that a configuration may name: certificates, keys, a folder."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "for the shape alone")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, START, START + datetime.timedelta(days=30))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="session")
def material_files() -> dict[str, bytes]:
    """By the names that config/gateway.toml uses."""
    mail, opening, tls, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
    spool, audit = (rsa.generate_private_key(65537, 2048).public_key() for _ in range(2))
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "anchors/public.pem": certificate(other),
        "anchors/health.pem": certificate(other),
        "keys/hospital-sign.pem": certificate(mail),
        "keys/hospital-decrypt.pem": certificate(opening),
        "keys/spool-1.pem": spool.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "keys/audit-1.pem": audit.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "tls/gateway.pem": certificate(tls),
        "tls/gateway.key": tls.private_bytes(*plain),
        "tls/other.key": other.private_bytes(*plain),
        "certificates/README": b"a folder of certificates",
        "pin": b"none",
    }


@pytest.fixture
def site(tmp_path: Path, material_files: dict[str, bytes]) -> Path:
    """A directory with all those files, ready for a gateway.toml."""
    for name, data in material_files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    return tmp_path
