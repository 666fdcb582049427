"""Targets: certificates as partners hand them over, and the one a signer wants to be written to."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from fuzz.target import Target, must, outcome
from gateway.operate.ldif import MAX_VALUES, read_ldif
from gateway.operate.partners import from_pkcs7
from gateway.smime import der
from gateway.smime.certificate import identified
from gateway.smime.preference import read_preference
from tests.pki import Ca


def _bundle(data: bytes) -> None:
    """Each is one element, whatever stands around it."""
    found = outcome(lambda: from_pkcs7(data))
    if isinstance(found, tuple):
        must(all(der.read(each).end == len(each) for each in found), "something behind a certificate")


def _preference(data: bytes) -> None:
    outcome(lambda: read_preference(data))


def _ldif(data: bytes) -> None:
    """Entries in order and within their bounds, however the lines end; nothing is raised."""
    entries = list(read_ldif(data))
    must([each.line for each in entries] == sorted({each.line for each in entries}), "entries out of order")
    must(all(len(each.certificates) <= MAX_VALUES and len(each.faults) <= MAX_VALUES for each in entries), "more than allowed")


@lru_cache
def _certificates() -> tuple[x509.Certificate, ...]:
    ca = Ca.root()
    return (ca.reader("results@laboratory.example", "p256").certificate, ca.certificate)


def _bundles() -> list[bytes]:
    return [pkcs7.serialize_certificates(list(_certificates()), form) for form in (Encoding.DER, Encoding.PEM)]


def _preferences() -> list[bytes]:
    named = identified(_certificates()[0].public_bytes(Encoding.DER))
    key = der.octet_string(bytes(20))
    by_serial, by_key = der.element(0xA0, named.issuer, named.serial), der.element(0x82, bytes(20))
    return [
        by_serial,
        by_key,
        der.element(0xA1, key),
        der.element(0xA1, key, der.element(der.GENERALIZED_TIME, b"20260301120000Z")),
    ]


def _exports() -> list[bytes]:
    value = base64.b64encode(_certificates()[0].public_bytes(Encoding.DER))
    folded = b"\n ".join(value[at : at + 76] for at in range(0, len(value), 76))
    entry = b"dn: cn=Results\nmail: results@laboratory.example\nuserCertificate;binary:: " + folded + b"\n\n"
    return [
        b"version: 1\n\n# all\n" + entry + entry,
        b"dn: x\nchangetype: delete\n\nmail:< file:///\nuserSMIMECertificate:: AA==\n",
    ]


TARGETS: Final = (
    Target("certs-only", _bundle, _bundles),
    Target("key-preference", _preference, _preferences),
    Target("ldif", _ldif, _exports),
)
