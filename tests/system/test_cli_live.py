"""The commands of an administrator beside running gateways, metrics over HTTP, and the audit they all write."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.ports import free_port
from demo.site import Site, command
from gateway.edge.observe import broken_link
from tests.flow.opened import encrypt
from tests.pki import Ca
from tests.smime.openssl import decrypt
from tests.system.lab import (
    HOSPITAL,
    LABORATORY,
    RECIPIENT,
    SENDER,
    Lab,
    as_peer,
    events,
    letter,
    send,
    sites_tls,
    status,
    until,
)
from tests.system.postfix import Postfix
from tests.system.sink import Sink
from tests.system.test_openssl import structure

pytestmark = pytest.mark.timeout(300)

ELSEWHERE = "elsewhere.example"
SETTINGS = """
[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "elsewhere"
when = {{ recipient = ["@elsewhere.example"] }}
protect = "both"
missing = "hold"
"""
NOBODY = """
[[peer]]
name = "nobody"
domains = ["nobody.example"]
host = "127.0.0.1"
port = {port}
names = ["gateway.nobody.example"]
"""


@dataclass
class World:
    """A hospital that also writes to people elsewhere, and a laboratory."""

    lab: Lab
    hospital: Site
    laboratory: Site
    behind: Postfix
    sink: Sink

    def command(self, site: Site, *arguments: str) -> tuple[int, Any]:
        """Exit status and JSON answer."""
        done = command(*arguments, "--json", "--config", site.configuration)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    def held(self, site: Site, mail: str) -> dict[str, Any]:
        """The row of a held mail in ``queue list``, by its own identifier or its parent's."""

        def look() -> list[dict[str, Any]]:
            _, told = self.command(site, "queue", "list", "--state", "held")
            return [row for row in told["mails"] if mail in (row["mail"], row["parent"])]

        return until(look, "the mail in `queue list`")[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cli")
    with Lab(folder) as lab:
        sink = lab.enter(Sink(folder))
        behind = lab.enter(Postfix("mail.laboratory.example", (LABORATORY,), (RECIPIENT,)))
        hospital = lab.site("hospital", HOSPITAL)
        laboratory = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        hospital.know(laboratory)
        laboratory.know(hospital)
        text = hospital.configuration.read_text()
        hospital.configuration.write_text(
            text.replace('mail_server = "mailserver"\n', 'mail_server = "mailserver"\noutbound = "outside"\n')
        )
        hospital.add(SETTINGS.format(port=sink.port))
        with (hospital.folder / "zones" / "lab.toml").open("a") as zone:
            zone.write(NOBODY.format(port=free_port()))
        hospital.start()
        laboratory.start()
        yield World(lab, hospital, laboratory, behind, sink)


def accepted(site: Site, recipient: str) -> str:
    """The identifier of the one mail to ``recipient``."""
    (event,) = until(lambda: events(site, "mail_accepted", recipients=[recipient]), "the mail accepted")
    mail: str = event["mail"]
    return mail


def test_status(world: World) -> None:
    """Running, with every process and every state of the spool."""
    code, told = world.command(world.hospital, "status")
    assert code == 0
    assert told["running"] is True
    assert {"waiting", "leased", "held", "broken"} >= set(told["spool"])

    def everybody() -> bool:
        return {"worker-0", "control-0"} <= set(status(world.hospital)["processes"])

    until(everybody, "each process in status")
    shown = command("status", "--config", world.hospital.configuration)
    assert shown.returncode == 0
    assert "worker-0" in shown.stdout


def test_held_for_a_certificate_then_released(world: World) -> None:
    """A rule that holds: `why` says who can do what; with the certificate there, `release` sends it on, protected."""
    recipient = f"someone@{ELSEWHERE}"
    send(world.hospital.inside, letter("waits for a certificate", recipients=[recipient]), [recipient])
    mail = accepted(world.hospital, recipient)
    row = world.held(world.hospital, mail)
    assert (row["reason"], row["direction"], row["to"]) == ("NO_CERTIFICATE", "outbound", [recipient])
    code, why = world.command(world.hospital, "queue", "why", row["mail"])
    assert code == 0
    assert why["owner"] == "administrator"
    assert "certificate" in why["next_step"]
    assert "elsewhere" in why["detail"]
    reader = world.lab.ca.reader(recipient)
    (world.hospital.folder / "partners" / "someone.pem").write_bytes(reader.pem)
    code, told = world.command(world.hospital, "queue", "release", row["mail"])
    assert (code, told["released"]) == (0, [row["mail"]])
    (there,) = world.sink.got(b"waits for a certificate")
    certificate, key = reader.write(world.lab.folder, "someone")
    assert b"Hello" in decrypt(structure(there.content), certificate, key)
    assert events(world.hospital, "mail_released", mail=row["mail"])
    assert world.command(world.hospital, "queue", "why", row["mail"])[0] == 1


def test_held_then_dropped(world: World) -> None:
    """`drop` asks first, deletes for good, and says so in the audit; nothing leaves."""
    recipient = f"nobody@{ELSEWHERE}"
    send(world.hospital.inside, letter("is dropped", recipients=[recipient]), [recipient])
    row = world.held(world.hospital, accepted(world.hospital, recipient))
    asked = command("queue", "drop", row["mail"], "--config", world.hospital.configuration)
    assert asked.returncode == 1  # nobody said yes
    assert world.held(world.hospital, row["mail"])
    code, told = world.command(world.hospital, "queue", "drop", "--yes", row["mail"])
    assert (code, told["dropped"]) == (0, [row["mail"]])
    assert events(world.hospital, "mail_dropped", mail=row["mail"])
    code, told = world.command(world.hospital, "queue", "drop", "--yes", row["mail"])
    assert (code, told["not_found"]) == (1, [row["mail"]])
    assert not [mail for mail in world.sink.mails if b"is dropped" in mail.content]


def test_unopenable_then_released(world: World, tmp_path: Path) -> None:
    """Inbound mail that did not open is held; released, it reaches the mailbox as it came, marked as what it is."""
    stranger = Ca.root("CN=Nobody").reader(RECIPIENT)
    message = letter("cannot be opened", encrypt(tmp_path, b"Content-Type: text/plain\r\n\r\nfor another\r\n", stranger))
    message = message.replace(b"MIME-Version: 1.0\r\n", b"", 1)
    identity = sites_tls(world.hospital)
    with as_peer(world.laboratory, (identity.certificate, identity.key)) as session:
        session.mail(SENDER)
        session.rcpt(RECIPIENT)
        code, reply = session.data(message)
    assert code == 250
    (mail,) = re.findall(rb"Accepted as (\w+)", reply)
    row = world.held(world.laboratory, mail.decode())
    assert row["reason"] == "NO_KEY"
    assert world.command(world.laboratory, "queue", "release", row["mail"])[0] == 0

    def look() -> list[bytes]:
        mails = (path.read_bytes() for path in world.behind.mails(RECIPIENT))
        return [each for each in mails if b"\nSubject: cannot be opened\n" in each]

    (there,) = until(look, "the released mail")
    assert b"verdict=undecryptable" in there
    assert b"smime=pass" not in there
    assert there.partition(b"\n\n")[2] == message.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")


def test_explain_agrees_with_what_happens(world: World) -> None:
    """What `explain` foretells is what the audit then says: rule, protection, hop; a refusal ends with 1."""
    code, told = world.command(world.hospital, "explain", "--from", SENDER, "--to", RECIPIENT)
    assert code == 0
    (foretold,) = told["to"]
    assert (foretold["outcome"], foretold["certificate"]["assurance"]) == ("deliver", "zone")
    send(world.hospital.inside, letter("foretold"))
    (made,) = until(lambda: events(world.hospital, "mail_protected", recipients=[RECIPIENT]), "the protection")[-1:]
    assert {name: made[name] for name in ("rule", "protection", "sign_key")} == {
        name: foretold[name] for name in ("rule", "protection", "sign_key")
    }
    delivered = until(lambda: events(world.hospital, "mail_delivered", mail=made["copy"]), "the delivery")
    assert delivered[0]["route"] == foretold["hop"]
    code, told = world.command(world.hospital, "explain", "--from", f"doctor@{ELSEWHERE}", "--to", RECIPIENT)
    assert code == 1
    assert told["to"][0]["outcome"] == "refuse"


def test_check_live(world: World) -> None:
    """Every part tried: all well at the laboratory; at the hospital, a peer and a mail server that are away, each named."""
    code, told = world.command(world.laboratory, "check", "--live")
    assert code == 0, told
    assert all(part["ok"] for part in told["live"])
    assert {"sign-agent-0", "unwrap-agent-0"} <= {part["part"] for part in told["live"]}
    code, told = world.command(world.hospital, "check", "--live")
    assert code == 3
    failed = [part["part"] for part in told["live"] if not part["ok"]]
    assert len(failed) == 2
    assert any("nobody" in part for part in failed)
    assert any("mailserver" in part for part in failed)


def test_peer_test(world: World) -> None:
    """One peer answers, the other does not."""
    code, told = world.command(world.hospital, "peer", "test", "lab/laboratory")
    assert (code, told["ok"]) == (0, True), told
    code, told = world.command(world.hospital, "peer", "test", "nobody")
    assert (code, told["ok"]) == (3, False)
    assert told["detail"].startswith("HOP_UNREACHABLE")
    assert not [event for event in world.laboratory.audit("mail_accepted") if event["size"] == 0]


def test_metrics(world: World) -> None:
    """Over HTTP, in the format of Prometheus; every name of ours begins as documented, and counts what the audit says."""
    send(world.hospital.inside, letter("counted"))
    until(lambda: events(world.laboratory, "mail_delivered"), "a delivery")

    def read(site: Site) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.metrics}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def counted(site: Site, metric: str, event: str) -> bool:
        total = sum(value for name, value in read(site).items() if name.startswith(f"{metric}{{"))
        return total == len(site.audit(event)) > 0

    for metric, event in (
        ("smime_gateway_mail_accepted_total", "mail_accepted"),
        ("smime_gateway_mail_protected_total", "mail_protected"),
        ("smime_gateway_key_used_total", "key_used"),
    ):
        until(lambda metric=metric, event=event: counted(world.hospital, metric, event), metric)  # type: ignore[misc]
    until(lambda: counted(world.laboratory, "smime_gateway_mail_opened_total", "mail_opened"), "mails opened")
    named = read(world.laboratory)
    assert all(name.startswith("smime_gateway_") for name in named)
    assert 'smime_gateway_spool_rows{state="held"}' in named
    assert not any("@" in name for name in named)


def test_the_audit_is_one_chain_for_each_process(world: World) -> None:
    """Every segment of every process and command follows from its first line; one byte changed, and it does not."""
    for site in (world.hospital, world.laboratory):
        segments = list((site.folder / "state" / "audit").glob("*.jsonl"))
        assert {path.name.split("-")[0] for path in segments} >= {"supervisor", "worker", "sign", "unwrap", "control"}
        for path in segments:
            lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            assert broken_link(lines) is None, path
            if len(lines) > 1:
                assert broken_link([lines[0].replace(b'"v":1', b'"v":2'), *lines[1:]]) == 2
