"""The supervisor: which processes there are, what they are given, restarted, reloaded and drained in which order."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.kinds import MAX_RUN
from gateway.config.lasting import needs_restart
from gateway.config.load import load
from gateway.config.part import Part
from gateway.edge.counting import control_socket
from gateway.supervise import AGENTS as AGENT_KINDS
from gateway.supervise import Kind, agent_sockets, children
from tests.pki import Ca, new_key

TOML = """
hostname = "gateway.hospital.example"
state = "state"
run = "run"
spool_key = "spool"

[organisation.hospital]
domains = ["hospital.example"]
mail_server = "mailserver"

[key.spool]
purpose = "spool"
store = "file"
file = "spool.key"
passphrase = {{ environment = "SPOOL_PASSPHRASE" }}
public_key = "spool.pub"

[listener.inside]
address = "127.0.0.1"
port = 2525
role = "inside"

[route.mailserver]
host = "127.0.0.1"

[processes]
sign_agents = 2
unwrap_agents = 1
workers = {workers}
"""
CHILDREN = {"sign-agent-0", "sign-agent-1", "unwrap-agent-0", "control-0", "worker-0", "worker-1"}
AGENTS = {name for name in CHILDREN if "agent" in name}

T = TypeVar("T")
Note = dict[str, Any]


@dataclass
class Supervised:
    """A running supervisor and the notes of all."""

    folder: Path
    process: subprocess.Popen[bytes]

    def notes(self, what: str = "", who: str = "") -> list[Note]:
        lines = (self.folder / "notes").read_bytes().splitlines(keepends=True)
        notes = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [note for note in notes if what in ("", note["what"]) and who in ("", note["who"])]

    def until(self, look: Callable[[], T]) -> T:
        """The first true answer: what is waited for happens in other processes, which tell us by nothing but their notes."""
        deadline = time.monotonic() + 60
        while not (found := look()):
            assert time.monotonic() < deadline, self.notes()
            time.sleep(0.02)
        return found

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self, child: str) -> None:
        os.kill(self.notes("start", child)[-1]["pid"], signal.SIGKILL)

    def behave(self, child: str, how: str) -> Path:
        (self.folder / f"{child}.{how}").touch()
        return self.folder / f"{child}.{how}"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration with nothing in it but what must be."""
    public = new_key("rsa2048").public_key()
    (tmp_path / "spool.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "spool.key").write_bytes(b"opened by key agents alone")
    (tmp_path / "gateway.toml").write_text(TOML.format(workers=2))
    (tmp_path / "notes").touch()
    return tmp_path


@contextmanager
def supervised(site: Path, *times: str, **environment: str) -> Iterator[Supervised]:
    """A supervisor over noting children; ``times`` as :mod:`tests.supervised` takes them."""
    command = [sys.executable, "-m", "tests.supervised", str(site / "gateway.toml"), str(site / "notes"), *times]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    running = Supervised(site, process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            for note in running.notes("start"):  # whoever is still there was left behind
                with_pid = Path(f"/proc/{note['pid']}/cmdline")
                assert not with_pid.exists() or str(site / "notes").encode() not in with_pid.read_bytes(), note


@contextmanager
def ready(site: Path, *times: str, **environment: str) -> Iterator[Supervised]:
    """The same, once it says so."""
    with supervised(site, *times, **environment) as running:
        running.until(lambda: running.notes("ready"))
        yield running


def test_which_processes_there_are(site: Path) -> None:
    config = load(site / "gateway.toml")
    assert {child.name for child in children(config)} == CHILDREN
    assert [path.name for path in agent_sockets(config, Kind.SIGN_AGENT)] == ["sign-agent-0.sock", "sign-agent-1.sock"]
    (site / "gateway.toml").write_text(TOML.format(workers=0))
    cores = [child for child in children(load(site / "gateway.toml")) if child.kind is Kind.WORKER]
    assert len(cores) == os.cpu_count()  # 0 is one worker for each core


def test_the_address_of_every_socket_has_room(site: Path) -> None:
    """Below the deepest run directory there may be, with the most agents (unix(7))."""
    config = load(site / "gateway.toml")
    most = config.processes.model_copy(update={"sign_agents": 64, "unwrap_agents": 64})
    config = config.model_copy(update={"run": Path("/" + "r" * (MAX_RUN - 1)), "processes": most})
    paths = [control_socket(config.run)] + [path for kind in AGENT_KINDS for path in agent_sockets(config, kind)]
    assert max(len(str(path)) for path in paths) == 107


def test_ready_when_all_are(site: Path) -> None:
    with ready(site) as running:
        at = running.notes("ready")[0]["at"]
        assert {note["who"] for note in running.notes("start") if note["at"] < at} == CHILDREN
        assert {note["process"] for note in running.notes("ProcessStarted")} == CHILDREN
        assert [note["generation"] for note in running.notes("ConfigurationLoaded")] == [1]
        assert {note["generation"] for note in running.notes("start")} == {1}


def test_only_key_agents_inherit_the_passphrase(site: Path) -> None:
    with ready(site, SPOOL_PASSPHRASE="very secret", HARMLESS="x") as running:
        for note in running.notes("start"):
            assert ("SPOOL_PASSPHRASE" in note["environment"]) == (note["who"] in AGENTS), note["who"]
            assert "HARMLESS" in note["environment"]
    assert b"very secret" not in b"".join(path.read_bytes() for path in (site / "run").iterdir())


def test_one_that_cannot_begin_ends_the_start(site: Path) -> None:
    """Whoever had begun is ended again, and it is said who could not."""
    (site / "control-0.fails").touch()
    with supervised(site) as running:
        assert running.process.wait(60) == 3
        assert [note["text"] for note in running.notes("failed")] == ["did not become ready: control-0"]
        assert not running.notes("ready")
        assert {note["who"] for note in running.notes("end")} == CHILDREN - {"control-0"}


def test_a_second_one_touches_nothing_of_the_first(site: Path) -> None:
    """Its children would take the sockets from those of the first, and take them away with themselves."""
    with ready(site) as running:
        tree = (site / "run" / "config.json").stat()
        started = len(running.notes("start"))
        command = [sys.executable, "-m", "tests.supervised", str(site / "gateway.toml"), str(site / "notes")]
        assert subprocess.run(command, timeout=60, check=False).returncode == 3
        assert [note["text"] for note in running.notes("failed")] == [f"a gateway runs already in {site / 'run'}"]
        assert len(running.notes("start")) == started
        assert (site / "run" / "config.json").stat() == tree
    with supervised(site) as third:  # the first is gone, and with it what kept others out
        third.until(lambda: len(third.notes("ready")) == 2)


def test_one_that_says_nothing_ends_the_start(site: Path) -> None:
    """A child that hangs before it is ready is not waited for without end."""
    (site / "sign-agent-1.mute").touch()
    with supervised(site, "READY_SECONDS=2") as running:
        assert running.process.wait(60) == 3
        assert "sign-agent-1" in running.notes("failed")[0]["text"]


def test_drain_in_order(site: Path) -> None:
    """Workers have ended before control is told to, control before the agents: mails in hand still find theirs."""
    with ready(site) as running:
        running.send(signal.SIGTERM)
        assert running.process.wait(60) == 0
        told = {note["who"]: note["at"] for note in running.notes("term")}
        ended = {note["who"]: note["at"] for note in running.notes("end")}
    assert told.keys() == ended.keys() == CHILDREN
    order = [{"worker-0", "worker-1"}, {"control-0"}, {"unwrap-agent-0"}, {"sign-agent-0", "sign-agent-1"}]
    for first, then in pairwise(order):
        assert max(ended[name] for name in first) < min(told[name] for name in then)


def test_one_that_does_not_end_is_killed(site: Path) -> None:
    with ready(site, "DRAIN_SECONDS=0.5") as running:
        running.behave("worker-1", "deaf")
        running.send(signal.SIGTERM)
        assert running.process.wait(60) == 0
        assert "worker-1" not in {note["who"] for note in running.notes("end")}
        assert {note["who"] for note in running.notes("end")} == CHILDREN - {"worker-1"}


def test_one_that_dies_is_started_again_and_no_other(site: Path) -> None:
    with ready(site) as running:
        running.kill("worker-0")
        running.until(lambda: len([note for note in running.notes("ProcessStarted") if note["process"] == "worker-0"]) == 2)
        assert [(note["process"], note["status"]) for note in running.notes("ProcessEnded")] == [("worker-0", -signal.SIGKILL)]
        assert [len(running.notes("start", name)) for name in sorted(CHILDREN - {"worker-0"})] == [1] * 5


def test_restarts_grow_slower_until_one_succeeds(site: Path) -> None:
    """0.2 s, then twice as long each time, at most LONGEST_RESTART_SECONDS; once it is ready, from the beginning."""
    with ready(site, "LONGEST_RESTART_SECONDS=2") as running:
        failing = running.behave("worker-0", "fails")
        running.kill("worker-0")
        running.until(lambda: len(running.notes("start", "worker-0")) >= 6)
        failing.unlink()
        running.until(lambda: len([note for note in running.notes("ProcessStarted") if note["process"] == "worker-0"]) == 2)
        ends = [note["at"] for note in running.notes("ProcessEnded")]
        starts = [note["at"] for note in running.notes("start", "worker-0")][1:]
        pauses = [start - end for end, start in zip(ends, starts, strict=True)]
        assert all(pause >= least for pause, least in zip(pauses, [0.2, 0.4, 0.8, 1.6, 2.0], strict=False)), pauses
        assert pauses[4] < 4.0  # and not twice as long again

        running.kill("worker-0")
        running.until(lambda: len(running.notes("start", "worker-0")) == len(starts) + 2)
        pause = running.notes("start", "worker-0")[-1]["at"] - running.notes("ProcessEnded")[-1]["at"]
        assert 0.2 <= pause < 2.0


def test_reload(site: Path) -> None:
    """Agents are replaced one for one, since they hold keys and a login; the others are told, and read the tree."""
    with ready(site) as running:
        running.send(signal.SIGHUP)
        running.until(lambda: len(running.notes("hup")) == 3 and len(running.notes("ProcessStarted")) == len(CHILDREN) + 3)
        assert {note["who"] for note in running.notes("hup")} == CHILDREN - AGENTS
        assert {note["generation"] for note in running.notes("hup")} == {2}
        assert {note["who"] for note in running.notes("end")} == AGENTS
        assert {note["who"] for note in running.notes("start") if note["generation"] == 2} == AGENTS
        assert [note["generation"] for note in running.notes("ConfigurationLoaded")] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "told", "keys_told"),
    [
        ("port = 2525", "port = 2526", ["listener"], []),
        ("[listener.inside]", "[listener.within]", ["listener"], []),
        ('role = "inside"', 'role = "inside"\n[listener.more]\naddress = "::1"\nport = 2527\nrole = "inside"', ["listener"], []),
        ("[processes]", "[limits]\nfree_megabytes = 7\n[processes]", ["limits.free_megabytes"], []),
        ("[processes]", "[metrics]\nport = 9465\n[fetching]\nmegabytes = 7\n[processes]", ["metrics", "fetching"], []),
        ("workers = 2", "workers = 3", ["processes"], ["processes"]),
        ("[processes]", "[limits]\nrecipients = 7\n[processes]", [], []),
    ],
)
def test_what_a_reload_does_not_take_is_named(site: Path, old: str, new: str, told: list[str], keys_told: list[str]) -> None:
    """As docs/operate.md lists it: nothing else shows that a changed port is not listened on."""
    began = load(site / "gateway.toml")
    (site / "gateway.toml").write_text((site / "gateway.toml").read_text().replace(old, new))
    fresh = load(site / "gateway.toml")
    assert needs_restart(began, fresh, Part.WHOLE) == told
    assert needs_restart(began, fresh, Part.KEYS) == keys_told


@pytest.mark.parametrize("named", ["gateway.toml", "zones/new.toml", "spool.pub"])
def test_a_changed_file_is_taken_by_itself(site: Path, named: str) -> None:
    """Of the configuration, or one that it names."""
    with ready(site, "WATCH_SECONDS=0.1") as running:
        if named == "zones/new.toml":
            (site / "zones").mkdir()
            (site / named).write_text("anchors = 1\n")
            refused = running.until(lambda: running.notes("ConfigurationRefused"))
            assert "zones/new.toml" in refused[0]["mistakes"][0]
        else:
            (site / named).write_bytes((site / named).read_bytes() + b"\n")
            running.until(lambda: len(running.notes("ConfigurationLoaded")) == 2)


def test_a_file_changed_while_the_children_start_is_taken_too(site: Path) -> None:
    """What they were given was read before."""
    with supervised(site, "WATCH_SECONDS=0.1") as running:
        running.until(lambda: running.notes("start"))
        (site / "spool.pub").write_bytes((site / "spool.pub").read_bytes() + b"\n")
        running.until(lambda: len(running.notes("ConfigurationLoaded")) == 2)


def test_a_wrong_configuration_changes_nothing(site: Path) -> None:
    """It is refused whole, with every mistake; nobody is told, and whoever starts later starts with the one before."""
    with ready(site) as running:
        right = (site / "gateway.toml").read_text()
        (site / "gateway.toml").write_text(right.replace('role = "inside"', 'roel = "inside"\nport2 = 1'))
        running.send(signal.SIGHUP)
        (refused,) = running.until(lambda: running.notes("ConfigurationRefused"))
        assert all(any(wrong in mistake for mistake in refused["mistakes"]) for wrong in ("roel", "port2"))
        running.kill("worker-0")
        running.until(lambda: len(running.notes("start", "worker-0")) == 2)
        assert {note["generation"] for note in running.notes("start")} == {1}
        assert not running.notes("hup")
        assert not running.notes("term")

        (site / "gateway.toml").write_text(right + "\n")
        running.send(signal.SIGHUP)
        running.until(lambda: len(running.notes("ConfigurationLoaded")) == 2)


def test_a_process_that_the_system_has_no_room_for_is_started_later(site: Path) -> None:
    """Without descriptors, processes or memory for it the others go on: nobody ends for want of one."""
    with ready(site) as running:
        held = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
        limits = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (held - 3, limits[1]))
        running.kill("worker-0")
        running.until(lambda: running.notes("ProcessEnded"))
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(1.0)
        assert len(running.notes("start", "worker-0")) == 1
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, limits)
        running.until(lambda: len([note for note in running.notes("ProcessStarted") if note["process"] == "worker-0"]) == 2)
        assert len(running.notes("ProcessEnded")) == 1
        assert [len(running.notes("start", name)) for name in sorted(CHILDREN - {"worker-0"})] == [1] * 5


def test_a_configuration_that_cannot_be_handed_on_is_handed_on_later(site: Path) -> None:
    """A full disk, say, below the run directory: what runs goes on by what it has, and who is started has the same."""
    with ready(site, "WATCH_SECONDS=0.1") as running:
        obstacle = site / "run" / "config.new"
        obstacle.mkdir()
        (site / "gateway.toml").write_text((site / "gateway.toml").read_text() + "\n")
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(1.0)
        running.kill("worker-0")
        running.until(lambda: len(running.notes("start", "worker-0")) == 2)
        assert {note["generation"] for note in running.notes("start")} == {1}
        obstacle.rmdir()
        running.until(lambda: len(running.notes("ConfigurationLoaded")) == 2)


def test_what_changes_while_it_is_read_is_taken_too(site: Path) -> None:
    with ready(site, "WATCH_SECONDS=0.1") as running:
        os.mkfifo(site / "slow.pem")
        first, last = (site / "gateway.toml").read_text(), (site / "gateway.toml").read_text() + "# the last word\n"
        slow = first.replace('mail_server = "mailserver"', 'mail_server = "mailserver"\nanchors = "slow.pem"')
        (site / "gateway.toml").write_text(slow)
        with (site / "slow.pem").open("wb") as reading:  # opens once somebody reads
            (site / "gateway.toml").write_text(last)
            reading.write(Ca.root().pem)
        running.until(lambda: running.notes("ConfigurationLoaded")[-1]["generation"] == 3)
        assert "slow.pem" not in (site / "run" / "config.json").read_text()
