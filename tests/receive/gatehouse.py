"""A receiver on real loopback sockets, with a small world behind it, and raw clients to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from gateway.config.model import Config
from gateway.events import Event
from gateway.mail.address import Address
from gateway.outcome import Defer, Deliver, Reason, Refuse
from gateway.receive.peers import Client as KnownPeer
from gateway.receive.receiver import Receiver, bind
from gateway.receive.transaction import World
from tests.doubles import Events, MemorySpool
from tests.pki import Ca, Issued

AT: Final = 1_772_366_400_000_000  # 2026-03-01 12:00 UTC
LISTENERS: Final = ("inside", "secure", "stranger", "zone", "zone-starttls")


@dataclass
class Mailboxes:
    """Every mailbox exists but ``nobody``; ``unchecked`` cannot be asked about."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    async def known(self, organisation: str, address: Address, /) -> Deliver | Refuse | Defer:
        self.asked.append((organisation, str(address)))
        if address.local == "nobody":
            return Refuse(Reason.RECIPIENT_UNKNOWN)
        if address.local == "broken":
            raise RuntimeError("the text of an exception")
        return Defer(Reason.RECIPIENT_UNCHECKED) if address.local == "unchecked" else Deliver()


@dataclass
class NamedPeers:
    """Peers by the first DNS name of their certificate."""

    names: dict[str, str]
    answer: Refuse | Defer | None = None
    allowed: str = ""

    async def client(self, _config: Config, _zone: str, chain: Sequence[bytes], _at: int, /) -> KnownPeer | Refuse | Defer:
        leaf = x509.load_der_x509_certificate(chain[0])
        shown = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        if self.answer is not None:
            return self.answer
        if shown[0] not in self.names:
            return Refuse(Reason.PEER_UNKNOWN, f"{shown[0]} in no list")
        return KnownPeer(self.names[shown[0]], self.allowed)


class Pki:
    """The zone's authority, ours and the peer's TLS certificates."""

    def __init__(self) -> None:
        self.root = Ca.root("CN=Zone Root,O=Zone,C=FR")
        self.issuing = self.root.intermediate("CN=Zone Issuing,O=Zone,C=FR")
        self.own = self.issuing.gateway("gateway.hospital.example")
        self.laboratory = self.issuing.gateway("gateway.laboratory.example")
        self.outsider = self.issuing.gateway("gateway.outsider.example")


def configuration(folder: Path, limits: dict[str, Any] | None = None, peer: dict[str, Any] | None = None) -> Config:
    """A hospital and a clinic behind one gateway, a laboratory in the zone, of which ``peer`` says more."""
    tree = {
        "hostname": "gateway.hospital.example",
        "state": folder,
        "run": folder,
        "spool_key": "spool",
        "organisation": {
            name: {"domains": [f"{name}.example"], "mail_server": "in", "outbound": "out"} for name in ("hospital", "clinic")
        },
        "key": {
            f"sign-{name}": {"purpose": "sign", "organisation": name, "certificate": folder / "none.pem"}
            for name in ("hospital", "clinic")
        },
        "tls": {"own": {"certificate": folder / "own.pem", "key": folder / "own.key"}},
        "listener": {
            "inside": {"address": "127.0.0.1", "port": 0, "role": "inside"},
            "secure": {"address": "127.0.0.1", "port": 0, "role": "inside", "tls": "starttls", "identity": "own"},
            "stranger": {"address": "127.0.0.1", "port": 0, "role": "stranger", "organisation": "hospital"},
            "zone": {"address": "127.0.0.1", "port": 0, "role": "zone", "zone": "lab", "tls": "implicit", "identity": "own"},
            "zone-starttls": {
                "address": "127.0.0.1",
                "port": 0,
                "role": "zone",
                "zone": "lab",
                "tls": "starttls",
                "identity": "own",
            },
        },
        "client": {
            "mail": {"networks": ["127.0.0.0/8"], "organisation": "hospital", "may_send_for": ["hospital.example"]},
        },
        "route": {"in": {"host": "127.0.0.1"}, "out": {"host": "127.0.0.1"}},
        "zone": {
            "lab": {
                "anchors": folder / "anchors.pem",
                "identity": "own",
                "peer": [
                    {
                        "name": "laboratory",
                        "domains": ["laboratory.example"],
                        "host": "127.0.0.1",
                        "names": ["gateway.laboratory.example"],
                    }
                    | (peer or {})
                ],
            }
        },
        "limits": {"message_megabytes": 1, "errors": 5, "recipients": 3, "received": 5} | (limits or {}),
    }
    return Config.model_validate(tree)


@dataclass
class House:
    """What a test sees of it."""

    folder: Path
    pki: Pki
    config: Config
    ports: dict[str, int]
    spool: MemorySpool
    events: Events
    mailboxes: Mailboxes
    peers: NamedPeers
    receiver: Receiver
    stopping: asyncio.Event
    running: asyncio.Task[None]

    async def stop(self) -> None:
        """Returns when the receiver has drained."""
        self.stopping.set()
        await self.running

    def seen(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events.seen if isinstance(event, kind)]

    @contextlib.asynccontextmanager
    async def client(
        self, listener: str = "inside", greeted: bool = True, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ports[listener], ssl=tls, server_hostname="gateway.hospital.example" if tls else None
        )
        client = Client(reader, writer)
        try:
            if greeted:
                await client.reply()
                await client.ask("EHLO mail.hospital.example")
            yield client
        finally:
            await client.close()

    def client_tls(self, shown: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.pki.root.pem.decode())
        if shown is not None:
            context.load_cert_chain(*shown.write(self.folder, "client"))
        return context


@dataclass
class Client:
    """Speaks exactly the bytes it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> str:
        """One whole reply, its lines joined; "" at the end of the connection."""
        lines = []
        while line := await self.reader.readline():
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    async def ask(self, line: str) -> str:
        await self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def mail(
        self, sender: str = "cardiology@hospital.example", recipient: str = "results@laboratory.example", parameters: str = ""
    ) -> str:
        """MAIL and RCPT; the reply to the second."""
        await self.ask(f"MAIL FROM:<{sender}>{parameters}")
        return await self.ask(f"RCPT TO:<{recipient}>")

    async def data(self, wire: bytes) -> str:
        assert (await self.ask("DATA")).startswith("354")
        await self.send(wire)
        return await self.reply()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def house(
    folder: Path, pki: Pki, limits: dict[str, Any] | None = None, peer: dict[str, Any] | None = None
) -> AsyncIterator[House]:
    """A receiver that runs until the test has ended."""
    pki.own.write(folder, "own")
    (folder / "anchors.pem").write_bytes(pki.root.pem)
    spool, events, mailboxes, peers = MemorySpool(), Events(), Mailboxes(), NamedPeers({"gateway.laboratory.example": "laboratory"})
    numbers = iter(range(2**40))
    config = configuration(folder, limits, peer)
    sockets = {name: bind("127.0.0.1", 0) for name in LISTENERS}
    built: House | None = None
    world = World(
        config=lambda: built.config if built else config,
        spool=spool,
        recipients=mailboxes,
        peers=peers,
        observer=events,
        now=lambda: AT,
        random=lambda count: next(numbers).to_bytes(count),
    )
    ports = {name: listening.getsockname()[1] for name, listening in sockets.items()}
    receiver, stopping = Receiver(world, sockets), asyncio.Event()
    running = asyncio.create_task(receiver.run(stopping, drain_seconds=5))
    built = House(folder, pki, config, ports, spool, events, mailboxes, peers, receiver, stopping, running)
    try:
        yield built
    finally:
        await built.stop()
