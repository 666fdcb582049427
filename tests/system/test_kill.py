"""``kill -9`` of any of our processes while mails pass: what was said 250 to arrives, and nothing ever leaves in clear."""

from __future__ import annotations

import random
import signal
import smtplib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import psutil
import pytest

from demo.ports import free_port
from demo.site import Site
from demo.wire import Tap
from tests.system.lab import (
    LABORATORY,
    PATIENCE,
    RECIPIENT,
    SENDER,
    Lab,
    children,
    kill_supervisor,
    letter,
    sites_tls,
    status,
    until,
)
from tests.system.postfix import Postfix

pytestmark = pytest.mark.timeout(400)

MAILS: Final = 200
SENDERS: Final = 4
MARKER: Final = "readable-by-nobody-on-the-way"
KINDS: Final = ("worker", "worker", "sign-agent", "unwrap-agent", "control")


@dataclass
class World:
    """Both gateways, the wire between them, the mailboxes behind the second."""

    hospital: Site
    laboratory: Site
    tap: Tap
    behind: Postfix

    def in_mailbox(self) -> dict[str, list[bytes]]:
        """The mails that arrived, by subject."""
        found: dict[str, list[bytes]] = {}
        for path in self.behind.mails(RECIPIENT):
            mail = path.read_bytes()
            subject = mail.partition(b"\nSubject: ")[2].partition(b"\n")[0].decode()
            found.setdefault(subject, []).append(mail)
        return found


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Lab(tmp_path_factory.mktemp("kill")) as lab:
        behind = lab.enter(Postfix("mail.laboratory.example", (LABORATORY,), (RECIPIENT,)))
        hospital = lab.site("hospital", "hospital.example")
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        wire = free_port()
        hospital.know(laboratory, port=wire)
        laboratory.know(hospital)
        tap = Tap(port=wire, onward=laboratory.zone, receiver=sites_tls(laboratory), sender=sites_tls(hospital))
        tap.start()
        try:
            hospital.start()
            laboratory.start()
            yield World(hospital, laboratory, tap, behind)
        finally:
            tap.stop()


@dataclass
class Sending:
    """200 mails by a few senders at once; each is sent until it is accepted."""

    port: int
    accepted: list[str] = field(default_factory=list)
    progress: threading.Condition = field(default_factory=threading.Condition)

    def run(self, numbers: Sequence[int]) -> None:
        """One sender."""
        for number in numbers:
            subject = f"mail {number}"
            lines = 5000 if number % 25 == 0 else 20
            body = f"\r\n{MARKER} {number}\r\n" * lines
            message = letter(subject, b"Content-Type: text/plain\r\n" + body.encode())
            until(lambda message=message: self._accepted(message), f"{subject} accepted")  # type: ignore[misc]
            with self.progress:
                self.accepted.append(subject)
                self.progress.notify_all()

    def _accepted(self, message: bytes) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as session:
                session.ehlo()
                session.sendmail(SENDER, [RECIPIENT], message)
        except (OSError, smtplib.SMTPException):
            return False
        return True

    def wait_for(self, count: int) -> None:
        """Return when so many were accepted."""
        with self.progress:
            assert self.progress.wait_for(lambda: len(self.accepted) >= count, PATIENCE * 2)


def kill_one(site: Site, kind: str, chance: random.Random) -> None:
    """``kill -9`` of a process of that kind, once there is one."""
    alive = until(lambda: children(site, kind), f"a {kind} of {site.name}")
    victim = chance.choice(sorted(alive, key=lambda process: process.pid))
    seen = len(killed(site))
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        kill_one(site, kind, chance)
    else:
        until(lambda: len(killed(site)) > seen, f"the end of a {kind} of {site.name} in its audit")


def killed(site: Site) -> list[Any]:
    """The audit's word on processes that ended by SIGKILL."""
    return [event for event in site.audit("process_ended") if event["status"] == -signal.SIGKILL]


def kill_all(site: Site) -> None:
    """``kill -9`` of the whole gateway, as a power cut would: nobody lives to see another's end."""
    assert site.process is not None
    psutil.Process(site.process.pid).suspend()
    for child in children(site):
        child.kill()
    kill_supervisor(site)


def is_empty(site: Site) -> bool:
    """Whether the spool has no mail left in any state."""
    told = status(site)
    return bool(told["running"]) and not any(told["spool"].values())


@pytest.mark.parametrize("seed", [1])
def test_every_accepted_mail_arrives_and_none_in_clear(world: World, seed: int) -> None:
    """Each kind of process at each gateway, a supervisor, and a whole gateway die at random moments among 200 mails."""
    chance = random.Random(seed)  # noqa: S311 - the same moments in every run
    deaths: list[tuple[Site, str]] = [(site, kind) for site in (world.hospital, world.laboratory) for kind in KINDS]
    deaths += [(world.hospital, "supervisor"), (world.laboratory, "supervisor"), (world.hospital, "all"), (world.laboratory, "all")]
    chance.shuffle(deaths)
    moments = sorted(chance.sample(range(1, MAILS - 5), len(deaths)))
    sending = Sending(world.hospital.inside)
    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(sending.run, range(number, MAILS, SENDERS)) for number in range(SENDERS)]
        for (site, kind), moment in zip(deaths, moments, strict=True):
            sending.wait_for(moment)
            if kind == "all":
                kill_all(site)
                site.start()
            elif kind == "supervisor":
                kill_supervisor(site)
                site.start()
            else:
                kill_one(site, kind, chance)
        for sender in senders:
            sender.result(PATIENCE * 2)
    assert sorted(sending.accepted) == sorted(f"mail {number}" for number in range(MAILS))
    until(lambda: set(sending.accepted) <= set(world.in_mailbox()), "every accepted mail in the mailbox")
    for subject, copies in world.in_mailbox().items():
        number = subject.removeprefix("mail ")
        for copy in copies:
            assert b"smime=pass" in copy, subject
            assert copy.partition(b"\n\n")[2].startswith(f"{MARKER} {number}\n".encode())
    heard = bytes(world.tap.heard)
    assert MARKER.encode() not in heard
    assert heard.count(b"application/pkcs7-mime") >= MAILS
    for site in (world.hospital, world.laboratory):
        assert len(killed(site)) >= len(KINDS)
        until(lambda site=site: is_empty(site), f"an empty spool at {site.name}")  # type: ignore[misc]
        for file in (site.folder / "state").rglob("*"):
            assert not file.is_file() or MARKER.encode() not in file.read_bytes(), file
