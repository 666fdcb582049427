"""SMIMEA records: their names, and what they name."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence

import pytest

from gateway.trust.smimea import Association, Matching, Selector, Usage, association, local_label
from tests.pki import Ca

ROOT = Ca.root()
LEAF = ROOT.reader("hugh@example.com")
OTHER = ROOT.reader("hugh@example.com")
PATH = (ROOT.der, LEAF.der)


def test_owner_name_of_the_rfc() -> None:
    """The example that RFC 7929 3 prints; RFC 8162 3 makes the label in the same way."""
    assert local_label("hugh") == "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6"


@pytest.mark.parametrize(
    ("written", "hashed"),
    [('"hugh"', "hugh"), (r'"a\"b c"', 'a"b c'), ("e\u0301va", "\u00e9va"), ("Hugh", "Hugh")],
    ids=["quotes", "quoted pairs", "NFC", "case stays"],
)
def test_local_part_is_hashed_in_its_plain_form(written: str, hashed: str) -> None:
    assert local_label(written) == hashlib.sha256(hashed.encode()).hexdigest()[:56]


@pytest.mark.parametrize("usage", Usage)
@pytest.mark.parametrize("matching", Matching)
@pytest.mark.parametrize("selector", Selector)
def test_a_record_names_one_certificate_in_its_place(usage: Usage, selector: Selector, matching: Matching) -> None:
    """Usages 0 and 2 name an authority of the path, 1 and 3 its leaf; what is hashed comes from OpenSSL."""
    named, other = (ROOT.der, OTHER.der) if usage in (Usage.PKIX_TA, Usage.DANE_TA) else (LEAF.der, OTHER.der)
    record = Association(usage, selector, matching, _by_openssl(named, selector, matching))
    assert record.names(PATH)
    assert not Association(usage, selector, matching, _by_openssl(other, selector, matching)).names(PATH)
    turned: Sequence[bytes] = (LEAF.der, ROOT.der)
    assert not record.names(turned)
    assert (record.certificate == named) is (selector is Selector.CERTIFICATE and matching is Matching.EXACT)


@pytest.mark.parametrize(
    "fields",
    [
        (4, 0, 0, b"x"),
        (3, 2, 0, b"x"),
        (3, 0, 3, b"x"),
        (3, 1, 1, bytes(31)),
        (3, 1, 2, bytes(32)),
        (3, 0, 0, b""),
        (255, 255, 255, b""),
    ],
)
def test_unusable_records_are_told_apart(fields: tuple[int, int, int, bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - IntEnum's own text for most of them
        association(*fields)


def _by_openssl(certificate: bytes, selector: Selector, matching: Matching) -> bytes:
    part = certificate
    if selector is Selector.PUBLIC_KEY:
        pem = _run(["openssl", "x509", "-inform", "DER", "-pubkey", "-noout"], certificate)
        part = _run(["openssl", "pkey", "-pubin", "-outform", "DER"], pem)
    if matching is Matching.EXACT:
        return part
    return _run(["openssl", "dgst", "-sha256" if matching is Matching.SHA256 else "-sha512", "-binary"], part)


def _run(command: list[str], given: bytes) -> bytes:
    return subprocess.run(command, input=given, check=True, capture_output=True).stdout
