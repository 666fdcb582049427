from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.keyfile import FileKey
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.certificate import identified
from gateway.smime.encrypt import Encryptor, check_head
from gateway.smime.reader import CmsReader
from gateway.smime.recipients import Reader, read_readers, recipient_infos
from tests.pki import Ca, Issued, for_ecdh_alone, short_rsa
from tests.smime import agreeing
from tests.smime.openssl import decrypt

CONTENT = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nRésultat : œdème\r\n.\r\n".encode()
KINDS = ["rsa2048", "rsa4096", "p256", "p384", "p521"]


@pytest.fixture(scope="module")
def readers() -> dict[str, Issued]:
    root = Ca.root()
    return {kind: root.reader(f"{kind}@laboratory.example", kind) for kind in KINDS}


def encrypted(to: Sequence[Reader], content: bytes, cipher: ContentCipher = ContentCipher.AES256_CBC, piece: int = 4096) -> bytes:
    encryptor = Encryptor(to, len(content), os.urandom, cipher)
    pieces = [encryptor.update(content[start : start + piece]) for start in range(0, len(content), piece)]
    return b"".join([encryptor.begin(), *pieces, encryptor.finalize()])


@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_decrypts_for_every_kind_of_key(
    readers: dict[str, Issued], tmp_path: Path, kind: str, cipher: ContentCipher
) -> None:
    certificate, key = readers[kind].write(tmp_path, "reader")
    assert decrypt(encrypted([Reader(readers[kind].der)], CONTENT, cipher), certificate, key) == CONTENT


def opened_by_hand(structure: bytes, reader: Issued) -> bytes:
    """What the one reader of EnvelopedData opens by an X25519 key, step by step from RFC 8418: openssl does not know it."""
    data = cms.ContentInfo.load(structure, strict=True)["content"]
    [info] = data["recipient_infos"]
    agree = info.chosen
    assert (data["version"].native, agree["version"].native, agree["ukm"].native) == ("v2", "v3", None)
    sender = agree["originator"].chosen
    assert sender["algorithm"].dump() == bytes.fromhex("300506032b656e")  # id-X25519 (RFC 8410 3), without parameters
    scheme = agree["key_encryption_algorithm"]
    assert scheme["algorithm"].dotted == agreeing.HKDF["sha256"]
    assert scheme["parameters"].dump() == der.sequence(der.oid(agreeing.WRAPS[32]))
    [encrypted] = agree["recipient_encrypted_keys"]
    assert encrypted["rid"].chosen["serial_number"].native == reader.certificate.serial_number
    assert isinstance(reader.key, x25519.X25519PrivateKey)
    secret = reader.key.exchange(x25519.X25519PublicKey.from_public_bytes(bytes(sender["public_key"])))
    wrapping = agreeing.hkdf("sha256", secret, b"", agreeing.shared_info(32, None), 32)
    key = aes_key_unwrap(wrapping, encrypted["encrypted_key"].native)
    content = data["encrypted_content_info"]
    vector = content["content_encryption_algorithm"]["parameters"].native
    cipher, padding = Cipher(AES(key), CBC(vector)).decryptor(), PKCS7(128).unpadder()
    return padding.update(cipher.update(content["encrypted_content"].native)) + padding.finalize()


def test_an_x25519_reader_decrypts() -> None:
    reader = Ca.root().reader("x25519@laboratory.example", "x25519")
    assert opened_by_hand(encrypted([Reader(reader.der)], CONTENT), reader) == CONTENT


@pytest.mark.parametrize("point", agreeing.SMALL_ORDER, ids=range(len(agreeing.SMALL_ORDER)))
def test_an_x25519_key_of_small_order_is_refused(point: bytes) -> None:
    """With it everybody agrees on zero (RFC 7748 6.1): whoever sees the mail opens it."""
    reader = Ca.root().reader("x25519@laboratory.example", "x25519")
    own = reader.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)[-32:]
    with pytest.raises(GatewayError) as caught:
        Encryptor([Reader(reader.der.replace(own, point))], 10, os.urandom)
    assert caught.value.reason is Reason.WEAK_ALGORITHM


def test_an_ed25519_key_opens_nothing() -> None:
    with pytest.raises(GatewayError) as caught:
        Encryptor([Reader(Ca.root().reader("ed25519@laboratory.example", "ed25519").der)], 10, os.urandom)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_openssl_decrypts_for_a_key_named_as_one_for_ecdh_alone(tmp_path: Path, kind: str) -> None:
    """id-ecDH (RFC 5480 2.1.2), a name that it does not know either: given the same certificate with the usual name."""
    reader = for_ecdh_alone(Ca.root(), kind)
    certificate = asn1_x509.Certificate.load(reader.der)
    certificate["tbs_certificate"]["subject_public_key_info"]["algorithm"]["algorithm"] = "ec"
    usual = Issued(x509.load_der_x509_certificate(certificate.dump(force=True)), reader.key, ())
    path, key = usual.write(tmp_path, "reader")
    assert decrypt(encrypted([Reader(reader.der)], CONTENT), path, key) == CONTENT


def test_our_own_key_may_be_named_as_one_for_ecdh_alone() -> None:
    ours = for_ecdh_alone(Ca.root())
    reader = CmsReader({"ours": ours.der})
    content = reader.update(encrypted([Reader(ours.der)], CONTENT))
    assert reader.wants is not None
    reader.give(FileKey(ours.key).unwrap(reader.wants.wrapped))
    content += reader.update(b"")
    reader.finalize()
    assert content == CONTENT


@pytest.mark.parametrize("name", ["1.3.132.1.13", "1.2.3"])  # id-ecMQV (RFC 5480 2.1.2), and nothing
def test_a_key_of_no_known_name_is_refused(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        Encryptor([Reader(for_ecdh_alone(Ca.root(), name=name).der)], 10, os.urandom)
    assert caught.value.reason is Reason.UNSUPPORTED


def test_a_key_for_ecdh_alone_on_a_curve_that_is_not_ours_is_weak() -> None:
    with pytest.raises(GatewayError) as caught:
        Encryptor([Reader(for_ecdh_alone(Ca.root(), "p224").der)], 10, os.urandom)
    assert caught.value.reason is Reason.WEAK_ALGORITHM


@pytest.mark.parametrize("cipher", ContentCipher)
def test_openssl_decrypts_oaep(readers: dict[str, Issued], tmp_path: Path, cipher: ContentCipher) -> None:
    certificate, key = readers["rsa2048"].write(tmp_path, "reader")
    structure = encrypted([Reader(readers["rsa2048"].der, KeyTransport.OAEP_SHA256)], CONTENT, cipher)
    assert decrypt(structure, certificate, key) == CONTENT


@pytest.mark.parametrize("cipher", ContentCipher)
def test_every_one_of_several_readers_decrypts(readers: dict[str, Issued], tmp_path: Path, cipher: ContentCipher) -> None:
    """Each with the algorithm of his key and his program: openssl finds its own among others, also such as it does not know."""
    others = Ca.root().reader("x25519@laboratory.example", "x25519")
    oaep = Reader(readers["rsa4096"].der, KeyTransport.OAEP_SHA256)
    plain = [Reader(issued.der) for name, issued in readers.items() if name != "rsa4096"]
    structure = encrypted([Reader(others.der), oaep, *plain], CONTENT, cipher)
    for name, issued in readers.items():
        certificate, key = issued.write(tmp_path, name)
        assert decrypt(structure, certificate, key) == CONTENT


@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 127, 128, 255, 256, 65535, 65536, 200_000])
def test_every_length_decrypts(readers: dict[str, Issued], tmp_path: Path, size: int, cipher: ContentCipher) -> None:
    certificate, key = readers["p256"].write(tmp_path, "reader")
    content = os.urandom(size)
    assert decrypt(encrypted([Reader(readers["p256"].der)], content, cipher), certificate, key) == content


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 70_000), st.integers(1, 70_000), st.sampled_from(list(ContentCipher)))
def test_structure_is_der_of_the_announced_lengths(
    readers: dict[str, Issued], size: int, piece: int, cipher: ContentCipher
) -> None:
    """Another library reads it strictly and writes the same bytes."""
    structure = encrypted([Reader(readers["p256"].der)], bytes(size), cipher, piece)
    info = cms.ContentInfo.load(structure, strict=True)
    assert info.dump(force=True) == structure
    kinds = {ContentCipher.AES256_CBC: "enveloped_data", ContentCipher.AES256_GCM: "authenticated_enveloped_data"}
    assert info["content_type"].native == kinds[cipher]


def test_versions_are_those_of_the_rfc(readers: dict[str, Issued]) -> None:
    """RFC 5652 6.1: 0 with key transport alone, 2 as soon as a key is agreed on."""
    for kinds, wanted in ((["rsa2048"], "v0"), (["p256"], "v2"), (["rsa2048", "p384"], "v2")):
        info = cms.ContentInfo.load(encrypted([Reader(readers[kind].der) for kind in kinds], CONTENT))
        assert info["content"]["version"].native == wanted


def test_keys_and_starts_are_never_used_twice(readers: dict[str, Issued]) -> None:
    one, two = (encrypted([Reader(readers["p256"].der)], CONTENT) for _ in range(2))
    parameters = [
        cms.ContentInfo.load(it)["content"]["encrypted_content_info"]["content_encryption_algorithm"].native for it in (one, two)
    ]
    assert parameters[0]["parameters"] != parameters[1]["parameters"]


def test_same_reader_twice_is_one_recipient(readers: dict[str, Issued]) -> None:
    reader = Reader(readers["p256"].der)
    info = cms.ContentInfo.load(encrypted([reader, reader], CONTENT))
    assert len(info["content"]["recipient_infos"]) == 1


def test_encryption_to_nobody_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        Encryptor([], 10, os.urandom)
    assert caught.value.reason is Reason.NO_CERTIFICATE


def test_weak_key_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        Encryptor([Reader(short_rsa(Ca.root()).der)], 10, os.urandom)
    assert caught.value.reason is Reason.WEAK_ALGORITHM


@pytest.mark.parametrize("given", [9, 11])
def test_content_of_another_length_is_our_own_mistake(readers: dict[str, Issued], given: int) -> None:
    encryptor = Encryptor([Reader(readers["p256"].der)], 10, os.urandom)
    encryptor.update(bytes(given))
    with pytest.raises(GatewayError) as caught:
        encryptor.finalize()
    assert caught.value.reason is Reason.OWN_WORK_WRONG


def test_head_for_other_readers_is_our_own_mistake(readers: dict[str, Issued]) -> None:
    planned = [Reader(readers["p256"].der), Reader(readers["rsa2048"].der)]
    head = Encryptor(planned, 10, os.urandom).begin()
    check_head(head, planned)
    for others in (planned[:1], [*planned, Reader(readers["p384"].der)], [Reader(readers["p521"].der), planned[0]], []):
        with pytest.raises(GatewayError) as caught:
            check_head(head, others)
        assert caught.value.reason is Reason.OWN_WORK_WRONG
    with pytest.raises(GatewayError):
        check_head(head[:40], planned)


def test_readers_of_an_unknown_form_are_not_taken_for_ours(readers: dict[str, Issued]) -> None:
    to = [readers["p256"], readers["rsa2048"], Ca.root().reader("x25519@laboratory.example", "x25519")]
    infos = recipient_infos([Reader(each.der) for each in to], bytes(32))
    assert sorted(read_readers(infos)) == sorted(identified(each.der).issuer_and_serial for each in to)
    with pytest.raises(GatewayError):
        read_readers(der.set_of(der.element(der.CONTEXT_CONSTRUCTED + 2, der.integer(4))))
