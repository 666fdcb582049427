"""What lies beside the mails of Thunderbird and has no expectation there: what they were made of, mails in HTML, mails by hand."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import pytest

from gateway.mail.verdict import Judged
from gateway.operate.given import GivenKey, read_keys
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.verify import Signature, check, needed
from tests.conformance.material import MATERIAL, believing, names, needs, opened, read

SET: Final = "smime/comm-central"
FOLDER: Final = MATERIAL / SET / "smime"
MANUAL: Final = f"{SET}/smime-manual"
AT: Final = 1_780_000_000_000_000  # 2026-05-28, as for the mails
DIGESTS: Final = ("SHA1", "SHA256", "SHA384", "SHA512")
PEOPLE: Final = ("Alice", "Bob", "Dave", "Eve", "Fran", "Alice-ec", "Fran-ec")

DETACHED: Final = [f"alice.mime.dsig.{digest}" for digest in DIGESTS]  # CMS over alice.mime
OPAQUE: Final = [f"alice.textplain.sig.{digest}" for digest in DIGESTS]  # CMS around alice.textplain
SIGNED: Final = [name for digest in DIGESTS for name in (f"alice.dsig.{digest}.multipart", f"alice.sig.{digest}.opaque")]  # MIME
MISMATCH: Final = [f"alice.dsig.{digest}.multipart.mismatch-econtent" for digest in DIGESTS]  # another content inside it
TO_NOBODY: Final = ["alice.mime.env", *(f"{name}.env" for name in SIGNED)]  # CMS, to a key of Bob's that is not here
HTML: Final = [f"alice.html.sig.{digest}.opaque{more}" for digest in DIGESTS for more in (".eml", ".env.eml")]
PGP: Final = ["outer-pgp-sig-inner-smime-enc.eml", "outer-pgp-sig-inner-smime-enc-sig.eml"]
NO_MAIL: Final = {"README.md", "TestCA.pem", "expiration.txt", "alice.mime", "alice.textplain", *(f"{each}.p12" for each in PEOPLE)}

pytestmark = [
    needs(SET),
    pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER"),  # cryptography, of files that NSS wrote
]


@pytest.fixture(scope="module")
def people() -> tuple[GivenKey, ...]:
    return tuple(read_keys([FOLDER / f"{name}.p12" for name in PEOPLE], "nss"))


def test_no_file_is_without_a_verdict() -> None:
    facts = json.loads((MATERIAL / SET / "expectations.json").read_text())
    told = {each["file"].removeprefix("../") for policy in facts.values() if isinstance(policy, list) for each in policy}
    here = {*NO_MAIL, *DETACHED, *OPAQUE, *SIGNED, *MISMATCH, *TO_NOBODY, *HTML}
    assert set(names(f"{SET}/smime", "*")) == here | {name for name in told if "/" not in name}
    there = {name.partition("/")[2] for name in told if name.startswith("smime-manual/")}
    assert set(names(MANUAL, "*")) == {"readme.txt", *PGP, *there}
    interop = {name.partition("/")[2] for name in told if name.startswith("smime-interop/")}
    assert set(names(f"{SET}/smime-interop", "*.env")) == interop  # test_nss.py


@pytest.mark.parametrize("name", [*DETACHED, *OPAQUE])
@pytest.mark.parametrize("piece", [1, 4096])
def test_structures_of_nss(name: str, piece: int) -> None:
    source = (FOLDER / ("alice.mime" if name in DETACHED else "alice.textplain")).read_bytes()
    content, layer = read((FOLDER / name).read_bytes(), {}, piece=piece)
    assert isinstance(layer, SignedData)
    assert content == (b"" if name in DETACHED else source)
    for strength in Strength:
        digests = {digest: hashlib.new(digest, source).digest() for digest in needed(layer, strength)}
        [found] = check(layer, digests, source[:1], AT, strength)
        if name.endswith("SHA1"):
            weak = Signature.GOOD if strength is Strength.LEGACY else Signature.UNSUPPORTED
            assert (found.signature, found.reason) == (weak, Reason.WEAK_ALGORITHM)
        else:
            assert (found.signature, found.reason) == (Signature.GOOD, None)


@pytest.mark.parametrize("name", [*SIGNED, *MISMATCH])
def test_entities_without_a_from_are_by_nobody(name: str) -> None:
    """Their certificates were valid until 2024, and of another authority of the same name."""
    verdict = opened((FOLDER / name).read_bytes(), (), believing(FOLDER / "TestCA.pem"), AT).verdict
    assert verdict.judged is Judged.SIGNED_UNVERIFIED
    assert Reason.FROM_AMBIGUOUS in verdict.reasons
    (signer,) = verdict.layers[0].signers
    good = {False: Signature.GOOD, True: Signature.UNSUPPORTED}["SHA1" in name]
    assert signer.signature is (Signature.BAD if name in MISMATCH else good)
    assert signer.trust != "trusted"


@pytest.mark.parametrize("name", TO_NOBODY)
def test_what_is_to_nobody_here_says_so(name: str, people: tuple[GivenKey, ...]) -> None:
    reader = CmsReader({key.name: key.certificates[0] for key in people}, Strength.LEGACY)
    with pytest.raises(GatewayError) as caught:
        reader.update((FOLDER / name).read_bytes())
    assert caught.value.reason is Reason.NO_KEY


@pytest.mark.parametrize("name", HTML)
@pytest.mark.parametrize("strength", Strength)
def test_html_that_ends_in_a_bare_cr_is_no_mail(name: str, strength: Strength, people: tuple[GivenKey, ...]) -> None:
    """RFC 5322 2.3, and no reader may be left to repair it: signed it is not a message, and out of CBC it is what a changed
    ciphertext looks like. Thunderbird shows it.
    """
    verdict = opened((FOLDER / name).read_bytes(), people, believing(FOLDER / "TestCA.pem"), AT, strength).verdict
    if name.endswith(".env.eml"):
        assert (verdict.judged, verdict.reasons) == (Judged.UNDECRYPTABLE, (Reason.INTEGRITY,))
    else:
        assert verdict.judged is Judged.MALFORMED
        assert Reason.MALFORMED in verdict.reasons
    assert verdict.by is None


@pytest.mark.parametrize("name", PGP)
def test_ciphertext_in_a_part_that_openpgp_signed_stays_closed(name: str, people: tuple[GivenKey, ...]) -> None:
    """It is not the whole message: anybody may put it there (EFAIL)."""
    data = (MATERIAL / MANUAL / name).read_bytes()
    verdict = opened(data, people, believing(FOLDER / "TestCA.pem"), AT).verdict
    assert (verdict.judged, verdict.encrypted) == (Judged.MIXED, False)
    assert [(layer.kind, layer.where) for layer in verdict.layers] == [("enveloped", "part")]
    assert verdict.reasons == (Reason.PARTIAL_COVERAGE,)
