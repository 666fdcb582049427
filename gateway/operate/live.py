"""Tries the parts a configuration names, as the gateway would use them. Sends no mail."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.app import Live, make_fetcher, make_live
from gateway.config.model import Config, KeyPurpose, RouteKind
from gateway.deliver import Deliverer, Reached
from gateway.edge.agentclient import AgentSigner, AgentUnwrapper
from gateway.edge.clock import now
from gateway.edge.dns import Resolver
from gateway.edge.evidencecache import EvidenceCache
from gateway.edge.keyring import KeyRing
from gateway.edge.shelf import Shelf
from gateway.events import Event
from gateway.flow.decide import KnownCapabilities
from gateway.mail.address import Address
from gateway.mail.envelope import NextHop
from gateway.operate.output import say
from gateway.outcome import Defer, GatewayError, Refuse
from gateway.smime.capabilities import Capabilities
from gateway.state.capabilities import HeardCapabilities
from gateway.state.certificates import KeptCertificates
from gateway.state.state import STATE, open_state
from gateway.supervise import Kind, agent_sockets
from gateway.trust.kept import KEEPS_NOTHING, Keeping
from gateway.trust.sources import DirectoryError

_AGENTS: Final[dict[Kind, Callable[[tuple[Path, ...]], AgentSigner | AgentUnwrapper]]] = {
    Kind.SIGN_AGENT: AgentSigner,
    Kind.UNWRAP_AGENT: AgentUnwrapper,
}


@dataclass(frozen=True, slots=True)
class Probe:
    """What trying one part came to. ``detail`` is for the administrator."""

    part: str
    ok: bool
    detail: str


class Silent:
    """An observer for commands that only look."""

    def see(self, event: Event, /) -> None:
        """Nothing happened that the audit should know."""


@asynccontextmanager
async def parts(config: Config) -> AsyncIterator[tuple[Live, KnownCapabilities]]:
    """Evidence and directories for the time of a command, and what the gateway heard of its readers' programs.

    Keeps nothing that is fetched: the gateway's shelf may be another user's.
    """
    fetcher = make_fetcher(config)
    with tempfile.TemporaryDirectory(prefix="smime-gateway-") as folder:
        source = EvidenceCache(fetcher, Shelf(Path(folder)), Silent())
        async with _remembered(config) as (known, keeping):
            live = await asyncio.to_thread(make_live, config, source, Silent(), keeping)
            try:
                yield live, known
            finally:
                await live.close()
                await source.close()
                await fetcher.close()


class Forgetful:
    """Knows nothing of anybody's program."""

    async def capabilities(self, organisation: str, address: Address, /) -> Capabilities | None:  # noqa: ARG002 - the port
        """Not known."""
        return None


@asynccontextmanager
async def _remembered(config: Config) -> AsyncIterator[tuple[KnownCapabilities, Keeping]]:
    """What outlives a mail. Nothing where the gateway has never run; where it cannot be read, that is said."""
    try:
        there = (config.state / STATE).is_file()  # opening would make one, and perhaps as the wrong user
        state = await asyncio.to_thread(open_state, config.state, now) if there else None
    except (PermissionError, GatewayError):
        place = config.state / STATE
        say(f"note: what readers' programs said, and what is pinned, is left out: {place} cannot be read by this user", error=True)
        state = None
    if state is None:
        yield Forgetful(), KEEPS_NOTHING
        return
    try:
        yield HeardCapabilities(state, now), KeptCertificates(state, Silent(), now)
    finally:
        await asyncio.to_thread(state.close)


async def reach(config: Config, hop: NextHop) -> Probe:
    """Whether ``hop`` can be reached as a delivery would."""
    async with parts(config) as (live, _):
        return await _reach(config, live, hop)


async def probe_all(config: Config) -> list[Probe]:
    """Every part, each by itself, in the order keys, directories, name servers, routes, peers."""
    async with parts(config) as (live, _):
        asked: list[Awaitable[Probe]] = [_directory(directory.name, live) for directory in live.directories]
        if any(route.kind is RouteKind.MX for route in config.route.values()):
            asked.append(_names(config))
        hosts = [NextHop(name) for name, route in config.route.items() if route.kind is RouteKind.HOST]
        peers = [NextHop(peer.name, name) for name, zone in config.zone.items() for peer in zone.peer]
        asked += [_reach(config, live, hop) for hop in (*hosts, *peers)]
        running = any(_there(socket) for kind in _AGENTS for socket in agent_sockets(config, kind))
        keys = await _agents(config) if running else await asyncio.to_thread(lambda: list(_keys(config)))
        return [*keys, *await asyncio.gather(*asked)]


def _there(socket: Path) -> bool:
    """Whether an agent may listen on ``socket``; where we may not look, one may."""
    try:
        return socket.exists()
    except PermissionError:
        return True


async def _agents(config: Config) -> list[Probe]:
    """The agents of the running gateway, which hold the keys; the token is not opened a second time."""
    probes: list[Probe] = []
    for kind, ask in _AGENTS.items():
        agents = ask(agent_sockets(config, kind))
        try:
            for index, told in enumerate(await agents.status()):
                fault = "does not answer, or not to this user" if told is None else str(json.loads(told)["fault"])
                probes.append(Probe(f"{kind}-{index}", not fault, fault or "answers"))
        finally:
            await agents.close()
    return probes


def _keys(config: Config) -> Iterator[Probe]:
    """Each private key, opened where it lives. Leaves nothing in the state directory that its owner could not use."""
    if config.key_state.is_dir() and config.key_state.stat().st_uid != os.geteuid():
        yield Probe("keys", False, f"only the owner of {config.key_state} can try them: run this command as that user")
        return
    ring = KeyRing(config, frozenset(KeyPurpose), now)
    try:
        faults = ring.faults()
        faults |= ring.unmatched(faults.keys())
    finally:
        ring.close()
    for name in config.key:
        fault = faults.get(name)
        yield Probe(f"key:{name}", fault is None, "opens" if fault is None else fault.detail)


async def _directory(name: str, live: Live) -> Probe:
    directory = next(each for each in live.directories if each.name == name)
    try:
        await directory.find(Address("postmaster", live.config.hostname))
    except DirectoryError as error:
        return Probe(f"directory:{name}", False, error.detail)
    return Probe(f"directory:{name}", True, "answers")


async def _names(config: Config) -> Probe:
    domain = next(iter(config.owners))
    found = await Resolver().exchanges(domain, config.hostname)
    if isinstance(found, Defer):
        return Probe("name servers", False, found.detail)
    return Probe("name servers", True, found.detail if isinstance(found, Refuse) else f"{domain}: {', '.join(found)}")


async def _reach(config: Config, live: Live, hop: NextHop) -> Probe:
    deliverer = Deliverer(config=lambda: config, resolver=Resolver(), peers=live.peers, now=now)
    try:
        found = await deliverer.reach(hop)
    finally:
        await deliverer.close()
    if isinstance(found, Reached):
        return Probe(str(hop), True, f"{found.host} answers, {found.tls or 'in clear'}")
    return Probe(str(hop), False, f"{found.reason}: {found.detail}")
