"""The entry point of every process but the supervisor: ``python -m gateway.operate.process KIND INDEX RUN``.

Reads the checked configuration from the run directory, says ``ready`` on standard output, works until SIGTERM or until its
supervisor is gone (its standard input ends), and takes the configuration anew on SIGHUP.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gateway.app import MailProcess, agent_sockets, make_spool, now
from gateway.config.model import Config
from gateway.edge.keyagent import run_sign_agent, run_unwrap_agent
from gateway.edge.observe import Audit, Observe, configure_logging
from gateway.events import Observer
from gateway.operate.control import Control, GatewayCollector, Snapshots, control_socket, report_forever
from gateway.outcome import GatewayError
from gateway.supervise import Child, Kind, tree_file

FAILED: Final = 3  # the exit status of a process that could not begin, as of the commands

_log = structlog.get_logger()


def read_tree(run: Path) -> Config:
    """The configuration the supervisor checked."""
    return Config.model_validate_json(tree_file(run).read_bytes())


def ready() -> None:
    """Tell the supervisor."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def end_with_supervisor() -> None:
    """Terminate this process when standard input ends: however the supervisor died, nobody is left behind."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


async def run_worker(run: Path, observer: Observe, name: str) -> None:
    """A mail worker."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        async with MailProcess(read_tree(run), observer) as process:
            on_signals(tasks, stopping, lambda: process.reload(read_tree(run)))
            reporting = tasks.create_task(report_forever(control_socket(run), name, observer.counters, now))
            ready()
            await process.run(stopping)
        reporting.cancel()


async def run_control(run: Path, observer: Observe, name: str) -> None:
    """The control process."""
    stopping = asyncio.Event()
    config = read_tree(run)
    spool = make_spool(config, None)
    await spool.open()
    snapshots = Snapshots()
    control = Control(snapshots=snapshots, spool=spool, now=now, generation=lambda: config.generation)
    registry = CollectorRegistry()
    registry.register(GatewayCollector(snapshots, lambda: control.rows, now))
    server, thread = start_http_server(config.metrics.port, config.metrics.address, registry)

    async def reload() -> None:
        nonlocal config
        config = read_tree(run)

    try:
        async with asyncio.TaskGroup() as tasks:
            on_signals(tasks, stopping, reload)
            reporting = tasks.create_task(report_forever(control_socket(run), name, observer.counters, now))
            ready()
            await control.serve(control_socket(run), stopping)
            reporting.cancel()
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
        await spool.close()


def on_signals(tasks: asyncio.TaskGroup, stopping: asyncio.Event, reload: Callable[[], Awaitable[None]]) -> None:
    """SIGTERM sets ``stopping``; SIGHUP runs ``reload`` as a task of the group; SIGINT is the supervisor's to handle."""
    loop = asyncio.get_running_loop()

    async def guarded() -> None:
        try:
            await reload()
        except (OSError, ValueError) as error:
            _log.error("reload_failed", error=type(error).__name__)

    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(guarded()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_agent(child: Child, run: Path, observer: Observer) -> int:
    """A key agent of either kind. The exit status tells the supervisor."""
    config = read_tree(run)
    socket_path = agent_sockets(config, child.kind)[child.index]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    main = run_sign_agent if child.kind is Kind.SIGN_AGENT else run_unwrap_agent
    return main(config, socket_path, observer, ready)


def main() -> None:
    """Parse the three arguments and run."""
    kind, index, run = Kind(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    child = Child(kind, index)
    configure_logging(child.name)
    end_with_supervisor()
    config = read_tree(run)
    observer = Observe(Audit(config.state / "audit", child.name, now))
    try:
        if kind is Kind.WORKER:
            uvloop.run(run_worker(run, observer, child.name))
        elif kind is Kind.CONTROL:
            uvloop.run(run_control(run, observer, child.name))
        else:
            sys.exit(run_agent(child, run, observer))
    except (GatewayError, OSError, ValueError) as error:
        # The administrator's own text: what is missing, and how to list what is there.
        _log.error("cannot_start", error=str(error))
        sys.exit(FAILED)
    finally:
        observer.close()


if __name__ == "__main__":
    main()
