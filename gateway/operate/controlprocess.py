"""The main of the control process: the control socket, and metrics over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gateway.app import make_spool
from gateway.edge.clock import now
from gateway.edge.counting import control_socket
from gateway.operate.control import Control, GatewayCollector, Snapshots
from gateway.operate.signals import on_signals
from gateway.supervise import process_names, read_tree


def run_control(run: Path, ready: Callable[[], None]) -> int:
    """Serve until SIGTERM. Answers the exit status."""
    uvloop.run(_run(run, ready))
    return 0


async def _run(run: Path, ready: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    config = read_tree(run)

    async def reload() -> None:
        nonlocal config
        config = read_tree(run)

    spool = make_spool(config, None)
    await spool.open()
    snapshots = Snapshots()
    control = Control(
        snapshots=snapshots, spool=spool, now=now, generation=lambda: config.generation, expected=process_names(config)
    )
    registry = CollectorRegistry()
    registry.register(GatewayCollector(snapshots, lambda: control.rows, now))
    server, thread = start_http_server(config.metrics.port, config.metrics.address, registry)
    try:
        async with asyncio.TaskGroup() as tasks:
            on_signals(tasks, stopping, reload)
            await control.serve(control_socket(run), stopping, ready)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
        await spool.close()
