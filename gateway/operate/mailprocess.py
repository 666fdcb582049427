"""The main of a mail worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import uvloop

from gateway.app import MailProcess
from gateway.edge.clock import now
from gateway.edge.observe import Observe
from gateway.operate.control import control_socket, report_forever
from gateway.operate.signals import on_signals
from gateway.supervise import read_tree


def run_worker(run: Path, observer: Observe, name: str, ready: Callable[[], None]) -> int:
    """Receive, work and deliver until SIGTERM. Answers the exit status."""
    uvloop.run(_run(run, observer, name, ready))
    return 0


async def _run(run: Path, observer: Observe, name: str, ready: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        async with MailProcess(read_tree(run), observer) as process:
            on_signals(tasks, stopping, lambda: process.reload(read_tree(run)))
            reporting = tasks.create_task(report_forever(control_socket(run), name, observer.counters, now))
            ready()
            await process.run(stopping)
        reporting.cancel()
