"""A deadline that moves: it passes at the time last set, once, and not when cleared or closed."""

import asyncio
from collections.abc import Callable

from gateway.edge.deadline import Deadline


class Passed:
    """Remembers when."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.at: list[float] = []
        self.once = asyncio.Event()

    def __call__(self) -> None:
        self.at.append(self.loop.time())
        self.once.set()

    async def over(self, seconds: float) -> None:
        """Return when so much time has gone by, whatever was scheduled for it having been done."""
        done = asyncio.Event()
        self.loop.call_later(seconds, done.set)
        await done.wait()


async def check(act: Callable[[Deadline, float], None]) -> tuple[float, Passed]:
    """``act`` on a fresh deadline, and what has passed 0.1 s later; the start."""
    passed = Passed()
    start = passed.loop.time()
    act(Deadline(passed), start)
    await passed.over(0.1)
    return start, passed


async def test_it_passes_once() -> None:
    start, passed = await check(lambda deadline, now: deadline.set(now + 0.02))
    assert len(passed.at) == 1
    assert passed.at[0] >= start + 0.02


async def test_it_passes_at_the_time_last_set() -> None:
    def later(deadline: Deadline, now: float) -> None:
        deadline.set(now + 0.01)
        deadline.set(now + 0.05)

    start, passed = await check(later)
    assert len(passed.at) == 1
    assert passed.at[0] >= start + 0.05


async def test_it_may_be_set_sooner() -> None:
    def sooner(deadline: Deadline, now: float) -> None:
        deadline.set(now + 30)
        deadline.set(now + 0.01)

    _, passed = await check(sooner)
    assert len(passed.at) == 1


async def test_it_does_not_pass_once_cleared_or_closed() -> None:
    for end in (Deadline.clear, Deadline.close):

        def act(deadline: Deadline, now: float, end: Callable[[Deadline], None] = end) -> None:
            deadline.set(now + 0.01)
            end(deadline)

        _, passed = await check(act)
        assert passed.at == []


async def test_after_it_was_cleared_it_may_be_set_anew() -> None:
    def again(deadline: Deadline, now: float) -> None:
        deadline.set(now + 0.01)
        deadline.clear()
        deadline.set(now + 0.02)

    start, passed = await check(again)
    assert len(passed.at) == 1
    assert passed.at[0] >= start + 0.02
