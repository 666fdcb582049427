"""The messages of RFC 9788 that are here, by Alice to Bob with the keys of RFC 9216. What each is, is told in its own text."""

from __future__ import annotations

import base64
from typing import Final

import pytest

from gateway.flow.opening import Opened
from gateway.mail.verdict import Judged
from gateway.operate.given import GivenKey, read_keys
from gateway.outcome import Reason
from gateway.smime.verify import Signature
from tests.conformance.material import MATERIAL, believing, names, needs, opened, shown

SET: Final = "smime/rfc9788"
PEOPLE: Final = "smime/rfc9216-lamps-samples"
ROOT: Final = MATERIAL / PEOPLE / "3.1_RSA-Certification-Authority-Root-Certificate.crt.pem"
OTHER_ROOT: Final = MATERIAL / PEOPLE / "6.1_Ed25519-Certification-Authority-Root-Certificate.crt.pem"
BOB: Final = ("5.4_Bob-s-Decryption-Private-Key-Material.key.pem", "5.3_Bob-s-Encryption-End-Entity-Certificate.crt.pem")
AT: Final = 1_800_000_000_000_000  # in 2027; the certificates last until 2052

# By file: its Subject, which its text repeats, whether it is encrypted, its layers. The inner one of the two of C.1.8 is here
# alone too: without a From there is nobody it could be by.
MESSAGES: Final = {
    "C.1.8_smime-signed-enc-complex.reencrypted.eml": ("smime-signed-enc-complex", True, ["enveloped", "signed"]),
    "C.2.1_smime-one-part-hp.eml": ("smime-one-part-hp", False, ["signed"]),
    "C.2.3_smime-one-part-complex-hp.eml": ("smime-one-part-complex-hp", False, ["signed"]),
}
INNER: Final = "C.1.8.1_smime-signed-enc-complex.inner-signed.eml"

pytestmark = [needs(SET), needs(PEOPLE)]


@pytest.fixture(scope="module")
def bob() -> tuple[GivenKey, ...]:
    return tuple(read_keys([MATERIAL / PEOPLE / name for name in BOB], None))


def message(name: str, keys: tuple[GivenKey, ...] = (), *, flipped: bool = False) -> Opened:
    data = (MATERIAL / SET / name).read_bytes()
    if flipped:
        head, _, body = data.partition(b"\n\n")
        structure = bytearray(base64.b64decode(body))
        # Inside the text where it can be seen, in the middle of the ciphertext where it cannot
        structure[structure.find(b"signed-only") if b"signed-only" in structure else len(structure) // 2] ^= 1
        data = head + b"\n\n" + base64.encodebytes(structure)
    return opened(data, keys, believing(ROOT), AT)


def test_every_message_has_its_verdict() -> None:
    assert set(names(SET, "*.eml")) == {*MESSAGES, INNER}


@pytest.mark.parametrize("name", MESSAGES)
def test_alice_is_the_author(name: str, bob: tuple[GivenKey, ...]) -> None:
    subject, encrypted, layers = MESSAGES[name]
    result = message(name, bob)
    verdict = result.verdict
    assert (verdict.judged, verdict.encrypted, verdict.author) == (Judged.VERIFIED, encrypted, ("alice@smime.example",))
    assert [layer.kind for layer in verdict.layers] == layers
    assert verdict.reasons == (Reason.REVOCATION_UNKNOWN,)  # no CRL is given; nothing outside differs from what is protected
    assert verdict.by is not None
    assert verdict.by.subject == "CN=Alice Lovelace,OU=LAMPS WG,O=IETF"
    text = shown(result)
    assert f"\r\nSubject: {subject}\r\n".encode() in text
    assert f"This is the\r\n{subject}\r\nmessage.\r\n".encode() in text
    assert b"application/pkcs7-mime" not in text


def test_the_inner_layer_alone_is_by_nobody() -> None:
    verdict = message(INNER).verdict
    (signer,) = verdict.layers[0].signers
    assert (signer.signature, signer.trust) == (Signature.GOOD, "trusted")
    assert verdict.judged is Judged.SIGNED_UNVERIFIED
    assert Reason.FROM_AMBIGUOUS in verdict.reasons


@pytest.mark.parametrize("name", MESSAGES)
def test_another_byte_in_it_verifies_nothing(name: str, bob: tuple[GivenKey, ...]) -> None:
    assert message(name, bob, flipped=True).verdict.judged is not Judged.VERIFIED


def test_who_has_no_key_is_told_so() -> None:
    verdict = message("C.1.8_smime-signed-enc-complex.reencrypted.eml").verdict
    assert (verdict.judged, verdict.encrypted, verdict.reasons) == (Judged.UNDECRYPTABLE, True, (Reason.NO_KEY,))


@pytest.mark.parametrize("name", ["C.2.1_smime-one-part-hp.eml", "C.2.3_smime-one-part-complex-hp.eml"])
def test_by_the_other_authority_of_rfc_9216_alone_she_is_not_believed(name: str) -> None:
    """It has cross-signed hers (RFC 9216 3.3), but that certificate does not come with the message."""
    verdict = opened((MATERIAL / SET / name).read_bytes(), (), believing(OTHER_ROOT), AT).verdict
    assert (verdict.judged, verdict.reasons) == (Judged.SIGNED_UNVERIFIED, (Reason.CHAIN,))
