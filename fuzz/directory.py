"""Targets: what an LDAP directory says of a recipient, which a stranger wrote: a message, and the values of an entry."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from ldap3.operation.search import search_result_entry_response_to_dict_fast
from ldap3.utils.asn1 import decode_message_fast

from fuzz.target import Target, must
from gateway.edge.ldap import MAX_VALUES, _Answer
from gateway.smime import der
from gateway.trust.sources import Found, sort_found
from tests.pki import Ca

PLAIN: Final = "userCertificate;binary"
BUNDLED: Final = "userSMIMECertificate;binary"

SEARCH_RESULT_ENTRY: Final = 0x64  # RFC 4511 4.5.2


def _taken(entry: dict[str, Any]) -> Found:
    answer = _Answer()
    answer.take([entry])
    return sort_found(answer.values, passed_over=tuple(+answer.passed_over))


def _value(data: bytes) -> None:
    """Nothing is raised, no certificate goes without a word, and of a bundle no more are looked at than is said."""
    found = _taken({"raw_attributes": {PLAIN: [data]}})
    must(len(found.certificates + found.others + found.passed_over) == 1, "neither taken nor counted")
    bundled = _taken({"raw_attributes": {BUNDLED: [data]}})
    must(len(bundled.certificates + bundled.others) <= MAX_VALUES, "more certificates than are looked at")


def _message(data: bytes) -> None:
    """Whatever ldap3 raises becomes an error of the directory there; from what it reads nothing is raised."""
    try:
        entry = search_result_entry_response_to_dict_fast(decode_message_fast(data)["payload"], None, None, False)
    except Exception:
        return
    _taken(entry)


@lru_cache
def _certificates() -> tuple[bytes, bytes]:
    """One, and a bundle with it."""
    ca = Ca.root()
    person = ca.reader("a@laboratory.example").der
    both = [x509.load_der_x509_certificate(each) for each in (person, ca.der)]
    return person, pkcs7.serialize_certificates(both, Encoding.DER)


def _messages() -> list[bytes]:
    person, bundle = _certificates()
    return [_entry(PLAIN, person, person), _entry(BUNDLED, bundle), _entry(PLAIN)]


def _entry(name: str, *found: bytes) -> bytes:
    """A message with one entry of one attribute."""
    values = der.element(der.SET, *map(der.octet_string, found))
    attributes = der.sequence(der.sequence(der.octet_string(name.encode()), values))
    entry = der.element(SEARCH_RESULT_ENTRY, der.octet_string(b"cn=a,dc=laboratory"), attributes)
    return der.sequence(der.integer(2), entry)


TARGETS: Final = (
    Target("ldap-value", _value, lambda: list(_certificates())),
    Target("ldap-entry", _message, _messages),
)
