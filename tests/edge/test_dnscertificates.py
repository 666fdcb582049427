"""What becomes of SMIMEA and CERT records; what name servers do with them is in ``tests/system/test_discovery.py``."""

from __future__ import annotations

import dns.rdata

from gateway.edge.dnscertificates import smimea_found
from gateway.edge.dnslookup import Records
from gateway.trust.smimea import Usage, association
from tests.pki import Ca

CA = Ca.root()
OWN = CA.reader("results@laboratory.example").der
WHOLE = CA.organisation_reader("laboratory.example").der


def records(*certificates: bytes, validated: bool = True) -> Records:
    values = tuple(dns.rdata.from_text("IN", "SMIMEA", f"3 0 0 {each.hex()}") for each in certificates)
    return Records(values, len(values), 60.0, validated)


def test_what_a_domain_says_of_all_of_it_rules_out_nothing_of_a_mailbox() -> None:
    """It vouches for what it names, and the records of the address alone say which of its certificates count (RFC 8162 3)."""
    nothing = records()
    found = smimea_found([nothing, records(WHOLE)])
    assert (found.certificates, found.associations) == ((WHOLE,), ())
    assert found.for_domain == (association(Usage.DANE_EE, 0, 0, WHOLE),)
    found = smimea_found([records(OWN), nothing])
    assert (found.certificates, found.for_domain) == ((OWN,), ())
    assert found.associations == (association(Usage.DANE_EE, 0, 0, OWN),)


def test_what_dnssec_does_not_vouch_for_counts_as_nothing() -> None:
    """RFC 8162 1."""
    found = smimea_found([records(OWN, validated=False), records(WHOLE, validated=False)])
    assert (found.certificates, found.associations, found.for_domain) == ((), (), ())
    assert found.passed_over == ("a record without DNSSEC (2)",)
