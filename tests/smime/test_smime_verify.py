"""Signatures of every kind by openssl, and attributes that bind a signature to its certificate and its algorithms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.attributes import MAX_NAMED
from gateway.smime.certificate import identified
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.sign import SignatureWriter
from gateway.smime.verify import MAX_PURE, Checked, Signature, beginning, check, needed
from tests.pki import NOW, Ca, Issued, for_ecdh_alone, microseconds
from tests.smime.openssl import openssl

CONTENT = b"Content-Type: text/plain\r\n\r\nResult: all well.\r\n"
AT = microseconds(NOW) + 365 * 86400 * 10**6
GOOD = (Signature.GOOD, None)
BAD = (Signature.BAD, Reason.BAD_SIGNATURE)


def checked(structure: bytes, strength: Strength = Strength.MODERN, content: bytes = CONTENT) -> list[Checked]:
    """The answers for a detached signature over ``content``."""
    reader = CmsReader({})
    reader.update(structure)
    signed = reader.finalize()
    assert isinstance(signed, SignedData)
    digests = {digest: hashlib.new(digest, content).digest() for digest in needed(signed, strength)}
    return list(check(signed, digests, content[: beginning(signed)], AT, strength))


def answers(structure: bytes, strength: Strength = Strength.MODERN) -> list[tuple[Signature, Reason | None]]:
    return [(each.signature, each.reason) for each in checked(structure, strength)]


def key_of_openssl(folder: Path, *generate: str) -> tuple[Path, Path]:
    """A key and a self-signed certificate by openssl."""
    key, certificate = folder / "signer.key", folder / "signer.pem"
    openssl(*generate, "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-out", certificate, "-subj", "/CN=results", "-days", "400")
    return certificate, key


def signed_by_openssl(certificate: Path, key: Path, *options: str) -> bytes:
    words: tuple[str | Path, ...] = ("cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key, *options)
    return openssl(*words, data=CONTENT)


def test_brainpool_is_checked(tmp_path: Path) -> None:
    """RFC 5639 curves, of which German health certificates are made."""
    pair = key_of_openssl(tmp_path, "ecparam", "-genkey", "-name", "brainpoolP256r1")
    assert answers(signed_by_openssl(*pair, "-md", "sha256")) == [GOOD]


def dsa(folder: Path) -> tuple[Path, Path]:
    openssl("genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:2048", "-out", folder / "dsa.parameters")
    return key_of_openssl(folder, "genpkey", "-paramfile", str(folder / "dsa.parameters"))


def rsa_key(bits: int) -> Callable[[Path], tuple[Path, Path]]:
    return lambda folder: key_of_openssl(folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


@pytest.mark.parametrize(
    ("pair", "options"),
    [
        (rsa_key(2048), ("-md", "sha1")),
        (rsa_key(2048), ("-md", "md5")),
        (rsa_key(2048), ("-md", "sha1", "-keyopt", "rsa_padding_mode:pss")),
        (rsa_key(1024), ("-md", "sha256")),
        (lambda folder: key_of_openssl(folder, "ecparam", "-genkey", "-name", "prime256v1"), ("-md", "sha1")),
        (dsa, ("-md", "sha1")),
        (dsa, ("-md", "sha256")),
    ],
    ids=["rsa sha1", "rsa md5", "pss sha1", "rsa 1024", "ecdsa sha1", "dsa sha1", "dsa sha256"],
)
def test_what_is_weak_is_checked_by_allowance_alone_and_says_so(
    tmp_path: Path, pair: Callable[[Path], tuple[Path, Path]], options: tuple[str, ...]
) -> None:
    """Good it may be; it proves nothing. Bad it still is where it is bad."""
    structure = signed_by_openssl(*pair(tmp_path), *options)
    assert answers(structure) == [(Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)]
    assert answers(structure, Strength.LEGACY) == [(Signature.GOOD, Reason.WEAK_ALGORITHM)]
    [changed] = checked(structure, Strength.LEGACY, CONTENT + b"!")
    assert (changed.signature, changed.reason) == (Signature.BAD, Reason.BAD_DIGEST)


def test_rsa_of_less_than_1024_bits_is_never_read(tmp_path: Path) -> None:
    """Nor by any allowance."""
    structure = signed_by_openssl(*rsa_key(768)(tmp_path), "-md", "sha256")
    assert answers(structure, Strength.LEGACY) == [(Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)]


def test_who_names_his_certificate_as_cades_does_is_believed(tmp_path: Path) -> None:
    """SigningCertificateV2 by openssl, and by its older form."""
    ca = Ca.root()
    certificate, key = ca.organisation_signer("laboratory.example", "rsa2048").write(tmp_path, "cades")
    assert answers(signed_by_openssl(certificate, key, "-md", "sha256", "-cades")) == [GOOD]


# Attributes that no program writes


@pytest.fixture(scope="module")
def people() -> tuple[Issued, bytes]:
    """A signer, and another certificate for his key, of the same issuer and serial number: it differs in its validity alone."""
    ca = Ca.root()
    signer = ca.organisation_signer("laboratory.example", "rsa2048")
    builder = x509.CertificateBuilder(
        signer.certificate.issuer,
        signer.certificate.subject,
        signer.certificate.public_key(),
        signer.certificate.serial_number,
        signer.certificate.not_valid_before_utc,
        signer.certificate.not_valid_after_utc + timedelta(days=1),
        list(signer.certificate.extensions),
    )
    return signer, builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


SHA1 = der.sequence(der.oid("1.3.14.3.2.26"))
SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
SHA512 = der.sequence(der.oid("2.16.840.1.101.3.4.2.3"))
RSA_SHA256 = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL)
ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (f"1.2.840.113549.1.9.{number}" for number in (3, 4, 5))
CERTIFICATE, CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
PROTECTION = "1.2.840.113549.1.9.52"
DATA = der.oid("1.2.840.113549.1.7.1")


def attribute(kind: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(*values))


def signed(signer: Issued, *attributes: bytes, certificates: tuple[bytes, ...] = ()) -> bytes:
    """A detached SignedData over CONTENT with the two attributes that must be there, and these."""
    digest = der.octet_string(hashlib.sha256(CONTENT).digest())
    inside = der.set_of(*attributes, *_missing(attributes, digest))
    if isinstance(signer.key, rsa.RSAPrivateKey):
        algorithm, signature = RSA_SHA256, signer.key.sign(inside, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
        algorithm, signature = ECDSA_SHA256, signer.key.sign(inside, ec.ECDSA(hashes.SHA256()))
    named = identified(signer.der).issuer_and_serial
    info = der.sequence(der.integer(1), named, SHA256, b"\xa0" + inside[1:], algorithm, der.octet_string(signature))
    return signed_data(SHA256, certificates or (signer.der,), info)


def _missing(attributes: tuple[bytes, ...], digest: bytes) -> list[bytes]:
    wanted = ((CONTENT_TYPE, DATA), (MESSAGE_DIGEST, digest))
    there = [der.read(each).content for each in attributes]
    return [attribute(kind, value) for kind, value in wanted if not any(each.startswith(der.oid(kind)) for each in there)]


def signed_data(digest: bytes, certificates: tuple[bytes, ...], info: bytes) -> bytes:
    held = der.element(0xA0, *certificates)
    data = der.sequence(der.integer(1), der.set_of(digest), der.sequence(DATA), held, der.set_of(info))
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.element(0xA0, data))


def v1(certificate: bytes) -> bytes:
    """SigningCertificate (RFC 2634 5.4) of one ESSCertID."""
    one = der.sequence(der.octet_string(hashlib.sha1(certificate).digest()))  # noqa: S324 - what the RFC says
    return attribute(CERTIFICATE, der.sequence(der.sequence(one)))


def v2(certificate: bytes, *, algorithm: bytes = b"", digest: str = "sha256", issuer: bytes = b"", serial: bytes = b"") -> bytes:
    """SigningCertificateV2 (RFC 5035 3) of one ESSCertIDv2."""
    named = der.sequence(der.sequence(der.element(0xA4, issuer)), serial) if issuer else b""
    one = der.sequence(algorithm, der.octet_string(hashlib.new(digest, certificate).digest()), named)
    return attribute(CERTIFICATE_V2, der.sequence(der.sequence(one)))


def protection(digest: bytes, signature: bytes, tag: int = 0xA1) -> bytes:
    """CMSAlgorithmProtection (RFC 6211 2)."""
    return attribute(PROTECTION, der.sequence(digest, bytes((tag,)) + signature[1:]))


def time(text: bytes) -> bytes:
    return der.element(der.UTC_TIME, text)


Case = Callable[[Issued, bytes], tuple[bytes, ...]]


@pytest.mark.parametrize(
    ("attributes", "answer"),
    [
        (lambda signer, _: (v1(signer.der),), GOOD),
        (lambda _, other: (v1(other),), BAD),
        (lambda signer, _: (v2(signer.der),), GOOD),
        (lambda _, other: (v2(other),), BAD),
        (lambda signer, _: (v2(signer.der, algorithm=SHA512, digest="sha512"),), GOOD),
        (lambda signer, _: (v2(signer.der, algorithm=SHA1, digest="sha1"),), GOOD),
        (lambda signer, _: (v2(signer.der, issuer=identified(signer.der).issuer, serial=identified(signer.der).serial),), GOOD),
        (lambda signer, _: (v2(signer.der, issuer=identified(signer.der).issuer, serial=der.integer(7)),), BAD),
        (lambda signer, other: (v1(signer.der), v2(other)), BAD),
        (lambda signer, _: (v2(signer.der), v2(signer.der)), BAD),
        (lambda *_: (attribute(CERTIFICATE_V2, der.sequence(der.sequence())),), BAD),
        (lambda *_: (protection(SHA256, RSA_SHA256),), GOOD),
        (lambda *_: (protection(der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL), RSA_SHA256),), GOOD),
        (lambda *_: (protection(SHA512, RSA_SHA256),), BAD),
        (lambda *_: (protection(SHA256, der.sequence(der.oid("1.2.840.113549.1.1.13"), der.NULL)),), BAD),
        (lambda *_: (protection(SHA256, RSA_SHA256, tag=0xA2),), BAD),
        (lambda *_: (protection(SHA256, RSA_SHA256), protection(SHA512, RSA_SHA256)), BAD),
        (lambda *_: (attribute(CONTENT_TYPE, DATA, DATA),), BAD),
        (lambda *_: (attribute(CONTENT_TYPE, der.oid("1.2.840.113549.1.7.2")),), BAD),
        (lambda *_: (attribute(MESSAGE_DIGEST),), BAD),
        (lambda *_: (attribute(SIGNING_TIME, time(b"260301120000Z")),), GOOD),
        (
            lambda *_: (attribute(SIGNING_TIME, time(b"260301120000Z"), time(b"260301120000Z")),),
            (Signature.BAD, Reason.SIGNING_TIME),
        ),
    ],
)
def test_an_attribute_that_is_there_must_be_right(people: tuple[Issued, bytes], attributes: Case, answer: object) -> None:
    """RFC 5652 11, RFC 2634 5.4, RFC 5035 3, RFC 6211 3; each signature is mathematically good."""
    signer, other = people
    assert answers(signed(signer, *attributes(signer, other))) == [answer]


@pytest.mark.parametrize(("count", "answer"), [(MAX_NAMED, GOOD), (MAX_NAMED + 1, BAD)])
def test_certificates_that_a_signer_names(people: tuple[Issued, bytes], count: int, answer: object) -> None:
    """His own, and those above it, which are not looked at."""
    signer, _ = people
    one = der.sequence(der.octet_string(hashlib.sha256(signer.der).digest()))
    assert answers(signed(signer, attribute(CERTIFICATE_V2, der.sequence(der.sequence(one * count))))) == [answer]


def test_of_two_certificates_of_one_name_and_key_the_one_that_is_named_is_the_signers(people: tuple[Issued, bytes]) -> None:
    """Wherever it stands among them."""
    signer, other = people
    for certificates in ((signer.der, other), (other, signer.der)):
        [found] = checked(signed(signer, v2(signer.der), certificates=certificates))
        assert (found.signature, found.certificate) == (Signature.GOOD, signer.der)


def test_a_key_for_ecdh_alone_signs_nothing() -> None:
    """id-ecDH (RFC 5480 2.1.2), however good the signature."""
    ca = Ca.root()
    usual, signer = ca.reader("results@laboratory.example", "p256"), for_ecdh_alone(ca)
    assert answers(signed(usual, v2(usual.der))) == [GOOD]
    assert answers(signed(signer, v2(signer.der))) == [BAD]
    with pytest.raises(GatewayError) as caught:
        SignatureWriter((signer.der,), AT)
    assert caught.value.reason is Reason.UNSUPPORTED


# Ed25519, by the library that signs: openssl 3.0 cannot in CMS


def ed25519_signed(keyed: bool = False, digest: bytes = SHA512, bare: bool = False, content: bytes = CONTENT) -> bytes:
    """A detached SignedData over ``content`` (RFC 8419 3); ``bare``: without signed attributes."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "results")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=400))
    certificate = builder.add_extension(identifier, critical=False).sign(key, None).public_bytes(Encoding.DER)
    named = der.element(0x80, identifier.digest) if keyed else identified(certificate).issuer_and_serial
    name_of = "sha512" if digest == SHA512 else "sha256"
    value = der.octet_string(hashlib.new(name_of, content).digest())
    attributes = b"" if bare else der.set_of(*_missing((), value))
    signature = der.octet_string(key.sign(attributes or content))
    algorithm = der.sequence(der.oid("1.3.101.112"))
    info = der.sequence(der.integer(1), named, digest, b"\xa0" + attributes[1:] if attributes else b"", algorithm, signature)
    return signed_data(digest, (certificate,), info)


@pytest.mark.parametrize("keyed", [False, True], ids=["issuer and serial", "key identifier"])
def test_ed25519_is_checked(keyed: bool) -> None:
    """RFC 8419 3.1: the attributes digest the content by SHA-512."""
    structure = ed25519_signed(keyed)
    [found] = checked(structure)
    assert (found.signature, found.reason, found.scheme) == (*GOOD, "ed25519")
    assert [each.reason for each in checked(structure, content=CONTENT + b"!")] == [Reason.BAD_DIGEST]
    assert answers(structure[:-1] + bytes((structure[-1] ^ 1,))) == [BAD]


def test_ed25519_with_another_digest_is_not_checked() -> None:
    """3.1: it MUST be SHA-512."""
    assert answers(ed25519_signed(digest=SHA256)) == [(Signature.UNSUPPORTED, Reason.UNSUPPORTED)]


def test_ed25519_over_the_content_itself_is_checked() -> None:
    """RFC 8419 3.2, as Bouncy Castle writes it."""
    folder = Path(__file__).parent / "bouncycastle"
    structure = (folder / "ed25519-content.p7s").read_bytes()
    reader = CmsReader({})
    assert reader.update(structure) == CONTENT
    signed = reader.finalize()
    assert isinstance(signed, SignedData)
    assert signed.signers[0].attributes is None
    [found] = checked(structure)
    assert (found.signature, found.reason, found.scheme) == (*GOOD, "ed25519")
    own = x509.load_pem_x509_certificate((folder / "signing.pem").read_bytes())
    assert found.certificate == own.public_bytes(Encoding.DER)
    for wrong in (CONTENT + b"!", CONTENT[:-1], b"", b"!" + CONTENT[1:]):
        assert [(each.signature, each.reason) for each in checked(structure, content=wrong)] == [BAD]


def test_ed25519_over_attributes_of_another_message_is_bad() -> None:
    """A signature over the DER of a SET may be that of attributes, which somebody takes for content."""
    assert [each.reason for each in checked(ed25519_signed(bare=True, content=b"1set"), content=b"1set")] == [Reason.BAD_SIGNATURE]


@pytest.mark.parametrize("size", [MAX_PURE, MAX_PURE + 1])
def test_as_much_content_as_is_kept_and_one_more(size: int) -> None:
    content = bytes(size)
    [found] = checked(ed25519_signed(bare=True, content=content), content=content)
    limit = (Signature.UNSUPPORTED, Reason.LIMIT)
    assert (found.signature, found.reason) == (GOOD if size == MAX_PURE else limit)
