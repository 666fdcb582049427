"""Key preferences and certs-only messages as other programs write them, and what is none of either."""

from __future__ import annotations

from pathlib import Path

import pytest
from asn1crypto import cms, x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.bundle import read_bundle
from gateway.smime.decrypt import names_of
from gateway.smime.preference import read_preference
from tests.flow.shown import by_key, by_recipient_key, by_serial
from tests.pki import Ca, to_pem
from tests.smime.openssl import openssl

ROOT = Ca.root()
READER, OTHER = (ROOT.reader("results@laboratory.example").der for _ in range(2))


def test_each_form_names_the_certificate_and_no_other() -> None:
    for form in (by_serial, by_key, by_recipient_key):
        named = read_preference(form(READER))
        assert named in names_of(READER)
        assert named not in names_of(OTHER)


def test_a_preference_with_a_date_and_more_is_read() -> None:
    """RecipientKeyIdentifier has two more fields (RFC 5652 6.2.2); neither says which certificate."""
    key = x509.Certificate.load(READER).key_identifier
    date = der.element(der.GENERALIZED_TIME, b"20260301120000Z")
    value = der.element(0xA1, der.octet_string(key), date, der.sequence(der.oid("1.2.3")))
    assert read_preference(value) in names_of(READER)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x05\x00",
        b"\x30\x00",
        b"\xa0\x00",
        b"\xa1\x00",
        b"\xa1\x02\x05\x00",
        b"\xa2\x00",
        pytest.param(by_serial(READER) + b"\x00", id="something behind it"),
        pytest.param(by_key(READER)[:-1], id="cut off"),
    ],
)
def test_what_is_no_preference_is_malformed(wrong: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        read_preference(wrong)
    assert caught.value.reason is Reason.MALFORMED


@given(st.binary(max_size=60))
def test_no_bytes_are_another_exception(data: bytes) -> None:
    for read in (read_preference, read_bundle):
        try:
            read(data)
        except GatewayError:
            continue


@pytest.mark.parametrize("form", ["DER", "indefinite"])
def test_a_certs_only_message_of_openssl_in_whatever_order(tmp_path: Path, form: str) -> None:
    (tmp_path / "all.pem").write_bytes(to_pem(READER) + to_pem(ROOT.der) + to_pem(OTHER))
    data = openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "all.pem", "-outform", "DER")
    if form == "indefinite":
        whole = der.read(data)
        data = b"\x30\x80" + whole.content + b"\x00\x00"
    assert set(read_bundle(data)) == {READER, ROOT.der, OTHER}


def test_a_message_of_another_kind_is_none() -> None:
    data = cms.ContentInfo({"content_type": "data", "content": b"hello"}).dump()
    with pytest.raises(GatewayError, match="no certs-only message"):
        read_bundle(data)
