"""A hundred inputs that OpenSSL's fuzzer found worth keeping for its CMS reader."""

from __future__ import annotations

import time
import tracemalloc
from typing import Final

import pytest

from gateway.outcome import GatewayError
from gateway.smime.known import Strength
from gateway.smime.limits import MAX_STRUCTURE
from tests.conformance.material import MATERIAL, names, needs, outcome, read

SET: Final = "attacks/openssl-fuzz-cms"
SECONDS: Final = 1.0
BYTES: Final = 32 * MAX_STRUCTURE

pytestmark = needs(SET)


@pytest.mark.parametrize("name", [name for name in names(SET, "*") if "." not in name])
def test_a_value_or_an_error_of_ours_soon_and_small_whole_and_a_byte_at_a_time(name: str) -> None:
    data = (MATERIAL / SET / name).read_bytes()
    tracemalloc.start()
    begin = time.process_time()
    whole = outcome(lambda: read(data, {}, Strength.LEGACY, max(1, len(data))), GatewayError)
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < BYTES
    assert outcome(lambda: read(data, {}, Strength.LEGACY, 1), GatewayError) == whole


def test_there_are_a_hundred() -> None:
    assert len([name for name in names(SET, "*") if "." not in name]) == 100
