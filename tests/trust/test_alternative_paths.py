"""More than one way up: authorities certified twice, old and new, and nets woven to keep whoever looks for a way busy."""

from __future__ import annotations

import datetime as dt
import time

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Policies, Rules
from gateway.trust.sources import AtHand
from tests.pki import BEGIN, END, NOW, Ca, Issued, PrivateKey, _as_authority, _begin, _below, microseconds, new_key


def certified(by: Ca, subject: str, key: PrivateKey, not_after: dt.datetime = END, *more: x509.ExtensionType) -> Ca:
    """An authority of this name and key, certified by another: one that has a certificate already is cross-certified."""
    builder = _begin(x509.Name.from_rfc4514_string(subject), by.certificate.subject, key, BEGIN, not_after)
    builder = _below(_as_authority(builder, key, None), by.key, ())
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return Ca(builder.sign(by.key, hashes.SHA256()), key, by.chain)


def judged(leaf: Issued, others: list[bytes], *anchors: Ca, policies: Policies | None = None) -> Judgement:
    rules = Rules(Anchors([anchor.der for anchor in anchors]), Purpose.SMIME_SIGNER, Revocation.UNSAFE_OFF, policies or Policies())
    return judge(leaf.der, AtHand(tuple(others)), microseconds(NOW), rules)


def test_cross_certified() -> None:
    """An authority certified by two leads to whichever is an anchor, through whichever certificate is good."""
    first, second, key = Ca.root("CN=First"), Ca.root("CN=Second"), new_key()
    by_first, by_second = certified(first, "CN=Issuing", key), certified(second, "CN=Issuing", key)
    stale = certified(first, "CN=Issuing", key, NOW - dt.timedelta(days=1))
    leaf = by_first.signer("results@laboratory.example")
    assert judged(leaf, [by_first.der, by_second.der], second) == Trusted((second.der, by_second.der, leaf.der))
    assert judged(leaf, [stale.der, by_first.der], first) == Trusted((first.der, by_first.der, leaf.der))
    assert judged(leaf, [stale.der, by_second.der], first, second) == Trusted((second.der, by_second.der, leaf.der))
    alone = judged(leaf, [stale.der], first)
    assert isinstance(alone, Distrusted)
    assert alone.reason is Reason.EXPIRED


def test_one_certificate_of_an_authority_revoked() -> None:
    """The other still leads to an anchor; where the leaf itself is revoked, no way does."""
    first, second, key = Ca.root("CN=First"), Ca.root("CN=Second"), new_key()
    by_first, by_second = certified(first, "CN=Issuing", key), certified(second, "CN=Issuing", key)
    leaf = by_first.signer("results@laboratory.example")
    rules = Rules(Anchors([first.der, second.der]), Purpose.SMIME_SIGNER, Revocation.HARD)

    def answer(*crls: bytes) -> Judgement:
        at_hand = AtHand((by_first.der, by_second.der), tuple(Crl(crl) for crl in crls))
        return judge(leaf.der, at_hand, microseconds(NOW), rules)

    assert answer(first.crl(), second.crl(), by_first.crl()) == Trusted((first.der, by_first.der, leaf.der))
    lost = first.crl(revoked=[by_first])
    for _ in range(2):
        assert answer(lost, second.crl(), by_first.crl()) == Trusted((second.der, by_second.der, leaf.der))
    both = answer(lost, second.crl(revoked=[by_second]), by_first.crl())
    own = answer(first.crl(), second.crl(), by_first.crl(revoked=[leaf]))
    assert [each.reason for each in (both, own) if isinstance(each, Distrusted)] == [Reason.REVOKED] * 2


def test_renewed_root() -> None:
    """A root that went on with a new key, certified by the old one (RFC 4210 4.4): who knows the old one alone gets there."""
    old, key = Ca.root("CN=Root"), new_key()
    new_with_old = certified(old, "CN=Root", key)
    leaf = new_with_old.signer("results@laboratory.example")
    assert judged(leaf, [new_with_old.der], old) == Trusted((old.der, new_with_old.der, leaf.der))


def test_a_net_without_an_end() -> None:
    """Authorities that certified each other in every direction: looked through within a budget, in a moment."""
    names, keys = [f"CN=Knot {number}" for number in range(8)], [new_key() for _ in range(8)]
    knots = [Ca.root(name) for name in names]
    knots = [Ca(knot.certificate, key) for knot, key in zip(knots, keys, strict=True)]
    net = [certified(above, name, key).der for above in knots for name, key in zip(names, keys, strict=True)]
    leaf = Ca(knots[0].certificate, keys[0]).signer("results@laboratory.example")
    began = time.process_time()
    answer = judged(leaf, net, Ca.root("CN=Anchor"))
    assert isinstance(answer, Distrusted)
    assert time.process_time() - began < 1


def test_policies_that_multiply() -> None:
    """Every policy mapped to every other, at each step: trees of them grow without end (CVE-2023-0464), a graph does not."""
    oids = [x509.ObjectIdentifier(f"1.2.3.{number}") for number in range(30)]
    policies = x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])
    pairs = [
        {"issuer_domain_policy": one.dotted_string, "subject_domain_policy": other.dotted_string} for one in oids for other in oids
    ]
    mappings = x509.UnrecognizedExtension(ExtensionOID.POLICY_MAPPINGS, asn1_x509.PolicyMappings(pairs).dump())
    above, others = Ca.root("CN=Anchor"), []
    anchor = above
    for step in range(6):
        above = certified(above, f"CN=Authority {step}", new_key(), END, policies, mappings)
        others.append(above.der)
    leaf = above.signer("results@laboratory.example", policy="1.2.3.4")
    began = time.process_time()
    answer = judged(leaf, others, anchor, policies=Policies(frozenset({"1.2.3.4"}), explicit=True))
    assert time.process_time() - began < 1
    assert isinstance(answer, Trusted)
