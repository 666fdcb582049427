"""The main of a mail worker."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from gateway.app import MailProcess
from gateway.edge.heartbeat import keep_beating
from gateway.operate.signals import on_signals
from gateway.receive.transaction import Recorder
from gateway.supervise import read_tree
from gateway.worker import CONCURRENT

YOUNG_OBJECTS: Final = 10_000  # so many more made than freed, before the collector looks for cycles; 700 costs a tenth of the CPU


def run_worker(run: Path, observer: Recorder, ready: Callable[[], None]) -> int:
    """Receive, work and deliver until SIGTERM. Answers the exit status."""
    # libuv looks up names in half of its threads, which are four: two names of dead name servers would stop all delivery by name
    os.environ["UV_THREADPOOL_SIZE"] = str(2 * CONCURRENT)
    # Each client and each next hop is a descriptor; the usual limit is that of programs which use select(2)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_run(run, observer, ready))
    return 0


async def _run(run: Path, observer: Recorder, ready: Callable[[], None]) -> None:
    keep_beating()
    stopping = asyncio.Event()
    async with MailProcess(read_tree(run), observer) as process, asyncio.TaskGroup() as tasks:
        on_signals(tasks, stopping, lambda: process.reload(read_tree(run)))
        gc.freeze()  # what was made at the start stays to the end: nobody need look at it again
        gc.set_threshold(YOUNG_OBJECTS)
        ready()
        await process.run(stopping)
