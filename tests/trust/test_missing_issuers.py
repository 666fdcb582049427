"""Issuers that did not come along: asked for where the certificates say, if the rules allow it, and never without end."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from gateway.outcome import GatewayError, Reason
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Certificates, Failed, read_answer
from gateway.trust.chain import MAX_ISSUER_FETCHES
from gateway.trust.judgement import Distrusted, Judgement, Need, NeedKind, Needs, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Issuers, Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, microseconds

URL = "http://aia.zone.example/issuing.p7c"
ROOT = Ca.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.reader("results@laboratory.example", kind="p256", issuer_url=URL)
NEED = Need(NeedKind.CERTIFICATE, URL, LEAF.der)


def judged(known: dict[Need, Answer], issuers: Issuers = Issuers.FETCHED, leaf: Issued = LEAF) -> Judgement:
    rules = Rules(Anchors([ROOT.der]), Purpose.SMIME_RECIPIENT, Revocation.UNSAFE_OFF, issuers=issuers)
    return judge(leaf.der, AtHand(known=known.get), microseconds(NOW), rules)


def reason(judgement: Judgement) -> Reason | None:
    return judgement.reason if isinstance(judgement, Distrusted) else None


def test_asked_for_and_found() -> None:
    """The place in the certificate is asked once; what is found there leads on, if it does."""
    assert judged({}) == Needs((NEED,))
    assert judged({NEED: Certificates((ISSUING.der,))}) == Trusted((ROOT.der, ISSUING.der, LEAF.der))
    assert reason(judged({NEED: Certificates((Ca.root("CN=Other").der,))})) is Reason.CHAIN
    assert reason(judged({NEED: Failed("refused")})) is Reason.CHAIN


def test_not_asked_for() -> None:
    """Where the rules do not allow it; and of an issuer that is an anchor."""
    assert reason(judged({}, Issuers.GIVEN)) is Reason.CHAIN
    direct = ROOT.reader("results@laboratory.example", kind="p256", issuer_url=URL)
    assert isinstance(judged({}, leaf=direct), Trusted)


def test_ends() -> None:
    """A chain of places that leads on and on is followed a few steps."""
    asked: list[Need] = []
    authorities = [Ca.root("CN=Elsewhere")]
    for step in range(9):
        authorities.append(authorities[-1].intermediate(f"CN=Authority {step}", issuer_url=f"http://aia.zone.example/{step}"))
    leaf = authorities[-1].reader("results@laboratory.example", kind="p256", issuer_url="http://aia.zone.example/9")

    def known(need: Need) -> Answer:
        asked.append(need)
        return Certificates((authorities[int(need.url[-1])].der,))

    rules = Rules(Anchors([ROOT.der]), Purpose.SMIME_RECIPIENT, Revocation.UNSAFE_OFF, issuers=Issuers.FETCHED)
    assert reason(judge(leaf.der, AtHand(known=known), microseconds(NOW), rules)) is Reason.CHAIN
    assert len(asked) == MAX_ISSUER_FETCHES


def test_what_is_read() -> None:
    """A certificate, or a certs-only message (RFC 5280 4.2.2.1); authorities alone are kept."""
    bundle = pkcs7.serialize_certificates([x509.load_der_x509_certificate(der) for der in (LEAF.der, ISSUING.der)], Encoding.DER)
    assert read_answer(NEED, [ISSUING.der]) == read_answer(NEED, [bundle]) == Certificates((ISSUING.der,))
    for junk in (b"", b"<html>", LEAF.der, bundle[:-9]):
        with pytest.raises(GatewayError):
            read_answer(NEED, [junk])
