"""The examples of RFC 4134, of the time of SHA-1, DSA, 3DES, RC2 and keys of 1024 bits: refused as weak, read by allowance."""

from __future__ import annotations

import hashlib
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from gateway.mail.verdict import Judged
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import Enveloped, SignedData
from gateway.smime.known import Strength
from gateway.smime.verify import Signature, check, needed
from tests.conformance.material import MATERIAL, Keys, believing, names, needs, opened, read

SET: Final = "smime/rfc4134-bc"
AT: Final = 1_800_000_000_000_000  # in 2027
GOOD: Final = (Signature.GOOD, Reason.WEAK_ALGORITHM)
WEAK: Final = (Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)

# By section of the RFC: how each signer's answer is under the allowance. Diane's key has the parameters of her authority's
# (4.6): certificates that inherit them are not read.
SIGNED: Final = {
    "4.1": [GOOD],
    "4.2": [GOOD],
    "4.3": [GOOD],
    "4.4": [GOOD],
    "4.5": [GOOD],
    "4.6": [GOOD, (Signature.UNSUPPORTED, Reason.UNSUPPORTED)],
    "4.7": [GOOD],
    "4.10": [GOOD],
    "4.11": [],  # certificates alone
}
# What is neither signed, enveloped nor compressed: data (3.1, 3.2), digested (6.0) and encrypted data (7.1, 7.2)
OTHERS: Final = ("3.1", "3.2", "6.0", "7.1", "7.2")
ENVELOPED: Final = ("5.1", "5.2")
MAILS: Final = {"4.8": Judged.SIGNED_UNVERIFIED, "4.9": Judged.SIGNED_UNVERIFIED, "5.3": Judged.UNDECRYPTABLE}

pytestmark = needs(SET)


def structure(section: str) -> bytes:
    return (MATERIAL / SET / f"{section}.bin").read_bytes()


def content() -> bytes:
    return (MATERIAL / SET / "ExContent.bin").read_bytes()


def bob() -> Keys:
    key = load_der_private_key((MATERIAL / SET / "BobPrivRSAEncrypt.pri").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return {"bob": ((MATERIAL / SET / "BobRSASignByCarl.cer").read_bytes(), key)}


def test_every_example_has_its_verdict() -> None:
    examples = {name.removesuffix(".bin") for name in names(SET, "*.bin")} | {name[:-4] for name in names(SET, "*.eml")}
    assert examples - {"ExContent"} == {*SIGNED, *OTHERS, *ENVELOPED, *MAILS}


@pytest.mark.parametrize("piece", [1, 4096])
@pytest.mark.parametrize("section", SIGNED)
def test_signatures(section: str, piece: int) -> None:
    out, layer = read(structure(section), {}, piece=piece)
    assert isinstance(layer, SignedData)
    assert out in (b"", content())
    for strength, expected in ((Strength.MODERN, [WEAK] * len(SIGNED[section])), (Strength.LEGACY, SIGNED[section])):
        for said in (content(), content() + b"!"):
            digests = {digest: hashlib.new(digest, said).digest() for digest in needed(layer, strength)}
            answers = [(each.signature, each.reason) for each in check(layer, digests, said[:1], AT, strength)]
            if said == content():
                assert answers == expected
            else:
                assert not [answer for answer in answers if answer[0] is Signature.GOOD]


@pytest.mark.parametrize("section", ENVELOPED)
def test_bob_opens_what_is_for_him(section: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read(structure(section), bob())
    assert caught.value.reason is Reason.WEAK_ALGORITHM
    out, layer = read(structure(section), bob(), Strength.LEGACY)
    assert isinstance(layer, Enveloped)
    assert out == content()


@pytest.mark.parametrize("section", OTHERS)
def test_other_structures_are_said_to_be_none_of_ours(section: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read(structure(section), bob(), Strength.LEGACY)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("section", MAILS)
def test_mails(section: str) -> None:
    """4.8 and 4.9 are signed; 5.3 is encrypted to Bob, of whom ``message open`` is given no key."""
    data = (MATERIAL / SET / f"{section}.eml").read_bytes()
    for strength in Strength:
        verdict = opened(data, (), believing(), AT, strength).verdict
        if section == "5.3":
            wanted = Reason.WEAK_ALGORITHM if strength is Strength.MODERN else Reason.NO_KEY
            assert (verdict.judged, verdict.reasons) == (Judged.UNDECRYPTABLE, (wanted,))
        else:
            assert verdict.judged is MAILS[section]
            assert verdict.layers[0].signers[0].signature == ("unsupported" if strength is Strength.MODERN else "good")
