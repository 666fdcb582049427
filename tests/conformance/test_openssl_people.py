"""The keys and certificates of OpenSSL's own tests: what openssl makes with each is read as far as it is to be, and key files that
are broken in one of many ways are no keys.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import pytest

from gateway.edge.keyfile import FileKey, KeyFileError
from gateway.operate.given import read_given
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.verify import Signature, check, needed
from tests.conformance.material import MATERIAL, names, needs, read
from tests.smime.openssl import openssl

SET: Final = "smime/openssl-cms"
PEOPLE: Final = f"{SET}/smime-certs"
BUNDLES: Final = f"{SET}/80-test_pkcs12_data"
AT: Final = 1_900_000_000_000_000  # in 2030: openssl signs at the time of the machine, and none of them has expired
ENTITY: Final = b"Content-Type: text/plain\r\n\r\nResult: all well.\r\n"

GOOD: Final = (Signature.GOOD, None)
WEAK: Final = (Signature.GOOD, Reason.WEAK_ALGORITHM)
REFUSED: Final = (Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)
# By file: what a signature by it is, as it is and by the allowance
SIGNS: Final = {
    "csrsa1.pem": (GOOD, GOOD),
    "smroot.pem": (GOOD, GOOD),
    "smrsa1.pem": (GOOD, GOOD),
    "smrsa2.pem": (GOOD, GOOD),
    "smrsa3.pem": (GOOD, GOOD),
    "smec1.pem": (GOOD, GOOD),
    "smec3.pem": (GOOD, GOOD),
    "smrsa1024.pem": (REFUSED, WEAK),
    "smdsa1.pem": (REFUSED, WEAK),
    "smdsa2.pem": (REFUSED, WEAK),
    "smdsa3.pem": (REFUSED, WEAK),
    "smec2.pem": ((Signature.UNSUPPORTED, Reason.UNSUPPORTED), (Signature.UNSUPPORTED, Reason.UNSUPPORTED)),  # a binary curve
}
READS: Final = ("csrsa1.pem", "smroot.pem", "smrsa1.pem", "smrsa2.pem", "smrsa3.pem", "smec1.pem", "smec3.pem")
# No keys of ours: Diffie-Hellman with numbers, parameters alone, a modulus that is none, ML-DSA and SLH-DSA (later work)
OTHERS: Final = (
    "smdh.pem",
    "smdsap.pem",
    "badrsa.pem",
    "sm_mldsa44.pem",
    "sm_slhdsa_sha2_128s.pem",
    "sm_slhdsa_shake_128s.pem",
    "sm_slhdsa_shake_256s.pem",
)
APART: Final = ("smrsa3-cert.pem", "smrsa3-key.pem")  # smrsa3.pem in two files

pytestmark = [
    needs(SET),
    # cryptography says so of files that it reads
    pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER"),
    pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields"),
]


def file(name: str) -> Path:
    return MATERIAL / PEOPLE / name


def test_no_file_is_without_a_verdict() -> None:
    assert set(names(PEOPLE, "*.pem")) == {*SIGNS, *OTHERS, *APART}


@pytest.mark.parametrize("name", SIGNS)
def test_signatures(name: str) -> None:
    words = ("cms", "-sign", "-nodetach", "-binary", "-outform", "DER", "-md", "sha256")
    structure = openssl(*words, "-signer", file(name), "-inkey", file(name), data=ENTITY)
    for strength, wanted in zip(Strength, SIGNS[name], strict=True):
        content, layer = read(structure, {}, strength)
        assert isinstance(layer, SignedData)
        assert content == ENTITY
        digests = {digest: hashlib.new(digest, content).digest() for digest in needed(layer, strength)}
        assert [(each.signature, each.reason) for each in check(layer, digests, content[:1], AT, strength)] == [wanted]


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256", "-aes-256-gcm"])
def test_ciphertext(name: str, cipher: str) -> None:
    structure = openssl("cms", "-encrypt", cipher, "-binary", "-outform", "DER", "-recip", file(name), data=ENTITY)
    assert decrypted(structure, name) == ENTITY


def test_ciphertext_to_1024_bits_is_read_by_allowance() -> None:
    structure = openssl("cms", "-encrypt", "-aes256", "-outform", "DER", "-binary", "-recip", file("smrsa1024.pem"), data=ENTITY)
    with pytest.raises(GatewayError) as caught:
        decrypted(structure, "smrsa1024.pem")
    assert caught.value.reason is Reason.WEAK_ALGORITHM
    assert decrypted(structure, "smrsa1024.pem", Strength.LEGACY) == ENTITY


def test_ciphertext_by_diffie_hellman_with_numbers_is_unsupported() -> None:
    structure = openssl("cms", "-encrypt", "-aes256", "-outform", "DER", "-binary", "-recip", file("smdh.pem"), data=ENTITY)
    with pytest.raises(GatewayError) as caught:
        CmsReader({"ours": read_given(file("smdh.pem"))[0]}, Strength.LEGACY).update(structure)
    assert caught.value.reason is Reason.UNSUPPORTED


def decrypted(structure: bytes, name: str, strength: Strength = Strength.MODERN) -> bytes:
    reader = CmsReader({"ours": read_given(file(name))[0]}, strength)
    out = reader.update(structure)
    assert reader.wants is not None
    reader.give(FileKey.load(file(name)).unwrap(reader.wants.wrapped))
    out += reader.update(b"")
    reader.finalize()
    return out


@pytest.mark.parametrize("name", [*OTHERS, "smdsa1.pem", "smec2.pem"])
def test_other_keys_are_not_loaded(name: str) -> None:
    with pytest.raises(KeyFileError):
        FileKey.load(file(name))


@pytest.mark.parametrize("name", names(BUNDLES, "*.p12"))
def test_pkcs12(name: str) -> None:
    """By its name: ``good`` is (password 1234; RFC 9579 A), and so is one by SHA-1; one has neither MAC nor key. In the others
    parameters of the MAC are missing, of another type, or of a size that cannot be.
    """
    path = MATERIAL / BUNDLES / name
    if ".good." in name or name == "pbmac1_sha1_hmac_and_prf.p12":
        assert FileKey.load(path, "1234").spki
        with pytest.raises(KeyFileError):
            FileKey.load(path, "4321")
    else:
        with pytest.raises(KeyFileError, match="holds no" if name == "nomac_parse.p12" else "not a PEM or PKCS#12 private key"):
            FileKey.load(path, "1234")
