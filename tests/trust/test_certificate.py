"""Facts, and what binds a certificate to an address."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import parse_address
from gateway.trust.certificate import Binding, CertificateError, binds, facts
from gateway.trust.name import normal_dn
from gateway.trust.publickey import PublicKey
from tests.pki import NOW, Ca, common_name_only, microseconds

CA = Ca.root(crl_urls=["http://crl.zone.example/root.crl", "ldap:///cn=crl"])
BOUND = frozenset({"laboratory.example"})


def test_facts() -> None:
    """What was put in comes out, in our terms."""
    issued = CA.leaf(
        "CN=Résultats,O=Laboratory,C=FR",
        emails=["Results@Laboratory.Example", "not an address"],
        utf8_emails=["é@laboratory.example"],
        dns=["Gateway.Laboratory.Example", "*.laboratory.example"],
        kind="p384",
        not_after=NOW,
    )
    found = facts(issued.der)
    assert found.emails == (parse_address("Results@laboratory.example"), parse_address("é@laboratory.example"))
    assert found.dns_names == ("gateway.laboratory.example",)
    assert found.key == PublicKey("ec", 384, curve="secp384r1")
    assert (found.ku, found.is_ca) == (frozenset({"digital_signature", "key_encipherment"}), False)
    assert (found.not_after, found.serial) == (microseconds(NOW), issued.certificate.serial_number)
    assert found.points[0].urls == ("http://crl.zone.example/root.crl",)
    assert found.issuer_name == facts(CA.der).subject_name == normal_dn("cn=zone root,o=ZONE,c=fr")
    assert facts(issued.der) is found


def test_openssl_certificate(tmp_path: Path) -> None:
    """A certificate made by openssl: the subject's emailAddress counts where there is no alternative name (RFC 8550 3)."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-outform", "DER", "-out", "c.der"]
    subject = "/C=FR/O=Laboratory/CN=Results/emailAddress=results@laboratory.example"
    subprocess.run([*command, "-subj", subject], cwd=tmp_path, check=True, capture_output=True)
    found = facts((tmp_path / "c.der").read_bytes())
    assert found.emails == (parse_address("results@laboratory.example"),)
    assert found.key == PublicKey("rsa", 2048, 65537)
    assert found.subject_name == normal_dn("emailAddress=results@laboratory.example,CN=Results,O=Laboratory,C=FR")


def test_binds_mailbox() -> None:
    """A mailbox certificate speaks for its address in any case of letters, and for no neighbour."""
    found = facts(CA.signer("results@laboratory.example").der)
    assert binds(found, parse_address("Results@LABORATORY.example")) is Binding.MAILBOX
    assert binds(found, parse_address("office@laboratory.example"), BOUND) is None
    assert binds(found, parse_address("results@laboratory.example.evil.example"), BOUND) is None


@pytest.mark.parametrize(
    ("named", "author"),
    [
        ("results@laboratory.example", "re\u017fult\u017f@laboratory.example"),  # LATIN SMALL LETTER LONG S
        ("strasse@laboratory.example", "straße@laboratory.example"),
        ("office@laboratory.example", "o\ufb03ce@laboratory.example"),  # LATIN SMALL LIGATURE FFI
    ],
)
def test_letters_that_only_look_or_sound_alike_are_not_one_mailbox(named: str, author: str) -> None:
    """What Unicode folds into one (CaseFolding.txt, status F) are two local parts for every mail server."""
    assert binds(facts(CA.signer(named).der), parse_address(author)) is None
    assert binds(facts(CA.leaf(utf8_emails=[author]).der), parse_address(named)) is None


@pytest.mark.parametrize("name", ["*@laboratory.example", "@laboratory.example", "laboratory.example", "results@*.example"])
def test_a_wildcard_names_nobody(name: str) -> None:
    """RFC 5280 4.2.1.6: an rfc822Name is a mailbox. The forms of name constraints bind no address."""
    assert binds(facts(CA.leaf(emails=[name]).der), parse_address("results@laboratory.example"), BOUND) is None
    assert binds(facts(CA.leaf(dns=["*.example"]).der), parse_address("results@laboratory.example"), BOUND) is None


def test_binds_organisation() -> None:
    """An organisation certificate speaks for its domain only where an administrator bound that domain."""
    address = parse_address("results@laboratory.example")
    for issued in (
        CA.organisation_signer("laboratory.example"),
        CA.organisation_reader("laboratory.example", kind="p256"),
        CA.gateway("laboratory.example"),
    ):
        found = facts(issued.der)
        assert binds(found, address, BOUND) is Binding.ORGANISATION
        assert binds(found, address) is None
        assert binds(found, parse_address("cardiology@hospital.example"), {"hospital.example"}) is None
        assert binds(found, parse_address("x@sub.laboratory.example"), {"sub.laboratory.example"}) is None


def test_common_name_binds_nothing() -> None:
    """A domain in the common name alone is no name of the certificate."""
    found = facts(common_name_only(CA, "laboratory.example").der)
    assert binds(found, parse_address("results@laboratory.example"), BOUND) is None


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes, the only error is ours."""
    with pytest.raises(CertificateError):
        facts(data)


_GOOD = CA.leaf(emails=["results@laboratory.example"], utf8_emails=["é@laboratory.example"], dns=["laboratory.example"]).der


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a negative one is read (PKITS 4.4.14), with a complaint
@given(st.integers(0, len(_GOOD) - 1), st.integers(1, 255))
def test_any_damage(at: int, change: int) -> None:
    """A certificate with one octet changed is read or refused, never anything else."""
    damaged = bytearray(_GOOD)
    damaged[at] ^= change
    try:
        facts(bytes(damaged))
    except CertificateError:
        return
