"""The server's side of PLAIN (RFC 4616) and LOGIN: what was said, or that it is no response; and no password in sight."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.sasl import MAX_RESPONSE, MECHANISMS, Credentials, Exchange, SaslError


def test_plain_as_rfc_4616_shows_it() -> None:
    # The example of RFC 4616 4, in the base64 that RFC 4954 asks for
    assert Exchange("PLAIN").give(b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm") == Credentials("tim", "tanstaaftanstaaf")


def test_login_asks_for_a_name_and_then_for_a_password() -> None:
    exchange = Exchange("LOGIN")
    assert exchange.challenge() == b64encode(b"Username:").decode()
    assert exchange.give(b64encode(b"tim")) is None
    assert exchange.challenge() == b64encode(b"Password:").decode()
    assert exchange.give(b64encode(b"tanstaaf")) == Credentials("tim", "tanstaaf")


@pytest.mark.parametrize(
    "message",
    [b"", b"tim", b"\0tim", b"\0\0tanstaaf", b"\0tim\0", b"\0tim\0tan\0staaf", b"kurt\0tim\0tanstaaf", b"\0tim\0\xff"],
)
def test_no_plain_message(message: bytes) -> None:
    with pytest.raises(SaslError):
        Exchange("PLAIN").give(b64encode(message))


@pytest.mark.parametrize(
    "response", [b"A", b"AHRpbQB0 YW5z", b"AHRpbQB0-_==", b"AHRpbQB0YQ", b"AHRpbQB0YW5z====", b"A" * (MAX_RESPONSE + 4)]
)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_base64(mechanism: str, response: bytes) -> None:
    with pytest.raises(SaslError):
        Exchange(mechanism).give(response)


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=2000), max_size=3))
def test_whatever_comes_is_a_login_or_an_error_of_ours(mechanism: str, responses: list[bytes]) -> None:
    exchange = Exchange(mechanism)
    for response in responses:
        with suppress(SaslError):  # and nothing else
            exchange.give(response)


def test_the_password_is_in_no_representation() -> None:
    assert "tanstaaf" not in repr(Credentials("tim", "tanstaaf"))
