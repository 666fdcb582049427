"""What is wrong behind a private key, whatever it is, has one answer: INTEGRITY. And keys that are not what they are named for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.edge.keyfile import FileKey, KeyFileError
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import oaep_identifier
from gateway.smime.certificate import identified
from gateway.smime.keys import Digest
from gateway.smime.reader import CmsReader
from tests.pki import Ca, Issued
from tests.smime import agreeing, ber
from tests.smime.openssl import openssl

CONTENT = b"Content-Type: text/plain\r\n\r\nResult: all well.\r\n"
AUTH = der.oid("1.2.840.113549.1.9.16.1.23")


@dataclass(frozen=True)
class Sealed:
    """Encrypted content: what of it stands where in CMS."""

    algorithm: bytes
    ciphertext: bytes
    tag: bytes | None = None


def cbc(key: bytes, plain: bytes = CONTENT, pad: bytes | None = None) -> Sealed:
    """AES-CBC. ``pad`` stands where the padding belongs."""
    count = 16 - len(plain) % 16
    cipher = Cipher(AES(key), CBC(bytes(16))).encryptor()
    data = plain + (bytes((count,)) * count if pad is None else pad)
    named = {16: "2.16.840.1.101.3.4.1.2", 32: "2.16.840.1.101.3.4.1.42"}[len(key)]
    return Sealed(der.sequence(der.oid(named), der.octet_string(bytes(16))), cipher.update(data) + cipher.finalize())


def gcm(key: bytes) -> Sealed:
    return _aead("2.16.840.1.101.3.4.1.46", AESGCM(key).encrypt(bytes(12), CONTENT, None))


def ccm(key: bytes) -> Sealed:
    return _aead("2.16.840.1.101.3.4.1.47", AESCCM(key, 16).encrypt(bytes(12), CONTENT, None))


def _aead(named: str, sealed: bytes) -> Sealed:
    return Sealed(
        der.sequence(der.oid(named), der.sequence(der.octet_string(bytes(12)), der.integer(16))), sealed[:-16], sealed[-16:]
    )


def structure(recipient: bytes, sealed: Sealed) -> bytes:
    """EnvelopedData, or AuthEnvelopedData where there is a tag."""
    encrypted = der.sequence(ber.DATA, sealed.algorithm, der.element(0x80, sealed.ciphertext))
    tag = b"" if sealed.tag is None else der.octet_string(sealed.tag)
    inside = der.sequence(der.integer(0), der.set_of(recipient), encrypted, tag)
    return der.sequence(ber.ENVELOPED if sealed.tag is None else AUTH, der.element(0xA0, inside))


def transported(reader: Issued, wrapped: bytes, algorithm: bytes = ber.RSA) -> bytes:
    return der.sequence(der.integer(0), identified(reader.der).issuer_and_serial, algorithm, der.octet_string(wrapped))


def opens(data: bytes, reader: Issued, piece: int = 4096) -> bool:
    """Whether the content comes out; else INTEGRITY, or for CBC noise that has a padding, once in 256 times."""
    cms, out = CmsReader({"ours": reader.der}), []
    try:
        for start in range(0, len(data), piece):
            out.append(cms.update(data[start : start + piece]))
            if cms.wants is not None:
                cms.give(FileKey(reader.key).unwrap(cms.wants.wrapped))
                out.append(cms.update(b""))
        cms.finalize()
    except GatewayError as error:
        if error.reason is not Reason.INTEGRITY:
            raise
        return False
    return b"".join(out) == CONTENT


@pytest.fixture(scope="module")
def readers() -> dict[str, Issued]:
    ca = Ca.root()
    keys = {"rsa": None, "p256": None, "x25519": x25519.X25519PrivateKey.generate()}
    kinds = {"rsa": "rsa2048", "p256": "p256", "x25519": "x25519"}
    return {name: ca.reader(f"{name}@laboratory.example", kinds[name], key=key) for name, key in keys.items()}


def public(reader: Issued) -> rsa.RSAPublicKey:
    key = reader.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return key


OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
TRANSPORTS: dict[str, tuple[bytes, padding.AsymmetricPadding]] = {
    "pkcs1": (ber.RSA, padding.PKCS1v15()),
    "oaep": (oaep_identifier(Digest.SHA256), OAEP),
}
CIPHERS: dict[str, Callable[[bytes], Sealed]] = {"cbc": cbc, "gcm": gcm, "ccm": ccm}


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrapped_key_that_is_none(readers: dict[str, Issued], transport: str, cipher: str, piece: int) -> None:
    reader, (algorithm, scheme) = readers["rsa"], TRANSPORTS[transport]
    key = os.urandom(32)
    sealed, modulus = CIPHERS[cipher](key), public(reader).public_numbers().n
    good = public(reader).encrypt(key, scheme)
    assert opens(structure(transported(reader, good, algorithm), sealed), reader, piece)
    other = TRANSPORTS["oaep" if transport == "pkcs1" else "pkcs1"][1]
    for wrapped in (
        good[:-1] + bytes((good[-1] ^ 1,)),
        good[:-1],
        good + b"\0",
        b"\0" + good,
        b"",
        b"\0",
        bytes(256),
        b"\xff" * 256,
        modulus.to_bytes(256),
        (modulus - 1).to_bytes(256),
        bytes(2048),
        public(reader).encrypt(key, other),
        public(reader).encrypt(key[:16], scheme),
        public(reader).encrypt(key + b"\0", scheme),
        public(reader).encrypt(b"", scheme),
    ):
        assert not opens(structure(transported(reader, wrapped, algorithm), sealed), reader, piece)


@pytest.mark.parametrize("name", ["p256", "x25519"])
def test_an_agreed_key_that_is_none(readers: dict[str, Issued], name: str) -> None:
    data = agreeing.message(readers[name].certificate, CONTENT, agreeing.X963["sha256"])
    assert opens(data, readers[name])
    place = data.index(b"\x04\x28")  # the wrapped key, of 40 bytes
    for wrapped in (b"", bytes(8), bytes(16), bytes(24), bytes(40), bytes(41), bytes(48), data[place + 2 : place + 41] + b"\0"):
        head, tail = data[:place], data[place + 42 :]
        broken = _resized(head, der.octet_string(wrapped), tail)
        assert not opens(broken, readers[name])


def _resized(head: bytes, middle: bytes, tail: bytes) -> bytes:
    """A structure of which an element of 42 bytes is another: every definite length around it is corrected."""
    grown, at = bytearray(head), 0
    change = len(middle) - 42
    while at < len(grown):
        size = grown[at + 1]
        count = size & 0x7F if size & 0x80 else 0
        start = at + 2 + count
        length = int.from_bytes(grown[at + 2 : start]) if count else size
        if start + length <= len(head):
            at = start + length
            continue
        if count:
            grown[at + 2 : start] = (length + change).to_bytes(count)
        else:
            grown[at + 1] = length + change
        at = start
    return bytes(grown) + middle + tail


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize(
    "name", ["good", "padding of 0", "padding of 17", "padding that differs", "half a block", "nothing", "other key"]
)
def test_content_in_cbc_that_is_none(readers: dict[str, Issued], name: str, piece: int) -> None:
    reader, key = readers["rsa"], os.urandom(32)
    plain = CONTENT[: len(CONTENT) // 16 * 16]
    sealed = {
        "good": cbc(key),
        "padding of 0": cbc(key, plain, bytes(16)),
        "padding of 17": cbc(key, plain, bytes((17,)) * 16),
        "padding that differs": cbc(key, plain, b"\1\2" * 7 + b"\5\4"),
        "half a block": Sealed(cbc(key).algorithm, cbc(key).ciphertext[:-8]),
        "nothing": Sealed(cbc(key).algorithm, b""),
        "other key": cbc(os.urandom(32)),
    }[name]
    data = structure(transported(reader, public(reader).encrypt(key, padding.PKCS1v15())), sealed)
    assert opens(data, reader, piece) == (name == "good")


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("cipher", ["gcm", "ccm"])
@pytest.mark.parametrize("name", ["good", "tag", "short tag", "long tag", "no tag", "content", "cut", "nothing", "other key"])
def test_content_with_a_tag_that_is_none(readers: dict[str, Issued], cipher: str, name: str, piece: int) -> None:
    reader, key = readers["rsa"], os.urandom(32)
    seal, good = CIPHERS[cipher], CIPHERS[cipher](key)
    assert good.tag is not None
    sealed = {
        "good": good,
        "tag": Sealed(good.algorithm, good.ciphertext, good.tag[:-1] + bytes((good.tag[-1] ^ 1,))),
        "short tag": Sealed(good.algorithm, good.ciphertext, good.tag[:12]),
        "long tag": Sealed(good.algorithm, good.ciphertext, good.tag + b"\0"),
        "no tag": Sealed(good.algorithm, good.ciphertext, b""),
        "content": Sealed(good.algorithm, bytes((good.ciphertext[0] ^ 1,)) + good.ciphertext[1:], good.tag),
        "cut": Sealed(good.algorithm, good.ciphertext[:-1], good.tag),
        "nothing": Sealed(good.algorithm, b"", good.tag),
        "other key": seal(os.urandom(32)),
    }[name]
    data = structure(transported(reader, public(reader).encrypt(key, padding.PKCS1v15())), sealed)
    assert opens(data, reader, piece) == (name == "good")


def test_a_key_file_of_another_curve_than_its_certificate(readers: dict[str, Issued]) -> None:
    """A private key is never multiplied with a point of another curve, whatever the certificate says."""
    data = agreeing.message(readers["p256"].certificate, CONTENT, agreeing.X963["sha256"])
    for curve in (ec.SECP384R1(), ec.BrainpoolP256R1()):
        assert not opens(data, Issued(readers["p256"].certificate, ec.generate_private_key(curve), ()))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["genpkey", "-algorithm", "x448"], "holds no RSA, EC, Ed25519 or X25519"),
        (["genpkey", "-algorithm", "ed448"], "holds no RSA, EC, Ed25519 or X25519"),
        (["genpkey", "-algorithm", "x25519", "-outform", "DER"], "not a PEM or PKCS#12"),
        (["pkcs12", "-export", "-nokeys", "-passout", "pass:", "-in", "{certificate}"], "holds no RSA, EC, Ed25519 or X25519"),
    ],
)
def test_a_file_that_holds_no_key_of_ours_is_said(
    readers: dict[str, Issued], tmp_path: Path, command: list[str], words: str
) -> None:
    certificate, _ = readers["rsa"].write(tmp_path, "reader")
    file = tmp_path / "made"
    file.write_bytes(openssl(*[part.format(certificate=certificate) for part in command]))
    with pytest.raises(KeyFileError, match=words):
        FileKey.load(file, "" if "pkcs12" in command else None)
