"""Limits of RSA keys at their edge."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import MAX_EXPONENT, MAX_RSA, MIN_RSA, check_key


def key(bits: int, exponent: int = 65537) -> RSAPublicKey:
    """A number of so many bits, whose factors nobody asks for."""
    return RSAPublicNumbers(exponent, (1 << bits) - 1).public_key()


@pytest.mark.parametrize("good", [key(MIN_RSA), key(MAX_RSA), key(MIN_RSA, 3), key(MIN_RSA, MAX_EXPONENT - 1)])
def test_an_rsa_key_within_the_limits(good: RSAPublicKey) -> None:
    assert check_key(good) is good


@pytest.mark.parametrize("weak", [key(MIN_RSA - 1), key(MAX_RSA + 1), key(MIN_RSA, MAX_EXPONENT + 1)])
def test_an_rsa_key_beyond_them(weak: RSAPublicKey) -> None:
    with pytest.raises(GatewayError) as caught:
        check_key(weak)
    assert caught.value.reason is Reason.WEAK_ALGORITHM
