from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.flow.work import INLINE, in_thread, without_loop
from gateway.mail.memory import MemoryBody

LARGE = MemoryBody.of(bytes(INLINE + 1))


async def where(body: MemoryBody) -> str:
    return await in_thread(body, lambda: threading.current_thread().name)


async def test_a_large_body_leaves_the_event_loop_free() -> None:
    here = threading.current_thread().name
    assert await where(MemoryBody.of(bytes(INLINE))) == here
    assert await where(LARGE) != here


def test_without_a_loop_all_is_done_here() -> None:
    assert without_loop(where(LARGE)) == threading.current_thread().name


async def test_without_a_loop_though_one_runs_and_not_beyond_the_call() -> None:
    here = threading.current_thread().name
    assert without_loop(where(LARGE)) == here
    assert await where(LARGE) != here


def test_a_port_that_waits_is_told_of_and_what_it_holds_let_go() -> None:
    let_go = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            let_go.append(True)

    with pytest.raises(RuntimeError, match="a port waits"):
        without_loop(waits())
    assert let_go == [True]


def test_what_a_flow_raises_comes_out() -> None:
    async def fails() -> None:
        raise KeyError("this")

    with pytest.raises(KeyError, match="this"):
        without_loop(fails())
