"""When a deferred mail is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Retry
from gateway.spool.schedule import next_at

RETRY = Retry(first_seconds=60, longest_seconds=3600, give_up_hours=120)
SECOND = 1_000_000
HOUR = 3600 * SECOND


def test_the_pause_doubles_up_to_the_longest() -> None:
    """Without jitter: 1, 2, 4 ... minutes, then an hour each."""
    pauses = [next_at(attempts, 0, 0, RETRY, lambda: 0.5) for attempts in (0, 1, 2, 5, 6, 7, 1000)]
    assert pauses == [60 * SECOND, 120 * SECOND, 240 * SECOND, 1920 * SECOND, HOUR, HOUR, HOUR]


def test_jitter_moves_a_pause_by_at_most_a_quarter() -> None:
    """The two ends of the random interval."""
    assert next_at(0, 0, 0, RETRY, lambda: 0.0) == 45 * SECOND
    assert next_at(0, 0, 0, RETRY, lambda: 0.9999999) <= 75 * SECOND  # type: ignore[operator]


def test_the_last_try_falls_on_the_deadline() -> None:
    """Five days are given whole; after the try at their end, the mail is given up."""
    deadline = 120 * HOUR
    assert next_at(50, 0, deadline - SECOND, RETRY, lambda: 0.5) == deadline
    assert next_at(50, 0, deadline, RETRY, lambda: 0.5) is None


@given(st.integers(0, 10**6), st.integers(0, 2**52), st.integers(0, 2**52), st.floats(0, 1, exclude_max=True))
def test_the_next_try_is_never_in_the_past_nor_beyond_the_deadline(attempts: int, first: int, age: int, jitter: float) -> None:
    """For any history."""
    now = first + age
    again = next_at(attempts, first, now, RETRY, lambda: jitter)
    assert (again is None) == (age >= 120 * HOUR)
    assert again is None or now < again <= first + 120 * HOUR
