from __future__ import annotations

import datetime as dt

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcome import GatewayError
from gateway.smime import der


@given(st.integers(-(2**70), 2**70))
def test_integer_is_as_another_encoder_has_it(value: int) -> None:
    assert der.integer(value) == core.Integer(value).dump()


@pytest.mark.parametrize("dotted", ["1.2.840.113549.1.7.1", "2.16.840.1.101.3.4.1.42", "2.999.3", "1.3.132.1.11.1", "0.9.2342"])
def test_object_identifier_is_as_another_encoder_has_it(dotted: str) -> None:
    assert der.oid(dotted) == core.ObjectIdentifier(dotted).dump()


@given(st.binary(max_size=70_000))
def test_octet_string_is_as_another_encoder_has_it(value: bytes) -> None:
    assert der.octet_string(value) == core.OctetString(value).dump()


@pytest.mark.parametrize(
    ("moment", "wanted"),
    [
        (dt.datetime(2026, 3, 1, 12, 0, 0, 999999, dt.UTC), b"\x17\x0d260301120000Z"),
        (dt.datetime(2049, 12, 31, 23, 59, 59, tzinfo=dt.UTC), b"\x17\x0d491231235959Z"),
        (dt.datetime(2050, 1, 1, tzinfo=dt.UTC), b"\x18\x0f20500101000000Z"),
    ],
)
def test_time_changes_its_form_in_2050(moment: dt.datetime, wanted: bytes) -> None:
    """RFC 5652 11.3."""
    at = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert der.time(at) == wanted


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_set_of_is_in_the_order_of_der(values: list[bytes]) -> None:
    items = [der.octet_string(value) for value in values]
    written = der.set_of(*items)
    assert [item.raw for item in der.read(written)] == sorted(items)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_what_was_written_is_read(values: list[bytes]) -> None:
    written = der.sequence(*map(der.octet_string, values))
    whole = der.read(b"xx" + written + b"yy", 2)
    assert whole.raw == written
    assert [item.content for item in whole] == values


@given(st.binary(max_size=40))
def test_any_bytes_are_read_within_bounds_or_refused(data: bytes) -> None:
    def descend(item: der.Element, depth: int) -> None:
        assert item.start < item.inside <= item.end <= len(data)
        if item.tag & 0x20 and depth < 10:
            for inner in item:
                assert inner.end <= item.end
                descend(inner, depth + 1)

    try:
        descend(der.read(data), 0)
    except GatewayError:
        return


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x80\0\0", b"\x30\x81\x05", b"\x30\x81\x7f" + bytes(127), b"\x30\x82\0\x80", b"\x1f\x81\x01\0"]
)
def test_what_is_not_der_is_refused(data: bytes) -> None:
    with pytest.raises(GatewayError):
        der.read(data)


def test_head_of_a_stream_may_announce_more_than_is_there() -> None:
    found = der.read_head(der.head(der.SEQUENCE, 1 << 32))
    assert found.end - found.inside == 1 << 32
