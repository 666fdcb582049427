"""What is wrong is said, in time, to the one who can act: in the configuration, in a session, about a mail."""

from __future__ import annotations

import datetime as dt
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.site import Site, command
from tests.pki import Ca, Issued
from tests.system.lab import LABORATORY, PATIENCE, RECIPIENT, Lab, as_peer, events, until
from tests.system.postfix import Postfix

pytestmark = pytest.mark.timeout(300)

CLINIC = "clinic.example"
DOCTOR = f"doctor@{CLINIC}"
SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so")

PEERS = """
[[peer]]
name = "clinic"
domains = ["clinic.example"]
host = "127.0.0.1"
names = ["gateway.clinic.example", "revoked.clinic.example"]
"""

SETTINGS = """
[limits]
message_megabytes = 1

[organisation.laboratory.inbound]
unopened = "deliver"
"""


@dataclass
class World:
    """A laboratory's gateway, and the identities that knock at its door."""

    lab: Lab
    site: Site
    behind: Postfix
    folder: Path
    revoked: Issued

    def identity(self, issued: Issued) -> tuple[Path, Path]:
        """The files of one of them."""
        return issued.write(self.folder, f"{issued.certificate.serial_number:x}")

    def rejected(self, **facts: object) -> list[dict[str, Any]]:
        """The audit lines about refused connections."""
        return until(lambda: events(self.site, "peer_rejected", **facts), f"peer_rejected {facts}")

    def refused(self, **facts: object) -> list[dict[str, Any]]:
        """The audit lines about refused commands."""
        return until(lambda: events(self.site, "mail_refused", **facts), f"mail_refused {facts}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("badinput")
    with Lab(folder) as lab:
        behind = lab.enter(Postfix("mail.laboratory.example", (LABORATORY,), (RECIPIENT,)))
        site = lab.site("laboratory", LABORATORY, mail_server=behind.port)
        with (site.folder / "zones" / "lab.toml").open("a") as zone:
            zone.write(PEERS)
        site.add(SETTINGS)
        revoked = lab.ca.gateway("revoked.clinic.example")
        lab.revoke(revoked)
        site.start()
        yield World(lab, site, behind, folder, revoked)


@pytest.fixture(scope="module")
def clinic(world: World) -> tuple[Path, Path]:
    """A peer of the zone, as it should be."""
    return world.identity(world.lab.ca.gateway("gateway.clinic.example"))


# Configuration, PIN, token, keys


@pytest.fixture
def idle(world: World, tmp_path: Path) -> Iterator[Site]:
    """The laboratory's configuration and token once more, with a state of its own; not running."""
    site = Site(tmp_path / "idle", "laboratory", LABORATORY)
    shutil.copytree(world.site.folder, site.folder, ignore=shutil.ignore_patterns("state", "run"))
    shutil.copytree(world.site.folder / "state" / "tokens", site.folder / "state" / "tokens")
    before, after = str(world.site.folder), str(site.folder)
    for name in ("gateway.toml", "softhsm2.conf"):
        text = (site.folder / name).read_text().replace(before, after)
        for port in ("inside", "zone", "mail_server", "metrics"):
            text = text.replace(f"port = {getattr(world.site, port)}\n", f"port = {getattr(site, port)}\n")
        (site.folder / name).write_text(text)
    yield site
    if site.process is not None:
        site.stop()


def edit(site: Site, old: str, new: str) -> None:
    text = site.configuration.read_text()
    assert old in text
    site.configuration.write_text(text.replace(old, new, 1))


def run(site: Site) -> subprocess.CompletedProcess[str]:
    """``smime-gateway run``, which is to end by itself."""
    return command("run", "--config", site.configuration)


def test_a_wrong_configuration_stops_run_and_check(idle: Site) -> None:
    """Both say every mistake at once, in both files: where, what was found, what is allowed."""
    edit(idle, f"port = {idle.inside}", "port = 70000")
    edit(idle, 'role = "inside"', 'role = "outside"')
    edit(idle, "[tls.gateway]", "[tsl.gateway]")
    zone = idle.folder / "zones" / "lab.toml"
    zone.write_text(zone.read_text().replace('names = ["gateway.clinic', 'nmaes = ["gateway.clinic'))
    for verb in ("check", "run"):
        done = command(verb, "--config", idle.configuration)
        assert done.returncode == 2
        for line, found, allowed in (
            ("port = 70000", "70000", "65535"),
            ('role = "outside"', "'outside'", "'inside'"),
            ("[tsl.gateway]", "tsl", "'tls'"),
            ("nmaes", "nmaes", "names"),
        ):
            said = [each for each in done.stderr.splitlines() if found in each and allowed in each]
            assert said, (line, done.stderr)
            file = zone if line == "nmaes" else idle.configuration
            numbers = [number for number, text in enumerate(file.read_text().splitlines(), 1) if line in text]
            assert any(f"{file}:{number}:" in each for each in said for number in numbers), (said, numbers)
    assert not (idle.folder / "state" / "audit").exists()


def logins(log: Path) -> int:
    """How often C_Login was called, by OpenSC's spy between us and SoftHSM."""
    return log.read_text(errors="replace").count("C_Login") if log.exists() else 0


def test_a_wrong_pin_is_tried_once_in_all(idle: Site, tmp_path: Path) -> None:
    """Two agents, two starts: one attempt, a durable marker, clear words, status 3. A changed PIN is a new chance."""
    pin = idle.folder / "secrets" / "pin"
    right = pin.read_text()
    wrong = "0000000000-wrong"
    pin.write_text(wrong)
    log = tmp_path / "spy.log"
    text = idle.configuration.read_text()
    module = text.split('module = "')[1].split('"')[0]
    edit(idle, module, str(SPY))
    edit(idle, "environment = { ", f'environment = {{ PKCS11SPY = "{module}", PKCS11SPY_OUTPUT = "{log}", ')
    first = run(idle)
    assert first.returncode == 3
    assert "refused the PIN" in first.stderr
    assert str(pin) in first.stderr
    assert wrong not in first.stderr + first.stdout
    assert logins(log) == 1
    (marker,) = (idle.folder / "state").rglob("pin-refused")
    assert wrong not in marker.read_text()
    second = run(idle)
    assert second.returncode == 3
    assert str(marker) in second.stderr
    assert logins(log) == 1
    pin.write_text(right)
    idle.start()
    assert not marker.exists()
    assert idle.stop() == 0


def test_a_missing_module_is_named(idle: Site) -> None:
    """A mistake of the configuration: its place and the path that is not there."""
    module = idle.configuration.read_text().split('module = "')[1].split('"')[0]
    edit(idle, module, "/usr/lib/nowhere/libpkcs11.so")
    for verb in ("check", "run"):
        done = command(verb, "--config", idle.configuration)
        assert done.returncode == 2
        assert "/usr/lib/nowhere/libpkcs11.so" in done.stderr
        assert "token.module" in done.stderr


def test_a_missing_token_is_named_and_those_that_are_there(idle: Site) -> None:
    """Which label was looked for, which labels there are, and the command that lists them."""
    edit(idle, 'label = "laboratory"', 'label = "oratory"')
    done = run(idle)
    assert done.returncode == 3
    assert "no token is labelled 'oratory'" in done.stderr
    assert "has: 'laboratory'" in done.stderr
    assert "--list-token-slots" in done.stderr


def test_a_missing_key_is_named_and_how_to_list_keys(idle: Site) -> None:
    """The key's name, the token's label, and the commands that list what is there; one of them does, and agrees."""
    edit(idle, "[key.laboratory-sign]", "[key.laboratory-seal]")
    done = run(idle)
    assert done.returncode == 3
    assert "no private key is labelled 'laboratory-seal' on token 'laboratory'" in done.stderr
    assert "smime-gateway key list" in done.stderr
    listed = command("key", "list", "--config", idle.configuration)
    assert listed.returncode == 1
    assert "laboratory-seal" in listed.stdout
    assert "laboratory-sign" in listed.stdout


# Who may speak


@pytest.mark.parametrize("kind", ["other authority", "expired", "none"])
def test_a_fault_of_the_chain_ends_in_an_alert(world: World, kind: str) -> None:
    """The handshake ends with a TLS alert, and the audit has the reason: a foreign authority, out of date, no certificate."""
    before = len(world.site.audit("peer_rejected"))
    now = dt.datetime.now(dt.UTC)
    begin, finish = now - dt.timedelta(days=3), now - dt.timedelta(days=1)
    identity, reason = {
        "other authority": (world.identity(Ca.root().gateway("gateway.clinic.example")), "CHAIN"),
        "expired": (
            world.identity(world.lab.ca.gateway("gateway.clinic.example", not_before=begin, not_after=finish)),
            "EXPIRED",
        ),
        "none": (None, "PEER_UNKNOWN"),
    }[kind]
    with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError)) as caught, as_peer(world.site, identity):
        pass
    assert not isinstance(caught.value, ssl.SSLError) or "ALERT" in str(caught.value).upper()
    rejected = until(lambda: world.site.audit("peer_rejected")[before:], "the audit line")
    assert [event["reason"] for event in rejected] == [reason]
    assert rejected[0]["listener"] == "zone"


def test_the_alert_is_seen_by_openssl(world: World) -> None:
    """openssl s_client, on a foreign certificate, says which alert came."""
    certificate, key = world.identity(Ca.root().gateway("gateway.clinic.example"))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{world.site.zone}", "-cert", certificate, "-key", key, "-quiet"],
        input=b"EHLO peer.test\r\n",
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert b"alert unknown ca" in done.stderr
    assert b"220 " not in done.stdout


@pytest.mark.parametrize("kind", ["not listed", "common name only"])
def test_a_fault_of_identity_is_answered_550(world: World, kind: str) -> None:
    """Same authority, but in no list: 5.7.1 at MAIL, and the reason in the audit at once."""
    names: dict[str, Any] = {"dns": []} if kind == "common name only" else {}
    name = "gateway.clinic.example" if kind == "common name only" else "gateway.outsider.example"
    reason = "CN_ONLY_MATCH" if kind == "common name only" else "PEER_UNKNOWN"
    with as_peer(world.site, world.identity(world.lab.ca.gateway(name, **names))) as session:
        world.rejected(reason=reason)
        assert session.docmd("MAIL", f"FROM:<{DOCTOR}>") == (550, b"5.7.1 Peer not in the trust zone")
    world.refused(reason=reason, sender=DOCTOR)


def test_a_revoked_peer_is_answered_550(world: World) -> None:
    """Listed, and taken back by its authority."""
    with as_peer(world.site, world.identity(world.revoked)) as session:
        world.rejected(reason="REVOKED")
        code, text = session.docmd("MAIL", f"FROM:<{DOCTOR}>")
        assert (code, text[:4]) == (550, b"5.7.")


def test_a_peer_sends_for_its_domains_alone(world: World, clinic: tuple[Path, Path]) -> None:
    """A listed peer with somebody else's domain: 5.7.1; and to a domain of nobody here: 5.7.1."""
    with as_peer(world.site, clinic) as session:
        code, text = session.docmd("MAIL", "FROM:<director@hospital.example>")
        assert (code, text[:5]) == (550, b"5.7.1")
        assert session.docmd("MAIL", f"FROM:<{DOCTOR}>")[0] == 250
        code, text = session.docmd("RCPT", "TO:<somebody@elsewhere.example>")
        assert (code, text[:5]) == (550, b"5.7.1")
    assert world.refused(sender="director@hospital.example")[0]["reason"] == "DOMAIN_NOT_BOUND"


# What they may send


def message(subject: str, entity: bytes) -> bytes:
    head = f"From: {DOCTOR}\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\nMessage-ID: <{subject.replace(' ', '-')}@{CLINIC}>\r\n"
    return f"{head}MIME-Version: 1.0\r\n".encode() + entity


ENCRYPTED = b'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
MALFORMED = {
    "no base64": ENCRYPTED + b"Content-Transfer-Encoding: base64\r\n\r\n!!! this is no base64 !!!\r\n",
    "empty": ENCRYPTED + b"Content-Transfer-Encoding: base64\r\n\r\n",
    "no structure": ENCRYPTED + b"Content-Transfer-Encoding: base64\r\n\r\nAAAAAAAAAAAAAAAAAAAA\r\n",
    "endless length": ENCRYPTED + b"Content-Transfer-Encoding: base64\r\n\r\nMIAGCSqGSIb3DQEHA6CAMIA=\r\n",
    "huge length": ENCRYPTED + b"Content-Transfer-Encoding: base64\r\n\r\nMIT/////BgkqhkiG9w0BBwM=\r\n",
    "signature of another kind": b"Content-Type: multipart/signed; protocol=application/pkcs7-signature; boundary=b\r\n\r\n"
    b"--b\r\n\r\nhello\r\n--b\r\nContent-Type: text/plain\r\n\r\nno signature\r\n--b--\r\n",
    "no boundary": b"Content-Type: multipart/signed; protocol=application/pkcs7-signature\r\n\r\nhello\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_smime_is_delivered_marked_where_policy_says_so(world: World, clinic: tuple[Path, Path], name: str) -> None:
    """250 in the session; the mailbox has it as it came, with a mark that says what it is, and never that it was verified."""
    with as_peer(world.site, clinic) as session:
        session.mail(DOCTOR)
        session.rcpt(RECIPIENT)
        code, _ = session.data(message(f"malformed {name}", MALFORMED[name]))
        assert code == 250

    def look() -> list[bytes]:
        mails = (path.read_bytes() for path in world.behind.mails(RECIPIENT))
        return [mail for mail in mails if f"\nSubject: malformed {name}\n".encode() in mail]

    (mail,) = until(look, "the marked mail")
    assert b"smime=pass" not in mail
    assert b"smime=neutral" in mail
    assert b"verdict=malformed" in mail
    assert mail.partition(b"\n\n")[2] == MALFORMED[name].partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")


def test_over_the_limit_is_refused_at_mail(world: World, clinic: tuple[Path, Path]) -> None:
    """A declared SIZE over the limit: 552 at MAIL (RFC 1870 6.1), and the session goes on."""
    with as_peer(world.site, clinic) as session:
        assert session.esmtp_features["size"] == str(1 << 20)
        code, text = session.docmd("MAIL", f"FROM:<{DOCTOR}> SIZE={(1 << 20) + 1}")
        assert (code, text[:5]) == (552, b"5.3.4")
        assert session.docmd("MAIL", f"FROM:<{DOCTOR}> SIZE={1 << 20}")[0] == 250


def test_over_the_limit_is_refused_after_data_in_step(world: World, clinic: tuple[Path, Path]) -> None:
    """Not declared, but sent: 552 after the final dot; the next command is read as one, and the next mail is taken."""
    with as_peer(world.site, clinic) as session:
        session.mail(DOCTOR)
        session.rcpt(RECIPIENT)
        line = b"RSET not a command\r\n"
        code, text = session.data(message("too large", b"\r\n" + line * ((1 << 20) // len(line) + 100)))
        assert (code, text[:5]) == (552, b"5.3.4")
        assert session.noop()[0] == 250
        session.mail(DOCTOR)
        session.rcpt(RECIPIENT)
        assert session.data(message("small enough", b"\r\nhello\r\n"))[0] == 250
    assert world.refused(reason="TOO_LARGE", sender=DOCTOR)
    assert not any(event["size"] > 1 << 20 for event in world.site.audit("mail_accepted"))


def test_over_the_limit_in_chunks(world: World, clinic: tuple[Path, Path]) -> None:
    """The same by BDAT (RFC 3030): every octet announced is read before the answer."""
    with as_peer(world.site, clinic) as session:
        session.mail(DOCTOR)
        session.rcpt(RECIPIENT)
        chunk = b"\r\n" + b"x" * 76 + b"\r\n"
        session.send(f"BDAT {len(chunk) * 14000} LAST\r\n".encode() + chunk * 14000)
        code, text = session.getreply()
        assert (code, text[:5]) == (552, b"5.3.4")
        assert session.noop()[0] == 250
