"""A next hop whose machine, or the way to it, is gone from one moment to the next: no packet says so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# In a network of its own, whose only interface goes away between two mails, and for the answer to a third
SCRIPT = """
import asyncio, json, os, subprocess, sys
import uvloop
from gateway.config.model import TlsMode
from gateway.edge import smtpclient
from gateway.edge.smtpclient import Connection, Deadlines, Target
from gateway.mail.address import Address
from gateway.mail.envelope import Envelope, Recipient
from tests.doubles import MemoryBody
from tests.hops import scripted_hop

smtpclient.UNHEARD_SECONDS = 1
ENVELOPE = Envelope(Address("a", "b.example"), (Recipient(Address("c", "d.example")),))
MAIL = MemoryBody(b"From: a@b.example\\r\\n\\r\\nhello\\r\\n")

def cut():
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)

async def hop(reader, writer):
    writer.write(b"220 mx\\r\\n")
    mails = 0
    while line := await reader.readline():
        writer.write(b"354 go on\\r\\n" if line == b"DATA\\r\\n" else b"250 mx\\r\\n")
        if line == b"DATA\\r\\n":
            await reader.readuntil(b"\\r\\n.\\r\\n")
            mails += 1
            if mails == 2:  # taken by the machine, and then it is gone
                cut()
            writer.write(b"250 taken\\r\\n")

async def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    async with scripted_hop(hop) as port:
        target = Target("127.0.0.1", ("127.0.0.1",), port, TlsMode.NONE)
        connection = await Connection.open(target, "gateway.example", Deadlines(), None)
        assert all((await connection.send(ENVELOPE, MAIL)).replies)
        if sys.argv[1] == "before":
            cut()
        sent = await connection.send(ENVELOPE, MAIL)
        print(json.dumps([sent.failure is not None and str(sent.failure.reason), sent.stale]), flush=True)
        os._exit(0)

uvloop.run(main())
"""
APART = ("unshare", "--map-root-user", "--net")


def may_be_apart() -> bool:
    try:
        return subprocess.run([*APART, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_be_apart(), reason="no network of one's own without privileges here (unshare(1), ip(8))")
@pytest.mark.parametrize(("when", "stale"), [("before", True), ("amid", False)])
def test_who_is_gone_without_a_word_is_not_waited_for_as_one_who_is_slow(when: str, stale: bool) -> None:
    """It ends long before the time that a slow server has for a reply; only what was not begun is sent again at once."""
    told = subprocess.run([*APART, sys.executable, "-c", SCRIPT, when], capture_output=True, check=True, timeout=100)
    assert json.loads(told.stdout) == ["HOP_UNREACHABLE", stale]
