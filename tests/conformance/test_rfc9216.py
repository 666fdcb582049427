"""The people of RFC 9216: their certificates are believed, and mail goes between them, ours and openssl's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gateway.mail.memory import MemoryBody
from gateway.mail.verdict import Judged
from gateway.operate.given import GivenError, GivenKey, read_given, read_keys
from gateway.operate.oneshot import protect_given
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.smime.cms import Enveloped, SignedData
from gateway.smime.known import Strength
from gateway.smime.verify import Signature, check, needed
from gateway.trust.along import Along
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from tests.conformance.material import MATERIAL, believing, needs, opened, read, shown
from tests.smime.openssl import openssl

SET: Final = "smime/rfc9216-lamps-samples"
AT: Final = 1_800_000_000_000_000  # in 2027; they last until 2052
ROOTS: Final = {"rsa": "3.1", "ed25519": "6.1"}
CROSS: Final = {"rsa": "3.3", "ed25519": "6.3"}  # the certificate of the first, signed by the other
# By section: whose certificate, of which authority, for what
CERTIFICATES: Final = {
    "4.1": ("rsa", Purpose.SMIME_SIGNER),
    "4.3": ("rsa", Purpose.SMIME_RECIPIENT),
    "5.1": ("rsa", Purpose.SMIME_SIGNER),
    "5.3": ("rsa", Purpose.SMIME_RECIPIENT),
    "7.1": ("ed25519", Purpose.SMIME_SIGNER),
    "7.3": ("ed25519", Purpose.SMIME_RECIPIENT),
    "8.1": ("ed25519", Purpose.SMIME_SIGNER),
    "8.3": ("ed25519", Purpose.SMIME_RECIPIENT),
}
PEOPLE: Final = {"7.1": b"carlos", "7.3": b"carlos", "8.1": b"dana", "8.3": b"dana"}
KEYS: Final = ("3.2", "4.2", "4.4", "5.2", "5.4", "6.2", "7.2", "7.4", "8.2", "8.4")
# Each holds a person's two keys and certificates, to sign and to decrypt, and the certificate of the authority across.
BUNDLES: Final = {
    "4.5": ("alice", "4.1", "4.3"),
    "5.5": ("bob", "5.1", "5.3"),
    "7.5": ("carlos", "7.1", "7.3"),
    "8.5": ("dana", "8.1", "8.3"),
}
TEXT: Final = b"Result: all well."
MESSAGE: Final = (
    b"From: Alice <alice@smime.example>\r\nTo: Bob <bob@smime.example>\r\nSubject: result\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + TEXT + b"\r\n"
)
ENTITY: Final = b"Content-Type: text/plain\r\n\r\n" + TEXT + b"\r\n"

pytestmark = needs(SET)


def file(section: str, ending: str = ".pem") -> Path:
    (found,) = (MATERIAL / SET).glob(f"{section}_*{ending}")
    return found


def certificate(section: str) -> bytes:
    return read_given(file(section))[0]


def held(key: str, of: str) -> GivenKey:
    return read_keys([file(key), file(of)], None)[0]


def test_every_file_is_used() -> None:
    sections = {path.name.partition("_")[0] for path in (MATERIAL / SET).glob("*_*")}
    assert sections == {*ROOTS.values(), *CROSS.values(), *CERTIFICATES, *KEYS, *BUNDLES}


@pytest.mark.parametrize("section", CERTIFICATES)
def test_certificates_are_believed_for_what_they_are_for(section: str) -> None:
    """By their own authority, and by the other one through the certificate that it gave the first; by nobody else."""
    authority, purpose = CERTIFICATES[section]
    other = next(name for name in ROOTS if name != authority)
    own = believing(file(ROOTS[authority])).judge(certificate(section), Along(), purpose, AT)
    assert isinstance(own, Trusted)
    assert own.path[0] == certificate(ROOTS[authority])
    across = believing(file(ROOTS[other])).judge(certificate(section), Along((certificate(CROSS[authority]),)), purpose, AT)
    assert isinstance(across, Trusted)
    assert across.path == (certificate(ROOTS[other]), certificate(CROSS[authority]), certificate(section))
    for trust, others in ((believing(file(ROOTS[other])), ()), (believing(), (certificate(ROOTS[authority]),))):
        assert isinstance(trust.judge(certificate(section), Along(others), purpose, AT), Distrusted)


@pytest.mark.parametrize("section", CERTIFICATES)
def test_and_for_nothing_else(section: str) -> None:
    authority, purpose = CERTIFICATES[section]
    wrong = Purpose.SMIME_RECIPIENT if purpose is Purpose.SMIME_SIGNER else Purpose.SMIME_SIGNER
    assert isinstance(believing(file(ROOTS[authority])).judge(certificate(section), Along(), wrong, AT), Distrusted)


@pytest.mark.parametrize("section", BUNDLES)
def test_keys_in_pkcs12(section: str) -> None:
    passphrase, *of = BUNDLES[section]
    keys = read_keys([file(section, ".p12")], passphrase)
    assert [len(key.certificates) for key in keys] == [3, 3]
    assert {key.certificates[0] for key in keys} == {certificate(each) for each in of}
    assert all(key.key.spki == identified(key.certificates[0]).spki for key in keys)
    assert len({key.name for key in keys}) == 2
    with pytest.raises(GivenError, match="passphrase is missing or wrong"):
        read_keys([file(section, ".p12")], "another")


# Mail of Alice to Bob (RSA), in both directions between us and openssl


def test_bob_opens_and_verifies_what_alice_protects() -> None:
    body = asyncio.run(protect_given(MemoryBody.of(MESSAGE), held("4.2", "4.1"), [certificate("5.3")], AT))
    result = opened(b"".join(body.chunks()), (held("5.4", "5.3"),), believing(file("3.1")), AT)
    assert (result.verdict.judged, result.verdict.encrypted) == (Judged.VERIFIED, True)
    assert shown(result).endswith(b"\r\n\r\n" + TEXT + b"\r\n")


def test_openssl_opens_and_verifies_what_we_protect(tmp_path: Path) -> None:
    body = asyncio.run(protect_given(MemoryBody.of(MESSAGE), held("4.2", "4.1"), [certificate("5.3")], AT))
    inside = openssl("cms", "-decrypt", "-recip", file("5.3"), "-inkey", file("5.4"), "-binary", data=b"".join(body.chunks()))
    (tmp_path / "signed").write_bytes(inside)
    at = str(AT // 1_000_000)
    assert TEXT in openssl("cms", "-verify", "-in", tmp_path / "signed", "-CAfile", file("3.1"), "-attime", at)


@pytest.mark.parametrize("options", [("-md", "sha256"), ("-md", "sha512", "-keyopt", "rsa_padding_mode:pss")])
@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("transport", [(), ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256")])
def test_we_open_and_verify_what_openssl_protects(options: tuple[str, ...], opaque: bool, transport: tuple[str, ...]) -> None:
    form = ("-nodetach",) if opaque else ()
    signed = openssl("cms", "-sign", "-signer", file("4.1"), "-inkey", file("4.2"), *options, *form, "-binary", data=ENTITY)
    to: tuple[str | Path, ...] = ("-recip", file("5.3"), *transport)
    people = ("-from", "alice@smime.example", "-to", "bob@smime.example", "-subject", "result")
    message = openssl("cms", "-encrypt", "-aes256", *people, *to, data=signed)
    result = opened(message, (held("5.4", "5.3"),), believing(file("3.1")), AT)
    assert (result.verdict.judged, result.verdict.encrypted) == (Judged.VERIFIED, True)
    assert TEXT in shown(result)


# Carlos and Dana (Ed25519, X25519), of whom openssl 3.0 writes no CMS: put together here from RFC 8419 and 8418


def private(section: str) -> object:
    return load_pem_private_key(file(section).read_bytes(), None)


def attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(value))


def signed_by(key: object, section: str, content: bytes) -> bytes:
    """SignedData with the content inside (RFC 8419 3.1)."""
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    sha512 = der.sequence(der.oid("2.16.840.1.101.3.4.2.3"))
    attributes = (
        attribute("1.2.840.113549.1.9.3", der.oid("1.2.840.113549.1.7.1")),
        attribute("1.2.840.113549.1.9.4", der.octet_string(hashlib.sha512(content).digest())),
    )
    signature = der.octet_string(key.sign(der.set_of(*attributes)))
    info = der.sequence(
        der.integer(1),
        identified(certificate(section)).issuer_and_serial,
        sha512,
        der.set_of(*attributes, tag=0xA0),
        der.sequence(der.oid("1.3.101.112")),
        signature,
    )
    inside = der.sequence(der.oid("1.2.840.113549.1.7.1"), der.element(0xA0, der.octet_string(content)))
    data = der.sequence(der.integer(1), der.set_of(sha512), inside, der.set_of(certificate(section), tag=0xA0), der.set_of(info))
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.element(0xA0, data))


@pytest.mark.parametrize("person", ["7", "8"])
def test_signatures_by_ed25519(person: str) -> None:
    structure = signed_by(private(f"{person}.2"), f"{person}.1", ENTITY)
    content, layer = read(structure, {})
    assert isinstance(layer, SignedData)
    assert content == ENTITY
    for said, wanted in ((ENTITY, Signature.GOOD), (ENTITY + b"!", Signature.BAD)):
        digests = {digest: hashlib.new(digest, said).digest() for digest in needed(layer, Strength.MODERN)}
        assert [each.signature for each in check(layer, digests, said[:1], AT)] == [wanted]


def test_a_signature_by_another_is_bad() -> None:
    """Dana's, that says it is Carlos's."""
    _, layer = read(signed_by(private("8.2"), "7.1", ENTITY), {})
    assert isinstance(layer, SignedData)
    digests = {digest: hashlib.new(digest, ENTITY).digest() for digest in needed(layer, Strength.MODERN)}
    assert [each.reason for each in check(layer, digests, ENTITY[:1], AT)] == [Reason.BAD_SIGNATURE]


def enveloped_to(section: str) -> bytes:
    """AuthEnvelopedData in AES-256-GCM, its key agreed on by X25519, HKDF and SHA-256 (RFC 8418 2.2, 3.2)."""
    public = x509.load_der_x509_certificate(certificate(section)).public_key()
    assert isinstance(public, x25519.X25519PublicKey)
    ephemeral, cek, nonce = x25519.X25519PrivateKey.generate(), os.urandom(32), os.urandom(12)
    wrap = der.sequence(der.oid("2.16.840.1.101.3.4.1.45"))
    info = der.sequence(wrap, der.element(0xA2, der.octet_string((256).to_bytes(4))))
    key = HKDF(hashes.SHA256(), 32, None, info).derive(ephemeral.exchange(public))
    raw = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    originator = der.element(0xA0, der.element(0xA1, der.sequence(der.oid("1.3.101.110")), der.element(3, b"\0" + raw)))
    scheme = der.sequence(der.oid("1.2.840.113549.1.9.16.3.19"), wrap)
    wrapped = der.octet_string(aes_key_wrap(key, cek))
    keys = der.sequence(der.sequence(identified(certificate(section)).issuer_and_serial, wrapped))
    recipient = der.element(0xA1, der.integer(3), originator, scheme, keys)
    sealed = AESGCM(cek).encrypt(nonce, ENTITY, None)
    parameters = der.sequence(der.octet_string(nonce), der.integer(16))
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.1.46"), parameters)
    content = der.sequence(der.oid("1.2.840.113549.1.7.1"), algorithm, der.element(0x80, sealed[:-16]))
    data = der.sequence(der.integer(0), der.set_of(recipient), content, der.octet_string(sealed[-16:]))
    return der.sequence(der.oid("1.2.840.113549.1.9.16.1.23"), der.element(0xA0, data))


@pytest.mark.parametrize(("person", "other"), [("7", "8"), ("8", "7")])
def test_keys_agreed_on_by_x25519(person: str, other: str) -> None:
    structure, own = enveloped_to(f"{person}.3"), certificate(f"{person}.3")
    reads, another = private(f"{person}.4"), private(f"{other}.4")
    assert isinstance(reads, x25519.X25519PrivateKey)
    assert isinstance(another, x25519.X25519PrivateKey)
    content, layer = read(structure, {"own": (own, reads)})
    assert isinstance(layer, Enveloped)
    assert content == ENTITY
    with pytest.raises(GatewayError) as caught:  # the key of the other, under the name of the first
        read(structure, {"own": (own, another)})
    assert caught.value.reason is Reason.INTEGRITY


@pytest.mark.parametrize(("signing", "signer", "reading", "reader"), [("7.2", "7.1", "8.4", "8.3"), ("8.2", "8.1", "7.4", "7.3")])
def test_we_write_between_them(signing: str, signer: str, reading: str, reader: str) -> None:
    """Signed by Ed25519 and encrypted by X25519; openssl 3.0 does neither in CMS."""
    message = MESSAGE.replace(b"alice", PEOPLE[signer]).replace(b"bob", PEOPLE[reader])
    body = asyncio.run(protect_given(MemoryBody.of(message), held(signing, signer), [certificate(reader)], AT))
    result = opened(b"".join(body.chunks()), (held(reading, reader),), believing(file("6.1")), AT)
    assert (result.verdict.judged, result.verdict.encrypted) == (Judged.VERIFIED, True)
    enveloped, signed = result.verdict.layers
    assert enveloped.recipients
    assert signed.algorithms["signature"] == "ed25519"
    assert shown(result).endswith(b"\r\n\r\n" + TEXT + b"\r\n")


@pytest.mark.parametrize(("signing", "signer", "other"), [("7.2", "7.1", "8.1"), ("8.2", "8.1", "7.1")])
def test_the_signature_is_the_one_of_rfc_8032(signing: str, signer: str, other: str) -> None:
    """It holds by the key alone, over the attributes as another library reads them (RFC 8419 3.1)."""
    body = asyncio.run(protect_given(MemoryBody.of(MESSAGE), held(signing, signer), [], AT))
    part = b"".join(body.chunks()).partition(b'filename="smime.p7s"')[2]
    structure = base64.b64decode(part.partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0])
    [info] = cms.ContentInfo.load(structure, strict=True)["content"]["signer_infos"]
    signed, signature = b"\x31" + info["signed_attrs"].dump()[1:], info["signature"].native
    for section, good in ((signer, True), (other, False)):
        public = x509.load_der_x509_certificate(certificate(section)).public_key()
        assert isinstance(public, ed25519.Ed25519PublicKey)
        with contextlib.nullcontext() if good else pytest.raises(InvalidSignature):
            public.verify(signature, signed)
