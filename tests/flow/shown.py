"""Signed mail with whatever attributes a test wants, put together by asn1crypto: what its author shows of himself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, core, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gateway.smime import der
from tests.flow.opened import HEADER, PLAIN
from tests.pki import Issued


def by_serial(certificate: bytes) -> bytes:
    """The preference (DER) as nearly every program writes it."""
    read = x509.Certificate.load(certificate)
    named = cms.IssuerAndSerialNumber({"issuer": read.issuer, "serial_number": read.serial_number})
    return bytes(cms.SMIMEEncryptionKeyPreference("issuer_and_serial_number", named).dump())


def by_recipient_key(certificate: bytes) -> bytes:
    """The preference by the key identifier that stands in the certificate."""
    named = {"subjectKeyIdentifier": x509.Certificate.load(certificate).key_identifier}
    return bytes(cms.SMIMEEncryptionKeyPreference("recipientKeyId", cms.RecipientKeyIdentifier(named)).dump())


def by_key(certificate: bytes) -> bytes:
    """The same in its third form, [2] IMPLICIT SubjectKeyIdentifier, which the library takes for something else."""
    return bytes(core.OctetString(x509.Certificate.load(certificate).key_identifier, implicit=2).dump())


def signed_mail(
    signer: Issued,
    signed_at: int | None,
    *others: bytes,
    preferences: Sequence[bytes] = (),
    header: bytes = HEADER,
) -> bytes:
    """A message of ``signer``, with ``others`` (DER) beside his certificate. ``signed_at`` in us UTC, None leaves it out.
    ``preferences`` are the values (DER) of SMIMEEncryptionKeyPreference.
    """
    attributes: list[Any] = [
        {"type": "content_type", "values": ["data"]},
        {"type": "message_digest", "values": [hashlib.sha256(PLAIN).digest()]},
    ]
    if signed_at is not None:
        moment = cms.Time("utc_time", core.UTCTime(datetime.fromtimestamp(signed_at // 1_000_000, UTC)))
        attributes.append({"type": "signing_time", "values": [moment]})
    if preferences:
        attribute = der.sequence(der.oid("1.2.840.113549.1.9.16.2.11"), der.element(der.SET, *preferences))
        attributes.append(cms.CMSAttribute.load(attribute))
    signed = cms.CMSAttributes(attributes)
    own = x509.Certificate.load(signer.der)
    rsa_key = isinstance(signer.key, rsa.RSAPrivateKey)
    info = {
        "version": "v1",
        "sid": cms.SignerIdentifier("issuer_and_serial_number", {"issuer": own.issuer, "serial_number": own.serial_number}),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": signed,
        "signature_algorithm": {"algorithm": "sha256_rsa" if rsa_key else "sha256_ecdsa"},
        "signature": _signature(signer, signed.dump()),
    }
    data = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data", "content": PLAIN},
            "certificates": [cms.CertificateChoices("certificate", x509.Certificate.load(each)) for each in (signer.der, *others)],
            "signer_infos": [info],
        }
    )
    structure = cms.ContentInfo({"content_type": "signed_data", "content": data}).dump()
    kind = b'MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"\r\n'
    text = base64.encodebytes(structure).replace(b"\n", b"\r\n")
    return header + kind + b"Content-Transfer-Encoding: base64\r\n\r\n" + text


def _signature(signer: Issued, data: bytes) -> bytes:
    key = signer.key
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(data, ec.ECDSA(hashes.SHA256()))
