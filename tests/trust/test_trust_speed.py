"""What believing costs, in CPU time: a path that is known, one that is not, and a look-up in a large CRL."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

import pytest

from gateway.trust import certificate, rfc5280
from gateway.trust.anchors import Anchors
from gateway.trust.crl import Crl
from gateway.trust.judgement import Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, microseconds

AT = microseconds(NOW)
ROOT = Ca.root(kind="rsa2048", crl_urls=["http://crl.zone.example/root"])
ISSUING = ROOT.intermediate(kind="rsa2048", crl_urls=["http://crl.zone.example/issuing"])
LEAF = ISSUING.signer("results@laboratory.example", kind="rsa2048")


def seconds(work: Callable[[], object], number: int) -> float:
    """CPU time of one turn, in the fastest of several rounds: the machine has other work."""
    return min(timeit.repeat(work, timer=time.process_time, number=number, repeat=7)) / number


@pytest.fixture(scope="module")
def crls() -> dict[str, Crl]:
    """The issuing authority has revoked 50,000 certificates."""
    return {"http://crl.zone.example/root": Crl(ROOT.crl()), "http://crl.zone.example/issuing": Crl(ISSUING.crl(range(1, 50_001)))}


def test_a_known_path(crls: dict[str, Crl]) -> None:
    """A chain seen before, with the look-up among 50,000 entries: under 50 microseconds, or twice that beside other work."""
    at_hand = AtHand(LEAF.intermediates, known=lambda need: crls[need.url])
    rules = Rules(Anchors([ROOT.der]), Purpose.SMIME_SIGNER, Revocation.HARD)
    assert isinstance(judge(LEAF.der, at_hand, AT, rules), Trusted)
    assert seconds(lambda: judge(LEAF.der, at_hand, AT, rules), 200) < 100e-6


def test_a_path_never_seen(crls: dict[str, Crl], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three certificates never seen, their CRLs loaded: under 3 milliseconds, or twice that beside other work."""

    def forgetting() -> None:
        monkeypatch.setattr(certificate, "_facts", {})
        rfc5280._qualifiers.cache_clear()
        rules = Rules(Anchors([ROOT.der]), Purpose.SMIME_SIGNER, Revocation.HARD)
        judge(LEAF.der, AtHand(LEAF.intermediates, known=lambda need: crls[need.url]), AT, rules)

    assert seconds(forgetting, 10) < 6e-3
