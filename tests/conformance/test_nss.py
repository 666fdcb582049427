"""NSS's interoperability set: keys wrapped by OpenSSL for Fran, by every OAEP and ECDH it had; and Thunderbird's choice of them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from gateway.mail.verdict import Judged
from gateway.operate.given import read_keys
from gateway.outcome import Reason
from gateway.smime.cms import Enveloped
from gateway.smime.known import Strength
from tests.conformance.material import MATERIAL, Keys, believing, names, needs, opened, read

SET = "smime/nss-interop/interop-openssl"
MAILS = "smime/comm-central/smime-interop"
TEXT = b"This is a test message to Fran."
PEOPLE = ("Fran.p12", "Fran-ec.p12")
AT = 1_800_000_000_000_000  # in 2027; her certificates last from 2019 to the end of time


def keys() -> Keys:
    """Fran's, RSA and EC. Password ``nss``."""
    found = {}
    for file in PEOPLE:
        key, certificate, _ = pkcs12.load_key_and_certificates((MATERIAL / SET / file).read_bytes(), b"nss")
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        assert certificate is not None
        found[file] = (certificate.public_bytes(Encoding.DER), key)
    return found


@needs(SET)
@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("name", names(SET, "*.env"))
def test_fran_reads_what_is_for_her(name: str, piece: int) -> None:
    """The text is that of Thunderbird's expectations. One content is in 3DES."""
    strength = Strength.LEGACY if name == "fran-oaep_ossl.env" else Strength.MODERN
    content, layer = read((MATERIAL / SET / name).read_bytes(), keys(), strength, piece)
    assert isinstance(layer, Enveloped)
    assert TEXT in content


@needs(MAILS)
@pytest.mark.parametrize("name", names(MAILS, "*.env"))
def test_as_mail_they_are_held(name: str) -> None:
    """The key opens them. What is inside is a bare line, no MIME entity, and CBC: to us that is what a damaged ciphertext looks
    like (docs/standards.md, RFC 8551 reading), while Thunderbird shows it.
    """
    data = (MATERIAL / MAILS / name).read_bytes()
    structure = base64.b64decode(data.partition(b"\n\n")[2])
    assert read(structure, keys(), Strength.LEGACY)[0] == TEXT + b"\n"
    held = tuple(key for file in PEOPLE for key in read_keys([MATERIAL / MAILS / file], "nss"))
    verdict = opened(data, held, believing(), AT, Strength.LEGACY).verdict
    assert (verdict.judged, verdict.encrypted, verdict.reasons) == (Judged.UNDECRYPTABLE, True, (Reason.INTEGRITY,))
