"""What the signals of the supervisor mean in a process with an event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger()


def on_signals(tasks: asyncio.TaskGroup, stopping: asyncio.Event, reload: Callable[[], Awaitable[None]]) -> None:
    """SIGTERM sets ``stopping``; SIGHUP runs ``reload`` as a task of the group, and what is wrong with it ends nothing."""
    loop = asyncio.get_running_loop()

    async def guarded() -> None:
        try:
            await reload()
        except (OSError, ValueError) as error:
            _log.error("reload_failed", error=type(error).__name__)

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(guarded()))
