"""Which mail goes first, and who sends a run."""

from __future__ import annotations

import pytest

from gateway.mail.priority import MANY, Priority, Runs, priority_of

MINUTE = 60_000_000


@pytest.mark.parametrize(
    ("header", "priority"),
    [
        (b"", Priority.NORMAL),
        (b"Subject: Importance: high", Priority.NORMAL),
        (b"Importance: High", Priority.URGENT),
        (b"Subject: x\r\nPRIORITY : urgent", Priority.URGENT),
        (b"X-Priority: 1 (Highest)", Priority.URGENT),
        (b"X-Priority: 3", Priority.NORMAL),
        (b"X-Priority: 10", Priority.NORMAL),
        (b"Importance: low\r\nPriority: non-urgent", Priority.NORMAL),
        (b"Precedence: bulk", Priority.BULK),
        (b"precedence:list", Priority.BULK),
        (b"Precedence: special-delivery", Priority.NORMAL),
        (b"List-Id: <news.hospital.example>\r\nImportance: high", Priority.BULK),
        (b"Auto-Submitted: auto-generated", Priority.NORMAL),
        (b"Auto-Submitted: auto-generated\r\nImportance: high", Priority.URGENT),
    ],
)
def test_the_header_says_what_is_urgent_and_what_can_wait(header: bytes, priority: Priority) -> None:
    assert priority_of(header, 1, known=True, running=False) is priority


def test_a_stranger_does_not_raise_his_own_mail() -> None:
    assert priority_of(b"Importance: high", 1, known=False, running=False) is Priority.NORMAL
    assert priority_of(b"Precedence: bulk", 1, known=False, running=False) is Priority.BULK


def test_many_recipients_are_a_run() -> None:
    assert priority_of(b"Importance: high", MANY, known=True, running=False) is Priority.URGENT
    assert priority_of(b"Importance: high", MANY + 1, known=True, running=False) is Priority.BULK


def test_a_run_that_calls_itself_urgent_delays_no_letter() -> None:
    assert priority_of(b"Importance: high", 1, known=True, running=True) is Priority.NORMAL
    assert priority_of(b"", 1, known=True, running=True) is Priority.BULK


def test_many_mails_of_one_sender_within_minutes_are_a_run() -> None:
    runs = Runs(seconds=600)
    assert [runs.running("a", number) for number in range(MANY + 2)] == [False] * MANY + [True] * 2
    assert not runs.running("b", MANY)
    assert runs.running("a", 9 * MINUTE)
    assert not runs.running("a", 10 * MINUTE)


def test_a_clock_set_back_begins_anew() -> None:
    runs = Runs(seconds=600)
    for _ in range(MANY + 1):
        runs.running("a", 5 * MINUTE)
    assert not runs.running("a", 4 * MINUTE)


def test_no_more_senders_are_remembered_than_there_is_room_for() -> None:
    runs = Runs(people=2)
    for _ in range(MANY):
        runs.running("a", 0)
    assert runs.running("a", 0)
    for other in ("b", "c"):
        runs.running(other, 0)
    assert not runs.running("a", 0)
