"""The main of the control process: the control socket, metrics over HTTP, and what is fetched again for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gateway.app import make_fetcher, make_shelf, make_spool
from gateway.config.model import Config
from gateway.edge.agentclient import AgentSigner
from gateway.edge.auditheads import load_audit_key
from gateway.edge.auditsigner import AuditSigner
from gateway.edge.clock import now
from gateway.edge.counting import control_socket
from gateway.edge.evidencecache import EvidenceCache
from gateway.edge.heartbeat import keep_beating
from gateway.edge.listening import naming
from gateway.edge.refresher import Refresher
from gateway.events import Observer
from gateway.operate.control import Control, GatewayCollector
from gateway.operate.owncertificates import expiries
from gateway.operate.reports import Snapshots
from gateway.operate.signals import on_signals
from gateway.smime.keys import Signer
from gateway.state.certificates import CertificateCounts
from gateway.state.state import State
from gateway.supervise import Kind, agent_sockets, process_names, read_tree


def run_control(run: Path, observer: Observer, ready: Callable[[], None]) -> int:
    """Serve until SIGTERM. Answers the exit status."""
    uvloop.run(_run(run, observer, ready))
    return 0


async def _run(run: Path, observer: Observer, ready: Callable[[], None]) -> None:
    keep_beating()
    stopping = asyncio.Event()
    config = read_tree(run)
    expiring = expiries(config)

    async def reload() -> None:
        nonlocal config, expiring
        config = read_tree(run)
        expiring = expiries(config)

    spool = make_spool(config, None)
    await spool.open()
    state = State(config.state, now, lambda _: None)  # workers tell of its faults
    await state.open()
    snapshots = Snapshots()
    control = Control(
        snapshots=snapshots,
        spool=spool,
        certificates=CertificateCounts(state),
        now=now,
        generation=lambda: config.generation,
        expected=process_names(config),
    )
    registry = CollectorRegistry()
    keys = AgentSigner(agent_sockets(config, Kind.SIGN_AGENT))
    auditor = _auditor(config, keys, observer)
    shown = GatewayCollector(
        snapshots, lambda: control.counted, now, lambda: auditor.signed_at if auditor else None, lambda: expiring
    )
    registry.register(shown)
    fetcher, shelf = make_fetcher(config), make_shelf(config)
    cache = EvidenceCache(fetcher, shelf, observer)
    metrics = config.metrics
    with naming("metrics", metrics.address, metrics.port):
        server, thread = start_http_server(metrics.port, metrics.address, registry)
    try:
        async with asyncio.TaskGroup() as tasks:
            on_signals(tasks, stopping, reload)
            if auditor is not None:
                tasks.create_task(auditor.run(stopping))
            beside = [tasks.create_task(Refresher(shelf, cache, now).run()), tasks.create_task(state.mend())]
            await control.serve(control_socket(run), stopping, ready)
            for task in beside:
                task.cancel()
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
        if auditor is not None:
            auditor.close()
        await cache.close()
        await fetcher.close()
        await keys.close()
        await state.close()
        await spool.close()


def _auditor(config: Config, signer: Signer, observer: Observer) -> AuditSigner | None:
    name = config.audit_key
    path = config.key[name].public_key if name is not None else None
    if name is None or path is None:
        return None
    return AuditSigner(config.state / "audit", name, load_audit_key(path), signer, observer, now)
