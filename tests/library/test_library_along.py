"""Believing by what is at hand: what came with a signature counts as it does in the gateway, and no more than that."""

from __future__ import annotations

import datetime as dt
from base64 import encodebytes
from email import message_from_bytes

import pytest
from asn1crypto import cms, core
from cryptography.x509 import ocsp

from gateway.library import FileKey, GivenTrust, Judged, Key, Opened, Revocation, SignedForm, open_message, protect_message
from gateway.smime import Reason
from gateway.trust.crl import Crl
from tests.pki import NOW, Ca, Issued, microseconds

AUTHOR = "results@laboratory.example"
LETTER = f"From: {AUTHOR}\r\nTo: cardiology@hospital.example\r\nSubject: result\r\n\r\nyes, 50 mg\r\n".encode()
ROOT = Ca.root()
PLACE = "http://crl.zone.example/root"
SIGNER = ROOT.signer(AUTHOR, crl_urls=[PLACE])
DAY = dt.timedelta(days=1)


def signed(signer: Issued = SIGNER, at: dt.datetime = NOW, crl: bytes | None = None, answer: bytes | None = None) -> bytes:
    """A mail with the CRL, or the OCSP answer (RFC 5940), in its SignedData: nobody signs that set."""
    made = protect_message(LETTER, signer=Key(FileKey(signer.key), [signer.der]), form=SignedForm.OPAQUE, at=microseconds(at))
    content = message_from_bytes(made).get_payload(decode=True)
    assert isinstance(content, bytes)
    structure = cms.ContentInfo.load(content)
    if crl is not None:
        structure["content"]["crls"] = [cms.RevocationInfoChoice.load(crl)]
    if answer is not None:
        fields = core.ObjectIdentifier("1.3.6.1.5.5.7.16.2").dump() + answer
        structure["content"]["crls"] = [cms.RevocationInfoChoice.load(b"\xa1" + core.OctetString(fields).dump()[1:])]
    head = "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
    return f"From: {AUTHOR}\r\n{head}Content-Transfer-Encoding: base64\r\n\r\n".encode() + encodebytes(structure.dump(force=True))


def opened(message: bytes, revocation: Revocation = Revocation.HARD, crls: tuple[bytes, ...] = (), at: dt.datetime = NOW) -> Opened:
    trust = GivenTrust.of([ROOT.der], [Crl(crl) for crl in crls], revocation)
    return open_message(message, trust=trust, at=microseconds(at))


def test_nothing_along() -> None:
    """Where a current CRL is wanted and none is at hand."""
    found = opened(signed())
    assert found.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert Reason.REVOCATION_UNKNOWN in found.verdict.reasons


def test_a_crl_along() -> None:
    """The same with the CRL in the signature."""
    assert opened(signed(crl=ROOT.crl())).verdict.judged is Judged.VERIFIED


def test_an_answer_along() -> None:
    """The same with the answer of a responder."""
    assert opened(signed(answer=ROOT.ocsp(SIGNER))).verdict.judged is Judged.VERIFIED


@pytest.mark.parametrize("revocation", [Revocation.HARD, Revocation.SOFT])
def test_what_revokes(revocation: Revocation) -> None:
    """The signer brings the word that he was revoked."""
    revoked = ROOT.ocsp(SIGNER, ocsp.OCSPCertStatus.REVOKED)
    for message in (signed(crl=ROOT.crl(revoked=[SIGNER])), signed(answer=revoked)):
        found = opened(message, revocation)
        assert found.verdict.judged is Judged.SIGNED_UNVERIFIED
        assert Reason.REVOKED in found.verdict.reasons


def test_what_is_at_hand_comes_first() -> None:
    """Whoever was revoked today brings the CRL of yesterday: the one at hand is heard."""
    yesterday, today = ROOT.crl(at=NOW - DAY), ROOT.crl(revoked=[SIGNER], number=2)
    found = opened(signed(crl=yesterday), crls=(today,))
    assert Reason.REVOKED in found.verdict.reasons


@pytest.mark.parametrize("crl", [ROOT.crl(at=NOW - 30 * DAY), Ca.root().crl()], ids=["out of date", "another authority's"])
def test_what_proves_nothing(crl: bytes) -> None:
    """A CRL that is out of date, and one of the authority's namesake."""
    assert Reason.REVOCATION_UNKNOWN in opened(signed(crl=crl)).verdict.reasons


def test_a_certificate_that_expired_on_the_way() -> None:
    """Signed two days ago, expired yesterday; a mail may be under way for five days, and what is older is not believed."""
    short = ROOT.signer(AUTHOR, not_after=NOW - DAY)
    assert opened(signed(short, NOW - 2 * DAY), Revocation.UNSAFE_OFF).verdict.judged is Judged.VERIFIED
    late = opened(signed(short, NOW - 2 * DAY), Revocation.UNSAFE_OFF, at=NOW + 4 * DAY)
    assert Reason.EXPIRED in late.verdict.reasons
