"""Target: answers of name servers about a recipient, which a stranger wrote."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import dns.message
import dns.name
import dns.rrset

from fuzz.target import Target, must
from gateway.edge.dnscertificates import cert_found, smimea_found
from gateway.edge.dnslookup import MAX_RECORDS, Records, read_records
from gateway.trust.sources import Found
from tests.pki import Ca

NAME: Final = "a.laboratory.example."
OTHER: Final = "b.laboratory.example."


def _read(data: bytes) -> Records | None:
    """As the look-up reads it; whatever dnspython raises becomes an error of the directory there."""
    try:
        return read_records(dns.message.from_wire(data))
    except Exception:
        return None


def _answer(data: bytes) -> None:
    """What could be read is sorted into what can be used and what is told; nothing is raised."""
    records = _read(data)
    if records is None:
        return
    must(len(records.values) <= MAX_RECORDS, "more records than are looked at")
    founds = [smimea_found([records, records]), *(cert_found([records], dnssec_required=each) for each in (True, False))]
    must(all(isinstance(found, Found) for found in founds), "nothing found")
    must(records.validated or not (founds[0].certificates or founds[0].associations), "SMIMEA records without DNSSEC")
    _named(founds[0])


def _named(found: Found) -> None:
    for each in found.associations:
        each.names(_ca().chain)


@lru_cache
def _ca() -> Ca:
    return Ca.root()


@lru_cache
def _seeds() -> list[bytes]:
    leaf = _ca().reader("a@laboratory.example").der.hex()
    kinds = {
        "SMIMEA": [f"3 0 0 {leaf}", f"2 0 0 {_ca().der.hex()}", f"1 1 1 {'00' * 32}", "9 9 9 00"],
        "CERT": ["PKIX 0 0 MAMCAQE=", "URI 0 0 aHR0cDovL3gv"],
    }
    seeds = []
    for kind, texts in kinds.items():
        query = dns.message.make_query(NAME, kind)
        answer = dns.message.make_response(query)
        answer.flags |= 0x20  # AD
        answer.answer.append(dns.rrset.from_text(NAME, 60, "IN", "CNAME", OTHER))
        answer.answer.append(dns.rrset.from_text_list(OTHER, 60, "IN", kind, texts))
        seeds.append(answer.to_wire())
    return seeds


TARGETS: Final = (Target("dns-answer", _answer, _seeds),)
