"""Small doubles of our own ports, for tests of one module. System tests use none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from gateway.events import Event
from gateway.mail.envelope import Mail, Role
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Mechanism
from tests.pki import OwnersKey


@dataclass(frozen=True)
class MemoryBody:
    """A body in memory. ``piece`` is how long its chunks are."""

    data: bytes
    piece: int = 64 * 1024

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self.piece):
            yield self.data[start : start + self.piece]


@dataclass
class MemoryWriter:
    """Collects what is written; remembers whether it was closed or discarded."""

    data: bytearray = field(default_factory=bytearray)
    closed: bool = False
    discarded: bool = False

    def write(self, data: bytes, /) -> None:
        assert not self.closed
        assert not self.discarded
        self.data += data

    def close(self) -> MemoryBody:
        self.closed = True
        return MemoryBody(bytes(self.data))

    def discard(self) -> None:
        self.discarded = True


@dataclass
class MemoryBodies:
    """Makes bodies in memory and keeps every writer it gave out."""

    writers: list[MemoryWriter] = field(default_factory=list)

    def create(self) -> MemoryWriter:
        self.writers.append(MemoryWriter())
        return self.writers[-1]

    @property
    def kept(self) -> list[bytes]:
        """What was written and not discarded."""
        return [bytes(writer.data) for writer in self.writers if not writer.discarded]


@dataclass
class SoftwareSigner:
    """Signs with private keys held in memory, by their names."""

    keys: Mapping[str, OwnersKey]
    signed: int = 0

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        private = self.keys.get(key)
        if private is None:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"no key {key}")
        self.signed += 1
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(to_be_signed)
        digest = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[mechanism[-6:]]
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(to_be_signed, ec.ECDSA(digest))
        assert isinstance(private, rsa.RSAPrivateKey)
        if "pss" in mechanism:
            return private.sign(to_be_signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return private.sign(to_be_signed, padding.PKCS1v15(), digest)


@dataclass
class Events:
    """An observer that remembers. ``failure`` is why it could not record what is to come."""

    seen: list[Event] = field(default_factory=list)
    failure: GatewayError | None = None

    def see(self, event: Event, /) -> None:
        self.seen.append(event)

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class MemorySpool:
    """Takes mails into a list. ``failure`` is raised in place of that, and at once for a size beyond ``room``; ``gate`` lets a
    test decide when a mail is durable.
    """

    bodies: MemoryBodies = field(default_factory=MemoryBodies)
    accepted: list[Mail] = field(default_factory=list)
    failure: Exception | None = None
    room: int | None = None
    gate: asyncio.Event | None = None
    roles: list[Role] = field(default_factory=list)

    def check_room(self, size: int, role: Role, /) -> None:
        self.roles.append(role)
        if self.room is not None and self.failure is not None and size > self.room:
            raise self.failure

    async def accept(self, mail: Mail) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.accepted.append(mail)
