"""RC2 as RFC 2268 5 shows it."""

from __future__ import annotations

import pytest

from gateway.outcome import GatewayError, Reason
from gateway.smime.rc2 import MAX_RC2, Rc2Cbc, block, expanded

# key, effective bits, plaintext, ciphertext
VECTORS = [
    ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
    ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
    ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
    ("88", 64, "0000000000000000", "61a8a244adacccf0"),
    ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
    ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
    ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
]


@pytest.mark.parametrize(("key", "bits", "plain", "cipher"), VECTORS)
def test_the_vectors_of_the_rfc(key: str, bits: int, plain: str, cipher: str) -> None:
    assert block(expanded(bytes.fromhex(key), bits), bytes.fromhex(cipher)) == bytes.fromhex(plain)


def test_no_more_than_its_bound() -> None:
    cipher = Rc2Cbc(bytes(5), 40, bytes(8))
    cipher._taken = MAX_RC2 - 8
    assert len(cipher.update(bytes(8))) == 8
    with pytest.raises(GatewayError) as caught:
        cipher.update(b"!")
    assert caught.value.reason is Reason.LIMIT
