"""RSASSA-PSS as others write it, and keys that are for it alone (RFC 4055, 4056)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.smime.keys import Mechanism
from gateway.smime.known import Strength
from gateway.smime.mechanisms import mechanisms_of
from gateway.smime.recipients import Reader, recipient_infos
from gateway.smime.sign import SignatureWriter
from gateway.smime.verify import Signature
from tests.pki import NOW, microseconds
from tests.smime.openssl import openssl
from tests.smime.test_smime_verify import (
    BAD,
    CONTENT,
    GOOD,
    RSA_SHA256,
    SHA256,
    answers,
    attribute,
    key_of_openssl,
    protection,
    rsa_key,
    signed_by_openssl,
    signed_data,
    v1,
    v2,
)

HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
OIDS: Final = {name: der.oid(f"2.16.840.1.101.3.4.2.{number}") for name, number in (("sha256", 1), ("sha384", 2), ("sha512", 3))}


def pss_key(folder: Path, *limits: str) -> tuple[Path, Path]:
    """A key for PSS alone, by openssl; ``limits``: digest of content and mask, and the least salt."""
    names = ("rsa_pss_keygen_md", "rsa_pss_keygen_mgf1_md", "rsa_pss_keygen_saltlen")
    options = [word for name, limit in zip(names, limits, strict=False) for word in ("-pkeyopt", f"{name}:{limit}")]
    return key_of_openssl(folder, "genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", *options)


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key for every use of RSA."""
    return rsa_key(2048)(tmp_path_factory.mktemp("free"))


@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize("mask", HASHES)
@pytest.mark.parametrize("salt", ["0", "20", "digest", "max"])
def test_what_openssl_signs_with_any_mask_and_salt_verifies(free: tuple[Path, Path], digest: str, mask: str, salt: str) -> None:
    """RFC 4056 2.2 recommends the mask of the same digest and a salt as long as it, and asks for neither."""
    options = ("rsa_padding_mode:pss", f"rsa_mgf1_md:{mask}", f"rsa_pss_saltlen:{salt}")
    words = [word for option in options for word in ("-keyopt", option)]
    structure = signed_by_openssl(*free, "-md", digest, *words)
    assert answers(structure) == [GOOD]


def test_a_key_for_pss_alone_signs_by_pss(tmp_path: Path) -> None:
    structure = signed_by_openssl(*pss_key(tmp_path), "-md", "sha256", "-keyopt", "rsa_padding_mode:pss")
    assert answers(structure) == [GOOD]


def test_a_key_for_one_kind_of_pss_signs_by_it(tmp_path: Path) -> None:
    pair = pss_key(tmp_path, "sha384", "sha384", "48")
    assert answers(signed_by_openssl(*pair, "-md", "sha384", "-keyopt", "rsa_padding_mode:pss")) == [GOOD]


# What openssl refuses to sign, by another library; each signature is mathematically good.


def pss_parameters(digest: str, mask: str, salt: bytes, *more: bytes) -> bytes:
    """RSASSA-PSS-params (RFC 4055 3.1). ``salt`` is the element; ``more`` follows it."""
    of = {name: der.sequence(oid, der.NULL) for name, oid in OIDS.items()}
    generator = der.sequence(der.oid("1.2.840.113549.1.1.8"), of[mask])
    fields = (der.element(0xA0, of[digest]), der.element(0xA1, generator), der.element(0xA2, salt), *more)
    return der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence(*fields))


def signed(
    pair: tuple[Path, Path], digest: str, algorithm: bytes, scheme: padding.AsymmetricPadding, unsigned: bytes = b""
) -> bytes:
    """A detached SignedData over CONTENT with the two attributes that must be there."""
    certificate = x509.load_pem_x509_certificate(pair[0].read_bytes()).public_bytes(Encoding.DER)
    key = load_pem_private_key(pair[1].read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    content = der.octet_string(hashlib.new(digest, CONTENT).digest())
    kinds = (("1.2.840.113549.1.9.3", der.oid("1.2.840.113549.1.7.1")), ("1.2.840.113549.1.9.4", content))
    inside = der.set_of(*(attribute(kind, value) for kind, value in kinds))
    parts = (der.integer(1), identified(certificate).issuer_and_serial, der.sequence(OIDS[digest]), b"\xa0" + inside[1:], algorithm)
    signature = der.octet_string(key.sign(inside, scheme, HASHES[digest]))
    return signed_data(der.sequence(OIDS[digest]), (certificate,), der.sequence(*parts, signature, unsigned))


def by_pss(pair: tuple[Path, Path], digest: str, mask: str, salt: int, *more: bytes, said: bytes | None = None) -> bytes:
    """A signature by PSS with these parameters; ``said``: the element that speaks of the salt, where it is not right."""
    algorithm = pss_parameters(digest, mask, der.integer(salt) if said is None else said, *more)
    return signed(pair, digest, algorithm, padding.PSS(padding.MGF1(HASHES[mask]), salt))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key for PSS with SHA-256, its mask too, and 32 bytes of salt at least."""
    return pss_key(tmp_path_factory.mktemp("limited"), "sha256", "sha256", "32")


@pytest.mark.parametrize(
    ("digest", "mask", "salt", "answer"),
    [
        ("sha256", "sha256", 32, GOOD),
        ("sha256", "sha256", 40, GOOD),
        ("sha256", "sha256", 31, BAD),
        ("sha512", "sha256", 32, BAD),
        ("sha256", "sha512", 32, BAD),
    ],
)
def test_a_key_is_held_to_what_it_says_of_itself(
    limited: tuple[Path, Path], digest: str, mask: str, salt: int, answer: object
) -> None:
    """RFC 4055 3.3: the parameters of the key are those of the signature, whose salt may be longer."""
    assert answers(by_pss(limited, digest, mask, salt)) == [answer]


@pytest.mark.parametrize("limits", [(), ("sha256", "sha256", "32")], ids=["without parameters", "with parameters"])
def test_a_key_for_pss_alone_signs_in_no_other_way(tmp_path: Path, limits: tuple[str, ...]) -> None:
    """RFC 4055 1.2: whoever names his key so wants nothing of it but PSS."""
    structure = signed(pss_key(tmp_path, *limits), "sha256", RSA_SHA256, padding.PKCS1v15())
    for strength in Strength:
        assert answers(structure, strength) == [BAD]


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (der.octet_string(b"\x20"), ()),
        (der.element(der.INTEGER, b"\x00\x00\x00\x20\x01"), ()),
        (der.element(der.INTEGER, b""), ()),
        (der.integer(32), (der.element(0xA3, der.integer(2)),)),
        (der.integer(32), (der.element(0xA4, der.integer(1)),)),
    ],
    ids=["a salt that is no number", "a salt with bytes behind its number", "an empty salt", "another trailer", "a parameter more"],
)
def test_parameters_that_are_none_are_bad(free: tuple[Path, Path], said: bytes, more: tuple[bytes, ...]) -> None:
    """RFC 4055 3.1: the trailer field is 1, and there are four parameters."""
    assert answers(by_pss(free, "sha256", "sha256", 32, *more, said=said)) == [BAD]


def test_a_trailer_that_is_said_is_good(free: tuple[Path, Path]) -> None:
    """DER leaves the default out (X.690 11.5); not everybody does."""
    assert answers(by_pss(free, "sha256", "sha256", 32, der.element(0xA3, der.integer(1)))) == [GOOD]


def test_attributes_that_must_be_signed_are_nothing_outside(free: tuple[Path, Path]) -> None:
    """RFC 2634 5.4, RFC 5035 3, RFC 6211 2: never an unsigned attribute, where anybody may put it."""
    certificate = x509.load_pem_x509_certificate(free[0].read_bytes()).public_bytes(Encoding.DER)
    for item in (v1(certificate), v2(certificate), protection(SHA256, RSA_SHA256)):
        structure = signed(free, "sha256", RSA_SHA256, padding.PKCS1v15(), der.element(0xA1, item))
        assert answers(structure) == [BAD]
    other = der.element(0xA1, attribute("1.2.3.4", der.NULL))
    assert answers(signed(free, "sha256", RSA_SHA256, padding.PKCS1v15(), other)) == [(Signature.GOOD, None)]


def certificate_of(pair: tuple[Path, Path]) -> bytes:
    return x509.load_pem_x509_certificate(pair[0].read_bytes()).public_bytes(Encoding.DER)


def test_we_do_not_encrypt_to_a_key_for_pss_alone(tmp_path: Path) -> None:
    """Its owner limits it to that (RFC 4055 1.2)."""
    with pytest.raises(GatewayError) as caught:
        recipient_infos([Reader(certificate_of(pss_key(tmp_path)))], bytes(32))
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("limits", "mechanisms"),
    [
        ((), [Mechanism.RSA_PSS_SHA256, Mechanism.RSA_PSS_SHA384, Mechanism.RSA_PSS_SHA512]),
        (("sha256", "sha256", "32"), [Mechanism.RSA_PSS_SHA256]),
        (("sha384", "sha384", "48"), [Mechanism.RSA_PSS_SHA384]),
        (("sha512", "sha512", "20"), [Mechanism.RSA_PSS_SHA512]),
    ],
    ids=["any", "sha256", "sha384", "sha512"],
)
async def test_we_sign_by_a_key_for_pss_alone_within_its_parameters(
    tmp_path: Path, limits: tuple[str, ...], mechanisms: list[Mechanism]
) -> None:
    """RFC 4055 3.3; openssl, which holds a key to its parameters, verifies."""
    pair = pss_key(tmp_path, *limits)
    certificate = certificate_of(pair)
    assert mechanisms_of(certificate) == tuple(mechanisms)
    keys = FileKeys({"key": FileKey.load(pair[1])})
    (tmp_path / "content").write_bytes(CONTENT)
    for mechanism in (None, *mechanisms):
        writer = SignatureWriter([certificate], microseconds(NOW), mechanism)
        writer.update(CONTENT)
        need = writer.wants
        assert need is not None
        writer.give(await keys.sign("key", need.to_be_signed, need.mechanism))
        options = ("-inform", "DER", "-content", tmp_path / "content", "-binary", "-noverify", "-certfile", pair[0])
        assert openssl("cms", "-verify", *options, data=writer.finalize()) == CONTENT


@pytest.mark.parametrize("limits", [("sha256", "sha512", "32"), ("sha256", "sha256", "33"), ("sha224", "sha224", "28")])
def test_we_do_not_sign_by_a_key_with_other_parameters_than_ours(tmp_path: Path, limits: tuple[str, ...]) -> None:
    """Our mask has the digest of the signature and our salt its length, as RFC 4056 2.2 recommends."""
    certificate = certificate_of(pss_key(tmp_path, *limits))
    for mechanism in (None, *Mechanism):
        with pytest.raises(GatewayError) as caught:
            SignatureWriter([certificate], 0, mechanism)
        assert caught.value.reason is Reason.UNSUPPORTED
