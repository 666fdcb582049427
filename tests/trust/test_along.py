"""Revocations that come with a signature (RFC 5652 10.2.1, RFC 5940)."""

from __future__ import annotations

import pytest
from asn1crypto import core

from gateway.trust.along import MAX_STAPLED, MAX_STAPLED_BYTES, stapled
from gateway.trust.crl import Crl
from gateway.trust.ocsp import OcspAnswer
from tests.pki import Ca

CA = Ca.root()
LEAF = CA.signer("results@laboratory.example")


def other(oid: str, content: bytes) -> bytes:
    """OtherRevocationInfoFormat, [1] IMPLICIT SEQUENCE { otherRevInfoFormat, otherRevInfo }."""
    fields = core.ObjectIdentifier(oid).dump() + content
    return b"\xa1" + bytes(core.OctetString(fields).dump()[1:])


def test_each_kind() -> None:
    """A CRL, an OCSP answer, and nothing of what is neither."""
    answer = CA.ocsp(LEAF)
    crl, ocsp = stapled([CA.crl(), other("1.3.6.1.5.5.7.16.2", answer), other("1.3.6.1.5.5.7.16.4", answer)])
    assert isinstance(crl, Crl)
    assert isinstance(ocsp, OcspAnswer)
    assert ocsp.about(LEAF.der, CA.der) is not None


@pytest.mark.parametrize("junk", [b"", b"\xa1", b"\x30\x00", b"\xa1\x80\x00\x00", other("1.3.6.1.5.5.7.16.2", b"\x30\x00")])
def test_junk(junk: bytes) -> None:
    """What cannot be read says nothing, and does not hide what follows."""
    assert len(stapled([junk, CA.crl()])) == 1


def test_bounds() -> None:
    """The first few, and not for ever."""
    assert len(stapled([CA.crl()] * (MAX_STAPLED + 1))) == MAX_STAPLED
    large = CA.crl(revoked=range(1, 8000))
    assert len(large) > MAX_STAPLED_BYTES
    assert stapled([large]) == ()
