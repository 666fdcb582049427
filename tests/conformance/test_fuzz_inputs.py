"""A hundred inputs that OpenSSL's fuzzer found worth keeping for its CMS reader."""

from __future__ import annotations

import time
import tracemalloc
from typing import Final

import pytest

from gateway.outcome import GatewayError
from gateway.smime.cms import SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader
from gateway.smime.verify import check, needed
from tests.conformance.material import MATERIAL, names, needs, outcome

SET: Final = "attacks/openssl-fuzz-cms"
SECONDS: Final = 1.0  # of CPU
BYTES: Final = 32 * 1024 * 1024
AT: Final = 1_800_000_000_000_000

pytestmark = needs(SET)


def read(data: bytes, piece: int, with_keys: bool) -> object:
    """All that is to be known of a structure, and of its signatures, which are checked against a digest that is none."""
    reader = CmsReader({} if with_keys else None, Strength.LEGACY)
    content = b"".join(reader.update(data[start : start + piece]) for start in range(0, len(data), piece))
    layer = reader.finalize()
    if not isinstance(layer, SignedData):
        return content, layer
    digests = dict.fromkeys(needed(layer, Strength.LEGACY), b"")
    return content, layer, check(layer, digests, content[:1], AT, Strength.LEGACY)


@pytest.mark.parametrize("name", [name for name in names(SET, "*") if "." not in name])
@pytest.mark.parametrize("with_keys", [True, False])
def test_a_value_or_an_error_of_ours_soon_and_small_whole_and_a_byte_at_a_time(name: str, with_keys: bool) -> None:
    data = (MATERIAL / SET / name).read_bytes()
    tracemalloc.start()
    try:
        begin = time.process_time()
        whole = outcome(lambda: read(data, max(1, len(data)), with_keys), GatewayError)
        seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < BYTES
    assert outcome(lambda: read(data, 1, with_keys), GatewayError) == whole


def test_there_are_a_hundred() -> None:
    assert len([name for name in names(SET, "*") if "." not in name]) == 100
