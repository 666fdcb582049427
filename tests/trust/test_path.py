"""Each reason for which a certificate is not believed, and what it takes to be."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Failed
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Need, NeedKind, Needs, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests import pki
from tests.pki import BEGIN, NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
ROOT_CRL = "http://crl.zone.example/root.crl"
ISSUING_CRL = "http://crl.zone.example/issuing.crl"


class Zone:
    """Root, issuing authority, their CRLs, all in order."""

    def __init__(self) -> None:
        self.root = Ca.root(kind="rsa2048", crl_urls=[ROOT_CRL])
        self.issuing = self.root.intermediate(kind="rsa2048", crl_urls=[ISSUING_CRL])
        self.anchors = Anchors([self.root.der])
        self.crls: dict[str, Answer] = {ROOT_CRL: Crl(self.root.crl()), ISSUING_CRL: Crl(self.issuing.crl())}

    def judge(
        self,
        issued: Issued,
        purpose: Purpose = Purpose.SMIME_SIGNER,
        revocation: Revocation = Revocation.HARD,
        at: int = AT,
        anchors: Anchors | None = None,
    ) -> Judgement:
        rules = Rules(anchors or self.anchors, purpose, revocation)
        return judge(issued.der, AtHand(issued.intermediates, known=self.known), at, rules)

    def known(self, need: Need) -> Answer | None:
        return self.crls.get(need.url)


@pytest.fixture(scope="module")
def _authorities() -> Zone:
    return Zone()


@pytest.fixture
def zone(_authorities: Zone) -> Zone:
    """The same authorities (RSA keys take their time), a fresh memory, CRLs that a test may change."""
    fresh = Zone.__new__(Zone)
    fresh.root, fresh.issuing = _authorities.root, _authorities.issuing
    fresh.anchors, fresh.crls = Anchors([_authorities.root.der]), dict(_authorities.crls)
    return fresh


def _reason(judgement: Judgement) -> Reason | None:
    return judgement.reason if isinstance(judgement, Distrusted) else None


GOOD: list[tuple[Purpose, Callable[[Ca], Issued]]] = [
    (Purpose.SMIME_SIGNER, lambda ca: ca.signer("results@laboratory.example")),
    (Purpose.SMIME_SIGNER, lambda ca: ca.signer("results@laboratory.example", ku=["content_commitment"])),
    (Purpose.SMIME_SIGNER, lambda ca: ca.signer("results@laboratory.example", ku=None, eku=None)),
    (Purpose.SMIME_SIGNER, lambda ca: ca.signer("results@laboratory.example", eku=["any"])),
    (Purpose.SMIME_RECIPIENT, lambda ca: ca.reader("results@laboratory.example")),
    (Purpose.SMIME_RECIPIENT, lambda ca: ca.reader("results@laboratory.example", kind="p384")),
    (Purpose.SMIME_RECIPIENT, pki.for_ecdh_alone),
    (Purpose.GATEWAY_CLIENT, lambda ca: ca.gateway("gateway.laboratory.example")),
    (Purpose.GATEWAY_CLIENT, lambda ca: ca.gateway("gateway.laboratory.example", eku=["client"])),
    (Purpose.GATEWAY_SERVER, lambda ca: ca.gateway("gateway.laboratory.example", eku=["server"])),
    (Purpose.GATEWAY_CLIENT, lambda ca: ca.gateway("gateway.laboratory.example", eku=None)),
    (Purpose.LIST_SIGNER, lambda ca: ca.signer("lists@zone.example")),
    (Purpose.LIST_SIGNER, lambda ca: ca.signer("lists@zone.example", ku=["digital_signature", "content_commitment"], eku=None)),
]


@pytest.mark.parametrize(("purpose", "make"), GOOD)
def test_good(zone: Zone, purpose: Purpose, make: Callable[[Ca], Issued]) -> None:
    """A good certificate with current CRLs is trusted; the path is anchor first, leaf last."""
    issued = make(zone.issuing)
    assert zone.judge(issued, purpose) == Trusted((zone.root.der, zone.issuing.der, issued.der))


BROKEN: list[tuple[Callable[[Ca], Issued], Purpose, Reason]] = [
    (pki.expired, Purpose.SMIME_SIGNER, Reason.EXPIRED),
    (pki.not_yet_valid, Purpose.SMIME_SIGNER, Reason.NOT_YET_VALID),
    (pki.short_rsa, Purpose.SMIME_RECIPIENT, Reason.WEAK_ALGORITHM),
    (pki.for_ecdh_alone, Purpose.SMIME_SIGNER, Reason.UNSUPPORTED),
    (lambda ca: pki.for_ecdh_alone(ca, name="1.3.132.1.13"), Purpose.SMIME_RECIPIENT, Reason.UNSUPPORTED),
    (lambda ca: pki.for_ecdh_alone(ca, "p224"), Purpose.SMIME_RECIPIENT, Reason.WEAK_ALGORITHM),
    (pki.sha1_signed, Purpose.SMIME_SIGNER, Reason.WEAK_ALGORITHM),
    (pki.md5_signed, Purpose.SMIME_SIGNER, Reason.WEAK_ALGORITHM),
    (pki.unnamed_curve, Purpose.SMIME_SIGNER, Reason.WEAK_ALGORITHM),
    (pki.tampered, Purpose.SMIME_SIGNER, Reason.CHAIN),
    (pki.issued_by_a_leaf, Purpose.SMIME_SIGNER, Reason.CHAIN),
    (pki.below_path_length, Purpose.SMIME_SIGNER, Reason.CHAIN),
    (pki.outside_name_constraints, Purpose.SMIME_SIGNER, Reason.CHAIN),
    (pki.critical_unknown, Purpose.SMIME_SIGNER, Reason.CHAIN),
    (pki.not_for_mail, Purpose.SMIME_SIGNER, Reason.EKU),
    (pki.not_for_mail, Purpose.GATEWAY_CLIENT, Reason.EKU),
    (pki.not_for_mail, Purpose.LIST_SIGNER, Reason.EKU),
    (pki.not_for_clients, Purpose.GATEWAY_CLIENT, Reason.EKU),
    (pki.not_for_clients, Purpose.LIST_SIGNER, Reason.EKU),
    (pki.not_for_servers, Purpose.GATEWAY_SERVER, Reason.EKU),
    (pki.not_for_signing, Purpose.LIST_SIGNER, Reason.KEY_USAGE),
    (pki.not_for_signing, Purpose.SMIME_SIGNER, Reason.KEY_USAGE),
    (pki.not_for_signing, Purpose.GATEWAY_CLIENT, Reason.KEY_USAGE),
    (pki.not_for_encryption, Purpose.SMIME_RECIPIENT, Reason.KEY_USAGE),
    (lambda _: pki.self_signed(), Purpose.SMIME_SIGNER, Reason.CHAIN),
    (lambda _: pki.foreign(), Purpose.SMIME_SIGNER, Reason.CHAIN),
]


@pytest.mark.parametrize(("make", "purpose", "reason"), BROKEN)
def test_broken(zone: Zone, make: Callable[[Ca], Issued], purpose: Purpose, reason: Reason) -> None:
    """Each broken certificate has its own reason, under soft revocation too."""
    assert _reason(zone.judge(make(zone.issuing), purpose, Revocation.SOFT)) is reason


def test_not_a_certificate(zone: Zone) -> None:
    """Bytes that are none are malformed, and so is an empty answer."""
    for junk in (b"", b"\x30\x03\x02\x01\x01", zone.issuing.signer("results@laboratory.example").der[:-1], b"0" * 70_000):
        judgement = judge(junk, AtHand(), AT, Rules(zone.anchors, Purpose.SMIME_SIGNER, Revocation.SOFT))
        assert _reason(judgement) is Reason.MALFORMED


def test_authority_is_no_signer(zone: Zone) -> None:
    """An authority's own certificate signs no mail."""
    issued = Issued(zone.issuing.certificate, zone.issuing.key, zone.issuing.above)
    assert _reason(zone.judge(issued)) is Reason.KEY_USAGE


def test_intermediate_limits_purpose(zone: Zone) -> None:
    """An extended key usage in an intermediate limits what is below it."""
    tls_only = zone.root.intermediate("CN=TLS Only", eku=["server", "client"], crl_urls=[])
    assert _reason(zone.judge(tls_only.signer("results@laboratory.example"))) is Reason.EKU


def test_expired_authorities(zone: Zone) -> None:
    """An expired intermediate and an expired anchor spoil the path."""
    ended = NOW - dt.timedelta(days=1)
    old = zone.root.intermediate("CN=Old", not_after=ended)
    assert _reason(zone.judge(old.signer("results@laboratory.example"), revocation=Revocation.SOFT)) is Reason.EXPIRED
    root = Ca.root("CN=Old Root", not_after=ended)
    issued = root.signer("results@laboratory.example")
    assert _reason(zone.judge(issued, revocation=Revocation.SOFT, anchors=Anchors([root.der]))) is Reason.EXPIRED


def test_missing_intermediate(zone: Zone) -> None:
    """Without its intermediate a certificate leads nowhere, unless the list of anchors carries it too."""
    issued = zone.issuing.signer("results@laboratory.example")
    bare = Issued(issued.certificate, issued.key, (zone.root.der,))
    assert _reason(zone.judge(bare)) is Reason.CHAIN
    listed = Anchors([zone.root.der, zone.issuing.der])
    assert zone.judge(bare, anchors=listed) == Trusted((zone.root.der, zone.issuing.der, issued.der))


def test_listed_intermediate_can_be_revoked(zone: Zone) -> None:
    """An intermediate listed beside its root stays under the root's CRL."""
    issued = zone.issuing.signer("results@laboratory.example")
    zone.crls[ROOT_CRL] = Crl(zone.root.crl(revoked=[zone.issuing]))
    assert _reason(zone.judge(issued, anchors=Anchors([zone.issuing.der, zone.root.der]))) is Reason.REVOKED


def test_intermediate_as_only_anchor(zone: Zone) -> None:
    """An anchor need not have signed itself."""
    issued = zone.issuing.signer("results@laboratory.example")
    assert zone.judge(issued, anchors=Anchors([zone.issuing.der])) == Trusted((zone.issuing.der, issued.der))


def test_listed_leaf(zone: Zone) -> None:
    """A leaf the administrator listed as an anchor is believed for itself, and for nobody else."""
    lone = pki.self_signed()
    anchors = Anchors([lone.der])
    assert zone.judge(lone, anchors=anchors) == Trusted((lone.der,))
    below = Ca(lone.certificate, lone.issuing).signer("results@laboratory.example")
    assert _reason(zone.judge(below, anchors=anchors)) is Reason.CHAIN


def test_cross_certified_crowd_is_bounded(zone: Zone) -> None:
    """Sixty authorities of one name and key, all issuers of each other, cost a bounded search and a plain CHAIN."""
    first = Ca.root("CN=Crowd")
    crowd = [Ca(first.certificate, first.key, first.above).intermediate("CN=Crowd") for _ in range(60)]
    issued = crowd[0].signer("results@laboratory.example")
    others = [ca.der for ca in crowd]
    judgement = judge(issued.der, AtHand(tuple(others)), AT, Rules(zone.anchors, Purpose.SMIME_SIGNER, Revocation.SOFT))
    assert _reason(judgement) is Reason.CHAIN


def test_clocks_may_differ_by_five_minutes(zone: Zone) -> None:
    """Just expired and just issued certificates are believed within the tolerance, and not beyond."""
    issued = zone.issuing.signer("results@laboratory.example", not_after=NOW)
    minute = 60_000_000
    assert isinstance(zone.judge(issued, at=AT + 4 * minute), Trusted)
    assert _reason(zone.judge(issued, at=AT + 6 * minute)) is Reason.EXPIRED


def test_needs_crls_of_every_certificate(zone: Zone) -> None:
    """Nothing known: the places of the whole path are asked for, each with the issuer that must have signed."""
    issued = zone.issuing.signer("results@laboratory.example")
    zone.crls.clear()
    needs = Needs((Need(NeedKind.CRL, ROOT_CRL, zone.root.der), Need(NeedKind.CRL, ISSUING_CRL, zone.issuing.der)))
    assert zone.judge(issued) == needs
    assert zone.judge(issued, revocation=Revocation.SOFT) == needs
    assert isinstance(zone.judge(issued, revocation=Revocation.UNSAFE_OFF), Trusted)


def test_no_needs_for_foreign_certificates(zone: Zone) -> None:
    """A certificate that leads to no anchor makes us fetch nothing."""
    elsewhere = Ca.root("CN=Elsewhere", crl_urls=["http://elsewhere.example/"]).signer("results@laboratory.example")
    zone.crls.clear()
    assert _reason(zone.judge(elsewhere)) is Reason.CHAIN


def test_revoked(zone: Zone) -> None:
    """Revoked is revoked, hard or soft; so is everything below a revoked intermediate."""
    issued = zone.issuing.signer("results@laboratory.example")
    zone.crls[ISSUING_CRL] = Crl(zone.issuing.crl(revoked=[issued]))
    assert _reason(zone.judge(issued)) is Reason.REVOKED
    assert _reason(zone.judge(issued, revocation=Revocation.SOFT)) is Reason.REVOKED
    other = zone.issuing.signer("results@laboratory.example")
    assert isinstance(zone.judge(other), Trusted)
    zone.crls[ROOT_CRL] = Crl(zone.root.crl(revoked=[zone.issuing]))
    assert _reason(zone.judge(other)) is Reason.REVOKED


def test_unknown_revocation(zone: Zone) -> None:
    """A CRL that failed: distrusted under hard, marked under soft."""
    issued = zone.issuing.signer("results@laboratory.example")
    zone.crls[ISSUING_CRL] = Failed("connection refused")
    assert _reason(zone.judge(issued)) is Reason.REVOCATION_UNKNOWN
    soft = zone.judge(issued, revocation=Revocation.SOFT)
    assert isinstance(soft, Trusted)
    assert soft.marks == (Reason.REVOCATION_UNKNOWN,)


def test_no_place_of_a_crl(zone: Zone) -> None:
    """A certificate that names no CRL is unknown under hard, unless one of its issuer was given by hand."""
    issued = zone.issuing.signer("results@laboratory.example", crl_urls=())
    assert _reason(zone.judge(issued)) is Reason.REVOCATION_UNKNOWN
    given = AtHand(issued.intermediates, (Crl(zone.issuing.crl()),), known=zone.known)
    judgement = judge(issued.der, given, AT, Rules(zone.anchors, Purpose.SMIME_SIGNER, Revocation.HARD))
    assert isinstance(judgement, Trusted)


def test_second_place_when_the_first_failed(zone: Zone) -> None:
    """The next place is asked for only once the one before it is known to have failed."""
    mirror = "http://mirror.zone.example/issuing.crl"
    issued = zone.issuing.signer("results@laboratory.example", crl_urls=[ISSUING_CRL, mirror])
    assert isinstance(zone.judge(issued), Trusted)
    zone.crls[ISSUING_CRL] = Failed("connection refused")
    assert zone.judge(issued) == Needs((Need(NeedKind.CRL, mirror, zone.issuing.der),))
    zone.crls[mirror] = Crl(zone.issuing.crl())
    assert isinstance(zone.judge(issued), Trusted)


def test_begin_of_time(zone: Zone) -> None:
    """The time asked about decides, not the clock: before the root existed nothing was valid."""
    issued = zone.issuing.signer("results@laboratory.example")
    assert _reason(zone.judge(issued, at=microseconds(BEGIN - dt.timedelta(days=1)))) is Reason.NOT_YET_VALID


def test_expired_on_its_way(zone: Zone) -> None:
    """A certificate that was valid when the mail was signed, as the signer says, a few days ago at most. Revocation is of now."""
    day = 86400 * 1_000_000
    issued = zone.issuing.signer("results@laboratory.example", not_after=NOW - dt.timedelta(days=1))
    rules = Rules(zone.anchors, Purpose.SMIME_SIGNER, Revocation.HARD)
    zone.crls[ISSUING_CRL] = Crl(zone.issuing.crl(at=NOW - dt.timedelta(days=2)))

    def signed(at: int | None) -> Judgement:
        return judge(issued.der, AtHand(issued.intermediates, known=zone.known, signed_at=at), AT, rules)

    assert isinstance(signed(AT - 2 * day), Trusted)
    for unbelievable in (None, AT, AT - day // 2, AT - 6 * day, AT + 2 * day):
        assert _reason(signed(unbelievable)) is Reason.EXPIRED
    zone.crls[ISSUING_CRL] = Crl(zone.issuing.crl(revoked=[issued]))
    assert _reason(signed(AT - 2 * day)) is Reason.REVOKED
    zone.crls[ISSUING_CRL] = Crl(zone.issuing.crl())  # made since it expired: it would no longer be listed
    assert _reason(signed(AT - 2 * day)) is Reason.REVOCATION_UNKNOWN
