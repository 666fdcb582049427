"""Limits of a certificate at their edge."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.trust.certificate import MAX_CERTIFICATE, MAX_NAMES, CertificateError, facts
from gateway.trust.places import MAX_URLS
from tests.pki import BEGIN, END, Ca, new_key


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


def test_names(ca: Ca) -> None:
    addresses = [f"a{number}@b.example" for number in range(MAX_NAMES + 1)]
    assert len(facts(ca.leaf(emails=addresses[:-1]).der).emails) == MAX_NAMES
    with pytest.raises(CertificateError):
        facts(ca.leaf(emails=addresses).der)


def test_places_of_crls(ca: Ca) -> None:
    """More are not asked, and no reason to refuse."""
    places = [f"http://{number}.crl.example/x" for number in range(MAX_URLS + 1)]
    assert facts(ca.leaf(crl_urls=places).der).points[0].urls == tuple(places[:MAX_URLS])


def test_size() -> None:
    """Of RSA keys, whose signatures have one length."""
    key = new_key("rsa2048")
    name = x509.Name.from_rfc4514_string("CN=large")

    def sized(size: int) -> bytes:
        made, filled = b"", size - 900
        while len(made) != size:
            filled += size - len(made) if made else 0
            builder = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGIN, END)
            filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(filled))
            made = builder.add_extension(filler, critical=False).sign(key, SHA256()).public_bytes(Encoding.DER)
        return made

    assert facts(sized(MAX_CERTIFICATE)).subject == "CN=large"
    with pytest.raises(CertificateError):
        facts(sized(MAX_CERTIFICATE + 1))
