"""Builds a process from a configuration: what each part is given, in which order things start and end.

``Works`` is everything a mail worker consists of. What depends on the configuration's content (anchors, certificates,
directories) is made anew on a reload, whole, before the old is let go; sockets, spool and agents' connections stay.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from socket import socket
from typing import Final, Self

from gateway.callforward import CallForward
from gateway.config.model import Config
from gateway.deliver import Deliverer
from gateway.edge.agentclient import AgentSigner, AgentUnwrapper
from gateway.edge.anchorfile import read_anchors, read_certificates
from gateway.edge.clock import now
from gateway.edge.directories import AnyDirectory, make_directory
from gateway.edge.dns import Resolver
from gateway.edge.evidencecache import EvidenceCache
from gateway.edge.fetch import Fetcher
from gateway.edge.fetcherror import Bounds
from gateway.edge.ldap import Ldap
from gateway.edge.ldapsrv import LdapSrv
from gateway.edge.listening import naming
from gateway.edge.reachable import networks
from gateway.edge.shelf import Shelf
from gateway.events import ConfigurationLoaded, ConfigurationRefused, FetchFailed, Observer
from gateway.flow.besides import Besides
from gateway.flow.circles import draw_circles
from gateway.flow.evidence import Evidence
from gateway.flow.incoming import Incoming
from gateway.flow.outgoing import Outgoing
from gateway.mail.envelope import Direction
from gateway.outcome import Defer, GatewayError, Refuse
from gateway.receive.peers import Client, ZonePeers
from gateway.receive.receiver import Receiver, bind
from gateway.receive.transaction import Recorder, World
from gateway.report import Reporter
from gateway.smime.keys import Unwrapper
from gateway.smime.recipients import Reader
from gateway.spool.epoch import load_sealing_key
from gateway.spool.files import free_space
from gateway.spool.schedule import longest_pause
from gateway.spool.sqlite import SqliteSpool
from gateway.state.capabilities import HeardCapabilities
from gateway.state.certificates import KeptCertificates
from gateway.state.state import STATE, State
from gateway.supervise import Kind, agent_sockets
from gateway.trust.kept import Keeping
from gateway.trust.sources import Source
from gateway.worker import Worker

RECEIVE_SECONDS: Final = 15.0  # of a drain, for the mails that are coming in
WORK_SECONDS: Final = 10.0  # and then for those in hand; together less than the supervisor waits before it kills


@dataclass(frozen=True, slots=True)
class Live:
    """A configuration in force, and what was read from the files it names."""

    config: Config
    evidence: Evidence
    peers: ZonePeers
    certificates: dict[str, tuple[bytes, ...]]
    archives: dict[str, tuple[Besides, ...]]
    directories: tuple[AnyDirectory, ...]

    async def close(self) -> None:
        """Let go of connections to directories."""
        self.evidence.close()
        for directory in self.directories:
            if isinstance(directory, Ldap | LdapSrv):
                await directory.close()


def make_live(config: Config, source: Source, observer: Observer, keeping: Keeping) -> Live:
    """Reads what ``config`` names. Raises ``OSError``, ``ValueError`` or ``GatewayError`` for what is wrong with it."""
    allowed = networks(config.fetching.allow_private)
    directories = {name: make_directory(name, section, config.tls, allowed) for name, section in config.directory.items()}
    evidence = Evidence(draw_circles(config, directories, read_anchors), source, observer, now, keeping)
    certificates = {name: read_certificates(key.certificate) for name, key in config.key.items() if key.certificate is not None}
    archives = {
        name: tuple(
            Besides(f"archive {path.name}", Reader(read_certificates(path)[0], organisation.floor.transport))
            for path in organisation.archive
        )
        for name, organisation in config.organisation.items()
    }
    return Live(config, evidence, ZonePeers(evidence), certificates, archives, tuple(directories.values()))


def make_fetcher(config: Config) -> Fetcher:
    """What ``[fetching]`` asks for."""
    fetching = config.fetching
    allowed = networks(fetching.allow_private)
    return Fetcher(Bounds(fetching.megabytes << 20, fetching.deadline_seconds, allowed, fetching.proxy))


def make_shelf(config: Config) -> Shelf:
    """Where the workers and the control process keep what was fetched."""
    return Shelf(config.state / "evidence")


def make_spool(
    config: Config, unwrapper: Unwrapper | None, longest: Callable[[], int] | None = None, observer: Observer | None = None
) -> SqliteSpool:
    """The spool, sealing to the public halves of the spool key and of the recovery key."""
    names = (config.spool_key, config.recovery_key)
    public = {name: config.key[name].public_key for name in names if name is not None}
    sealing = tuple(load_sealing_key(name, path.read_bytes()) for name, path in public.items() if path is not None)
    # What cannot be recorded is not accepted either: the audit may lie on a disk of its own
    audit = config.state / "audit"
    return SqliteSpool(
        config.state,
        sealing=sealing,
        unwrapper=unwrapper,
        now=now,
        free_megabytes=config.limits.free_megabytes,
        free=lambda: free_space(config.state, *([audit] if audit.exists() else [])),
        longest_pause=longest,
        observer=observer,
    )


def _listen(name: str, address: str, port: int) -> socket:
    with naming(f"listener.{name}", address, port):
        return bind(address, port)


class MailProcess:
    """A mail worker: receives, works, delivers. Use as an async context manager, then ``run``."""

    def __init__(self, config: Config, observer: Recorder) -> None:
        self._config = config
        self._observer = observer
        self._stack = AsyncExitStack()
        self._reloading = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._build(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._stack.aclose()

    async def _build(self, stack: AsyncExitStack) -> None:
        config, observer = self._config, self._observer
        signer = AgentSigner(agent_sockets(config, Kind.SIGN_AGENT))
        stack.push_async_callback(signer.close)
        unwrapper = AgentUnwrapper(agent_sockets(config, Kind.UNWRAP_AGENT))
        stack.push_async_callback(unwrapper.close)
        fetcher = make_fetcher(config)
        stack.push_async_callback(fetcher.close)
        self._source = EvidenceCache(fetcher, make_shelf(config), observer)
        stack.push_async_callback(self._source.close)
        self._state = State(
            config.state, now, lambda error: observer.see(FetchFailed(kind="state", source=STATE, detail=error.detail))
        )
        await self._state.open()
        stack.push_async_callback(self._state.close)
        self._heard = HeardCapabilities(self._state, now)
        self._kept = KeptCertificates(self._state, observer, now)
        self._live = await asyncio.to_thread(make_live, config, self._source, observer, self._kept)
        stack.push_async_callback(self._close_live)
        self._spool = make_spool(config, unwrapper, lambda: longest_pause(self._current()), observer)
        await self._spool.start()
        stack.push_async_callback(self._spool.close)
        deliverer = Deliverer(config=self._current, resolver=Resolver(), peers=self, now=now)
        stack.push_async_callback(deliverer.close)
        recipients = CallForward(config=self._current, probe=deliverer.probe, now=now)
        self._worker = self._make_worker(signer, unwrapper, deliverer)
        world = World(self._current, self._spool, recipients, self, observer, now, os.urandom)
        sockets = {name: _listen(name, place.address, place.port) for name, place in config.listener.items()}
        self._receiver = Receiver(world, sockets)

    def _make_worker(self, signer: AgentSigner, unwrapper: AgentUnwrapper, deliverer: Deliverer) -> Worker:
        spool = self._spool
        outgoing = Outgoing(
            config=self._current,
            certificates=lambda: self._live.certificates,
            evidence=lambda: self._live.evidence,
            known=self._heard,
            archives=lambda: self._live.archives,
            signer=signer,
            bodies=spool.output_bodies,
            observer=self._observer,
            now=now,
            random=os.urandom,
        )
        incoming = Incoming(
            config=self._current,
            certificates=lambda: self._live.certificates,
            evidence=lambda: self._live.evidence,
            unwrapper=unwrapper,
            harvest=self._heard,
            keeping=self._kept,
            bodies=spool.output_bodies,
            observer=self._observer,
            now=now,
            random=os.urandom,
        )
        return Worker(
            config=self._current,
            spool=spool,
            flows={Direction.OUTBOUND: outgoing, Direction.INBOUND: incoming},
            delivery=deliverer,
            reporter=Reporter(config=self._current, bodies=spool.output_bodies, now=now, random=os.urandom),
            observer=self._observer,
            now=now,
            random=random.random,
        )

    def _current(self) -> Config:
        return self._live.config

    async def _close_live(self) -> None:
        await self._live.close()

    async def server(self, config: Config, zone: str, chain: Sequence[bytes], at: int, stapled: bytes, /) -> str | Refuse | Defer:
        """Which peer of a zone we deliver to, by the evidence now in force (port ``Peers`` of delivering)."""
        return await self._live.peers.server(config, zone, chain, at, stapled)

    async def client(self, config: Config, zone: str, chain: Sequence[bytes], at: int, /) -> Client | Refuse | Defer:
        """Which peer of a zone has connected to us, by the evidence now in force (port ``Peers`` of receiving)."""
        return await self._live.peers.client(config, zone, chain, at)

    async def reload(self, config: Config) -> None:
        """Put ``config`` in force. What is wrong with it is reported, and the one before stays in force, whole.

        One at a time, in the order in which they are asked for: one that reads slowly must not come after a newer one.
        """
        async with self._reloading:
            await self._replace(config)

    async def _replace(self, config: Config) -> None:
        before = self._live
        try:
            self._live = await asyncio.to_thread(make_live, config, self._source, self._observer, self._kept)
            self._receiver.reload()
        except (OSError, ValueError, GatewayError) as error:
            refused, self._live = self._live, before
            if refused is not before:
                await refused.close()
            self._observer.see(ConfigurationRefused(mistakes=(f"{type(error).__name__}: {error}",)))
            return
        await before.close()
        self._observer.see(ConfigurationLoaded(generation=config.generation))

    async def run(self, stopping: asyncio.Event) -> None:
        """Receive and work until ``stopping``; on return every mail that was said 250 to is in the spool or gone on its way.

        What a slow hop still keeps in hand then is let go of, and its leases are given back when the spool is closed.
        """
        received = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            mending = tasks.create_task(self._state.mend())
            working = tasks.create_task(self._worker.run(received))
            await self._receiver.run(stopping, RECEIVE_SECONDS)
            received.set()
            await asyncio.wait([working], timeout=WORK_SECONDS)
            working.cancel()
            mending.cancel()
