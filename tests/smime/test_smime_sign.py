from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from asn1crypto.algos import AlgorithmIdentifier, RSAESOAEPParams
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import Algorithm
from gateway.smime.keys import Mechanism
from gateway.smime.known import Strength, content_of
from gateway.smime.sign import SignatureWriter
from gateway.smime.signedattributes import signed_attributes, written_digest
from tests.doubles import SoftwareSigner
from tests.pki import NOW, Ca, Issued, microseconds, to_pem
from tests.smime.openssl import openssl

CONTENT = b"Content-Type: text/plain\r\n\r\nThe result is normal.\r\n"
AT = microseconds(NOW)


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


async def signed(
    issued: Issued, content: bytes = CONTENT, mechanism: Mechanism | None = None, preference: bytes | None = None
) -> bytes:
    return (await written(issued, content, mechanism, preference)).finalize()


async def opaque(issued: Issued, content: bytes = CONTENT, mechanism: Mechanism | None = None) -> bytes:
    before, behind = (await written(issued, content, mechanism)).enclose()
    return before + content + behind


async def written(
    issued: Issued, content: bytes, mechanism: Mechanism | None = None, preference: bytes | None = None
) -> SignatureWriter:
    writer = SignatureWriter([issued.der, *issued.intermediates], AT, mechanism, preference)
    for start in range(0, len(content), 7):
        writer.update(content[start : start + 7])
    need = writer.wants
    assert need is not None
    writer.give(await SoftwareSigner({"key": issued.key}).sign("key", need.to_be_signed, need.mechanism))
    assert writer.wants is None
    return writer


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


@pytest.mark.parametrize(("kind", "mechanism"), CASES)
async def test_openssl_verifies_every_mechanism_with_the_content_inside(
    root: Ca, tmp_path: Path, kind: str, mechanism: Mechanism | None
) -> None:
    issued = root.intermediate("CN=Issuing").signer("cardiology@hospital.example", kind)
    (tmp_path / "root.pem").write_bytes(to_pem(issued.above[-1]))
    structure = await opaque(issued, mechanism=mechanism)
    assert openssl("cms", "-verify", "-inform", "DER", "-binary", "-CAfile", tmp_path / "root.pem", data=structure) == CONTENT


@pytest.mark.parametrize("size", [0, 1, 80, 127, 128, 255, 256, 65535, 65536, 1 << 24])
async def test_what_stands_around_the_content_has_its_length(root: Ca, size: int) -> None:
    """Read strictly by another library, which writes the same bytes."""
    issued, content = root.signer("cardiology@hospital.example"), bytes(size)
    structure = await opaque(issued, content)
    info = cms.ContentInfo.load(structure, strict=True)
    assert info["content"]["encap_content_info"]["content"].native == content
    if size < 1 << 20:
        assert info.dump(force=True) == structure


async def test_ed25519_signs_the_attributes_themselves(root: Ca) -> None:
    """RFC 8419 3.1, which openssl 3.0 does not know: SHA-512 of the content, and a signature over the DER of the attributes."""
    issued = root.signer("cardiology@hospital.example", "ed25519")
    for structure in (await signed(issued), await opaque(issued, mechanism=Mechanism.ED25519)):
        data = cms.ContentInfo.load(structure, strict=True)["content"]
        [signer] = data["signer_infos"]
        assert [each["algorithm"].native for each in data["digest_algorithms"]] == ["sha512"]
        assert signer["digest_algorithm"]["algorithm"].native == "sha512"
        assert signer["signature_algorithm"].dump() == bytes.fromhex("300506032b6570")
        attributes = {attribute["type"].native: attribute["values"][0] for attribute in signer["signed_attrs"]}
        assert attributes["message_digest"].native == hashlib.sha512(CONTENT).digest()
        public = issued.certificate.public_key()
        assert isinstance(public, ed25519.Ed25519PublicKey)
        public.verify(signer["signature"].native, b"\x31" + signer["signed_attrs"].dump()[1:])


@pytest.mark.parametrize(
    ("kind", "mechanism"),
    [
        ("rsa2048", Mechanism.ECDSA_SHA256),
        ("rsa2048", Mechanism.ED25519),
        ("p256", Mechanism.RSA_PSS_SHA256),
        ("p256", Mechanism.ED25519),
        ("ed25519", Mechanism.ECDSA_SHA512),
        ("x25519", None),
    ],
)
def test_a_mechanism_that_is_not_of_the_key_is_refused(root: Ca, kind: str, mechanism: Mechanism | None) -> None:
    with pytest.raises(GatewayError) as caught:
        SignatureWriter([root.signer("cardiology@hospital.example", kind).der], AT, mechanism)
    assert caught.value.reason is Reason.UNSUPPORTED


async def test_capabilities_are_what_we_open_best_first(root: Ca) -> None:
    """RFC 8551 2.5.2: GCM before CBC, by RFC 3565 and 5084; OAEP with its parameters; nothing weak, nothing that we do not open."""
    info = cms.ContentInfo.load(await signed(root.signer("cardiology@hospital.example")), strict=True)
    [signer] = info["content"]["signer_infos"]
    [value] = [attribute["values"] for attribute in signer["signed_attrs"] if attribute["type"].dotted == "1.2.840.113549.1.9.15"]
    listed = [AlgorithmIdentifier.load(each.raw) for each in der.read(value[0].dump())]
    aes = "2.16.840.1.101.3.4.1."
    ciphers = [aes + number for number in ("46", "26", "6", "47", "27", "7", "42", "22", "2")]
    wraps = [aes + number for number in ("45", "25", "5")]
    assert [each["algorithm"].dotted for each in listed] == [*ciphers, "1.2.840.113549.1.1.7", *wraps]
    oaep = RSAESOAEPParams.load(listed[len(ciphers)]["parameters"].dump(), strict=True).native
    assert oaep["hash_algorithm"]["algorithm"] == "sha256"
    assert oaep["mask_gen_algorithm"] == {"algorithm": "mgf1", "parameters": {"algorithm": "sha256", "parameters": None}}
    assert all(each["parameters"].native is None for each in listed if each["algorithm"].dotted.startswith(aes))
    read = [content_of(Algorithm(der.oid(dotted), None, b""), Strength.MODERN) for dotted in ciphers]
    assert not any(content.weak for content in read)


async def test_whom_to_encrypt_an_answer_to_is_said(root: Ca) -> None:
    """RFC 8551 2.5.3, by issuer and serial number; his certificate travels along, once."""
    issued, reader = root.signer("cardiology@hospital.example"), root.reader("cardiology@hospital.example")
    for preference in (reader.der, issued.der):
        data = cms.ContentInfo.load(await signed(issued, preference=preference), strict=True)["content"]
        [signer] = data["signer_infos"]
        attributes = {attribute["type"].dotted: attribute["values"] for attribute in signer["signed_attrs"]}
        [said] = attributes["1.2.840.113549.1.9.16.2.11"]
        named = cms.IssuerAndSerialNumber.load(b"\x30" + said.dump()[1:], strict=True)
        assert said.dump()[0] == 0xA0
        wanted = x509.load_der_x509_certificate(preference)
        assert (named["serial_number"].native, named["issuer"].dump()) == (wanted.serial_number, wanted.issuer.public_bytes())
        sent = [certificate.dump() for certificate in data["certificates"]]
        assert sorted(sent) == sorted({issued.der, preference})
    without = cms.ContentInfo.load(await signed(issued), strict=True)["content"]["signer_infos"][0]
    assert "1.2.840.113549.1.9.16.2.11" not in {attribute["type"].dotted for attribute in without["signed_attrs"]}


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
    for form in (signed, opaque):
        with pytest.raises(GatewayError) as caught:
            await form(other)
        assert caught.value.reason is Reason.OWN_WORK_WRONG


async def test_content_that_grows_after_signing_is_our_own_mistake(root: Ca) -> None:
    issued = root.signer("cardiology@hospital.example")
    writer = SignatureWriter([issued.der], AT)
    writer.update(CONTENT)
    need = writer.wants
    assert need is not None
    writer.give(await SoftwareSigner({"key": issued.key}).sign("key", need.to_be_signed, need.mechanism))
    writer.update(b"more")
    for form in (writer.finalize, writer.enclose):
        with pytest.raises(GatewayError) as caught:
            form()
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
