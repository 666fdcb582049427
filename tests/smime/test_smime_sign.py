from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.keys import Mechanism
from gateway.smime.sign import SignatureWriter, signed_attributes, written_digest
from tests.doubles import SoftwareSigner
from tests.pki import NOW, Ca, Issued, microseconds, to_pem
from tests.smime.openssl import openssl

CONTENT = b"Content-Type: text/plain\r\n\r\nThe result is normal.\r\n"
AT = microseconds(NOW)


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


async def signed(issued: Issued, content: bytes = CONTENT, mechanism: Mechanism | None = None) -> bytes:
    writer = SignatureWriter([issued.der, *issued.intermediates], AT, mechanism)
    for start in range(0, len(content), 7):
        writer.update(content[start : start + 7])
    need = writer.wants
    assert need is not None
    writer.give(await SoftwareSigner({"key": issued.key}).sign("key", need.to_be_signed, need.mechanism))
    assert writer.wants is None
    return writer.finalize()


CASES = [
    ("rsa2048", None),
    ("rsa2048", Mechanism.RSA_PKCS1_SHA384),
    ("rsa3072", Mechanism.RSA_PKCS1_SHA512),
    ("rsa2048", Mechanism.RSA_PSS_SHA256),
    ("rsa2048", Mechanism.RSA_PSS_SHA384),
    ("rsa2048", Mechanism.RSA_PSS_SHA512),
    ("p256", None),
    ("p384", None),
    ("p521", None),
    ("p384", Mechanism.ECDSA_SHA256),
]


@pytest.mark.parametrize(("kind", "mechanism"), CASES)
async def test_openssl_verifies_every_mechanism(root: Ca, tmp_path: Path, kind: str, mechanism: Mechanism | None) -> None:
    """With a chain: the intermediate travels in the signature, openssl knows the root alone."""
    issued = root.intermediate("CN=Issuing").signer("cardiology@hospital.example", kind)
    (tmp_path / "root.pem").write_bytes(to_pem(issued.above[-1]))
    (tmp_path / "content").write_bytes(CONTENT)
    structure = await signed(issued, mechanism=mechanism)
    shown = openssl(
        *("cms", "-verify", "-inform", "DER", "-content", tmp_path / "content", "-binary", "-CAfile", tmp_path / "root.pem"),
        data=structure,
    )
    assert shown == CONTENT


async def test_structure_is_that_of_the_rfcs(root: Ca) -> None:
    """RFC 5652 5, RFC 8551 2.5, RFC 5035: read by another library, and already in the order of DER."""
    issued = root.signer("cardiology@hospital.example")
    structure = await signed(issued)
    info = cms.ContentInfo.load(structure, strict=True)
    data = info["content"]
    assert (info["content_type"].native, data["version"].native) == ("signed_data", "v1")
    assert data["encap_content_info"]["content"].native is None
    [signer] = data["signer_infos"]
    assert signer["sid"].chosen.native["serial_number"] == issued.certificate.serial_number
    attributes = {attribute["type"].native: attribute["values"][0] for attribute in signer["signed_attrs"]}
    [certificate] = tsp.SigningCertificateV2.load(attributes["signing_certificate_v2"].dump()).native["certs"]
    assert attributes["message_digest"].native == hashlib.sha256(CONTENT).digest()
    assert attributes["signing_time"].native == NOW
    assert attributes["content_type"].native == "data"
    assert certificate["cert_hash"] == hashlib.sha256(issued.der).digest()
    assert certificate["issuer_serial"]["serial_number"] == issued.certificate.serial_number
    raw = [item.raw for item in der.read(bytes((der.SET,)) + signer["signed_attrs"].dump()[1:])]
    assert raw == sorted(raw)
    assert info.dump(force=True) == structure


async def test_signature_by_another_key_is_our_own_mistake(root: Ca) -> None:
    """A certificate that does not belong to the key is found before anything leaves."""
    issued = root.signer("cardiology@hospital.example")
    other = Issued(issued.certificate, ec.generate_private_key(ec.SECP256R1()), issued.above)
    with pytest.raises(GatewayError) as caught:
        await signed(other)
    assert caught.value.reason is Reason.OWN_WORK_WRONG


async def test_content_that_grows_after_signing_is_our_own_mistake(root: Ca) -> None:
    issued = root.signer("cardiology@hospital.example")
    writer = SignatureWriter([issued.der], AT)
    writer.update(CONTENT)
    need = writer.wants
    assert need is not None
    writer.give(await SoftwareSigner({"key": issued.key}).sign("key", need.to_be_signed, need.mechanism))
    writer.update(b"more")
    with pytest.raises(GatewayError) as caught:
        writer.finalize()
    assert caught.value.reason is Reason.OWN_WORK_WRONG


def test_weak_key_does_not_sign() -> None:
    with pytest.raises(GatewayError) as caught:
        SignatureWriter([Ca.root().signer("cardiology@hospital.example", "rsa1024").der], AT)
    assert caught.value.reason is Reason.WEAK_ALGORITHM


def test_no_certificate_does_not_sign() -> None:
    with pytest.raises(GatewayError):
        SignatureWriter([], AT)


def test_digest_is_read_back_from_the_attributes(root: Ca) -> None:
    certificate = root.signer("cardiology@hospital.example").der
    attributes = signed_attributes(b"d" * 32, certificate, AT)
    assert written_digest(attributes) == b"d" * 32
    assert written_digest(der.set_of()) is None
