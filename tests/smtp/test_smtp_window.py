"""How many connections at once: RFC 5681 3.1, counted in connections."""

from __future__ import annotations

from itertools import accumulate, repeat

from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.window import PER_TARGET, START, Window


def test_slow_start_is_one_more_for_each_mail() -> None:
    grown = list(accumulate(repeat(None, 9), lambda window, _: window.grown(), initial=Window()))
    assert [window.allowed for window in grown] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10]


def test_after_trouble_half_and_then_one_more_for_each_round() -> None:
    window = Window(8, PER_TARGET).shrunk()
    assert window.allowed == 4
    for _ in range(4):
        assert window.allowed == 4
        window = window.grown()
    assert 4.9 < window.size < 5.0  # RFC 5681 equation 3 gives a little less than one a round, too
    assert window.grown().allowed == 5


def test_what_it_is_known_to_bear_is_where_slow_start_ends() -> None:
    assert Window(8, PER_TARGET).shrunk(3) == Window(3, 3)


@given(st.lists(st.sampled_from(["grown", "shrunk"]), max_size=200))
def test_never_none_and_never_more_than_the_most(steps: list[str]) -> None:
    window = Window()
    for step in steps:
        window = getattr(window, step)()
        assert 1 <= window.allowed <= PER_TARGET
    assert START <= PER_TARGET
