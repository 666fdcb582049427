"""What an OCSP answer says, who may say it, and for how long."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.trust.answer import Answer, Failed
from gateway.trust.certificate import facts
from gateway.trust.crl import Crl
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.ocsp import WITHOUT_NEXT, OcspAnswer, OcspError, request
from gateway.trust.revocation import status
from gateway.trust.sources import AtHand
from gateway.trust.standing import Good, Hearing, Revoked, Standing, Status, Unknown, Wanted
from tests.pki import BEGIN, NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
DAY = 24 * 3600 * 1_000_000
URL = "http://ocsp.zone.example/"
CRL_URL = "http://crl.zone.example/crl"


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def leaf(ca: Ca) -> Issued:
    return ca.signer("results@laboratory.example", ocsp_url=URL)


def _status(leaf: Issued, ca: Ca, answer: bytes | Failed | None, at: int = AT, grace: int = 0, crl: bytes | None = None) -> Status:
    known: dict[str, Answer | None] = {URL: OcspAnswer(answer) if isinstance(answer, bytes) else answer}
    if crl is not None:
        known[CRL_URL] = Crl(crl)
    at_hand = AtHand(known=lambda need: known.get(need.url))
    return status(Standing(leaf.der, facts(leaf.der), ca.der), Hearing(lambda _: iter([ca.der]), at_hand, at, grace))


def test_the_question(ca: Ca, leaf: Issued) -> None:
    """What is asked for names the certificate, as the library reads it."""
    asked = _status(leaf, ca, None)
    assert asked == Wanted(Need(NeedKind.OCSP, URL, ca.der, request(leaf.der, ca.der)))
    parsed = ocsp.load_der_ocsp_request(request(leaf.der, ca.der))
    assert parsed.serial_number == leaf.certificate.serial_number
    assert len(parsed.extensions) == 0


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])  # noqa: S303 - as in the wild
def test_words(ca: Ca, leaf: Issued, digest: hashes.HashAlgorithm) -> None:
    """Good, revoked with its time, and unknown, which says nothing."""
    assert _status(leaf, ca, ca.ocsp(leaf, digest=digest)) == Good()
    revoked = ca.ocsp(leaf, ocsp.OCSPCertStatus.REVOKED, digest=digest)
    assert _status(leaf, ca, revoked) == Revoked(microseconds(NOW - dt.timedelta(hours=1)))
    assert isinstance(_status(leaf, ca, ca.ocsp(leaf, ocsp.OCSPCertStatus.UNKNOWN, digest=digest)), Unknown)
    assert isinstance(_status(leaf, ca, Failed("refused")), Unknown)


def test_about_another_certificate(ca: Ca, leaf: Issued) -> None:
    """What is said of another certificate, or of one with this number by another authority, is not said of ours."""
    other = ca.signer("other@laboratory.example")
    assert isinstance(_status(leaf, ca, ca.ocsp(other)), Unknown)
    assert not OcspAnswer(ca.ocsp(other)).answers(request(leaf.der, ca.der))
    assert OcspAnswer(ca.ocsp(leaf)).answers(request(leaf.der, ca.der))
    namesake = Ca.root()  # the same name, another key
    assert isinstance(_status(leaf, ca, namesake.ocsp(leaf)), Unknown)


@pytest.mark.parametrize("encoding", ocsp.OCSPResponderEncoding)
def test_appointed_responder(ca: Ca, leaf: Issued, encoding: ocsp.OCSPResponderEncoding) -> None:
    """A responder that the authority itself appointed speaks for it, named by name or by key."""
    assert _status(leaf, ca, ca.ocsp(leaf, by=ca.responder(), encoding=encoding)) == Good()
    assert _status(leaf, ca, ca.ocsp(leaf, encoding=encoding)) == Good()


def test_not_appointed(ca: Ca, leaf: Issued) -> None:
    """Another of its certificates does not, nor what another authority of that name appointed, nor one below an intermediate."""
    for responder in (
        ca.responder(ExtendedKeyUsageOID.SERVER_AUTH),
        Ca.root().responder(),
        ca.intermediate().responder(),
        ca.responder(not_after=NOW - dt.timedelta(days=1)),
        ca.responder(not_before=NOW + dt.timedelta(days=1)),
    ):
        assert isinstance(_status(leaf, ca, ca.ocsp(leaf, by=responder)), Unknown)


def test_forged(ca: Ca, leaf: Issued) -> None:
    """An answer whose signature is not the responder's."""
    answer = ca.ocsp(leaf, ocsp.OCSPCertStatus.REVOKED, by=ca.responder())
    signature = ocsp.load_der_ocsp_response(answer).signature
    answer = answer.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert isinstance(_status(leaf, ca, answer), Unknown)
    assert not OcspAnswer(answer).signed_by(ca.der)


def test_responder_without_nocheck(ca: Ca, leaf: Issued) -> None:
    """Its own revocation is asked of the CRL it names; without one it is not heard."""
    silent = ca.responder(no_check=False)
    assert isinstance(_status(leaf, ca, ca.ocsp(leaf, by=silent)), Unknown)
    named = ca.responder(no_check=False, crl_urls=[CRL_URL])
    answer = ca.ocsp(leaf, by=named)
    assert _status(leaf, ca, answer) == Wanted(Need(NeedKind.CRL, CRL_URL, ca.der))
    assert _status(leaf, ca, answer, crl=ca.crl()) == Good()
    assert isinstance(_status(leaf, ca, answer, crl=ca.crl(revoked=[named])), Unknown)


def test_times(ca: Ca, leaf: Issued) -> None:
    """An answer counts from thisUpdate to nextUpdate, five minutes either way, then marked while the grace lasts."""
    minute = 60 * 1_000_000
    answer = ca.ocsp(leaf)
    assert _status(leaf, ca, answer, AT - 4 * minute) == Good()
    assert isinstance(_status(leaf, ca, answer, AT - 6 * minute), Unknown)
    assert _status(leaf, ca, answer, AT + DAY + 4 * minute) == Good()
    assert isinstance(_status(leaf, ca, answer, AT + DAY + 6 * minute), Unknown)
    late = _status(leaf, ca, answer, AT + DAY + 6 * minute, grace=DAY)
    assert isinstance(late, Good)
    assert late.marks
    endless = ca.ocsp(leaf, lasts=None)
    assert _status(leaf, ca, endless, AT + WITHOUT_NEXT) == Good()
    assert isinstance(_status(leaf, ca, endless, AT + WITHOUT_NEXT + 6 * minute), Unknown)


def test_revoked_long_ago(ca: Ca, leaf: Issued) -> None:
    """A revocation counts from an answer that is out of date, too."""
    old = ca.ocsp(leaf, ocsp.OCSPCertStatus.REVOKED, at=BEGIN + dt.timedelta(days=9))
    assert isinstance(_status(leaf, ca, old), Revoked)


def test_given(ca: Ca, leaf: Issued) -> None:
    """An answer that was given by hand spares the question."""
    at_hand = AtHand(given=(OcspAnswer(ca.ocsp(leaf)),))
    assert status(Standing(leaf.der, facts(leaf.der), ca.der), Hearing(lambda _: iter([ca.der]), at_hand, AT)) == Good()


def test_stapled(ca: Ca, leaf: Issued) -> None:
    """An answer that came with the message counts where nobody can be asked, and only there: it may be of yesterday."""
    standing = Standing(leaf.der, facts(leaf.der), ca.der)
    stapled = (OcspAnswer(ca.ocsp(leaf)),)
    need = Need(NeedKind.OCSP, URL, ca.der, request(leaf.der, ca.der))
    revoked = OcspAnswer(ca.ocsp(leaf, ocsp.OCSPCertStatus.REVOKED))
    answers: list[tuple[Answer | None, type[Status]]] = [(Failed("refused"), Good), (revoked, Revoked), (None, Wanted)]
    for known, expected in answers:
        at_hand = AtHand(stapled=stapled, known={need: known}.get)
        assert isinstance(status(standing, Hearing(lambda _: iter([ca.der]), at_hand, AT)), expected)


def test_stapled_crl(ca: Ca, leaf: Issued) -> None:
    """So does a CRL."""
    at_hand = AtHand(stapled=(Crl(ca.crl(revoked=[leaf])),), known=lambda _: Failed("refused"))
    answer = status(Standing(leaf.der, facts(leaf.der), ca.der), Hearing(lambda _: iter([ca.der]), at_hand, AT))
    assert isinstance(answer, Revoked)


def test_crl_first(ca: Ca) -> None:
    """The CRL is asked first; the responder where it cannot be had."""
    both = ca.signer("both@laboratory.example", ocsp_url=URL, crl_urls=[CRL_URL])
    at_hand = AtHand(known=lambda need: Failed("refused") if need.kind is NeedKind.CRL else None)
    standing = Standing(both.der, facts(both.der), ca.der)
    assert status(standing, Hearing(lambda _: iter([ca.der]), AtHand(), AT)) == Wanted(Need(NeedKind.CRL, CRL_URL, ca.der))
    asked = status(standing, Hearing(lambda _: iter([ca.der]), at_hand, AT))
    assert isinstance(asked, Wanted)
    assert asked.need.kind is NeedKind.OCSP


@pytest.mark.parametrize("refusal", [each for each in ocsp.OCSPResponseStatus if each is not ocsp.OCSPResponseStatus.SUCCESSFUL])
def test_refusals(refusal: ocsp.OCSPResponseStatus) -> None:
    """A responder that does not answer is an error that says how it put it."""
    der = ocsp.OCSPResponseBuilder.build_unsuccessful(refusal)
    with pytest.raises(OcspError, match=refusal.name):
        OcspAnswer(der.public_bytes(Encoding.DER))


@pytest.mark.parametrize("junk", [b"", b"<html>", b"\x30\x00", b"\x30\x03\x0a\x01\x00"])
def test_junk(junk: bytes) -> None:
    """An error page is no answer; nor is success without one."""
    with pytest.raises(OcspError):
        OcspAnswer(junk)


def test_unknown_signature_algorithm(ca: Ca, leaf: Issued) -> None:
    """An answer signed with an algorithm nobody knows is no answer we can use."""
    ecdsa_sha256 = bytes.fromhex("06082a8648ce3d040302")
    with pytest.raises(OcspError):
        OcspAnswer(ca.ocsp(leaf).replace(ecdsa_sha256, ecdsa_sha256[:-1] + b"\x7f"))
