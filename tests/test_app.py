"""A mail process and its configuration: put in force whole, or not at all, while connections stay."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from demo.ports import free_port
from gateway.app import MailProcess
from gateway.config.load import load
from gateway.config.model import Config
from gateway.events import ConfigurationLoaded, ConfigurationRefused
from tests.doubles import Events
from tests.hops import scripted_hop
from tests.pki import Ca, new_key

TOML = """
hostname = "gateway.hospital.example"
state = "state"
run = "run"
spool_key = "spool"

[organisation.hospital]
domains = ["hospital.example"]
mail_server = "mailserver"
anchors = "root.pem"

[key.spool]
purpose = "spool"
store = "file"
file = "spool.key"
public_key = "spool.pub"

[key.sign]
purpose = "sign"
organisation = "hospital"
store = "file"
file = "sign.key"
certificate = "sign.pem"

[tls.gateway]
certificate = "gateway.pem"
key = "gateway.key"

[listener.secure]
address = "127.0.0.1"
port = {port}
role = "inside"
tls = "implicit"
identity = "gateway"

[client.mailserver]
networks = ["127.0.0.0/8"]
organisation = "hospital"
may_send_for = ["hospital.example"]

[route.mailserver]
host = "127.0.0.1"
"""


@dataclass
class Site:
    """A configuration on disk. A changed hostname is what a client sees of it first."""

    folder: Path
    port: int
    root: Ca

    def config(self, generation: int, hostname: str = "gateway.hospital.example") -> Config:
        return load(self.folder / "gateway.toml", generation).model_copy(update={"hostname": hostname})

    def renew(self) -> None:
        """Another TLS key and certificate of the same name."""
        self.root.gateway("gateway.hospital.example").write(self.folder, "gateway")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = Ca.root()
    root.signer("cardiology@hospital.example").write(tmp_path, "sign")
    root.gateway("gateway.hospital.example").write(tmp_path, "gateway")
    (tmp_path / "root.pem").write_bytes(root.pem)
    public = new_key("rsa2048").public_key()
    (tmp_path / "spool.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "spool.key").write_bytes(b"opened by key agents alone")
    (tmp_path / "state").mkdir()
    port = free_port()
    (tmp_path / "gateway.toml").write_text(TOML.format(port=port))
    return Site(tmp_path, port, root)


@dataclass
class Running:
    process: MailProcess
    seen: Events

    def told(self) -> list[int | str]:
        """Generations in force, and the mistakes of those that were refused, in order."""
        said: list[int | str] = []
        for event in self.seen.seen:
            if isinstance(event, ConfigurationLoaded):
                said.append(event.generation)
            elif isinstance(event, ConfigurationRefused):
                said.append(event.mistakes[0])
        return said


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Running]:
    seen = Events()
    stopping = asyncio.Event()
    async with asyncio.timeout(60), MailProcess(site.config(1), seen) as process, asyncio.TaskGroup() as tasks:
        tasks.create_task(process.run(stopping))
        try:
            yield Running(process, seen)
        finally:
            stopping.set()


class Client:
    """An SMTP client over TLS, greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: str) -> None:
        self._reader = reader
        self._writer = writer
        self.hostname = greeting.split()[1]
        self.shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async def say(self, line: str) -> int:
        self._writer.write(line.encode() + b"\r\n")
        while (answer := await self._reader.readline())[3:4] == b"-":
            continue
        return int(answer[:3])


@asynccontextmanager
async def client(site: Site) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cadata=site.root.pem.decode())
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=context, server_hostname="gateway.hospital.example")
    try:
        yield Client(reader, writer, (await reader.readline()).decode())
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_new_configuration_counts_for_whoever_comes(site: Site) -> None:
    """Hostname and TLS identity for new connections; the one that is open goes on, by the new rules."""
    async with running(site) as world, client(site) as before:
        assert before.hostname == "gateway.hospital.example"
        site.renew()
        fresh = site.config(2, "renamed.hospital.example")
        nobody = fresh.client["mailserver"].model_copy(update={"may_send_for": ("elsewhere.example",)})
        await world.process.reload(fresh.model_copy(update={"client": {"mailserver": nobody}}))
        assert world.told() == [2]
        async with client(site) as after:
            assert after.hostname == "renamed.hospital.example"
            assert after.shown != before.shown
        assert await before.say("EHLO mail.hospital.example") == 250
        assert await before.say("MAIL FROM:<cardiology@hospital.example>") == 550


@pytest.mark.parametrize("broken", ["root.pem", "sign.pem", "gateway.pem", "gateway.key", "gone"])
async def test_what_cannot_be_read_leaves_all_as_it_was(site: Site, broken: str) -> None:
    """Also where the mistake is found last, at the TLS identity: never half of the one and half of the other."""
    async with running(site) as world:
        async with client(site) as before:
            pass
        wrong = site.config(2, "renamed.hospital.example")
        site.renew()
        if broken == "gone":
            (site.folder / "gateway.pem").unlink()
        else:
            (site.folder / broken).write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        await world.process.reload(wrong)
        (mistake,) = world.told()
        assert isinstance(mistake, str)
        async with client(site) as after:
            assert (after.hostname, after.shown) == (before.hostname, before.shown)
            assert await after.say("EHLO mail.hospital.example") == 250
            assert await after.say("MAIL FROM:<cardiology@hospital.example>") == 250

        site.root.signer("cardiology@hospital.example").write(site.folder, "sign")
        site.renew()
        (site.folder / "root.pem").write_bytes(site.root.pem)
        await world.process.reload(wrong.model_copy(update={"generation": 3}))
        assert world.told()[1:] == [3]


async def test_the_newest_stays_in_force(site: Site) -> None:
    """Two reloads at once, the first of which reads slowly: the second is the one that counts in the end."""
    os.mkfifo(site.folder / "slow.pem")
    slow = site.config(2, "old.hospital.example")
    organisation = slow.organisation["hospital"].model_copy(update={"anchors": site.folder / "slow.pem"})
    slow = slow.model_copy(update={"organisation": {"hospital": organisation}})
    async with running(site) as world:
        first = asyncio.create_task(world.process.reload(slow))
        second = asyncio.create_task(world.process.reload(site.config(3, "new.hospital.example")))
        await asyncio.wait([second], timeout=0.5)  # it may overtake, and must not
        await asyncio.to_thread((site.folder / "slow.pem").write_bytes, site.root.pem)
        await asyncio.gather(first, second)
        assert world.told() == [2, 3]
        async with client(site) as after:
            assert after.hostname == "new.hospital.example"


@pytest.mark.parametrize("full", ["state", "audit"])
async def test_a_full_disk_takes_no_mail(site: Site, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """Said at MAIL. What cannot be recorded is not accepted either, though the spool has room."""
    real, none_left = os.statvfs, False
    (site.folder / "state" / "audit").mkdir()

    def facts(folder: Path) -> os.statvfs_result:
        told = list(real(folder))
        if none_left and folder.name == full:
            told[4] = 0  # f_bavail
        return os.statvfs_result(told)

    monkeypatch.setattr(os, "statvfs", facts)
    monkeypatch.setattr("gateway.spool.bodies.LOOK", 0)
    async with running(site), client(site) as sender:
        assert await sender.say("EHLO mail.hospital.example") == 250
        none_left = True
        assert await sender.say("MAIL FROM:<cardiology@hospital.example>") == 452
        none_left = False
        assert await sender.say("MAIL FROM:<cardiology@hospital.example>") == 250


async def test_what_a_silent_hop_keeps_in_hand_is_given_back_at_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the supervisor kills the worker, and the mail is counted among those that its workers died of."""
    monkeypatch.setattr("gateway.app.WORK_SECONDS", 0.1)
    connected = asyncio.Event()

    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        connected.set()
        await asyncio.Event().wait()

    async with scripted_hop(silent) as port:
        toml = site.folder / "gateway.toml"
        text = toml.read_text().replace('mail_server = "mailserver"', 'mail_server = "mailserver"\noutbound = "smarthost"')
        rule = '[[rule]]\nname = "fax-unprotected"\nwhen = { recipient = ["@fax.example"] }\nprotect = "unprotected"\n'
        toml.write_text(f'{text}\n[route.smarthost]\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n\n{rule}')
        async with running(site), client(site) as sender:
            for line in ("EHLO mail.hospital.example", "MAIL FROM:<cardiology@hospital.example>", "RCPT TO:<1@fax.example>"):
                assert await sender.say(line) == 250
            assert await sender.say("DATA") == 354
            assert await sender.say("From: cardiology@hospital.example\r\n\r\nhello\r\n.") == 250
            await connected.wait()
    rows = apsw.Connection(str(site.folder / "state" / "spool.sqlite")).execute("SELECT state, attempts, deaths, owner FROM mail")
    assert rows.fetchall() == [("waiting", 0, 0, None)]
