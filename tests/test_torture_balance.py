"""The balance of a torture: what it must not overlook, on a run that was never made."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from torture.balance import Balance, balance
from torture.driver import Driver, Reply
from torture.letters import letter
from torture.saboteur import Act
from torture.sink import Taken
from torture.world import World

TRACE = {"hospital": "A", "laboratory": "B"}
WHOLE = Taken(letter(1), 100.0, answered=True, trace=TRACE)
MARKED = b"X-Gateway-Security: verdict=signed-unverified;\r\n\tencrypted=yes\r\n"
DOUBTED = replace(WHOLE, content=MARKED + letter(1).replace(b"\r\n\r\n", b"\r\n\r\n--b\r\n\r\n", 1) + b"\r\n--b--\r\n")
AGAIN = replace(WHOLE, at=101.0, trace=TRACE | {"laboratory": "C"})
CLOCK = Act("clock 86400", "hospital", 99.0, 100.5)
KILL = Act("kill worker", "laboratory", 99.9, 100.5)


def told(*taken: Taken, acts: tuple[Act, ...] = (), clear: tuple[str, ...] = ()) -> Balance:
    """Of a run in which number 1 alone was accepted."""
    world: Any = SimpleNamespace(
        far=SimpleNamespace(taken=taken), near=SimpleNamespace(taken=()), sites=(), in_clear=lambda: list(clear)
    )
    return balance(cast(World, world), Driver(0, 1, replies={1: [Reply.ACCEPTED]}), acts)


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (told(), "1 was accepted and is lost"),
        (told(replace(WHOLE, content=letter(1)[:-40])), "1 arrived changed: no mark"),
        (told(DOUBTED), "1 was not verified, and no clock was wrong"),
        (told(replace(DOUBTED, content=DOUBTED.content.replace(b"in-clear", b"changed")), acts=(CLOCK,)), "1 arrived changed"),
        (told(WHOLE, AGAIN), "1 arrived twice and nothing explains it"),
        (told(WHOLE, AGAIN, acts=(replace(KILL, begin=102.0, end=103.0),)), "1 arrived twice and nothing explains it"),
        (told(WHOLE, clear=("the wire",)), "in clear: the wire"),
        (told(WHOLE, replace(WHOLE, content=b"Subject: else\r\n\r\n")), "a mail without a number arrived"),
    ],
    ids=["lost", "cut", "doubted", "changed inside", "twice", "twice before the harm", "clear", "foreign"],
)
def test_it_tells(found: Balance, fault: str) -> None:
    """One fault each, and that one."""
    assert [each.startswith(fault) for each in found.faults] == [True], found.faults


def test_what_is_well_is_no_fault() -> None:
    """Arrived once; twice with a cause, the nearest one; marked while a clock was wrong."""
    assert told(WHOLE).faults == []
    explained = told(WHOLE, AGAIN, acts=(replace(KILL, what="full 1", begin=50.0, end=51.0), KILL))
    assert (explained.faults, list(explained.duplicates)) == ([], ["kill worker: the row was not ended after the hop's 250"])
    doubted = told(DOUBTED, acts=(CLOCK,))
    assert (doubted.faults, doubted.doubted) == ([], {1})
