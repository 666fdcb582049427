"""Key agents as one user, everything else as another: mail passes, and neither user gets at what is the other's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from demo.site import Site
from gateway.edge.keywire import StatusRequest, write_request
from tests.system.apart import KEYS, MAIL, OTHER, Apart, As, interpreter, key_run, key_state, mail_run, part_users, state, user_id
from tests.system.lab import HOSPITAL, LABORATORY, RECIPIENT, SENDER, Lab, children, events, letter, reload, send, status, until
from tests.system.sink import Sink

pytestmark = pytest.mark.timeout(300)

READ = "print(len(open(sys.argv[1], 'rb').read()))"
LIST = "import os; print(len(os.listdir(sys.argv[1])))"
WRITE = "open(sys.argv[1], 'ab'); print('written')"
# Says what an agent answers to a request, or how it hangs up.
CONNECT = """
import socket
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(30)
connection.connect(sys.argv[1])
connection.sendall(bytes.fromhex(sys.argv[2]))
print(connection.recv(65536) and 'answered' or 'refused')
"""
STATUS = write_request(1, StatusRequest()).hex()


@dataclass
class World:
    """A hospital in two parts, a laboratory of one user, and one mail server behind both."""

    python: str
    hospital: Site
    parts: Apart
    laboratory: Site
    behind: Sink

    def outbound(self, subject: str) -> None:
        """A mail from the hospital is accepted."""
        send(self.hospital.inside, letter(subject))

    def inbound(self, subject: str) -> None:
        """A mail from the laboratory is accepted there."""
        send(self.laboratory.inside, letter(subject, sender=RECIPIENT, recipients=[SENDER]), [SENDER], RECIPIENT)

    def arrived(self, subject: str) -> bytes:
        """The mail in the mailbox."""
        return self.behind.got(subject.encode())[0].content

    def may(self, user: str, code: str, *arguments: object, in_group: bool = True) -> str:
        """What ``user`` gets for doing that."""
        return As(self.python, user, in_group).do(code, *arguments)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    python = interpreter()
    folder = Path(tempfile.mkdtemp(prefix="smime-gateway-apart-"))  # pytest's own folders are closed to other users
    folder.chmod(0o711)
    try:
        with Lab(folder) as lab:
            behind = lab.enter(Sink(folder))
            hospital = lab.site("hospital", HOSPITAL, mail_server=behind.port)
            laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
            hospital.know(laboratory)
            laboratory.know(hospital)
            part_users(hospital)
            parts = Apart(hospital, python)
            try:
                laboratory.start()
                parts.start_keys()
                parts.start_mail()
                yield World(python, hospital, parts, laboratory, behind)
            finally:
                parts.close()
    finally:
        shutil.rmtree(folder)


def users(processes: list[psutil.Process]) -> set[int]:
    return {uid for process in processes for uid in process.uids()}


def test_a_mail_is_signed_and_encrypted_and_another_opened(world: World) -> None:
    world.outbound("to the laboratory")
    assert b"smime=pass" in world.arrived("to the laboratory")
    (protected,) = events(world.hospital, "mail_protected")[:1]
    assert protected["protection"] == "both"
    world.inbound("to the hospital")
    assert b"smime=pass" in world.arrived("to the hospital")
    opened = events(world.hospital, "mail_opened")[-1]
    assert (opened["verdict"], opened["encrypted"]) == ("verified", True)
    used = {line["operation"] for line in key_audit(world.hospital) if line["event"] == "key_used"}
    assert used == {"sign", "unwrap"}


def key_audit(site: Site) -> list[dict[str, object]]:
    """What the agents themselves say they did."""
    segments = (key_state(site) / "audit").glob("*.jsonl")
    return [json.loads(line) for segment in segments for line in segment.read_bytes().splitlines()]


def test_the_agents_are_one_user_and_all_others_another(world: World) -> None:
    assert world.parts.keys is not None
    assert world.hospital.process is not None
    agents = [psutil.Process(world.parts.keys.pid), *world.parts.agents()]
    others = [psutil.Process(world.hospital.process.pid), *children(world.hospital)]
    assert (len(agents), users(agents)) == (3, {user_id(KEYS)})
    assert users(others) == {user_id(MAIL)}
    kinds = {process.cmdline()[-3] for process in agents[1:]}, {process.cmdline()[-3] for process in others[1:]}
    assert kinds == ({"sign-agent", "unwrap-agent"}, {"control", "worker"})


def test_the_mail_part_gets_at_no_secret_of_the_agents(world: World) -> None:
    base = world.hospital.folder
    assert world.may(KEYS, READ, base / "secrets" / "pin") == "13"
    assert world.may(MAIL, READ, base / "secrets" / "pin") == "PermissionError"
    assert world.may(KEYS, LIST, key_state(world.hospital) / "tokens") == "1"
    assert world.may(MAIL, LIST, key_state(world.hospital) / "tokens") == "PermissionError"
    assert world.may(MAIL, LIST, key_state(world.hospital)) == "PermissionError"
    worker = children(world.hospital, "worker")[0]
    assert int(world.may(MAIL, READ, f"/proc/{worker.pid}/environ")) > 0
    assert world.parts.keys is not None
    for pid in (world.parts.keys.pid, *(agent.pid for agent in world.parts.agents())):
        assert world.may(MAIL, READ, f"/proc/{pid}/environ") == "PermissionError"
        assert world.may(MAIL, "open(sys.argv[1], 'rb').read(1)", f"/proc/{pid}/mem") == "PermissionError"


def test_not_even_the_same_user_reads_what_a_supervisor_was_given(world: World) -> None:
    """The variables that hold a PIN come to the supervisor first."""
    assert world.parts.keys is not None
    assert world.hospital.process is not None
    for user, pid in ((KEYS, world.parts.keys.pid), (MAIL, world.hospital.process.pid)):
        assert world.may(user, READ, f"/proc/{pid}/environ") == "PermissionError"


def test_the_mail_part_cannot_say_what_the_agents_load(world: World) -> None:
    """Whoever writes their configuration, or takes their sockets' place, is them."""
    base = world.hospital.folder
    sockets = key_run(world.hospital)
    for place in (base / "gateway.toml", base / "softhsm2.conf", base / "new", sockets / "config.json", sockets / "new.sock"):
        assert world.may(MAIL, WRITE, place) == "PermissionError", place
    assert world.may(MAIL, WRITE, mail_run(world.hospital) / "new") == "written"


def test_the_agents_get_at_no_mail(world: World) -> None:
    base = world.hospital.folder
    assert world.may(MAIL, READ, base / "secrets" / "tls.key").isdigit()
    assert world.may(KEYS, READ, base / "secrets" / "tls.key") == "PermissionError"
    assert int(world.may(MAIL, LIST, state(world.hospital))) > 0
    assert world.may(KEYS, LIST, state(world.hospital)) == "PermissionError"


@pytest.mark.parametrize("agent", ["sign-agent-0", "unwrap-agent-0"])
def test_an_agent_lets_in_the_one_user_it_serves(world: World, agent: str) -> None:
    socket = key_run(world.hospital) / f"{agent}.sock"
    assert world.may(MAIL, CONNECT, socket, STATUS) == "answered"
    assert world.may(OTHER, CONNECT, socket, STATUS, in_group=False) == "PermissionError"  # the directory's doing
    # With every permission the file system knows of: the agent asks the kernel who this is.
    for user in (OTHER, KEYS):
        assert world.may(user, CONNECT, socket, STATUS) in ("refused", "ConnectionResetError", "BrokenPipeError"), user


def test_mail_waits_while_the_agents_are_gone(world: World) -> None:
    """Killed in the middle of mails, and away for some: all are accepted, none leaves in clear, and all arrive."""
    names = [f"killed {number}" for number in range(8)]
    for number, name in enumerate(names):
        if number == 2:
            world.parts.kill_keys()
        world.outbound(name)
        world.inbound(f"in {name}")
    until(lambda: events(world.hospital, "mail_deferred", reason="KEY_UNAVAILABLE"), "a mail that waits for its key")
    assert {"key-supervisor", "mail-supervisor", "sign-agent-0"} <= set(status(world.hospital)["processes"])
    world.parts.start_keys()
    for name in names:
        assert b"smime=pass" in world.arrived(name)
        assert b"smime=pass" in world.arrived(f"in {name}")
    until(lambda: not any(status(world.hospital)["spool"].values()), "an empty spool")
    for event in ("mail_broken", "mail_held", "mail_unprotected", "mail_failed"):
        assert not events(world.hospital, event), event


def test_the_mail_part_need_not_wait_for_the_agents(world: World) -> None:
    """Started first, it accepts mail, and says which processes it has never heard of; what it accepted leaves later."""
    assert world.parts.stop_keys() == 0
    assert world.hospital.stop() == 0
    world.parts.start_mail()
    world.outbound("before the agents")
    told = status(world.hospital)
    assert told["processes"]["sign-agent-0"] == {"seen_seconds": None}
    assert any(told["spool"].values())
    world.parts.start_keys()
    assert b"smime=pass" in world.arrived("before the agents")
    until(lambda: seen(world.hospital) >= {"key-supervisor", "sign-agent-0", "unwrap-agent-0", "worker-0"}, "reports of all")
    until(lambda: "key_used" in {each["name"] for each in status(world.hospital)["counters"]}, "what the agents counted")


def seen(site: Site) -> set[str]:
    return {name for name, each in status(site)["processes"].items() if each["seen_seconds"] is not None}


def answering(world: World, before: set[int]) -> None:
    """Returns when two agents that are not those of ``before`` answer."""
    base = key_run(world.hospital)

    def look() -> bool:
        new = {agent.pid for agent in world.parts.agents()} - before
        sockets = [base / f"{kind}-agent-0.sock" for kind in ("sign", "unwrap")]
        return len(new) == 2 and all(world.may(MAIL, CONNECT, socket, STATUS) == "answered" for socket in sockets)

    until(look, "new agents")


def pids(world: World) -> set[int]:
    return {agent.pid for agent in world.parts.agents()}


def test_a_changed_file_is_seen_by_both_parts(world: World) -> None:
    before, generation = pids(world), status(world.hospital)["generation"]
    os.utime(world.hospital.configuration)
    until(lambda: status(world.hospital)["generation"] == generation + 1, "the mail part's reload")
    answering(world, before)
    world.outbound("after a changed file")
    assert b"smime=pass" in world.arrived("after a changed file")


def test_each_part_takes_sighup_and_what_needs_a_restart_waits_for_it(world: World) -> None:
    """What the two parts agreed on stays, though the configuration says otherwise by now."""
    assert world.parts.keys is not None
    text = world.hospital.configuration.read_text()
    before = pids(world)
    world.hospital.configuration.write_text(text.partition("\n[agents]")[0])
    world.parts.keys.send_signal(signal.SIGHUP)
    reload(world.hospital)
    answering(world, before)
    lines = (world.hospital.folder / "gateway.log").read_text().splitlines()
    warned = [json.loads(line) for line in lines if '"restart_needed"' in line]
    assert {line["process"] for line in warned} == {"key-supervisor", "mail-supervisor"}
    assert all(line["changed"] == ["agents"] for line in warned)
    world.outbound("with the agents there were")
    assert b"smime=pass" in world.arrived("with the agents there were")
    before = pids(world)
    world.hospital.configuration.write_text(text)
    answering(world, before)


def test_a_mail_part_that_may_not_read_its_tls_key_does_not_start(world: World) -> None:
    """That the agents' user may not read it is no mistake of the configuration; that the other may not ends here."""
    key = world.hospital.folder / "secrets" / "tls.key"
    assert world.hospital.stop() == 0
    os.chown(key, user_id(KEYS), -1)
    try:
        done = As(world.python, MAIL).ask("run", "--config", world.hospital.configuration)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{key}: Permission denied\n")
    finally:
        os.chown(key, user_id(MAIL), -1)
        world.parts.start_mail()


def test_only_the_two_users_run_a_part(world: World) -> None:
    for user in ("root", OTHER):
        done = As(world.python, user).ask("run", "--config", world.hospital.configuration)
        assert (done.returncode, done.stdout) == (2, ""), user
        assert KEYS in done.stderr
        assert MAIL in done.stderr


def test_commands_say_who_may_run_them(world: World) -> None:
    configuration = world.hospital.configuration
    listed = As(world.python, KEYS).ask("key", "list", "--config", configuration)
    assert listed.returncode == 0, listed.stderr
    assert As(world.python, MAIL).ask("key", "list", "--config", configuration).returncode == 3
    live = json.loads(As(world.python, MAIL).ask("check", "--live", "--json", "--config", configuration).stdout)
    agents = {each["part"]: each["ok"] for each in live["live"] if each["part"].endswith("agent-0")}
    assert agents == {"sign-agent-0": True, "unwrap-agent-0": True}


def test_check_says_where_the_two_users_are_not_apart(world: World) -> None:
    def notes(user: str = MAIL) -> list[str]:
        told = As(world.python, user).ask("check", "--json", "--config", world.hospital.configuration)
        found: list[str] = json.loads(told.stdout)["notes"]
        return [note for note in found if "user" in note or MAIL in note]

    pin, configuration = world.hospital.folder / "secrets" / "pin", world.hospital.configuration
    assert notes() == []
    assert notes(KEYS) == ["tls.gateway: its key is closed to the user of this command, and was not looked at"]
    pin.chmod(0o644)
    configuration.chmod(0o660)
    try:
        assert notes() == [
            f"{MAIL} may read {pin}, which is for {KEYS} alone",
            f"{MAIL} may change {configuration}, and so what the key agents load",
        ]
    finally:
        pin.chmod(0o600)
        configuration.chmod(0o640)
