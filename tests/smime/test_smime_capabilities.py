"""What others announce, in their own bytes: RFCs, certificates and signatures of third parties, openssl."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import SMIME_CAPABILITIES, ContentCipher, KeyTransport
from gateway.smime.capabilities import (
    MAX_CAPABILITIES,
    MAX_LISTED,
    Capabilities,
    certificate_capabilities,
    read_capabilities,
)
from gateway.smime.cms import SignedData, read_attributes
from gateway.smime.reader import CmsReader
from tests.conformance.material import MATERIAL, needs
from tests.pki import Ca
from tests.smime.openssl import openssl

CBC, GCM = ContentCipher.AES256_CBC, ContentCipher.AES256_GCM
PKCS1, OAEP = KeyTransport.PKCS1, KeyTransport.OAEP_SHA256

# RFC 3560 5, octet by octet: OAEP with its defaults (SHA-1), with SHA-256, with SHA-384
OAEP_SHA1_RFC3560 = "300D06092A864886F70D0101073000"
OAEP_SHA256_RFC3560 = (
    "303806092A864886F70D010107302B300D06096086480165030402010500301A06092A864886F70D010108300D06096086480165030402010500"
)
OAEP_SHA384_RFC3560 = OAEP_SHA256_RFC3560.replace("0304020105", "0304020205")
# RFC 8017 A.2.1, the same SHA-256 with the tags of its module
OAEP_SHA256_TAGGED = (
    "303C06092A864886F70D010107302FA00F300D06096086480165030402010500A11C301A06092A864886F70D010108300D06096086480165030402010500"
)
AES256_CBC, AES128_CBC, AES256_GCM, AES128_GCM = (f"300B060960864801650304{last}" for last in ("012A", "0102", "012E", "0106"))
TRIPLE_DES, RC2_40, RSA, SHA1 = (
    "300A06082A864886F70D0307",
    "300D06082A864886F70D0302020128",
    "300B06092A864886F70D010101",
    "300706052B0E03021A",
)
OUTLOOK = AES256_CBC + AES128_CBC + TRIPLE_DES + "300E06082A864886F70D030202020080" + RC2_40 + SHA1


def listed(*capabilities: str) -> bytes:
    return der.sequence(*map(bytes.fromhex, capabilities))


@pytest.mark.parametrize(
    ("capabilities", "ciphers", "transports"),
    [
        ((), None, None),
        ((OUTLOOK,), {CBC}, None),
        ((AES256_GCM, AES256_CBC, AES128_CBC), {CBC, GCM}, None),
        ((AES128_CBC,), set(), None),
        ((AES128_GCM, AES128_CBC), set(), None),
        ((TRIPLE_DES, RC2_40), set(), None),
        ((SHA1,), None, None),
        ((RSA,), None, {PKCS1}),
        ((AES256_CBC, OAEP_SHA256_RFC3560), {CBC}, {OAEP}),
        ((AES256_CBC, OAEP_SHA256_TAGGED, RSA), {CBC}, {OAEP, PKCS1}),
        ((OAEP_SHA1_RFC3560,), None, set()),
        ((OAEP_SHA384_RFC3560, RSA), None, {PKCS1}),
        ((AES256_CBC, "300F06092A864886F70D0101073002A005"), {CBC}, set()),  # parameters of OAEP that are broken inside
        (("300B06092A864886F70D010107",), None, set()),  # OAEP without parameters: SHA-1
    ],
)
def test_what_a_list_says(
    capabilities: tuple[str, ...], ciphers: set[ContentCipher] | None, transports: set[KeyTransport] | None
) -> None:
    """A list that names no content encryption says nothing of it; one that names others says that it is none of ours."""
    expected = Capabilities(None if ciphers is None else frozenset(ciphers), None if transports is None else frozenset(transports))
    assert read_capabilities(listed(*capabilities)) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\x30", Reason.MALFORMED),
        (b"\x31\x00", Reason.MALFORMED),
        (listed(AES256_CBC) + b"\x00", Reason.MALFORMED),
        (listed(AES256_CBC)[:-1], Reason.MALFORMED),
        (b"\x30\x80" + bytes.fromhex(AES256_CBC) + b"\x00\x00", Reason.MALFORMED),
        (listed("3000"), Reason.MALFORMED),
        (listed("3003020101"), Reason.MALFORMED),
        (listed("30020600"), Reason.MALFORMED),
        (listed(AES256_CBC[:2] + "0F" + AES256_CBC[4:] + "05000500"), Reason.MALFORMED),
        (listed(*[SHA1] * (MAX_LISTED + 1)), Reason.MALFORMED),
        (der.sequence(der.sequence(der.oid("1.2.3"), der.octet_string(bytes(MAX_CAPABILITIES)))), Reason.LIMIT),
    ],
)
def test_what_is_no_list_is_an_error_of_ours(data: bytes, reason: Reason) -> None:
    with pytest.raises(GatewayError) as caught:
        read_capabilities(data)
    assert caught.value.reason is reason


def test_every_cut_and_every_changed_byte_is_a_value_or_an_error_of_ours() -> None:
    whole = listed(OUTLOOK, AES256_GCM, OAEP_SHA256_TAGGED, OAEP_SHA256_RFC3560)
    tried = [whole[:end] for end in range(len(whole))]
    tried += [whole[:at] + bytes((whole[at] ^ flip,)) + whole[at + 1 :] for at in range(len(whole)) for flip in (1, 0x80, 0xFF)]
    for data in tried:
        with contextlib.suppress(GatewayError):
            read_capabilities(data)


def announced(structure: bytes) -> Capabilities:
    """The attribute of the only signer of a CMS structure."""
    reader = CmsReader(None)
    reader.update(structure)
    signed = reader.finalize()
    assert isinstance(signed, SignedData)
    [signer] = signed.signers
    assert signer.attributes is not None
    [[value]] = read_attributes(signer.attributes)[der.oid(SMIME_CAPABILITIES)]
    return read_capabilities(value)


def test_what_openssl_announces(tmp_path: Path) -> None:
    certificate, key = Ca.root().signer("results@laboratory.example", "rsa2048").write(tmp_path, "signer")
    structure = openssl("cms", "-sign", "-signer", certificate, "-inkey", key, "-outform", "DER", data=b"x")
    assert announced(structure) == Capabilities(frozenset({CBC}))


@needs("smime/rfc4134-bc")
def test_what_nobody_knows_is_passed_over() -> None:
    """RFC 4134 4.10 lists two made-up capabilities, one with parameters."""
    assert announced((MATERIAL / "smime/rfc4134-bc/4.10.bin").read_bytes()) == Capabilities()


@needs("smime/rfc9216-lamps-samples")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("7.3_Carlos-s-Encryption-End-Entity-Certificate.crt.pem", Capabilities()),  # a key agreement alone
        ("5.3_Bob-s-Encryption-End-Entity-Certificate.crt.pem", None),
    ],
)
def test_what_certificates_of_rfc9216_say(name: str, found: Capabilities | None) -> None:
    certificate = x509.load_pem_x509_certificate((MATERIAL / "smime/rfc9216-lamps-samples" / name).read_bytes())
    assert certificate_capabilities(certificate.public_bytes(Encoding.DER)) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (listed(AES256_GCM, OAEP_SHA256_RFC3560), Capabilities(frozenset({GCM}), frozenset({OAEP}))),
        (b"\x30\x80\x00\x00", None),
        (b"", None),
    ],
)
def test_a_certificate_may_say_it_for_its_owner(value: bytes, found: Capabilities | None) -> None:
    """RFC 4262. What cannot be read says nothing, and keeps nobody from using the certificate."""
    root = Ca.root()
    assert certificate_capabilities(root.reader("results@laboratory.example", capabilities=value).der) == found
    assert certificate_capabilities(root.reader("results@laboratory.example").der) is None
    assert certificate_capabilities(b"no certificate") is None
