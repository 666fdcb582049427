"""What is remembered of a chain spares its path another check, and nothing else: what changes with time is asked each time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from cryptography.x509 import ocsp

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Need, Purpose, Revocation, Trusted
from gateway.trust.moment import HOUR
from gateway.trust.ocsp import OcspAnswer
from gateway.trust.path import judge
from gateway.trust.rfc5280 import invalid
from gateway.trust.rules import ANY_POLICY_DOES, Policies, Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, microseconds

ROOT = Ca.root(crl_urls=["http://crl.zone.example/root"])
ISSUING = ROOT.intermediate(crl_urls=["http://crl.zone.example/issuing"])
AUTHOR = "results@laboratory.example"
WEEK = dt.timedelta(days=7)


@dataclass
class World:
    """A zone whose publishers may say something else from one question to the next. ``checked`` counts paths checked in full."""

    anchors: Anchors = field(default_factory=lambda: Anchors([ROOT.der]))
    said: dict[str, Answer] = field(default_factory=dict)
    grace: int = 0
    checked: int = 0

    def publish(self, at: dt.datetime = NOW, revoked: tuple[Issued | Ca, ...] = ()) -> None:
        """Both authorities' CRLs, good for a week."""
        for ca in (ROOT, ISSUING):
            self.said[ca.crl_urls[0]] = Crl(ca.crl(revoked, at))

    def judge(
        self,
        leaf: Issued,
        at: dt.datetime = NOW,
        purpose: Purpose = Purpose.SMIME_SIGNER,
        policies: Policies = ANY_POLICY_DOES,
        revocation: Revocation = Revocation.HARD,
    ) -> Judgement:
        at_hand = AtHand(leaf.intermediates, known=self._known)
        return judge(leaf.der, at_hand, microseconds(at), Rules(self.anchors, purpose, revocation, policies, grace=self.grace))

    def _known(self, need: Need) -> Answer | None:
        return self.said.get(need.url)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    world.publish()

    def counted(*question: object) -> object:
        world.checked += 1
        return checks(*question)

    checks: Callable[..., object] = invalid
    monkeypatch.setattr("gateway.trust.chain.invalid", counted)
    return world


def test_a_known_chain_is_not_checked_again(world: World) -> None:
    """One check of the path for as many mails as come."""
    leaf = ISSUING.signer(AUTHOR)
    for minutes in range(100):
        assert isinstance(world.judge(leaf, NOW + dt.timedelta(minutes=minutes)), Trusted)
    assert world.checked == 1


def test_each_condition_has_its_own_check(world: World) -> None:
    """What was found for one purpose or under one policy says nothing under another."""
    leaf = ISSUING.signer(AUTHOR, policy="1.2.3.4")
    assert isinstance(world.judge(leaf), Trusted)
    refused = world.judge(leaf, policies=Policies(frozenset({"1.2.3.5"}), explicit=True))
    assert isinstance(refused, Distrusted)
    assert isinstance(world.judge(leaf, purpose=Purpose.SMIME_RECIPIENT), Distrusted)
    assert world.checked >= 2


def test_a_chain_that_did_not_hold_may_hold(world: World) -> None:
    """Bad news is not remembered: the next mail may bring the issuer along."""
    leaf = ISSUING.signer(AUTHOR)
    alone = Issued(leaf.certificate, leaf.key, ())
    assert isinstance(world.judge(alone), Distrusted)
    assert isinstance(world.judge(leaf), Trusted)


def test_outlives_no_validity(world: World) -> None:
    """A day after the certificate ended."""
    leaf = ISSUING.signer(AUTHOR, not_after=NOW + dt.timedelta(days=2))
    assert isinstance(world.judge(leaf), Trusted)
    answer = world.judge(leaf, NOW + dt.timedelta(days=3))
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.EXPIRED


def test_outlives_no_validity_above(world: World) -> None:
    """A day after the issuer's certificate ended, though the signer's goes on."""
    issuing = ROOT.intermediate(not_after=NOW + dt.timedelta(days=2), crl_urls=ISSUING.crl_urls)
    leaf = issuing.signer(AUTHOR)
    world.said[ISSUING.crl_urls[0]] = Crl(issuing.crl())
    assert isinstance(world.judge(leaf), Trusted)
    answer = world.judge(leaf, NOW + dt.timedelta(days=3))
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.EXPIRED


@pytest.mark.parametrize("revocation", [Revocation.HARD, Revocation.SOFT])
def test_outlives_no_next_update(world: World, revocation: Revocation) -> None:
    """A day after the next CRL should have come."""
    leaf = ISSUING.signer(AUTHOR)
    assert world.judge(leaf, revocation=revocation) == Trusted((ROOT.der, ISSUING.der, leaf.der))
    answer = world.judge(leaf, NOW + WEEK + dt.timedelta(days=1), revocation=revocation)
    if revocation is Revocation.SOFT:
        assert isinstance(answer, Trusted)
        assert answer.marks == (Reason.REVOCATION_UNKNOWN,)
    else:
        assert isinstance(answer, Distrusted)
        assert answer.reason is Reason.REVOCATION_UNKNOWN
    world.publish(NOW + WEEK)
    assert isinstance(world.judge(leaf, NOW + WEEK + dt.timedelta(days=1)), Trusted)
    assert world.checked == 1


def test_outlives_no_grace(world: World) -> None:
    """Marked while the grace lasts, and not believed after it."""
    world.grace = 24 * HOUR
    leaf = ISSUING.signer(AUTHOR)
    assert world.judge(leaf) == Trusted((ROOT.der, ISSUING.der, leaf.der))
    late = world.judge(leaf, NOW + WEEK + dt.timedelta(hours=23))
    assert isinstance(late, Trusted)
    assert late.marks == (Reason.REVOCATION_STALE,)
    assert isinstance(world.judge(leaf, NOW + WEEK + dt.timedelta(hours=25)), Distrusted)


@pytest.mark.parametrize("which", ["leaf", "issuer"])
def test_outlives_no_revocation(world: World, which: str) -> None:
    """The next CRL revokes the signer, or the authority above him: at once."""
    leaf = ISSUING.signer(AUTHOR)
    assert isinstance(world.judge(leaf), Trusted)
    world.publish(NOW + dt.timedelta(hours=1), (leaf if which == "leaf" else ISSUING,))
    answer = world.judge(leaf, NOW + dt.timedelta(hours=2))
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.REVOKED


def test_outlives_no_answer_of_a_responder(world: World) -> None:
    """OCSP in place of a CRL: good for a day, then asked again; and what it says then counts."""
    issuing = ROOT.intermediate("CN=Online,O=Zone,C=FR")
    leaf = issuing.signer(AUTHOR, ocsp_url="http://ocsp.zone.example/")
    world.said["http://ocsp.zone.example/"] = OcspAnswer(issuing.ocsp(leaf))
    assert isinstance(world.judge(leaf), Trusted)
    tomorrow = NOW + dt.timedelta(days=1, hours=1)
    late = world.judge(leaf, tomorrow)
    assert isinstance(late, Distrusted)
    assert late.reason is Reason.REVOCATION_UNKNOWN
    revoked = issuing.ocsp(leaf, ocsp.OCSPCertStatus.REVOKED, at=tomorrow)
    world.said["http://ocsp.zone.example/"] = OcspAnswer(revoked)
    answer = world.judge(leaf, tomorrow)
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.REVOKED
    assert world.checked == 1


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, and checked again when it comes back."""
    monkeypatch.setattr("gateway.trust.anchors._REMEMBERED", 2)
    leaves = [ISSUING.signer(f"{name}@laboratory.example") for name in ("a", "b", "c")]
    for leaf in leaves:
        world.judge(leaf)
    assert world.checked == 3
    world.judge(leaves[2])
    assert world.checked == 3
    world.judge(leaves[0])
    assert world.checked == 4
    assert len(world.anchors._chains) == 2
