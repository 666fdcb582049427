"""What ``openssl cms -encrypt`` wraps for a key on the token, the token unwraps. RecipientInfos are read by asn1crypto."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import cms, core
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.model import Token
from gateway.edge.pkcs11 import TokenKeys
from gateway.edge.tokensetup import KeyKind, KeyUse
from gateway.operate.lab import LabCa, Subject
from gateway.smime.keys import Digest, Ecdh, Oaep, Pkcs1, WrappedKey
from tests.softhsm import generate, new_token

TEXT = b"Content-Type: text/plain\r\n\r\nBlood group 0, rhesus negative.\r\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Token, Path]:
    """A token, and a folder with its certificates ``rsa.pem``, ``p256.pem``, ``p384.pem``."""
    folder = tmp_path_factory.mktemp("hsm")
    token = new_token(folder / "hsm")
    made = generate(
        token,
        folder,
        rsa=(KeyKind.RSA_2048, KeyUse.DECRYPT),
        p256=(KeyKind.P256, KeyUse.DECRYPT),
        p384=(KeyKind.P384, KeyUse.DECRYPT),
    )
    at = datetime.now(UTC)
    ca = LabCa.create(folder / "ca", None, at)
    for name, public in made.items():
        usage = "key_encipherment" if name == "rsa" else "key_agreement"
        (folder / f"{name}.pem").write_bytes(
            ca.issue(Subject(name, usages=(usage,), emails=("results@laboratory.example",)), public, at)
        )
    return token, folder


def enveloped(folder: Path, name: str, options: list[str]) -> cms.EnvelopedData:
    command = [
        "openssl",
        "cms",
        "-encrypt",
        "-binary",
        "-outform",
        "DER",
        "-aes256",
        "-recip",
        str(folder / f"{name}.pem"),
        *options,
    ]
    der = subprocess.run(command, input=TEXT, capture_output=True, check=True).stdout
    return cms.ContentInfo.load(der)["content"]


def decrypted(data: cms.EnvelopedData, key: bytes) -> bytes:
    info = data["encrypted_content_info"]
    cipher = Cipher(algorithms.AES(key), modes.CBC(info["content_encryption_algorithm"]["parameters"].native)).decryptor()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(cipher.update(info["encrypted_content"].native) + cipher.finalize()) + unpadder.finalize()


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ([], None),
        (["-keyopt", "rsa_padding_mode:oaep"], Digest.SHA1),
        (["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"], Digest.SHA256),
    ],
)
def test_rsa(made: tuple[Token, Path], options: list[str], digest: Digest | None) -> None:
    token, folder = made
    data = enveloped(folder, "rsa", options)
    wrapped_key = data["recipient_infos"][0].chosen["encrypted_key"].native
    wrapped: WrappedKey = Pkcs1(wrapped_key, 32) if digest is None else Oaep(wrapped_key, 32, digest, digest)
    keys = TokenKeys(token, folder / "keys")
    try:
        assert decrypted(data, keys.unwrap("rsa", wrapped)) == TEXT
    finally:
        keys.close()


@pytest.mark.parametrize("name", ["p256", "p384"])
@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA384])
def test_ecdh(made: tuple[Token, Path], name: str, digest: Digest) -> None:
    """RFC 5753: the key of the sender is on the recipient's curve, its parameters left to be known."""
    token, folder = made
    options = [] if digest is Digest.SHA1 else ["-keyopt", f"ecdh_kdf_md:{digest}"]
    data = enveloped(folder, name, options)
    agree = data["recipient_infos"][0].chosen
    wrap = cms.KeyEncryptionAlgorithm.load(agree["key_encryption_algorithm"]["parameters"].dump())
    size = {"aes128_wrap": 16, "aes192_wrap": 24, "aes256_wrap": 32}[wrap["algorithm"].native]
    curve = ec.SECP256R1() if name == "p256" else ec.SECP384R1()
    sender = ec.EllipticCurvePublicKey.from_encoded_point(curve, bytes(agree["originator"].chosen["public_key"]))
    wrapped = Ecdh(
        agree["recipient_encrypted_keys"][0]["encrypted_key"].native,
        32,
        sender.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        digest,
        shared_info(wrap, size),
        size,
    )
    keys = TokenKeys(token, folder / "keys")
    try:
        assert decrypted(data, keys.unwrap(name, wrapped)) == TEXT
    finally:
        keys.close()


def shared_info(wrap: cms.KeyEncryptionAlgorithm, size: int) -> bytes:
    """ECC-CMS-SharedInfo without ukm (RFC 5753 7.2)."""
    length = core.OctetString((size * 8).to_bytes(4), explicit=2)
    content = bytes(wrap.dump() + length.dump())
    return b"\x30" + bytes([len(content)]) + content
