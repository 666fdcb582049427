"""Thunderbird's own S/MIME mails, beside what its tests expect of each, and why we say something else where we do.

``enc``: it was encrypted and opened. ``sig``: there is a signature over what is shown; one around ciphertext is none, to
Thunderbird and to us. ``sig_good``: it is good, by somebody who is believed, and the author: our ``verified``.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from gateway.mail.verdict import Judged
from gateway.operate.given import GivenKey, read_keys
from gateway.outcome import Reason
from gateway.smime.known import Strength
from tests.conformance.material import MATERIAL, believing, needs, opened, shown

SET: Final = "smime/comm-central"
FOLDER: Final = MATERIAL / SET / "smime"
AT: Final = 1_780_000_000_000_000  # 2026-05-28; the people's certificates are of 2026-01-26 and last five years
POLICIES: Final = {"default_policy_sha1_rejected": Strength.MODERN, "policy_sha1_allowed": Strength.LEGACY}
PEOPLE: Final = ("Alice", "Bob", "Dave", "Eve", "Fran", "Alice-ec", "Fran-ec")

pytestmark = [
    needs(SET),
    # cryptography says so of files that NSS wrote, and reads them
    pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER"),
]


def facts() -> dict[str, Any]:
    path = MATERIAL / SET / "expectations.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {policy: [] for policy in POLICIES}
    return found


EXPECTED: Final = [
    pytest.param(policy, each, id=f"{policy[:6]}-{each['file']}")
    for policy in POLICIES
    for each in facts()[policy]
    if not each["file"].startswith("../smime-interop/")  # what is inside is no MIME entity: test_nss.py has their verdict
]


@pytest.fixture(scope="module")
def people() -> tuple[GivenKey, ...]:
    return tuple(read_keys([FOLDER / f"{name}.p12" for name in PEOPLE], "nss"))


def departure(policy: str, name: str, wanted: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    """What we say in its place, and why."""
    encrypted, signed, _ = wanted
    if name == "alice.future.dsig.SHA256.multipart.eml":
        return encrypted, signed, True  # its Date is six hours behind its signing time; we compare that with the clock alone
    if name.startswith("alice.env.") and ".dave." in name:
        return True, False, False  # Dave signed ciphertext: we open it, and his signature counts neither way
    if name.startswith("alice.plain.") and ".dave." in name and "SHA1" not in name:
        return encrypted, signed, True  # Dave is the author, and his signature covers everything, what Alice signed included
    if "SHA1" in name and POLICIES[policy] is Strength.LEGACY:
        return encrypted, signed, False  # a weak signature is checked, and verifies nothing
    return wanted


@pytest.mark.parametrize(("policy", "expected"), EXPECTED)
def test_what_thunderbird_says(people: tuple[GivenKey, ...], policy: str, expected: dict[str, Any]) -> None:
    name = expected["file"]
    result = opened((FOLDER / name).read_bytes(), people, believing(FOLDER / "TestCA.pem"), AT, POLICIES[policy])
    verdict = result.verdict
    kinds = [layer.kind for layer in verdict.layers if layer.where == "whole"]
    over_what_is_shown = kinds[max((at + 1 for at, kind in enumerate(kinds) if kind != "signed"), default=0) :]
    said = (verdict.encrypted, bool(over_what_is_shown), verdict.judged is Judged.VERIFIED)
    assert said == departure(policy, name, (expected["enc"], expected["sig"], expected["sig_good"]))
    if ".bad." in name or "SHA1" in name:
        assert {Reason.BAD_DIGEST, Reason.BAD_SIGNATURE, Reason.WEAK_ALGORITHM}.intersection(verdict.reasons)
    if said[2] or (said[0] and not said[1]):
        assert facts()["texts"]["gTextAliceBob"].encode() in shown(result)


def test_all_were_looked_at() -> None:
    """As many as its README says."""
    assert [len(facts()[policy]) for policy in POLICIES] == [68, 57]
