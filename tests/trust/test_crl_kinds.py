"""CRLs that are not the whole truth: deltas, parts, and those another authority or another key made. All are fetched."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.outcome import Reason
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Failed
from gateway.trust.crl import Crl, CrlError
from gateway.trust.judgement import Distrusted, Judgement, Need, NeedKind, Needs, Purpose, Revocation, Trusted
from gateway.trust.path import judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
HOUR = dt.timedelta(hours=1)
BASE, DELTA, OTHER = "http://crl.zone.example/base", "http://crl.zone.example/delta", "http://crl.zone.example/other"
CA = Ca.root(crl_urls=[BASE])
KEY = frozenset({x509.ReasonFlags.key_compromise})
REST = frozenset(x509.ReasonFlags) - KEY - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}


@dataclass
class Kind:
    """What makes a CRL special: everything beside issuer, key, times and entries."""

    base: int | None = None
    number: int = 1
    names: Sequence[str] = ()
    reasons: frozenset[x509.ReasonFlags] | None = None
    indirect: bool = False
    freshest: str | None = None
    at: dt.datetime = NOW
    lasts: dt.timedelta = field(default_factory=lambda: dt.timedelta(days=7))


@dataclass
class Line:
    """An entry: whose certificate, why, and by whom it was issued where that is not who makes the CRL."""

    certificate: Issued | Ca
    reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise
    issuer: Ca | None = None
    critical: bool = False


def make(ca: Ca, kind: Kind, *lines: Line) -> Crl:
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, kind.at, kind.at + kind.lasts)
    builder = builder.add_extension(x509.CRLNumber(kind.number), critical=False)
    if kind.base is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(kind.base), critical=True)
    if kind.freshest is not None:
        builder = builder.add_extension(x509.FreshestCRL([point(kind.freshest)]), critical=False)
    if kind.names or kind.reasons or kind.indirect:
        names = [x509.UniformResourceIdentifier(name) for name in kind.names] or None
        scope = x509.IssuingDistributionPoint(
            names,
            None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=kind.reasons,
            indirect_crl=kind.indirect,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(scope, critical=True)
    for line in lines:
        builder = builder.add_revoked_certificate(entry(line))
    return Crl(builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER))


def entry(line: Line) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(line.certificate.certificate.serial_number, NOW - HOUR)
    builder = builder.add_extension(x509.CRLReason(line.reason), critical=False)
    if line.issuer is not None:
        name = x509.CertificateIssuer([x509.DirectoryName(line.issuer.certificate.subject)])
        builder = builder.add_extension(name, critical=True)
    if line.critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    return builder.build()


def point(url: str, reasons: frozenset[x509.ReasonFlags] | None = None, issuer: Ca | None = None) -> x509.DistributionPoint:
    issuers = None if issuer is None else [x509.DirectoryName(issuer.certificate.subject)]
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, reasons, issuers)


def judged(leaf: Issued, known: dict[str, Answer], others: tuple[bytes, ...] = (), grace: int = 0, anchor: Ca = CA) -> Judgement:
    rules = Rules(Anchors([anchor.der]), Purpose.SMIME_SIGNER, Revocation.HARD, grace=grace)
    return judge(leaf.der, AtHand(others, known=lambda need: known.get(need.url)), AT, rules)


def reason(judgement: Judgement) -> Reason | None:
    return judgement.reason if isinstance(judgement, Distrusted) else None


@pytest.fixture(scope="module")
def fresh() -> Issued:
    """Its certificate names the place of deltas."""
    return CA.signer("results@laboratory.example", freshest=DELTA)


def test_delta(fresh: Issued) -> None:
    """A delta is asked for, adds to the complete CRL, and takes back from it (RFC 5280 5.2.4)."""
    complete, line = make(CA, Kind()), Line(fresh)
    assert judged(fresh, {BASE: complete}) == Needs((Need(NeedKind.CRL, DELTA, CA.der),))
    assert isinstance(judged(fresh, {BASE: complete, DELTA: make(CA, Kind(base=1, number=2))}), Trusted)
    assert reason(judged(fresh, {BASE: complete, DELTA: make(CA, Kind(base=1, number=2), line)})) is Reason.REVOKED
    held = make(CA, Kind(), Line(fresh, x509.ReasonFlags.certificate_hold))
    restored = make(CA, Kind(base=1, number=2), Line(fresh, x509.ReasonFlags.remove_from_crl))
    assert reason(judged(fresh, {BASE: held, DELTA: Failed("refused")})) is Reason.REVOKED
    assert isinstance(judged(fresh, {BASE: held, DELTA: restored}), Trusted)


def test_what_a_delta_may_not_take_back(fresh: Issued) -> None:
    """One that is out of date takes nothing back; a complete CRL that says so lists it all the same."""
    held, removed = make(CA, Kind(), Line(fresh, x509.ReasonFlags.certificate_hold)), x509.ReasonFlags.remove_from_crl
    old = make(CA, Kind(base=1, number=2, at=NOW - dt.timedelta(days=9)), Line(fresh, removed))
    assert reason(judged(fresh, {BASE: held, DELTA: old})) is Reason.REVOKED
    complete = make(CA, Kind(indirect=True), Line(fresh, removed))
    assert reason(judged(fresh, {BASE: complete, DELTA: Failed("refused")})) is Reason.REVOKED


def test_delta_named_by_the_crl() -> None:
    """The complete CRL itself may name the place of its deltas."""
    leaf = CA.signer("results@laboratory.example")
    complete = make(CA, Kind(freshest=DELTA))
    assert judged(leaf, {BASE: complete}) == Needs((Need(NeedKind.CRL, DELTA, CA.der),))
    assert reason(judged(leaf, {BASE: complete, DELTA: make(CA, Kind(base=1, number=2), Line(leaf))})) is Reason.REVOKED


def test_delta_that_cannot_be_had(fresh: Issued) -> None:
    """The complete CRL says what it says."""
    assert isinstance(judged(fresh, {BASE: make(CA, Kind()), DELTA: Failed("refused")}), Trusted)


@pytest.mark.parametrize(
    "kind",
    [
        Kind(base=3, number=4),  # builds on one that we do not have
        Kind(base=1, number=1),
        Kind(base=1, number=2, reasons=KEY),  # of another scope
    ],
)
def test_delta_that_does_not_fit(fresh: Issued, kind: Kind) -> None:
    """A delta over a gap, or of another scope, changes nothing."""
    complete = make(CA, Kind(number=2))
    assert isinstance(judged(fresh, {BASE: complete, DELTA: make(CA, kind, Line(fresh))}), Trusted)


def test_delta_of_somebody_else(fresh: Issued) -> None:
    """A delta signed with another key changes nothing."""
    forged = make(Ca.root(), Kind(base=1, number=2), Line(fresh))
    assert isinstance(judged(fresh, {BASE: make(CA, Kind()), DELTA: forged}), Trusted)


def test_delta_keeps_the_complete_one_current(fresh: Issued) -> None:
    """Both together are as current as the delta."""
    old = make(CA, Kind(at=NOW - dt.timedelta(days=30)))
    assert isinstance(judged(fresh, {BASE: old, DELTA: make(CA, Kind(base=1, number=2))}), Trusted)
    assert reason(judged(fresh, {BASE: old, DELTA: Failed("refused")})) is Reason.REVOCATION_UNKNOWN


def test_reasons_in_parts() -> None:
    """A certificate is good when the CRLs of its points speak for every reason together (RFC 5280 6.3.3)."""
    leaf = CA.signer("results@laboratory.example", points=[point(BASE, KEY), point(OTHER, REST)])
    first, second = make(CA, Kind(names=[BASE], reasons=KEY)), make(CA, Kind(names=[OTHER], reasons=REST))
    assert judged(leaf, {BASE: first}) == Needs((Need(NeedKind.CRL, OTHER, CA.der),))
    assert isinstance(judged(leaf, {BASE: first, OTHER: second}), Trusted)
    assert reason(judged(leaf, {BASE: first, OTHER: Failed("refused")})) is Reason.REVOCATION_UNKNOWN
    assert reason(judged(leaf, {BASE: first, OTHER: first})) is Reason.REVOCATION_UNKNOWN
    listed = make(CA, Kind(names=[OTHER], reasons=REST), Line(leaf, x509.ReasonFlags.superseded))
    assert reason(judged(leaf, {BASE: first, OTHER: listed})) is Reason.REVOKED


def test_indirect() -> None:
    """Another authority's CRL says which issuer's certificates it lists; it counts where the certificate names that authority."""
    maker = CA.intermediate("CN=CRL Issuer,O=Zone,C=FR")
    leaf = CA.signer("results@laboratory.example", points=[point(OTHER, issuer=maker)])
    known: dict[str, Answer] = {BASE: make(CA, Kind())}  # for the certificate of the CRL's issuer itself
    assert judged(leaf, known, (maker.der,)) == Needs((Need(NeedKind.CRL, OTHER, maker.der),))
    assert isinstance(judged(leaf, known | {OTHER: make(maker, Kind(indirect=True))}, (maker.der,)), Trusted)
    listed = make(maker, Kind(indirect=True), Line(leaf, issuer=CA))
    assert reason(judged(leaf, known | {OTHER: listed}, (maker.der,))) is Reason.REVOKED
    ours = make(maker, Kind(indirect=True), Line(leaf))  # a certificate of the CRL's issuer with the same number
    assert isinstance(judged(leaf, known | {OTHER: ours}, (maker.der,)), Trusted)
    assert reason(judged(leaf, known | {OTHER: make(maker, Kind())}, (maker.der,))) is Reason.REVOCATION_UNKNOWN
    assert reason(judged(leaf, known, ())) is Reason.REVOCATION_UNKNOWN


def test_indirect_by_whom_nobody_knows() -> None:
    """Whoever signs the CRL leads to the same anchor, and is not revoked."""
    maker = CA.intermediate("CN=CRL Issuer,O=Zone,C=FR")
    impostor = Ca.root("CN=Elsewhere").intermediate("CN=CRL Issuer,O=Zone,C=FR")
    leaf = CA.signer("results@laboratory.example", points=[point(OTHER, issuer=maker)])
    known: dict[str, Answer] = {BASE: make(CA, Kind()), OTHER: make(impostor, Kind(indirect=True))}
    assert reason(judged(leaf, known, (impostor.der, *impostor.above))) is Reason.REVOCATION_UNKNOWN
    revoked: dict[str, Answer] = {BASE: make(CA, Kind(), Line(maker)), OTHER: make(maker, Kind(indirect=True))}
    assert reason(judged(leaf, revoked, (maker.der,))) is Reason.REVOCATION_UNKNOWN


def test_critical_entry_extension_unknown() -> None:
    """A CRL with an entry we cannot read to the end says nothing about anybody (RFC 5280 5.3)."""
    with pytest.raises(CrlError):
        make(CA, Kind(), Line(CA.signer("results@laboratory.example"), critical=True))


def test_grace() -> None:
    """A CRL past its nextUpdate counts for the grace that was configured, and is marked; a mirror that has a newer one is asked."""
    leaf = CA.signer("results@laboratory.example", crl_urls=[BASE, OTHER])
    late: dict[str, Answer] = {BASE: make(CA, Kind(at=NOW - dt.timedelta(days=7) - HOUR)), OTHER: Failed("refused")}
    grace = 2 * 3600 * 1_000_000
    assert reason(judged(leaf, late)) is Reason.REVOCATION_UNKNOWN
    assert reason(judged(leaf, late, grace=grace // 4)) is Reason.REVOCATION_UNKNOWN
    answer = judged(leaf, late, grace=grace)
    assert isinstance(answer, Trusted)
    assert answer.marks == (Reason.REVOCATION_STALE,)
    answer = judged(leaf, late | {OTHER: make(CA, Kind())}, grace=grace)
    assert isinstance(answer, Trusted)
    assert answer.marks == ()
