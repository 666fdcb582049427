"""Key agreement and CCM that openssl 3.0 does not write, put together here from the RFCs by another library; and what it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.edge.keyfile import FileKey, PrivateKey
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from tests.pki import NOW, Ca
from tests.smime.openssl import openssl

CONTENT = b"Content-Type: text/plain\r\n\r\nResult: all well.\r\n"
WRAPS = {16: "2.16.840.1.101.3.4.1.5", 24: "2.16.840.1.101.3.4.1.25", 32: "2.16.840.1.101.3.4.1.45"}
HKDFS = {
    "1.2.840.113549.1.9.16.3.19": hashes.SHA256(),
    "1.2.840.113549.1.9.16.3.20": hashes.SHA384(),
    "1.2.840.113549.1.9.16.3.21": hashes.SHA512(),
}
X963S = {"1.3.132.1.11.1": hashes.SHA256(), "1.3.132.1.11.2": hashes.SHA384(), "1.3.132.1.11.3": hashes.SHA512()}
GCMS = {16: "2.16.840.1.101.3.4.1.6", 24: "2.16.840.1.101.3.4.1.26", 32: "2.16.840.1.101.3.4.1.46"}
CCMS = {16: "2.16.840.1.101.3.4.1.7", 24: "2.16.840.1.101.3.4.1.27", 32: "2.16.840.1.101.3.4.1.47"}

Held = tuple[bytes, PrivateKey]


def certificate_for(key: PrivateKey, usage: str = "reader") -> bytes:
    """A certificate (DER) by an authority of this test."""
    ca = Ca.root()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, usage)])
    public = key.public_key()
    builder = x509.CertificateBuilder(ca.certificate.subject, name, public, 7, NOW, NOW + timedelta(days=400))
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return builder.add_extension(identifier, critical=False).sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def reader() -> Held:
    key = x25519.X25519PrivateKey.generate()
    return certificate_for(key), key


def opened(structure: bytes, held: Held, piece: int = 4096, strength: Strength = Strength.MODERN) -> bytes:
    cms = CmsReader({"ours": held[0]}, strength)
    out = []
    for start in range(0, len(structure), piece):
        out.append(cms.update(structure[start : start + piece]))
        if cms.wants is not None:
            cms.give(FileKey(held[1]).unwrap(cms.wants.wrapped))
            out.append(cms.update(b""))
    cms.finalize()
    return b"".join(out)


def ccm(cek: bytes, nonce: bytes, tag: int, content: bytes = CONTENT) -> tuple[bytes, bytes, bytes]:
    """AlgorithmIdentifier, ciphertext and tag (RFC 5084 3.1)."""
    sealed = AESCCM(cek, tag).encrypt(nonce, content, None)
    parameters = der.sequence(der.octet_string(nonce), *([der.integer(tag)] if tag != 12 else []))
    return der.sequence(der.oid(CCMS[len(cek)]), parameters), sealed[:-tag], sealed[-tag:]


def authenveloped(recipient: bytes, algorithm: bytes, ciphertext: bytes, tag: bytes) -> bytes:
    encrypted = der.sequence(der.oid("1.2.840.113549.1.7.1"), algorithm, der.element(0x80, ciphertext))
    inside = der.sequence(der.integer(0), der.set_of(recipient), encrypted, der.octet_string(tag))
    return der.sequence(der.oid("1.2.840.113549.1.9.16.1.23"), der.element(0xA0, inside))


def agreed(
    held: Held,
    cek: bytes,
    scheme: str = "1.2.840.113549.1.9.16.3.19",
    wrap: int = 32,
    ukm: bytes | None = None,
    point: bytes | None = None,
) -> bytes:
    """KeyAgreeRecipientInfo for an X25519 reader (RFC 8418 3.2); ``point`` in the place of the ephemeral key."""
    ephemeral = x25519.X25519PrivateKey.generate()
    public = held[1].public_key()
    assert isinstance(public, x25519.X25519PublicKey)
    secret = ephemeral.exchange(public)
    identifier = der.sequence(der.oid(WRAPS[wrap]))
    material = b"" if ukm is None else der.element(0xA0, der.octet_string(ukm))
    info = der.sequence(identifier, material, der.element(0xA2, der.octet_string((wrap * 8).to_bytes(4))))
    if scheme in HKDFS:
        key = HKDF(HKDFS[scheme], wrap, ukm, info).derive(secret)
    else:
        key = X963KDF(X963S[scheme], wrap, info).derive(secret)
    raw = point or ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    originator = der.element(0xA1, der.sequence(der.oid("1.3.101.110")), der.element(0x03, b"\0" + raw))
    encrypted = der.sequence(der.sequence(identified(held[0]).issuer_and_serial, der.octet_string(aes_key_wrap(key, cek))))
    given = b"" if ukm is None else der.element(0xA1, der.octet_string(ukm))
    algorithm = der.sequence(der.oid(scheme), identifier)
    return der.element(0xA1, der.integer(3), der.element(0xA0, originator), given, algorithm, encrypted)


@pytest.mark.parametrize("ukm", [None, b"sixteen bytes ok"], ids=["no ukm", "ukm"])
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("scheme", [*HKDFS, *X963S])
def test_x25519_opens(reader: Held, scheme: str, wrap: int, ukm: bytes | None) -> None:
    """RFC 8418 2: the ukm is the salt of HKDF, and stands in the shared info of both."""
    cek = os.urandom(wrap)
    assert opened(authenveloped(agreed(reader, cek, scheme, wrap, ukm), *ccm(cek, bytes(12), 16)), reader) == CONTENT


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), b"short"], ids=["zero", "small order", "none"])
def test_a_point_that_agrees_on_nothing_is_a_key_that_does_not_open(reader: Held, point: bytes) -> None:
    """RFC 8418 2: the all-zero secret must be refused; it is, as every other key that is wrong."""
    cek = os.urandom(32)
    with pytest.raises(GatewayError) as caught:
        opened(authenveloped(agreed(reader, cek, point=point), *ccm(cek, bytes(12), 16)), reader)
    assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize(("nonce", "tag"), [(7, 8), (12, 12), (13, 16)])
@pytest.mark.parametrize("size", CCMS)
def test_ccm_opens(reader: Held, size: int, nonce: int, tag: int, piece: int) -> None:
    cek = os.urandom(size)
    assert opened(authenveloped(agreed(reader, cek), *ccm(cek, os.urandom(nonce), tag)), reader, piece) == CONTENT


def test_ccm_shows_nothing_before_its_tag(reader: Held) -> None:
    cek = os.urandom(16)
    algorithm, ciphertext, tag = ccm(cek, bytes(12), 12)
    for wrong in (tag[:-1] + bytes((tag[-1] ^ 1,)), tag[:8], tag + b"\0"):
        cms = CmsReader({"ours": reader[0]})
        out = cms.update(authenveloped(agreed(reader, cek), algorithm, ciphertext, wrong))
        assert cms.wants is not None
        cms.give(FileKey(reader[1]).unwrap(cms.wants.wrapped))
        with pytest.raises(GatewayError) as caught:
            out += cms.update(b"")
        assert (out, caught.value.reason) == (b"", Reason.INTEGRITY)


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("nonce", [8, 11, 12, 13, 16, 128])
def test_gcm_opens_with_a_nonce_of_any_length(reader: Held, nonce: int, size: int) -> None:
    """RFC 5084 3.2 recommends 12 bytes and allows others; sixteen are a common mistake, and no harm."""
    cek, number = os.urandom(size), os.urandom(nonce)
    sealed = AESGCM(cek).encrypt(number, CONTENT, None)
    algorithm = der.sequence(der.oid(GCMS[size]), der.sequence(der.octet_string(number), der.integer(16)))
    assert opened(authenveloped(agreed(reader, cek), algorithm, sealed[:-16], sealed[-16:]), reader) == CONTENT
    with pytest.raises(GatewayError) as caught:
        opened(authenveloped(agreed(reader, cek), algorithm, sealed[:-16], bytes(16)), reader)
    assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.parametrize("nonce", [0, 7, 129])
def test_gcm_with_a_nonce_the_library_does_not_take_is_our_error(reader: Held, nonce: int) -> None:
    algorithm = der.sequence(der.oid(GCMS[16]), der.sequence(der.octet_string(bytes(nonce)), der.integer(16)))
    with pytest.raises(GatewayError) as caught:
        opened(authenveloped(agreed(reader, os.urandom(16)), algorithm, CONTENT, bytes(16)), reader)
    assert caught.value.reason is (Reason.UNSUPPORTED if nonce else Reason.MALFORMED)


@pytest.mark.parametrize(("nonce", "tag"), [(12, 4), (12, 6)])
def test_tags_that_prove_too_little_are_not_taken(reader: Held, nonce: int, tag: int) -> None:
    cek = os.urandom(16)
    with pytest.raises(GatewayError) as caught:
        opened(authenveloped(agreed(reader, cek), *ccm(cek, bytes(nonce), tag)), reader)
    assert caught.value.reason is Reason.MALFORMED


def test_an_x25519_key_comes_from_a_file(tmp_path: Path, reader: Held) -> None:
    """PKCS #8, as RFC 8410 writes it."""
    path = tmp_path / "reader.key"
    path.write_bytes(reader[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert FileKey.load(path).spki == FileKey(reader[1]).spki


Curve = Callable[[], ec.EllipticCurve]


@pytest.mark.parametrize("curve", [ec.BrainpoolP256R1, ec.BrainpoolP384R1, ec.BrainpoolP512R1])
@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_what_openssl_encrypts_on_brainpool_curves_is_opened(tmp_path: Path, curve: Curve, digest: str) -> None:
    key = ec.generate_private_key(curve())
    held = (certificate_for(key), key)
    (tmp_path / "reader.der").write_bytes(held[0])
    openssl("x509", "-inform", "DER", "-in", tmp_path / "reader.der", "-out", tmp_path / "reader.pem")
    words = ("-aes-192-cbc", "-recip", tmp_path / "reader.pem", "-keyopt", f"ecdh_kdf_md:{digest}")
    assert opened(openssl("cms", "-encrypt", "-binary", "-outform", "DER", *words, data=CONTENT), held) == CONTENT


def test_a_key_in_3des_is_unwrapped_by_allowance_alone(tmp_path: Path) -> None:
    """RFC 3217, as openssl wraps for 3DES."""
    key = ec.generate_private_key(ec.SECP256R1())
    held = (certificate_for(key), key)
    (tmp_path / "reader.der").write_bytes(held[0])
    openssl("x509", "-inform", "DER", "-in", tmp_path / "reader.der", "-out", tmp_path / "reader.pem")
    words = ("-des3", "-recip", tmp_path / "reader.pem")
    structure = openssl("cms", "-encrypt", "-binary", "-outform", "DER", *words, data=CONTENT)
    with pytest.raises(GatewayError) as caught:
        opened(structure, held)
    assert caught.value.reason is Reason.WEAK_ALGORITHM
    assert opened(structure, held, strength=Strength.LEGACY) == CONTENT
