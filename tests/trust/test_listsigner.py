"""The signer of a list, in the form of a real one: an organisation's S/MIME certificate, known by issuer, address and policy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.mail.address import parse_address
from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Purpose, Revocation, Trusted
from gateway.trust.listsigner import ListSigner
from gateway.trust.name import normal_dn
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, microseconds

POLICY = "1.2.250.1.213.1.7.1.1.2.3.1"
ORGANISATIONS = "CN=AC ORGANISATIONS,OU=IGC,O=Sante,C=FR"
ROOT = Ca.root("CN=AC RACINE,OU=IGC,O=Sante,C=FR")
ISSUING = ROOT.intermediate(ORGANISATIONS)
SIGNER = ListSigner(normal_dn(ORGANISATIONS), parse_address("lists@zone.example"), POLICY)


def made(ca: Ca = ISSUING, email: str = "lists@zone.example", policy: str | None = POLICY) -> Issued:
    return ca.signer(email, ku=["digital_signature", "content_commitment"], policy=policy)


def reason(issued: Issued, *revoked: Issued) -> Reason | None:
    """Why the list it signed would not be believed; None where it would. First the chain, then who it is."""
    crls = tuple(Crl(ca.crl(revoked)) for ca in (ROOT, ISSUING))
    rules = Rules(Anchors([ROOT.der]), Purpose.LIST_SIGNER, Revocation.SOFT)
    answer = judge(issued.der, AtHand(issued.intermediates, crls), microseconds(NOW), rules)
    found = SIGNER.other(issued.der) if isinstance(answer, Trusted) else answer
    return found.reason if isinstance(found, Distrusted) else None


def test_renewed() -> None:
    """Another key, another number, the same signer."""
    assert reason(made()) is None
    assert reason(made()) is None


def under_another_name(_: Ca) -> Issued:
    """Another authority of the same root issued it."""
    return made(ROOT.intermediate("CN=AC PERSONNES,OU=IGC,O=Sante,C=FR"))


def by_common_name_alone(_: Ca) -> Issued:
    """Its issuer has the right common name, and another whole name."""
    return made(ROOT.intermediate("CN=AC ORGANISATIONS,O=Somebody,C=FR"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda ca: made(ca, policy=None), Reason.CHAIN),
        (lambda ca: made(ca, policy="1.2.250.1.213.1.7.1.1.2.3.2"), Reason.CHAIN),
        (lambda ca: made(ca, email="somebody@zone.example"), Reason.ADDRESS_MISMATCH),
        (lambda ca: made(ca, email="lists@elsewhere.example"), Reason.ADDRESS_MISMATCH),
        (under_another_name, Reason.CHAIN),
        (by_common_name_alone, Reason.CHAIN),
        (lambda _: made(Ca.root(ORGANISATIONS)), Reason.CHAIN),
        (lambda ca: ca.gateway("lists.zone.example", policy=POLICY), Reason.EKU),
        (lambda ca: ca.reader("lists@zone.example", policy=POLICY), Reason.KEY_USAGE),
    ],
)
def test_somebody_else(make: Callable[[Ca], Issued], why: Reason) -> None:
    """A good certificate of somebody else is not the signer's, and one that is not for signing mail is nobody's."""
    assert reason(make(ISSUING)) is why


def test_revoked() -> None:
    """The signer's key was lost."""
    issued = made()
    assert reason(issued, issued) is Reason.REVOKED


def test_junk() -> None:
    """What is no certificate is nobody's."""
    found = SIGNER.other(b"junk")
    assert isinstance(found, Distrusted)
    assert found.reason is Reason.MALFORMED
