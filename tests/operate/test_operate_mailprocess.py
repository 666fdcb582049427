"""A mail worker as it is started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a site that has its keys, and is yet to be configured."""
    public = new_key("rsa2048").public_key()
    (tmp_path / "spool.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "spool.key").write_bytes(b"opened by key agents alone")
    for name in ("run", "state"):
        (tmp_path / name).mkdir()
    return tmp_path


@contextmanager
def worker(folder: Path, configuration: str, descriptors: int = 1024, **environment: str) -> Iterator[None]:
    (folder / "gateway.toml").write_text(configuration)
    (folder / "run" / "config.json").write_text(load(folder / "gateway.toml", 1).model_dump_json())
    run = f"ulimit -Sn {descriptors}; exec {sys.executable} -m gateway.operate.process worker 0 {folder / 'run'}"
    command, environ = ["sh", "-c", run], {**os.environ, **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == b"ready\n"
            yield
        finally:
            running.kill()


async def test_names_that_nobody_answers_for_keep_no_other_from_its_hop(folder: Path) -> None:
    """glibc asks HOSTALIASES before DNS, for names without a dot: a FIFO nobody writes to is a name server that is silent."""
    os.mkfifo(folder / "silent")
    async with aiosmtpd_hop() as hop:
        listens, names = free_port(), ("east", "west", "south", "north")
        wards = [
            WARD.format(name=name, address=f"127.0.0.{number}", host="localhost" if name == "north" else name, port=hop.port)
            for number, name in enumerate(names, 2)
        ]

        def send(number: int, name: str) -> None:
            source = (f"127.0.0.{number}", 0)
            with smtplib.SMTP("127.0.0.1", listens, timeout=60, source_address=source) as session:
                session.sendmail(f"me@{name}.example", ["you@elsewhere.example"], f"From: me@{name}.example\r\n\r\nhello\r\n")

        with worker(folder, TOML.format(listens=listens) + "".join(wards), HOSTALIASES=str(folder / "silent")):
            for number, name in enumerate(names, 2):
                await asyncio.to_thread(send, number, name)
            async with asyncio.timeout(60):
                while not hop.mails:  # noqa: ASYNC110 - a count in a double, which has no event
                    await asyncio.sleep(0.1)
        assert [mail.sender for mail in hop.mails] == ["me@north.example"]


def test_as_many_clients_are_taken_as_the_configuration_says(folder: Path) -> None:
    """Not as many as the system lets a process have descriptors that does not ask for more."""
    listens = free_port()
    ward = WARD.format(name="east", address="127.0.0.1", host="localhost", port=1)
    limits = "[limits]\nconnections = 200\nconnections_per_address = 200\n"
    with worker(folder, f"{TOML.format(listens=listens)}{ward}\n{limits}", descriptors=100), contextlib.ExitStack() as clients:
        for _ in range(200):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", listens), timeout=60))
            assert client.recv(4) == b"220 "
