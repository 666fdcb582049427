"""Limits of what is brought as evidence, at their edge: answers, bundles, signers of CRLs, the time a mail is under way."""

from __future__ import annotations

import datetime as dt

import pytest
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp

from gateway.outcome import GatewayError, Reason
from gateway.trust.anchors import Anchors
from gateway.trust.answer import MAX_BUNDLE, MAX_CERTIFICATES, Certificates, read_answer
from gateway.trust.certificate import MAX_SERIAL, CertificateError, facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Distrusted, Judgement, Need, NeedKind, Purpose, Revocation, Trusted
from gateway.trust.ocsp import MAX_DELEGATES, MAX_OCSP, MAX_RESPONSES, OcspAnswer, OcspError
from gateway.trust.path import MAX_SIGNERS, MAX_SIGNERS_DEEP, MAX_UNDER_WAY, judge
from gateway.trust.rules import Rules
from gateway.trust.sources import AtHand
from tests.pki import NOW, Ca, Issued, _as_authority, _begin, _below, microseconds, new_key

AT = microseconds(NOW)
CA = Ca.root()
LEAF = CA.signer("results@laboratory.example")
URL = "http://crl.zone.example/"
NEED = Need(NeedKind.CERTIFICATE, "http://aia.zone.example/", LEAF.der)


def judged(leaf: Issued, at_hand: AtHand) -> Judgement:
    return judge(leaf.der, at_hand, AT, Rules(Anchors([CA.der]), Purpose.SMIME_SIGNER, Revocation.HARD))


def test_serial_number() -> None:
    def numbered(number: int) -> bytes:
        certificate = asn1_x509.Certificate.load(LEAF.der)
        certificate["tbs_certificate"]["serial_number"] = number
        made: bytes = certificate.dump(force=True)
        return made

    assert facts(numbered((1 << MAX_SERIAL * 8) - 1)).serial == (1 << MAX_SERIAL * 8) - 1
    with pytest.raises(CertificateError):
        facts(numbered(1 << MAX_SERIAL * 8))


def test_size_of_an_ocsp_answer() -> None:
    with pytest.raises(OcspError, match="not an OCSP answer"):
        OcspAnswer(bytes(MAX_OCSP))
    with pytest.raises(OcspError, match=str(MAX_OCSP + 1)):
        OcspAnswer(bytes(MAX_OCSP + 1))


def test_responses_of_an_ocsp_answer() -> None:
    def speaking_of(number: int) -> bytes:
        answer = asn1_ocsp.OCSPResponse.load(CA.ocsp(LEAF))
        basic = answer["response_bytes"]["response"].parsed
        single = basic["tbs_response_data"]["responses"][0]
        singles = [single.copy() for _ in range(number)]
        for serial, each in enumerate(singles, 1):
            each["cert_id"]["serial_number"] = serial
        basic["tbs_response_data"]["responses"] = singles
        answer["response_bytes"]["response"] = basic
        made: bytes = answer.dump(force=True)
        return made

    OcspAnswer(speaking_of(MAX_RESPONSES))
    with pytest.raises(OcspError, match=str(MAX_RESPONSES)):
        OcspAnswer(speaking_of(MAX_RESPONSES + 1))


def test_delegates_of_an_ocsp_answer() -> None:
    responder = CA.responder()

    def behind(others: int) -> OcspAnswer:
        builder = ocsp.OCSPResponseBuilder().add_response(
            LEAF.certificate, CA.certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, NOW, NOW, None, None
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        builder = builder.certificates([LEAF.certificate] * others + [responder.certificate])
        made = builder.sign(responder.key, hashes.SHA256())  # type: ignore[arg-type] # an EC key
        return OcspAnswer(made.public_bytes(Encoding.DER))

    assert behind(MAX_DELEGATES - 1).signed_by(CA.der)
    assert not behind(MAX_DELEGATES).signed_by(CA.der)


def test_certificates_of_a_bundle() -> None:
    authorities = [x509.load_der_x509_certificate(Ca.root(f"CN={number}").der) for number in range(MAX_CERTIFICATES + 1)]
    found = read_answer(NEED, [pkcs7.serialize_certificates(authorities, Encoding.DER)])
    assert isinstance(found, Certificates)
    assert len(found.certificates) == MAX_CERTIFICATES


def test_size_of_a_bundle() -> None:
    with pytest.raises(GatewayError, match="certs-only"):
        read_answer(NEED, [bytes(MAX_BUNDLE)])
    with pytest.raises(GatewayError, match=str(MAX_BUNDLE + 1)):
        read_answer(NEED, [bytes(MAX_BUNDLE + 1)])


def another_key(ca: Ca) -> Ca:
    """The same authority with another key, certified by the first (RFC 5280 6.3.3 f)."""
    key = new_key()
    builder = _below(_as_authority(_begin(ca.certificate.subject, ca.certificate.subject, key, *_life()), key, None), ca.key, ())
    return Ca(builder.sign(ca.key, hashes.SHA256()), key, ca.chain)


def _life() -> tuple[dt.datetime, dt.datetime]:
    return CA.certificate.not_valid_before_utc, CA.certificate.not_valid_after_utc


def test_signers_of_a_crl() -> None:
    """So many certificates of the issuer's name are tried."""
    keys = [another_key(CA) for _ in range(MAX_SIGNERS + 1)]

    def believed(signer: Ca) -> bool:
        issued = CA.signer("results@laboratory.example")
        others = tuple(key.der for key in keys)
        return isinstance(judged(issued, AtHand(others, (Crl(signer.crl()), scoped(CA, authorities=True)))), Trusted)

    assert believed(keys[MAX_SIGNERS - 2])
    assert not believed(keys[MAX_SIGNERS])


def scoped(maker: Ca, *, authorities: bool = False, indirect: bool = False) -> Crl:
    """A CRL that speaks of authorities alone, or of the certificates of others too."""
    scope = x509.IssuingDistributionPoint(
        None,
        None,
        only_contains_user_certs=False,
        only_contains_ca_certs=authorities,
        only_some_reasons=None,
        indirect_crl=indirect,
        only_contains_attribute_certs=False,
    )
    builder = x509.CertificateRevocationListBuilder(maker.certificate.subject, NOW, NOW + dt.timedelta(days=7))
    return Crl(builder.add_extension(scope, critical=True).sign(maker.key, hashes.SHA256()).public_bytes(Encoding.DER))


def test_signers_above_signers() -> None:
    """Whoever makes the CRL for a maker of CRLs, and so on: so many steps are gone."""
    first, here = Crl(CA.crl()), x509.DistributionPoint([x509.UniformResourceIdentifier(URL)], None, None, None)

    def believed(steps: int) -> bool:
        makers = [CA]
        for step in range(steps):
            key, name = new_key(), x509.Name.from_rfc4514_string(f"CN=Maker {step}")
            builder = _below(_as_authority(_begin(name, CA.certificate.subject, key, *_life()), key, None), CA.key, ())
            place = _made_by(makers[-1]) if step else here
            builder = builder.add_extension(x509.CRLDistributionPoints([place]), critical=False)
            makers.append(Ca(builder.sign(CA.key, hashes.SHA256()), key, CA.chain))
        leaf = CA.signer("results@laboratory.example", points=[_made_by(makers[-1])])
        others = tuple(maker.der for maker in makers[1:])
        crls = tuple(scoped(maker, indirect=True) for maker in makers[1:])
        return isinstance(judged(leaf, AtHand(others, crls, known=lambda need: first if need.url == URL else None)), Trusted)

    assert believed(MAX_SIGNERS_DEEP)
    assert not believed(MAX_SIGNERS_DEEP + 1)


def _made_by(maker: Ca) -> x509.DistributionPoint:
    return x509.DistributionPoint(None, None, None, [x509.DirectoryName(maker.certificate.subject)])


def test_how_long_a_mail_is_under_way() -> None:
    expired = CA.signer("results@laboratory.example", not_after=NOW - dt.timedelta(hours=1))
    crl = Crl(CA.crl(at=NOW - dt.timedelta(days=1)))

    def signed(at: int) -> Judgement:
        return judged(expired, AtHand(given=(crl,), signed_at=at))

    assert isinstance(signed(AT - MAX_UNDER_WAY), Trusted)
    late = signed(AT - MAX_UNDER_WAY - 1)
    assert isinstance(late, Distrusted)
    assert late.reason is Reason.EXPIRED
