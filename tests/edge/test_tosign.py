"""What the sign agent signs, and all that it refuses. Attributes are built by asn1crypto."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms, core

from gateway.edge.tosign import NotSignableError, input_to_sign
from gateway.smime.keys import Mechanism
from tests import pki

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
SHA256 = Mechanism.RSA_PKCS1_SHA256


def attribute(kind: str, *values: core.Asn1Value) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": list(values)})


def attributes(
    *, at: datetime = NOW, content: str = "data", digest: bytes = b"\x11" * 32, more: tuple[cms.CMSAttribute, ...] = ()
) -> bytes:
    """The DER a flow hands to its signer."""
    kind = core.GeneralizedTime if at.year >= 2050 else core.UTCTime
    time = cms.Time({"generalized_time" if kind is core.GeneralizedTime else "utc_time": kind(at)})
    parts = [
        attribute("content_type", cms.ContentType(content)),
        attribute("message_digest", core.OctetString(digest)),
        attribute("signing_time", time),
        *more,
    ]
    return bytes(cms.CMSAttributes(parts).dump())


def test_attributes_of_now_are_hashed_as_they_stand() -> None:
    der = attributes()
    assert input_to_sign(der, SHA256, NOW_US) == hashlib.sha256(der).digest()
    der = attributes(digest=b"\x11" * 48)
    assert input_to_sign(der, Mechanism.ECDSA_SHA384, NOW_US) == hashlib.sha384(der).digest()


def test_ed25519_is_given_the_attributes_themselves() -> None:
    """RFC 8419 2.3 and 3.1: it digests them by itself, and the content is digested by SHA-512."""
    der = attributes(digest=b"\x11" * 64)
    assert input_to_sign(der, Mechanism.ED25519, NOW_US) == der
    with pytest.raises(NotSignableError, match="message digest is not one of sha512"):
        input_to_sign(attributes(), Mechanism.ED25519, NOW_US)


def test_the_order_of_der_is_asked_for() -> None:
    with pytest.raises(NotSignableError, match="order"):
        input_to_sign(reordered(attributes()), SHA256, NOW_US)


def reordered(der: bytes) -> bytes:
    """The same SET OF with its first attribute last."""
    body = der[2:]
    first = 2 + body[1]
    return der[:2] + body[first:] + body[:first]


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_five_minutes_either_way_are_now(minutes: int) -> None:
    assert input_to_sign(attributes(at=NOW + timedelta(minutes=minutes)), SHA256, NOW_US)


@pytest.mark.parametrize("seconds", [-301, 301, -86400 * 365 * 40, 86400 * 365 * 40])
def test_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(NotSignableError, match="signing time"):
        input_to_sign(attributes(at=NOW + timedelta(seconds=seconds)), SHA256, NOW_US)


def test_from_2050_the_time_is_generalized() -> None:
    later = datetime(2051, 1, 1, tzinfo=UTC)
    assert input_to_sign(attributes(at=later), SHA256, int(later.timestamp()) * 1_000_000)


@pytest.mark.parametrize(
    ("der", "words"),
    [
        (attributes(content="signed_data"), "content type"),
        (attributes(digest=b"\x11" * 20), "message digest"),
        (attributes(digest=b""), "message digest"),
        (attributes() + b"\0", "one SET"),
        (b"\x30" + attributes()[1:], "one SET"),
        (attributes()[:-1], "cut short"),
        (b"", "not DER"),
        (b"\x31\x80\x00\x00", "not DER"),
        (attributes(more=(attribute("message_digest", core.OctetString(b"\x22" * 32)),)), "twice"),
        (attributes(more=(attribute("1.2.3.4", core.OctetString(bytes(20000))),)), "too long"),
        (cms.CMSAttributes([attribute("content_type", cms.ContentType("data"))]).dump(), "one message digest"),
        (b"\x31\x00", "one content type"),
        (hashlib.sha256(b"a hash").digest(), "DER|SET|short"),
    ],
)
def test_what_is_no_set_of_these_attributes_is_refused(der: bytes, words: str) -> None:
    with pytest.raises(NotSignableError, match=words):
        input_to_sign(der, SHA256, NOW_US)


def test_two_values_of_one_attribute_are_refused() -> None:
    two = attribute("message_digest", core.OctetString(b"\x11" * 32), core.OctetString(b"\x22" * 32))
    der = cms.CMSAttributes([attribute("content_type", cms.ContentType("data")), two]).dump()
    with pytest.raises(NotSignableError, match="one message digest"):
        input_to_sign(der, SHA256, NOW_US)


def test_a_certificate_is_refused() -> None:
    """Neither a certificate nor the part of it that an authority would sign."""
    leaf = pki.Ca.root("CN=Zone Root").signer("results@laboratory.example")
    for der in (leaf.der, leaf.certificate.tbs_certificate_bytes):
        with pytest.raises(NotSignableError):
            input_to_sign(der, SHA256, NOW_US)


def test_every_shortening_and_every_changed_byte_ends_in_an_answer_or_a_refusal() -> None:
    der = attributes()
    for place in range(len(der)):
        with pytest.raises(NotSignableError):
            input_to_sign(der[:place], SHA256, NOW_US)
        for value in (0, 0x1F, 0x80, 0x81, 0x84, 0xFF):
            changed = der[:place] + bytes([value]) + der[place + 1 :]
            try:
                input_to_sign(changed, SHA256, NOW_US)
            except NotSignableError:
                continue
