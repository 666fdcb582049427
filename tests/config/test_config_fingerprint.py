"""When a configuration that changes on disk is taken."""

from __future__ import annotations

from gateway.config.fingerprint import Changes, Fingerprint


def mark(text: str) -> Fingerprint:
    return ((text, 0, 0),)


def test_what_is_being_written_is_not_taken() -> None:
    """Half a list of peers is a list of peers, and a file that an editor has moved aside for a moment is none."""
    changes = Changes(mark("before"))
    looks = ["before", "half", "most", "", "after", "after", "after"]
    assert [changes.at_rest(mark(each)) for each in looks] == [False, False, False, False, False, True, True]
    changes.took(mark("after"))
    assert not changes.at_rest(mark("after"))
    assert not changes.at_rest(mark("later"))
    assert changes.at_rest(mark("later"))


def test_what_changes_and_changes_back_is_no_change() -> None:
    changes = Changes(mark("before"))
    assert [changes.at_rest(mark(each)) for each in ("other", "before", "before")] == [False, False, False]
