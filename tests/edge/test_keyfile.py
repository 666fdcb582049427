"""Keys in files: PEM and PKCS#12 as ``openssl`` writes them, behind the same two methods as a token."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto.pkcs12 import AuthenticatedSafe, Pfx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key, load_pem_public_key, pkcs12

from gateway.edge.keyfile import FileKey, FileKeys, KeyFileError
from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import HASHES
from gateway.smime.keys import Digest, Ecdh, Kdf, Mechanism, Oaep, Pkcs1
from tests.edge.test_pkcs11 import agreed
from tests.pki import Ca, Issued
from tests.smime import agreeing
from tests.smime.agreeing import agreed_x25519

CEK = bytes(range(32))


@pytest.fixture(scope="module")
def issued() -> dict[str, Issued]:
    ca = Ca.root()
    return {kind: ca.signer("results@laboratory.example", kind=kind) for kind in ("rsa2048", "p256", "p384")}


@pytest.fixture(scope="module")
def folder(issued: dict[str, Issued], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each key in every form: plain PEM, PEM with a passphrase, PKCS#12 with and without one."""
    folder = tmp_path_factory.mktemp("keys")
    for kind, leaf in issued.items():
        certificate, key = leaf.write(folder, kind)
        for command in (
            ["pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", folder / f"{kind}-secret.pem"],
            ["pkey", "-in", key, "-traditional", "-out", folder / f"{kind}-traditional.pem"],
            [
                "pkcs12",
                "-export",
                "-inkey",
                key,
                "-in",
                certificate,
                "-passout",
                "pass:secret",
                "-out",
                folder / f"{kind}-secret.p12",
            ],
            ["pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:", "-out", folder / f"{kind}.p12"],
        ):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return folder


def rsa_public(leaf: Issued) -> RSAPublicKey:
    key = leaf.certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    return key


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
@pytest.mark.parametrize("suffix", [".key", "-secret.pem", "-traditional.pem", "-secret.p12", ".p12"])
async def test_every_form_signs(folder: Path, issued: dict[str, Issued], kind: str, suffix: str) -> None:
    passphrase = "secret" if "secret" in suffix else "" if suffix == ".p12" else None
    keys = FileKeys({"sign": FileKey.load(folder / f"{kind}{suffix}", passphrase)})
    public = issued[kind].certificate.public_key()
    if isinstance(public, RSAPublicKey):
        signature = await keys.sign("sign", b"attributes", Mechanism.RSA_PSS_SHA256)
        public.verify(signature, b"attributes", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        signature = await keys.sign("sign", b"attributes", Mechanism.RSA_PKCS1_SHA512)
        public.verify(signature, b"attributes", padding.PKCS1v15(), hashes.SHA512())
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(await keys.sign("sign", b"attributes", Mechanism.ECDSA_SHA384), b"attributes", ec.ECDSA(hashes.SHA384()))


def test_ed25519_signs_the_attributes_themselves(tmp_path: Path) -> None:
    """RFC 8419 2.3; verified by openssl."""
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", "key"],
        ["pkey", "-in", "key", "-pubout", "-out", "public"],
    ):
        subprocess.run(["openssl", *command], cwd=tmp_path, check=True)
    key = FileKey.load(tmp_path / "key")
    (tmp_path / "signature").write_bytes(key.sign(b"attributes", Mechanism.ED25519))
    (tmp_path / "data").write_bytes(b"attributes")
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "data", "-sigfile", "signature"]
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(GatewayError) as error:
        key.sign(bytes(32), Mechanism.ECDSA_SHA256)
    assert error.value.reason is Reason.KEY_UNAVAILABLE


async def test_keys_are_unwrapped(folder: Path, issued: dict[str, Issued]) -> None:
    keys = FileKeys({kind: FileKey.load(folder / f"{kind}.key") for kind in issued})
    public = rsa_public(issued["rsa2048"])
    assert await keys.unwrap("rsa2048", Pkcs1(public.encrypt(CEK, padding.PKCS1v15()), 32)) == CEK
    for digest in set(Digest) - {Digest.MD5}:
        scheme = padding.OAEP(padding.MGF1(HASHES[Digest.SHA1]), HASHES[digest], b"label")
        assert await keys.unwrap("rsa2048", Oaep(public.encrypt(CEK, scheme), 32, digest, Digest.SHA1, b"label")) == CEK
    for kind in ("p256", "p384"):
        point = issued[kind].certificate.public_key()
        assert isinstance(point, ec.EllipticCurvePublicKey)
        assert await keys.unwrap(kind, agreed(point)) == CEK


async def test_what_cannot_be_unwrapped_gives_a_random_key_each_time(folder: Path, issued: dict[str, Issued]) -> None:
    keys = FileKeys({kind: FileKey.load(folder / f"{kind}.key") for kind in issued})
    public = rsa_public(issued["rsa2048"])
    numbers = public.public_numbers()
    unpadded = pow(int.from_bytes(b"\0\1" + b"\x77" * 254), numbers.e, numbers.n).to_bytes(256)
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    for name, wrapped in (
        ("rsa2048", Pkcs1(unpadded, 32)),
        ("rsa2048", Pkcs1(public.encrypt(CEK[:16], padding.PKCS1v15()), 32)),
        ("rsa2048", Pkcs1(b"short", 16)),
        ("rsa2048", Pkcs1(b"\xff" * 256, 16)),
        ("rsa2048", Oaep(unpadded, 32, Digest.SHA256, Digest.SHA256)),
        ("p256", agreed(other)),
        ("p256", Ecdh(CEK, 24, b"no key", Digest.SHA256, b"", 16)),
    ):
        answers = {await keys.unwrap(name, wrapped) for _ in range(3)}
        assert len(answers) == 3
        assert {len(answer) for answer in answers} == {wrapped.length}


@pytest.mark.parametrize(
    ("name", "passphrase"),
    [("rsa2048-secret.pem", None), ("rsa2048-secret.pem", "wrong"), ("p256-secret.p12", "wrong"), ("p256-secret.p12", None)],
)
def test_a_wrong_passphrase_is_said_without_the_key(folder: Path, name: str, passphrase: str | None) -> None:
    with pytest.raises(KeyFileError, match=f"{name}: not a PEM or PKCS#12 private key, or its passphrase is missing or wrong"):
        FileKey.load(folder / name, passphrase)


def subjects(keys: Iterable[FileKey], certificates: Iterable[x509.Certificate]) -> list[str]:
    """Whose the keys are, in their order."""
    of = {each.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo): each for each in certificates}
    return [of[key.spki].subject.rfc4514_string() for key in keys]


def test_all_keys_of_a_bundle_are_read_and_none_is_chosen() -> None:
    """``two-keys.p12`` is a bundle of openssl's that keytool of OpenJDK 17 put another into."""
    path = Path(__file__).parent / "two-keys.p12"
    _, own, others = pkcs12.load_key_and_certificates(path.read_bytes(), b"secret")
    assert own is not None
    assert subjects(FileKey.load_all(path, "secret"), [own, *others]) == ["CN=one", "CN=other"]
    with pytest.raises(KeyFileError, match=r"two-keys\.p12: holds 2 private keys; give it one"):
        FileKey.load(path, "secret")
    with pytest.raises(KeyFileError, match="not a PEM or PKCS#12 private key, or its passphrase is missing or wrong"):
        FileKey.load_all(path, "wrong")


def test_keys_of_a_bundle_that_are_not_encrypted_are_counted_too(folder: Path, issued: dict[str, Issued], tmp_path: Path) -> None:
    """As openssl writes them with ``-keypbe NONE``; two bundles in one."""
    safes = []
    for kind in ("p256", "p384"):
        command = [
            "pkcs12",
            "-export",
            "-inkey",
            f"{kind}.key",
            "-in",
            f"{kind}.pem",
            "-keypbe",
            "NONE",
            "-nomac",
            "-passout",
            "pass:",
        ]
        made = subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=folder).stdout
        safes += list(Pfx.load(made).authenticated_safe)
    bundle = Pfx({"version": "v3", "auth_safe": {"content_type": "data", "content": AuthenticatedSafe(safes).dump()}})
    (tmp_path / "two.p12").write_bytes(bundle.dump())
    found = [key.spki for key in FileKey.load_all(tmp_path / "two.p12", "")]
    assert found == [FileKey.load(folder / f"{kind}.key").spki for kind in ("p256", "p384")]


def test_all_keys_of_a_pem_file_are_read_and_none_is_chosen(folder: Path, tmp_path: Path) -> None:
    names = ["p256.key", "p256.pem", "rsa2048-traditional.pem", "rsa2048-secret.pem"]
    (tmp_path / "several.pem").write_bytes(b"".join((folder / name).read_bytes() for name in names[:3]))
    found = [key.spki for key in FileKey.load_all(tmp_path / "several.pem")]
    assert found == [FileKey.load(folder / f"{kind}.key").spki for kind in ("p256", "rsa2048")]
    with pytest.raises(KeyFileError, match=r"several\.pem: holds 2 private keys; give it one"):
        FileKey.load(tmp_path / "several.pem")


def test_what_holds_no_key_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\x30\x82noise")
    (tmp_path / "long").write_bytes(bytes(70_000))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed448", "-out", tmp_path / "ed448"], check=True)
    for path, words in (
        (folder / "p256.pem", "not a PEM"),
        (tmp_path / "noise", "not a PEM"),
        (tmp_path / "long", "longer than"),
        (tmp_path / "ed448", "no RSA, EC, Ed25519 or X25519"),
        (tmp_path / "absent", "No such file"),
    ):
        with pytest.raises(KeyFileError, match=words):
            FileKey.load(path)


async def test_a_key_that_does_not_fit_is_unavailable(folder: Path, issued: dict[str, Issued]) -> None:
    keys = FileKeys({kind: FileKey.load(folder / f"{kind}.key") for kind in issued})
    for failing in (
        keys.sign("p256", b"", Mechanism.RSA_PKCS1_SHA256),
        keys.sign("rsa2048", b"", Mechanism.ECDSA_SHA256),
        keys.unwrap("p256", Pkcs1(bytes(256), 32)),
        keys.sign("absent", b"", Mechanism.ECDSA_SHA256),
    ):
        with pytest.raises(GatewayError) as error:
            await failing
        assert error.value.reason is Reason.KEY_UNAVAILABLE


@pytest.fixture
def montgomery(tmp_path: Path) -> Path:
    """An X25519 key of openssl's, as PEM and as PKCS#12."""
    (tmp_path / "secret").write_text("secret")
    for command in (
        ["genpkey", "-algorithm", "x25519", "-out", "x.pem"],
        ["pkey", "-in", "x.pem", "-pubout", "-out", "x.pub"],
        ["pkcs12", "-export", "-nocerts", "-inkey", "x.pem", "-out", "x.p12", "-passout", "file:secret"],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "passphrase"), [("x.pem", None), ("x.p12", "secret")])
async def test_x25519_unwraps_and_does_not_sign(montgomery: Path, name: str, passphrase: str | None) -> None:
    key = FileKey.load(montgomery / name, passphrase)
    public = load_pem_public_key((montgomery / "x.pub").read_bytes())
    assert isinstance(public, x25519.X25519PublicKey)
    assert key.spki == public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keys = FileKeys({"x": key})
    for kdf, salt in ((Kdf.X963, b""), (Kdf.HKDF, b""), (Kdf.HKDF, b"salt")):
        assert await keys.unwrap("x", agreed_x25519(public, kdf, salt)) == CEK
    for failing in (keys.sign("x", b"", Mechanism.ECDSA_SHA256), keys.unwrap("x", Pkcs1(bytes(256), 32))):
        with pytest.raises(GatewayError) as error:
            await failing
        assert error.value.reason is Reason.KEY_UNAVAILABLE


async def test_x25519_gives_a_random_key_for_what_is_wrong(montgomery: Path, issued: dict[str, Issued]) -> None:
    keys = FileKeys({"x": FileKey.load(montgomery / "x.pem")})
    public = load_pem_public_key((montgomery / "x.pub").read_bytes())
    assert isinstance(public, x25519.X25519PublicKey)
    good = agreed_x25519(public, Kdf.HKDF, b"salt")
    zero = aes_key_wrap(agreeing.hkdf("sha256", bytes(32), b"", b"info", 16), CEK)
    for wrapped in (
        replace(good, wrapped=good.wrapped[:-1] + bytes((good.wrapped[-1] ^ 1,))),
        replace(good, length=16),
        replace(good, salt=b""),
        replace(good, kdf=Kdf.X963),
        replace(good, digest=Digest.SHA512),
        replace(good, originator=b""),
        replace(good, originator=good.originator[:-1]),
        replace(
            good, originator=issued["p256"].certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ),
        Ecdh(zero, 32, good.originator[:-32] + bytes(32), Digest.SHA256, b"info", 16, Kdf.HKDF),
    ):
        answers = {await keys.unwrap("x", wrapped) for _ in range(3)}
        assert len(answers) == 3
        assert {len(answer) for answer in answers} == {wrapped.length}


@pytest.mark.parametrize("curve", [ec.BrainpoolP256R1(), ec.BrainpoolP384R1(), ec.BrainpoolP512R1()], ids=lambda curve: curve.name)
def test_brainpool_unwraps(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    generate = ["genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve.name}", "-out", tmp_path / "key"]
    subprocess.run(["openssl", *map(str, generate)], check=True, capture_output=True)
    key = FileKey.load(tmp_path / "key")
    public = load_der_public_key(key.spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert key.unwrap(agreed(public, "sha512", 32)) == CEK


def test_the_public_half_is_that_of_the_certificate(folder: Path, issued: dict[str, Issued]) -> None:
    for kind, leaf in issued.items():
        expected = leaf.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert FileKey.load(folder / f"{kind}.key").spki == expected
