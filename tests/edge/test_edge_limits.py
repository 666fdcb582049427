"""Limits of what key agents are asked at their edge."""

from __future__ import annotations

import hashlib

import pytest

from gateway.edge.keymeter import PER_DAY, PER_SECOND, Meter
from gateway.edge.keywire import MAX_FRAME, FrameReader, Kind, TooLongError, WireError, write_frame
from gateway.edge.tosign import FRESH, MAX_ATTRIBUTES, NotSignableError, input_to_sign
from gateway.smime import der
from gateway.smime.keys import Mechanism

NOW = 1_800_000_000_000_000


def attributes(at: int = NOW, size: int = 0) -> bytes:
    """SignedAttributes of a mail, in all of ``size`` bytes where that is more than they need."""
    kinds = {
        "1.2.840.113549.1.9.3": der.oid("1.2.840.113549.1.7.1"),
        "1.2.840.113549.1.9.4": der.octet_string(bytes(32)),
        "1.2.840.113549.1.9.5": der.time(at),
    }
    made = [der.sequence(der.oid(kind), der.set_of(value)) for kind, value in kinds.items()]
    for filled in range(max(size - 200, 0), size):
        more = der.sequence(der.oid("1.2.3"), der.set_of(der.octet_string(bytes(filled))))
        if len(whole := der.set_of(*made, more)) == size:
            return whole
    return der.set_of(*made)


def test_attributes_that_are_signed() -> None:
    longest = attributes(size=MAX_ATTRIBUTES)
    assert len(longest) == MAX_ATTRIBUTES
    assert input_to_sign(longest, Mechanism.RSA_PKCS1_SHA256, NOW) == hashlib.sha256(longest).digest()
    with pytest.raises(NotSignableError):
        input_to_sign(attributes(size=MAX_ATTRIBUTES + 1), Mechanism.RSA_PKCS1_SHA256, NOW)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_signing_time_that_is_now(sign: int) -> None:
    assert input_to_sign(attributes(NOW + sign * FRESH), Mechanism.RSA_PKCS1_SHA256, NOW)
    with pytest.raises(NotSignableError):
        input_to_sign(attributes(NOW + sign * (FRESH + 1_000_000)), Mechanism.RSA_PKCS1_SHA256, NOW)


def test_a_frame() -> None:
    """Its length counts what stands behind it: number, kind, the length of the one field, the field."""
    longest = bytes(MAX_FRAME - 4 - 1 - 2)
    (found,) = FrameReader().feed(write_frame(1, Kind.DONE, (longest,)))
    assert found.fields == (longest,)
    with pytest.raises(TooLongError):
        write_frame(1, Kind.DONE, (longest + b"x",))
    with pytest.raises(WireError):
        list(FrameReader().feed((MAX_FRAME + 1).to_bytes(4)))


@pytest.mark.parametrize(
    ("meter", "ceiling", "after"),
    [(Meter(), PER_SECOND, 1_000_000), (Meter(PER_DAY, PER_SECOND), PER_SECOND, 86_400_000_000)],
    ids=["second", "day"],
)
def test_how_much_a_key_is_used(meter: Meter, ceiling: int, after: int) -> None:
    """Of each key by itself. Twenty million of a day would take a minute to count; as many are counted as of a second."""
    start = NOW - NOW % after
    assert not any(meter.exceeded("key", start + number) for number in range(ceiling))
    assert meter.exceeded("key", start + after - 1)
    assert meter.exceeded("other", start + after - 1) is None
    assert meter.exceeded("key", start + after) is None
    assert (meter.total["key"], meter.total["other"]) == (ceiling + 1, 1)
