"""A process that is killed: ``python -m tests.spool.crashing accept|work|both STATE KEY FIRST``. What it prints, it may rely on.

``accept`` takes numbered mails without end and prints each identifier once accept has returned. ``work`` takes mails through
their flow and their delivery and prints each number it delivers, before it settles the delivery. ``both`` does both at once:
what it delivers, it may have been given by the very transaction that stored it.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.mail.envelope import Mail, NextHop, Stage
from gateway.outcome import Reason
from gateway.spool.epoch import SealingKey
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.store import Lease, LeaseLost, Settlement, Waiting
from tests.spool.kit import KeyHolder, content, make_mail, new_id, running, wall

SESSIONS = 10


def body_of(number: int) -> bytes:
    """The content of the mail with this number: some small, some of several segments."""
    block = hashlib.sha256(str(number).encode()).digest()
    return f"{number}\r\n".encode() + block * (8000 if number % 3 == 0 else 5)


def number_of(mail: Mail) -> int:
    """The number of a mail, having compared every byte."""
    data = content(mail)
    number = int(data.partition(b"\r\n")[0])
    assert data == body_of(number)
    return number


def open_spool(state: Path, key: RSAPrivateKey) -> SqliteSpool:
    return SqliteSpool(state, sealing=(SealingKey("spool", key.public_key()),), unwrapper=KeyHolder({"spool": key}), now=wall)


def say(text: str) -> None:
    """One write, so that a line is printed whole or not at all."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def accept(spool: SqliteSpool, first: int) -> None:
    numbers = count(first)

    async def session() -> None:
        while True:
            number = next(numbers)
            mail = make_mail(spool, body_of(number), at=wall())
            await spool.accept(mail)
            say(f"accepted {mail.arrival.mail} {number}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SESSIONS):
            tasks.create_task(session())


async def work(spool: SqliteSpool, _first: int) -> None:
    async def step(lease: Lease) -> None:
        mail = lease.mail
        number = number_of(mail)
        try:
            if mail.stage is Stage.DELIVERY:
                say(f"delivered {mail.arrival.parent} {number}")
                await spool.replace(lease, Settlement())
                return
            writer = spool.output_bodies.create()
            for chunk in mail.body.chunks():
                writer.write(chunk)
            arrival = replace(mail.arrival, mail=new_id(wall()), parent=mail.arrival.mail)
            output = replace(mail, arrival=arrival, body=writer.close(), stage=Stage.DELIVERY, hop=NextHop("out"))
            if number % 4 == 0:
                await spool.replace(lease, Settlement((output,)))
            elif number % 4 == 1:
                later = Waiting(mail.envelope.recipients, wall(), Reason.HOP_DEFERRED)
                await spool.replace(lease, Settlement(remainders=(later,), of=output))
            else:
                say(f"delivered {mail.arrival.mail} {number}")
                await spool.replace(lease, Settlement(of=output))
            spool.discard([output])
        except LeaseLost:
            say(f"lost {mail.arrival.mail} {number}")

    while True:
        leases = await spool.lease(SESSIONS)
        async with asyncio.TaskGroup() as tasks:
            for lease in leases:
                tasks.create_task(step(lease))
        if not leases:
            say("idle - 0")
            await spool.wait(SESSIONS)


async def both(spool: SqliteSpool, first: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(accept(spool, first))
        tasks.create_task(work(spool, first))


async def main(mode: str, state: Path, key: Path, first: int) -> None:
    private = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, RSAPrivateKey)
    jobs: dict[str, Callable[[SqliteSpool, int], Awaitable[None]]] = {"accept": accept, "work": work, "both": both}
    async with running(open_spool(state, private)) as spool:
        say("ready - 0")
        await jobs[mode](spool, first)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
