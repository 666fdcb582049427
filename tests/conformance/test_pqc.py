"""ML-DSA and ML-KEM in CMS (RFC 9882, 9936), which we do not read yet: each message of the authors has a clean answer, and no key
or certificate of theirs is taken for one we know.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

import pytest

from gateway.edge.keyfile import FileKey, KeyFileError
from gateway.outcome import GatewayError, Reason
from gateway.smime.certificate import encryption_key, readable_key, signing_key
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.verify import Signature, check, needed
from tests.conformance.material import MATERIAL, needs, read

SET: Final = "smime/pqc"
AT: Final = 1_800_000_000_000_000
FILES: Final = sorted(path.relative_to(MATERIAL / SET).as_posix() for path in (MATERIAL / SET).rglob("*") if path.is_file())
MESSAGES: Final = [name for name in FILES if re.search(r"cms-ml-dsa/.*\.pem$", name)]
CERTIFICATES: Final = [name for name in FILES if name.endswith(".crt") or re.search(r"cms-kyber/.*\.pem$", name)]
KEYS: Final = [name for name in FILES if name.endswith(".priv")]

pytestmark = needs(SET)


def contents(name: str) -> bytes:
    """What is inside PEM."""
    found = re.search(rb"-----BEGIN [^-]*-----(.*?)-----END", Path(MATERIAL / SET / name).read_bytes(), re.DOTALL)
    assert found is not None
    return base64.b64decode(found[1])


def test_there_are_some_of_each() -> None:
    assert (len(MESSAGES), len(CERTIFICATES), len(KEYS)) == (3, 8, 29)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("strength", Strength)
def test_signatures_by_ml_dsa_are_unsupported(name: str, strength: Strength) -> None:
    content, layer = read(contents(name), {}, strength)
    assert isinstance(layer, SignedData)
    digests = {digest: hashlib.new(digest, content).digest() for digest in needed(layer, strength)}
    answers = [(each.signature, each.reason) for each in check(layer, digests, content[:1], AT, strength)]
    assert answers == [(Signature.UNSUPPORTED, Reason.UNSUPPORTED)]


def test_a_key_by_ml_kem_is_for_no_reader_of_ours() -> None:
    """KEMRecipientInfo is one of the other recipients (RFC 9629), even beside its own certificate."""
    certificate = contents("cms-kyber/example/ML-KEM-512.pem")
    reader = CmsReader({"its own": certificate})
    with pytest.raises(GatewayError) as caught:
        reader.update(contents("cms-kyber/example/ML-KEM-512.cms"))
    assert caught.value.reason is Reason.NO_KEY


@pytest.mark.parametrize("name", CERTIFICATES)
def test_their_certificates_hold_no_key_we_use(name: str) -> None:
    for use in (encryption_key, signing_key, lambda certificate: readable_key(certificate, Strength.LEGACY)):
        with pytest.raises(GatewayError) as caught:
            use(contents(name))
        assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("name", KEYS)
def test_their_keys_good_or_bad_are_not_loaded(name: str) -> None:
    with pytest.raises(KeyFileError):
        FileKey.load(MATERIAL / SET / name)
