"""NIST's Public Key Interoperability Test Suite: paths, policies, name constraints and every kind of CRL, with pyHanko's verdicts.

The certificates are those of PyPI's ``cryptography-vectors``, the verdicts lie with the material of others.
"""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import cryptography_vectors
import pytest

from gateway.outcome import GatewayError, Reason
from gateway.trust.anchors import Anchors
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import ANY_POLICY, Policies, Rules
from gateway.trust.sources import AtHand
from tests.conformance.material import MATERIAL, needs
from tests.pki import microseconds

VERDICTS: Final = "x509/pkits-verdicts"
DATA: Final = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT: Final = microseconds(dt.datetime(2026, 3, 1, tzinfo=dt.UTC))

DEVIATIONS: Final[dict[str, str]] = {
    "valid_dsa_signatures_test4": "DSA is not supported",
    "valid_dsa_parameter_inheritance_test5": "DSA is not supported",
}


def runs() -> list[dict[str, Any]]:
    path = MATERIAL / VERDICTS / "pkits.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    return found


@cache
def certificate(name: str) -> bytes:
    return (DATA / "certs" / name).read_bytes()


@cache
def crl(name: str) -> Crl | None:
    """None for one that cannot be used, which says nothing."""
    try:
        return Crl((DATA / "crls" / name).read_bytes())
    except GatewayError:
        return None


def verdict(run: dict[str, Any]) -> Judgement:
    """What we say to one run, with every certificate and CRL it names, and the anchor's CRL."""
    crls = [crl(name) for name in ("TrustAnchorRootCRL.crl", *run.get("crls", ()))]
    at_hand = AtHand(tuple(map(certificate, run.get("other_certs", ()))), tuple(each for each in crls if each is not None))
    params = run.get("params", {})
    policies = Policies(
        frozenset(params.get("user_initial_policy_set", {ANY_POLICY})),
        explicit=params.get("initial_explicit_policy", False),
        inhibit_mapping=params.get("initial_policy_mapping_inhibit", False),
        inhibit_any=params.get("initial_any_policy_inhibit", False),
    )
    anchors, leaf = Anchors([certificate("TrustAnchorRootCertificate.crt")]), certificate(run["cert"])
    return judge(leaf, at_hand, AT, Rules(anchors, purpose(leaf), Revocation.HARD, policies))


def purpose(leaf: bytes) -> Purpose:
    """A path may end at an authority; ours signs no mail, so it is asked about as what it is."""
    return Purpose.CRL_SIGNER if is_ca(leaf) else Purpose.SMIME_SIGNER


def is_ca(leaf: bytes) -> bool:
    try:
        return facts(leaf).is_ca
    except GatewayError:
        return False


@needs(VERDICTS)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # 4.4.14 and 4.4.15 are about negative ones
@pytest.mark.parametrize("run", runs(), ids=lambda run: f"{run['id']}-{run['name']}")
def test_pkits(run: dict[str, Any]) -> None:
    """Ours is the suite's verdict; what we do not support is not trusted."""
    answer = verdict(run)
    assert isinstance(answer, Trusted | Distrusted)
    if "error" in run or run["name"] in DEVIATIONS:
        assert isinstance(answer, Distrusted)
        if run.get("error", {}).get("class") == "RevokedError":
            assert answer.reason is Reason.REVOKED
    else:
        assert isinstance(answer, Trusted), answer
        assert len(answer.path) == run["path_len"]


@needs(VERDICTS)
def test_judged_again() -> None:
    """Authorities of one path are those of another: what was looked at once must still be what it was."""
    (run,) = [run for run in runs() if run["cert"] == "ValidNameUIDsTest6EE.crt"]
    assert isinstance(verdict(run), Trusted)
    assert isinstance(verdict(run), Trusted)
