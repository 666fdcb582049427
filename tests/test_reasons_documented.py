"""docs/reasons.md says of each reason what a peer would read and who can act, and the commands of its text exist."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.outcome import REASONS, Defer, Reason, Refuse
from gateway.smtp.reply import reply_to

PAGE = (Path(__file__).parents[1] / "docs" / "reasons.md").read_text()
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}


def test_every_reason_has_its_row_and_there_is_no_other() -> None:
    assert list(ROWS) == [reason.value for reason in Reason] == [reason.value for reason in REASONS]


def test_each_row_says_what_a_peer_would_read() -> None:
    for reason in Reason:
        replies = dict.fromkeys(reply_to(ending) for ending in (Refuse(reason), Defer(reason)))
        codes = ", ".join(f"{reply.code} {reply.enhanced}" for reply in replies)
        assert ROWS[reason][1] == codes, reason
        assert ROWS[reason][2] == REASONS[reason].public


def test_each_row_says_who_can_act_and_how() -> None:
    for reason in Reason:
        assert ROWS[reason][3:] == [REASONS[reason].owner, REASONS[reason].next_step], reason


def test_every_row_says_in_a_sentence_what_it_means() -> None:
    assert all(re.fullmatch(r"[A-Z].+\.", row[0]) for row in ROWS.values())
