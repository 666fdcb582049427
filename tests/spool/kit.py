"""What the tests of the spool share: clocks one moves, a spool key, mails, and the end a process has no part in."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.events import Observer
from gateway.mail.address import Address
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.identifier import MailId, make_mail_id
from gateway.mail.priority import Priority
from gateway.outcome import GatewayError, Reason
from gateway.smime.keys import Oaep, WrappedKey
from gateway.spool.epoch import SealingKey
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.store import Row, State

SENDER = Address("results", "laboratory.example")
CARDIOLOGY = Recipient(Address("cardiology", "hospital.example"))
RADIOLOGY = Recipient(Address("radiology", "hospital.example"), frozenset({"FAILURE", "DELAY"}), "rfc822;x@y.example")
START = 1_800_000_000_000_000


@dataclass
class Clock:
    """Both clocks, ``now`` in microseconds UTC and ``boot`` in seconds; and what identifiers are made of."""

    now: int = START
    boot: float = 1000.0
    drawn: int = 0

    def random(self, length: int) -> bytes:
        """No randomness at all, but never the same twice."""
        self.drawn += 1
        return self.drawn.to_bytes(length)

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)
        self.boot += seconds


def wall() -> int:
    """The real time in microseconds UTC."""
    return time.time_ns() // 1000


@cache
def spool_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class KeyHolder:
    """An unwrapper over private keys in memory; what it cannot unwrap becomes a random key, as the contract says."""

    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    available: bool = True
    asked: int = 0

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        self.asked += 1
        if not self.available or key not in self.keys:
            raise GatewayError(Reason.KEY_UNAVAILABLE, f"no key {key}")
        assert isinstance(wrapped, Oaep)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), wrapped.label or None)
        try:
            return self.keys[key].decrypt(wrapped.wrapped, oaep)
        except ValueError:
            return os.urandom(wrapped.length)


def holder() -> KeyHolder:
    return KeyHolder({"spool": spool_key()})


def sealing(name: str = "spool") -> tuple[SealingKey, ...]:
    return (SealingKey(name, spool_key().public_key()),)


def make_spool(
    state: Path, clock: Clock | None = None, unwrapper: KeyHolder | None = None, observer: Observer | None = None
) -> SqliteSpool:
    if clock is None:
        return SqliteSpool(state, sealing=sealing(), unwrapper=unwrapper or holder(), now=wall)
    return SqliteSpool(
        state,
        sealing=sealing(),
        unwrapper=unwrapper or holder(),
        now=lambda: clock.now,
        boot=lambda: clock.boot,
        random=clock.random,
        observer=observer,
    )


async def listed(spool: SqliteSpool, state: State | None = None) -> list[Row]:
    """What the spool lists, where every row of it can be read."""
    rows = await spool.rows(state)
    readable = [row for row in rows if isinstance(row, Row)]
    assert len(readable) == len(rows)
    return readable


@asynccontextmanager
async def running(spool: SqliteSpool) -> AsyncIterator[SqliteSpool]:
    await spool.start()
    try:
        yield spool
    finally:
        await spool.close()


def crash(spool: SqliteSpool) -> None:
    """What is left of a process after kill -9: nothing given back, nothing written; the kernel lets go of its lock."""
    spool._keeper.stop()
    spool._disk.shutdown()
    spool._database.close()
    os.close(spool._owners._lock)


def new_id(now: int) -> MailId:
    return make_mail_id(now, os.urandom(10))


def make_mail(
    spool: SqliteSpool,
    data: bytes = b"Subject: x\r\n\r\nbody\r\n",
    *,
    at: int = START,
    stage: Stage = Stage.FLOW,
    priority: Priority = Priority.NORMAL,
    parent: MailId | None = None,
    identifier: MailId | None = None,
) -> Mail:
    writer = spool.bodies.create()
    writer.write(data)
    hop = NextHop("peer", "health") if stage is Stage.DELIVERY else None
    return Mail(
        arrival=Arrival(
            identifier or new_id(at), at, "hospital", Direction.OUTBOUND, Role.INSIDE, "inside", address="127.0.0.1", parent=parent
        ),
        envelope=Envelope(SENDER, (CARDIOLOGY, RADIOLOGY)),
        body=writer.close(),
        stage=stage,
        hop=hop,
        priority=priority,
    )


def content(mail: Mail) -> bytes:
    return b"".join(mail.body.chunks())


def body_files(state: Path) -> set[str]:
    return {path.name for path in (state / "bodies").rglob("*") if path.is_file()}
