"""Targets: certificates, CRLs and OCSP answers that a stranger chose, on their way to a judgement."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fuzz.target import Target, failed, must, outcome
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Certificates, Failed, read_answer
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Need, NeedKind, Needs, Purpose, Revocation, Trusted
from gateway.trust.ocsp import OcspAnswer, request
from gateway.trust.path import judge
from gateway.trust.rules import Issuers, Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, microseconds

AT: Final = microseconds(NOW)
CRL_URL: Final = "http://crl.zone.example/crl"
ROOT: Final = Ca.root(crl_urls=[CRL_URL])
ISSUING: Final = ROOT.intermediate(crl_urls=[CRL_URL])
LEAF: Final = ISSUING.signer(
    "results@laboratory.example", ocsp_url="http://ocsp.zone.example/", issuer_url="http://aia.zone.example/", freshest=CRL_URL
)


def _read(kind: NeedKind, data: bytes) -> Answer:
    asked = request(LEAF.der, ISSUING.der) if kind is NeedKind.OCSP else b""
    found = outcome(lambda: read_answer(Need(kind, CRL_URL, ISSUING.der, asked), [data]))
    return found if isinstance(found, Crl | OcspAnswer | Certificates) else Failed("unusable")


def _judged(leaf: bytes, at_hand: AtHand) -> Trusted | Distrusted | Needs:
    """Under every mode; nothing is raised, and what is not from our authority is never trusted."""
    every = [Rules(Anchors([ROOT.der]), Purpose.SMIME_SIGNER, each, issuers=Issuers.FETCHED) for each in Revocation]
    answers = [judge(leaf, at_hand, AT, rules) for rules in every]
    must(all(isinstance(answer, Trusted | Distrusted | Needs) for answer in answers), "no judgement")
    return answers[-1]


def _crl(data: bytes) -> None:
    """A CRL by itself, and as the answer to a judge who asks."""
    crl = outcome(lambda: Crl(data))
    if isinstance(crl, Crl):
        crl.revoked_since(facts(LEAF.der))
        crl.builds_on(crl)
        crl.strong(AT)
    _judged(LEAF.der, AtHand(ISSUING.chain[:1], known=lambda need: _read(need.kind, data)))
    if isinstance(crl, Crl):
        _judged(LEAF.der, AtHand(ISSUING.chain[:1], given=(crl,), stapled=(crl,), known=lambda need: _read(need.kind, data)))


def _ocsp(data: bytes) -> None:
    """An OCSP answer by itself, and as one that came along."""
    answer = outcome(lambda: OcspAnswer(data))
    if isinstance(answer, OcspAnswer):
        answer.about(LEAF.der, ISSUING.der)
        answer.signed_by(ISSUING.der)
        answer.strong(AT)
        at_hand = AtHand(ISSUING.chain[:1], stapled=(answer,), known=lambda _: Failed("refused"))
        _judged(LEAF.der, at_hand)


def _path(data: bytes) -> None:
    """A certificate as the one in question, as one between, and as what is found where another says that its issuer is."""
    answer = _judged(data, AtHand(ISSUING.chain[:1], known=lambda need: _read(need.kind, data)))
    must(data in _seeds() or not isinstance(answer, Trusted), "trusted, though nobody issued it")
    _judged(LEAF.der, AtHand((data,), known=lambda need: _read(need.kind, data)))
    found = outcome(lambda: facts(data))
    must(failed(found) or facts(data) == found, "facts that change")


@lru_cache
def _seeds() -> list[bytes]:
    return [LEAF.der, ISSUING.der, ROOT.der, *(each.der for each in _people())]


def _people() -> list[Issued]:
    return [
        ISSUING.reader("results@laboratory.example", kind="p256"),
        ISSUING.gateway("gateway.laboratory.example"),
        ISSUING.leaf(utf8_emails=["é@laboratory.example"], policy="1.2.250.1", critical="1.2.3.4"),
        ISSUING.responder(),
        ROOT.intermediate("CN=Constrained", permitted_domains=["hospital.example"]).signer("a@hospital.example"),
    ]


def _crls() -> list[bytes]:
    return [ISSUING.crl(revoked=[LEAF, 5, 6]), ISSUING.crl(), ROOT.crl(revoked=[ISSUING])]


def _answers() -> list[bytes]:
    return [ISSUING.ocsp(LEAF), ISSUING.ocsp(LEAF, by=ISSUING.responder()), ISSUING.ocsp(LEAF, lasts=None)]


TARGETS: Final = (Target("path", _path, _seeds), Target("crl", _crl, _crls), Target("ocsp", _ocsp, _answers))
