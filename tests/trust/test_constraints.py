"""Name constraints hold for every form in which a certificate names mailboxes (RFC 5280 4.2.1.10, RFC 9598 6)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.judgement import Distrusted, Judgement, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, _as_authority, _begin, _below, microseconds, new_key

ROOT = Ca.root()
EMAIL = "1.2.840.113549.1.9.1=results@laboratory.example,CN=Results"


def constrained(permitted: list[str] | None, excluded: list[str] | None = None) -> Ca:
    """An authority that may name these mailboxes, and not those."""
    key = new_key()
    builder = _begin(x509.Name.from_rfc4514_string("CN=Constrained"), ROOT.certificate.subject, key, *_validity())
    names = [None if names is None else [x509.RFC822Name(name) for name in names] for names in (permitted, excluded)]
    builder = _below(_as_authority(builder, key, None), ROOT.key, ())
    builder = builder.add_extension(x509.NameConstraints(*names), critical=True)
    return Ca(builder.sign(ROOT.key, hashes.SHA256()), key, ROOT.chain)


def _validity() -> tuple[Any, Any]:
    return ROOT.certificate.not_valid_before_utc, ROOT.certificate.not_valid_after_utc


def judged(issued: Issued, purpose: Purpose = Purpose.SMIME_SIGNER) -> Judgement:
    anchors = Anchors([ROOT.der])
    rules = Rules(anchors, purpose, Revocation.UNSAFE_OFF)
    return judge(issued.der, AtHand(issued.intermediates), microseconds(NOW), rules)


HOSPITAL = constrained(["hospital.example"])
BELOW = constrained([".hospital.example"])
ONE = constrained(["results@laboratory.example"])
NOT_LABORATORY = constrained(None, ["laboratory.example"])


@pytest.mark.parametrize(
    ("authority", "names"),
    [
        (HOSPITAL, {"emails": ["results@laboratory.example"]}),
        (HOSPITAL, {"utf8_emails": ["results@laboratory.example"]}),
        (HOSPITAL, {"utf8_emails": ["é@laboratory.example"]}),
        (HOSPITAL, {"utf8_emails": ["é@xn--hpital-xya.example"]}),
        (HOSPITAL, {"emails": ["a@hospital.example"], "utf8_emails": ["é@laboratory.example"]}),
        (HOSPITAL, {"subject": EMAIL}),
        (HOSPITAL, {"subject": EMAIL, "dns": ["a.hospital.example"]}),
        (HOSPITAL, {"dns": ["laboratory.example"]}),
        (HOSPITAL, {"dns": ["evilhospital.example"]}),
        (HOSPITAL, {"utf8_emails": ["é@ward.hospital.example"]}),
        (BELOW, {"utf8_emails": ["é@hospital.example"]}),
        (BELOW, {"dns": ["hospital.example"]}),
        (ONE, {"utf8_emails": ["é@laboratory.example"]}),
        (ONE, {"dns": ["laboratory.example"]}),
        (ONE, {"dns": ["gateway.laboratory.example"]}),
        (NOT_LABORATORY, {"utf8_emails": ["é@laboratory.example"]}),
        (NOT_LABORATORY, {"subject": EMAIL, "dns": ["a.hospital.example"]}),
        (NOT_LABORATORY, {"dns": ["laboratory.example"]}),
    ],
)
def test_a_name_outside_is_not_believed_in_whatever_form(authority: Ca, names: dict[str, Any]) -> None:
    answer = judged(authority.leaf(**{"subject": "CN=x", "ku": ["digital_signature"]} | names))
    assert isinstance(answer, Distrusted)
    assert answer.reason is Reason.CHAIN


@pytest.mark.parametrize(
    ("authority", "names"),
    [
        (HOSPITAL, {"emails": ["A@HOSPITAL.example"], "dns": ["gateway.hospital.example"]}),
        (HOSPITAL, {"utf8_emails": ["é@hospital.example"]}),
        (HOSPITAL, {"dns": ["hospital.example"]}),
        (BELOW, {"utf8_emails": ["é@ward.hospital.example"]}),
        (BELOW, {"dns": ["ward.hospital.example"]}),
        (ONE, {"emails": ["results@laboratory.example"]}),
        (NOT_LABORATORY, {"emails": ["a@hospital.example"], "utf8_emails": ["é@hospital.example"]}),
        (ROOT, {"utf8_emails": ["é@laboratory.example"]}),
    ],
)
def test_a_name_inside_is_believed(authority: Ca, names: dict[str, Any]) -> None:
    assert isinstance(judged(authority.leaf(**{"subject": "CN=x", "ku": ["digital_signature"]} | names)), Trusted)


def test_who_is_met_by_his_dns_name_needs_no_mailbox() -> None:
    """A peer is compared by DNS name or subject; its addresses bind nothing."""
    assert isinstance(judged(HOSPITAL.gateway("gateway.laboratory.example"), Purpose.GATEWAY_SERVER), Trusted)


def test_an_anchor_is_constrained_too() -> None:
    """What an anchor's own certificate allows of mail addresses limits those alone, not the names of other kinds beside them."""
    anchored = Rules(Anchors([HOSPITAL.der]), Purpose.SMIME_SIGNER, Revocation.UNSAFE_OFF)
    for address, believed in (("a@hospital.example", True), ("a@laboratory.example", False)):
        issued = HOSPITAL.signer(address, subject="CN=Results,O=Anybody", dns=["hospital.example"])
        assert isinstance(judge(issued.der, AtHand(), microseconds(NOW), anchored), Trusted) is believed


NOT_RESULTS = constrained(None, ["results@laboratory.example"])


@pytest.mark.parametrize(
    "written", ["results@laboratory.example", '"results"@laboratory.example', '"re\\sults"@laboratory.example']
)
def test_an_excluded_mailbox_is_excluded_however_it_is_written(written: str) -> None:
    assert isinstance(judged(NOT_RESULTS.leaf(subject="CN=x", ku=["digital_signature"], emails=[written])), Distrusted)
