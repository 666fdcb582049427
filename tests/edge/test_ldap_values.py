"""What the attributes of an entry hold, in whatever order other programs write it."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from gateway.edge.ldap import _Answer, _bundled
from gateway.trust.sources import Found, sort_found
from tests.pki import Ca, to_pem
from tests.smime.openssl import openssl


def test_a_bundle_is_read_in_whatever_order_openssl_wrote_it(tmp_path: Path) -> None:
    """SET OF is sorted in DER (X.690 11.6), and openssl leaves it as it was given."""
    ca = Ca.root()
    certificates = (ca.der, ca.reader("a@laboratory.example").der, ca.signer("a@laboratory.example").der)
    for order in permutations(certificates):
        (tmp_path / "all.pem").write_bytes(b"".join(map(to_pem, order)))
        bundle = openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "all.pem", "-outform", "DER")
        assert set(_bundled(bundle)) == set(certificates)


def test_a_bundle_that_is_none_is_counted_as_what_is_no_certificate() -> None:
    for value in (b"", b"\x30\x00", b"\x30\x80", b"x" * 100):
        assert sort_found(_bundled(value)) == Found(passed_over=("what is no certificate (1)",))


def test_an_attribute_without_values_is_none_and_takes_nothing_from_others() -> None:
    """A server may send its name alone (RFC 4511 4.1.7), which ldap3 tells as None."""
    answer = _Answer()
    answer.take([{"raw_attributes": {"userCertificate": None, "userSMIMECertificate": None, "userCertificate;binary": [b"x"]}}])
    assert answer.values == [b"x"]
