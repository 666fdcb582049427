"""Where the work of a flow is done that keeps a processor busy: at once, in a thread, or without any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from gateway.mail.body import Body

INLINE: Final = 64 * 1024  # a larger body is read in a thread, so that the event loop stays free

_T = TypeVar("_T")
_LOOPLESS: Final = ContextVar("loopless", default=False)


async def in_thread(body: Body, work: Callable[[], _T]) -> _T:
    """``work``, which reads ``body``: at once where it is small, or no event loop waits for us; else in a thread."""
    return work() if body.size <= INLINE or _LOOPLESS.get() else await asyncio.to_thread(work)


def without_loop(flow: Coroutine[Any, Any, _T]) -> _T:
    """What ``flow`` returns, run to its end here and now, in this thread. An event loop is neither needed nor used, and may run.

    The ports that were given to ``flow`` answer without waiting; RuntimeError where one waits.
    """
    token = _LOOPLESS.set(True)
    try:
        flow.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    finally:
        _LOOPLESS.reset(token)
        flow.close()
    raise RuntimeError("a port waits, where there is no event loop to wait in")
