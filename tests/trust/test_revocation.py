"""What a CRL says, and when it may say it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.trust.certificate import facts
from gateway.trust.crl import Crl, CrlError
from gateway.trust.revocation import status
from gateway.trust.sources import AtHand
from gateway.trust.standing import Good, Hearing, Revoked, Signers, Standing, Status, Unknown
from tests.pki import NOW, Ca, Issued, microseconds, new_key

AT = microseconds(NOW)
URL = "http://crl.zone.example/crl"


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root(crl_urls=[URL])


@pytest.fixture(scope="module")
def leaf(ca: Ca) -> Issued:
    return ca.signer("results@laboratory.example")


def _status(leaf: Issued, ca: Ca, crl: bytes, at: int = AT) -> Status:
    parsed = Crl(crl)
    at_hand = AtHand(known=lambda need: parsed if need.url == URL else None)
    return status(standing(leaf, ca), Hearing(signers(ca), at_hand, at))


def standing(leaf: Issued, ca: Ca) -> Standing:
    return Standing(leaf.der, facts(leaf.der), ca.der)


def signers(ca: Ca) -> Signers:
    """The authority signs its CRLs itself."""
    return lambda name: iter([ca.der] if facts(ca.der).subject_name == name else [])


def test_good_and_revoked(ca: Ca, leaf: Issued) -> None:
    """Not listed is good; listed is revoked, with its time."""
    assert _status(leaf, ca, ca.crl()) == Good()
    assert _status(leaf, ca, ca.crl(revoked=[leaf])) == Revoked(microseconds(NOW - dt.timedelta(hours=1)))


def test_out_of_date(ca: Ca, leaf: Issued) -> None:
    """A CRL past its next update knows nothing, except what it knew to be revoked."""
    old = NOW - dt.timedelta(days=30)
    assert isinstance(_status(leaf, ca, ca.crl(at=old)), Unknown)
    assert isinstance(_status(leaf, ca, ca.crl(revoked=[leaf], at=old)), Revoked)


def test_from_the_future(ca: Ca, leaf: Issued) -> None:
    """A CRL made after the time asked about knows nothing; nor does a revocation that came later."""
    future = NOW + dt.timedelta(days=2)
    assert isinstance(_status(leaf, ca, ca.crl(at=future)), Unknown)
    assert isinstance(_status(leaf, ca, ca.crl(revoked=[leaf], at=future)), Unknown)


def test_forged(ca: Ca, leaf: Issued) -> None:
    """A CRL in the issuer's name signed by another key says nothing, good or bad."""
    assert isinstance(_status(leaf, ca, ca.crl(key=new_key())), Unknown)
    assert isinstance(_status(leaf, ca, ca.crl(revoked=[leaf], key=new_key())), Unknown)


def test_another_issuer(ca: Ca, leaf: Issued) -> None:
    """A CRL of another authority says nothing about ours."""
    assert isinstance(_status(leaf, ca, Ca.root("CN=Other").crl(revoked=[leaf])), Unknown)


def test_issuer_without_the_right(leaf: Issued) -> None:
    """An issuer whose key usage lacks cRLSign makes no CRL."""
    key, name = new_key(), x509.Name.from_rfc4514_string("CN=No CRLs")
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
         "encipher_only", "decipher_only"), False
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + dt.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca = Ca(certificate, key, (), (URL,))
    assert not Crl(ca.crl()).signed_by(ca.der)


def _scoped(ca: Ca, **scope: object) -> bytes:
    given: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    point = x509.IssuingDistributionPoint(**(given | scope))  # type: ignore[arg-type]
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, NOW, NOW + dt.timedelta(days=1))
    return builder.add_extension(point, critical=True).sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_scope(ca: Ca, leaf: Issued) -> None:
    """A CRL speaks only for the certificates, places and reasons it was made for (RFC 5280 5.2.5)."""
    here, elsewhere = (x509.UniformResourceIdentifier(url) for url in (URL, "http://crl.zone.example/other"))
    assert _status(leaf, ca, _scoped(ca, full_name=[here])) == Good()
    assert _status(leaf, ca, _scoped(ca, only_contains_user_certs=True)) == Good()
    reasons = frozenset({x509.ReasonFlags.key_compromise})
    for scope in ({"full_name": [elsewhere]}, {"only_contains_ca_certs": True}, {"only_contains_attribute_certs": True}):
        assert isinstance(_status(leaf, ca, _scoped(ca, **scope)), Unknown)
    assert isinstance(_status(leaf, ca, _scoped(ca, only_some_reasons=reasons)), Unknown)


def test_delta_alone(ca: Ca, leaf: Issued) -> None:
    """A delta CRL without the complete one says nothing."""
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, NOW, NOW + dt.timedelta(days=1))
    delta = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True).sign(ca.key, hashes.SHA256())
    assert isinstance(_status(leaf, ca, delta.public_bytes(Encoding.DER)), Unknown)


@pytest.mark.parametrize("junk", [b"", b"<html>not found</html>", b"\x30\x00"])
def test_no_crl(junk: bytes) -> None:
    """An error page in the place of a CRL is no CRL."""
    with pytest.raises(CrlError):
        Crl(junk)


def test_large_crl_is_an_index(ca: Ca, leaf: Issued) -> None:
    """A look-up among 20,000 entries takes less than a millisecond."""
    crl = Crl(ca.crl(revoked=range(1, 20_001)))
    evidence = AtHand(known=lambda _: crl)
    assert status(standing(leaf, ca), Hearing(signers(ca), evidence, AT)) == Good()
    began = time.process_time()
    for _ in range(100):
        status(standing(leaf, ca), Hearing(signers(ca), evidence, AT))
    assert (time.process_time() - began) / 100 < 0.001
    assert crl.revoked_since(replace(facts(leaf.der), serial=20_000)) is not None
    assert crl.revoked_since(replace(facts(leaf.der), serial=20_001)) is None
