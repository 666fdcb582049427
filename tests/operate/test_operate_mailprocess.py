"""A mail worker as it is started."""

from __future__ import annotations

import asyncio
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from demo.ports import free_port
from gateway.config.load import load
from tests.hops import aiosmtpd_hop
from tests.pki import new_key

TOML: Final = """
hostname = "gateway.hospital.example"
state = "state"
run = "run"
spool_key = "spool"

[key.spool]
purpose = "spool"
store = "file"
file = "spool.key"
public_key = "spool.pub"

[listener.inside]
address = "127.0.0.1"
port = {listens}
role = "inside"

[[rule]]
name = "all-unprotected"
protect = "unprotected"
"""
WARD: Final = """
[organisation.{name}]
domains = ["{name}.example"]
mail_server = "{name}"
outbound = "{name}"

[client.{name}]
networks = ["{address}/32"]
organisation = "{name}"
may_send_for = ["{name}.example"]

[route.{name}]
host = "{host}"
port = {port}
tls = "none"
"""


@contextmanager
def worker(run: Path, **environment: str) -> Iterator[None]:
    command = [sys.executable, "-m", "gateway.operate.process", "worker", "0", str(run)]
    environ = {**os.environ, **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == b"ready\n"
            yield
        finally:
            running.kill()


async def test_names_that_nobody_answers_for_keep_no_other_from_its_hop(tmp_path: Path) -> None:
    """glibc asks HOSTALIASES before DNS, for names without a dot: a FIFO nobody writes to is a name server that is silent."""
    os.mkfifo(tmp_path / "silent")
    public = new_key("rsa2048").public_key()
    (tmp_path / "spool.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "spool.key").write_bytes(b"opened by key agents alone")
    async with aiosmtpd_hop() as hop:
        listens, names = free_port(), ("east", "west", "south", "north")
        wards = [
            WARD.format(name=name, address=f"127.0.0.{number}", host="localhost" if name == "north" else name, port=hop.port)
            for number, name in enumerate(names, 2)
        ]
        (tmp_path / "gateway.toml").write_text(TOML.format(listens=listens) + "".join(wards))
        for folder in ("run", "state"):
            (tmp_path / folder).mkdir()
        (tmp_path / "run" / "config.json").write_text(load(tmp_path / "gateway.toml", 1).model_dump_json())

        def send(number: int, name: str) -> None:
            source = (f"127.0.0.{number}", 0)
            with smtplib.SMTP("127.0.0.1", listens, timeout=60, source_address=source) as session:
                session.sendmail(f"me@{name}.example", ["you@elsewhere.example"], f"From: me@{name}.example\r\n\r\nhello\r\n")

        with worker(tmp_path / "run", HOSTALIASES=str(tmp_path / "silent")):
            for number, name in enumerate(names, 2):
                await asyncio.to_thread(send, number, name)
            async with asyncio.timeout(60):
                while not hop.mails:  # noqa: ASYNC110 - a count in a double, which has no event
                    await asyncio.sleep(0.1)
        assert [mail.sender for mail in hop.mails] == ["me@north.example"]
