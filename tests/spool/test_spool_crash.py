"""kill -9 at any moment: what was accepted is there, whole; what is done leaves nothing behind."""

import asyncio
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.spool.store import State
from tests.spool.crashing import number_of, open_spool
from tests.spool.kit import body_files, listed, running, spool_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "spool.pem"
    path.write_bytes(spool_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


async def start(mode: str, state: Path, key: Path, first: int = 0) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.spool.crashing", mode, str(state), str(key), str(first)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line == b"ready - 0\n"
    return process


async def kill(process: asyncio.subprocess.Process) -> list[tuple[str, str, int]]:
    """SIGKILL; what it had printed and nobody read yet."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = await process.stdout.read()
    assert await process.wait() == -signal.SIGKILL
    return [parse(line) for line in rest.decode().splitlines(keepends=True) if line.endswith("\n")]


def parse(line: str) -> tuple[str, str, int]:
    word, identifier, number = line.split()
    return word, identifier, int(number)


async def test_every_accepted_mail_survives(tmp_path: Path, key_file: Path) -> None:
    """Several lives of an accepting process, each ended at a random moment."""
    state = tmp_path / "state"
    accepted: dict[str, int] = {}
    for life in range(6):
        process = await start("accept", state, key_file, life * 1_000_000)
        await asyncio.sleep(random.uniform(0.0, 0.25))  # noqa: S311 - no secret
        accepted |= {identifier: number for _, identifier, number in await kill(process)}
    async with running(open_spool(state, spool_key())) as spool:
        rows = {row.mail.arrival.mail: row for row in await listed(spool)}
        assert accepted
        assert accepted.keys() <= rows.keys()
        found: dict[str, int] = {}
        while leases := await spool.lease(50):
            found |= {lease.mail.arrival.mail: number_of(lease.mail) for lease in leases}
        assert found.keys() == rows.keys()
        assert accepted.items() <= found.items()
        large = {number for number in found.values() if number % 3 == 0}
        assert len(body_files(state)) == len(large)  # orphans are swept


OPEN = """
import sys, time
from pathlib import Path
from gateway.database.thread import Database
from gateway.spool.sqlite import SCHEMA
for turn in range(40):
    while time.time() < float(sys.argv[2]) + turn * 0.02:
        pass
    Database(Path(sys.argv[1]) / str(turn), SCHEMA, lambda: 0).close()
"""


async def test_processes_may_start_and_end_at_once(tmp_path: Path) -> None:
    """At one moment, on many spools that are not there yet: none is told that the database is locked."""
    moment = str(time.time() + 1.5)
    command = [sys.executable, "-c", OPEN, str(tmp_path), moment]
    processes = [await asyncio.create_subprocess_exec(*command, cwd=ROOT) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]


async def test_every_mail_is_delivered_by_workers_that_die(tmp_path: Path, key_file: Path) -> None:
    """Two workers on one spool, killed again and again: each mail comes out at least once, and nothing stays."""
    state = tmp_path / "state"
    process = await start("accept", state, key_file)
    assert process.stdout is not None
    said = [parse((await process.stdout.readline()).decode()) for _ in range(300)]
    said += await kill(process)
    for _ in range(5):
        workers = [await start("work", state, key_file) for _ in range(2)]
        await asyncio.sleep(random.uniform(0.0, 0.15))  # noqa: S311 - no secret
        for worker in workers:
            said += await kill(worker)
    await drained(state, key_file, said)


async def test_every_mail_is_delivered_by_processes_that_take_and_deliver_and_die(tmp_path: Path, key_file: Path) -> None:
    """What a process leased in the transaction that stored it is taken up by another when it dies."""
    state = tmp_path / "state"
    said: list[tuple[str, str, int]] = []
    for life in range(4):
        processes = [await start("both", state, key_file, (2 * life + each) * 1_000_000) for each in range(2)]
        await asyncio.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - no secret
        for process in processes:
            said += await kill(process)
    assert {"accepted", "delivered"} <= {word for word, _, _ in said}
    await drained(state, key_file, said)


async def drained(state: Path, key_file: Path, said: list[tuple[str, str, int]]) -> None:
    """One last worker empties the spool; then everything that was accepted has been delivered, and nothing stays."""
    last = await start("work", state, key_file)
    assert last.stdout is not None
    async with running(open_spool(state, spool_key())) as spool:
        while sum((await spool.count()).values()):
            said.append(parse((await last.stdout.readline()).decode()))
        assert await spool.count() == dict.fromkeys(State, 0)
        said += await kill(last)
    numbers = {each: {number for word, _, number in said if word == each} for each in ("accepted", "delivered", "lost")}
    assert numbers["accepted"]
    assert numbers["accepted"] <= numbers["delivered"]
    assert not numbers["lost"]
    async with running(open_spool(state, spool_key())):
        assert not body_files(state)
