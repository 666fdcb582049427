"""OpenSSL's own malformed structures, one for each flaw it had: a clean error each, whatever keys we hold."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import Enveloped, SignedData
from gateway.smime.known import Strength
from gateway.smime.verify import Signature, check, needed
from tests.conformance.material import MATERIAL, Keys, believing, names, needs, opened, read

SET: Final = "smime/openssl-cms"
CASES: Final = f"{SET}/80-test_cms_data"
CERTIFICATES: Final = f"{SET}/smime-certs"
AT: Final = 1_800_000_000_000_000

# Signed attributes that RFC 5652 11 forbids: a signing time that is none, two content types, no content type, no digest
BAD_ATTRIBUTES: Final = ("bad_signtime_attr.cms", "ct_multiple_attr.cms", "no_ct_attr.cms", "no_md_attr.cms")
# Recipients that lack the parameters of their algorithm, and digests that nobody uses
UNREADABLE: Final = {
    "dh-malformed.der": Reason.NO_KEY,  # with numbers: no key of ours is like that
    "ecdh-malformed.der": Reason.MALFORMED,
    "rsa-malformed.der": Reason.MALFORMED,
    "pkcs7-md4.pem": Reason.UNSUPPORTED,
    "pkcs7-md4-encrypted.pem": Reason.UNSUPPORTED,
}

pytestmark = [
    needs(SET),
    pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive"),  # of a certificate made to be wrong
]


def structure(name: str, folder: str = CASES) -> bytes:
    data = (MATERIAL / folder / name).read_bytes()
    found = re.search(rb"-----BEGIN [^-]*-----(.*?)-----END", data, re.DOTALL)
    return base64.b64decode(found[1]) if found else data


@pytest.fixture(scope="module")
def keys() -> Keys:
    """Every RSA and EC key of the set, with its certificate."""
    held: dict[str, tuple[bytes, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {}
    files = [
        (MATERIAL / CERTIFICATES / name, MATERIAL / CERTIFICATES / name)
        for name in names(CERTIFICATES, "*.pem")
        if name != "smdh.pem"
    ]
    files.append((MATERIAL / CASES / "ecdh-cert.pem", MATERIAL / CASES / "ecdh-key.pem"))
    for certificate_file, key_file in files:
        try:
            key = load_pem_private_key(key_file.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            held[certificate_file.name] = (certificate.public_bytes(Encoding.DER), key)
    assert {"smrsa1.pem", "smec1.pem", "ecdh-cert.pem"} <= held.keys()
    return held


def test_every_case_has_its_verdict() -> None:
    cases = {name for name in names(CASES, "*") if not name.endswith(("-cert.pem", "-key.pem"))}
    assert cases == {*BAD_ATTRIBUTES, *UNREADABLE, "ciphertext_from_1_1_1.cms"}


@pytest.mark.parametrize("name", BAD_ATTRIBUTES)
@pytest.mark.parametrize("strength", Strength)
def test_attributes_that_must_not_be_make_the_signature_bad(name: str, strength: Strength) -> None:
    content, layer = read(structure(name), {}, strength)
    assert isinstance(layer, SignedData)
    digests = {digest: hashlib.new(digest, content).digest() for digest in needed(layer, strength)}
    assert {each.signature for each in check(layer, digests, content[:1], AT, strength)} == {Signature.BAD}


def refusal(data: bytes, keys: Keys, piece: int) -> Reason | None:
    """Why it is not read, or, where its structure can be read, why its one signer is not believed."""
    try:
        _, layer = read(data, keys, Strength.LEGACY, piece)
    except GatewayError as error:
        return error.reason
    return check(layer, {}, b"", AT, Strength.LEGACY)[0].reason if isinstance(layer, SignedData) else None


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("piece", [1, 4096])
def test_what_is_malformed_is_an_error_of_ours(name: str, piece: int, keys: Keys) -> None:
    assert refusal(structure(name), keys, piece) is UNREADABLE[name]


def test_what_openssl_1_1_1_encrypted_is_opened(keys: Keys) -> None:
    """By ECDH; its own test asks for no more than that."""
    data = (MATERIAL / CASES / "ciphertext_from_1_1_1.cms").read_bytes()
    content, layer = read(base64.b64decode(data.partition(b"\n\n")[2]), keys, Strength.LEGACY)
    assert isinstance(layer, Enveloped)
    assert content.isascii()
    assert content


def test_a_tag_that_the_parameters_do_not_allow() -> None:
    """AuthEnvelopedData labelled EnvelopedData (cms-msg): the other kind of content encryption."""
    with pytest.raises(GatewayError) as caught:
        read(structure("enveloped-content-type-for-aes-gcm.pem", f"{SET}/cms-msg"), {}, Strength.LEGACY)
    assert caught.value.reason is Reason.MALFORMED


def test_a_mail_of_pkits_by_people_nobody_here_believes() -> None:
    data = (MATERIAL / SET / "smime-eml" / "SignedInvalidMappingFromanyPolicyTest7.eml").read_bytes()
    verdict = opened(data, (), believing(), AT).verdict
    (signer,) = verdict.layers[0].signers
    assert (signer.signature, signer.trust, verdict.assurance) == ("good", "distrusted", None)
