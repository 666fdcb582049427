"""When a deferred mail is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import Retry
from gateway.spool.schedule import gives_up_at, longest_pause, next_at, warns
from tests.policy.world import world

RETRY = Retry(first_seconds=60, longest_seconds=3600, warn_hours=4, give_up_hours=120)
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


def test_a_try_falls_on_the_time_of_the_warning() -> None:
    """It is the one whose failure the sender hears of, four hours after the mail came."""
    warning = 4 * HOUR
    assert next_at(50, 0, warning - SECOND, RETRY, lambda: 0.5) == warning
    assert warns(warning, 0, warning + SECOND, RETRY)
    assert next_at(50, 0, warning, RETRY, lambda: 0.5) == warning + HOUR


def test_without_a_warning_no_try_is_moved_and_nobody_hears() -> None:
    """0 hours: never."""
    silent = RETRY.model_copy(update={"warn_hours": 0.0})
    assert next_at(50, 0, 4 * HOUR - SECOND, silent, lambda: 0.5) == 5 * HOUR - SECOND
    assert not warns(0, 0, 100 * HOUR, silent)


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 30 * HOUR)), min_size=200, max_size=200))
def test_one_try_alone_is_the_one_the_sender_hears_of(history: list[tuple[float, int]]) -> None:
    """However late each try is made, be it that the gateway stood still for a day; and none where the mail is given up before."""
    due, heard = 0, 0
    for attempts, (jitter, late) in enumerate(history):
        now = due + late
        heard += warns(due, 0, now, RETRY)
        again = next_at(attempts, 0, now, RETRY, lambda jitter=jitter: jitter)  # type: ignore[misc]
        if again is None:
            assert now >= gives_up_at(0, RETRY) == 120 * HOUR
            break
        due = again
    assert heard == 1


def test_no_try_is_planned_further_ahead_than_the_longest_pause() -> None:
    """Of whichever schedule, with the most jitter."""
    config = world(retry={"longest_seconds": 60})
    slow = Retry(longest_seconds=7200)
    health = config.zone["health"].model_copy(update={"retry": slow})
    assert longest_pause(config.model_copy(update={"zone": {**config.zone, "health": health}})) == 9000 * SECOND
    assert 8999 * SECOND < (next_at(50, 0, 4 * HOUR, slow, lambda: 0.9999999) or 0) - 4 * HOUR <= 9000 * SECOND
