"""The targets of ``make fuzz``, shortly: their seeds, what was once found, and seeds that hypothesis changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.target import PropertyError, same
from fuzz.targets import TARGETS

ONCE_FOUND = Path(__file__).parent / "once_found"
EVERY = pytest.mark.parametrize("name", TARGETS)

# What stands in place of some bytes: what readers have tripped over, or anything
_INSTEAD = st.sampled_from(
    [
        b"",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\0\0",
        b"\x30\x80",
        b"\x24\x80",
        b"\x04\x84\x7f\xff\xff\xff",
        b"\xa0\x80",
        b"\xff",
        b"(",
        b'"',
    ]
) | st.binary(max_size=12)
_EDITS = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 40), _INSTEAD), max_size=4)


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """``seed`` with some bytes replaced: where, how many, and by what."""
    for place, length, instead in edits:
        at = place % (len(seed) + 1)
        seed = seed[:at] + instead + seed[at + length :]
    return seed


@EVERY
def test_every_seed_and_everything_once_found(name: str) -> None:
    """A find is written to ``once_found/NAME-*``, and is never found again."""
    for data in [b"", *TARGETS[name].seeds(), *(path.read_bytes() for path in sorted(ONCE_FOUND.glob(f"{name}-*")))]:
        TARGETS[name].check(data)


@EVERY
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_changed_seeds_and_any_bytes(name: str, data: st.DataObject) -> None:
    """The property of the target holds."""
    target = TARGETS[name]
    seed = data.draw(st.sampled_from(target.seeds()) | st.binary(max_size=200))
    target.check(edited(seed, data.draw(_EDITS)))


def test_a_difference_between_whole_and_bytewise_is_found() -> None:
    """The measure itself."""
    with pytest.raises(PropertyError):
        same(lambda data, size: len(data) > size, b"ab")
    assert same(lambda data, _: data, b"ab") == b"ab"
