"""``explain`` answers as policy and evidence do, and says who can do what."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.edge.clock import now
from gateway.mail.address import parse_address
from gateway.operate.cli import main
from gateway.smime import der
from gateway.smime.algorithms import AES256_CBC, AES256_GCM
from gateway.state.capabilities import HeardCapabilities
from gateway.state.state import open_state
from tests.pki import Ca

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]


def explain(ask: Ask, sender: str, recipient: str, *more: str) -> tuple[int, dict[str, Any]]:
    status, told = ask("explain", "--from", sender, "--to", recipient, *more)
    return status, told["to"][0]


def test_to_a_peer_with_a_certificate_it_is_signed_and_encrypted(ask: Ask) -> None:
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    assert status == 0
    assert told["outcome"] == "deliver"
    assert told["rule"] == "default-zone"
    assert told["hop"] == "peer:health/laboratory"
    assert told["sign_key"] == "sign"
    assert told["certificate"] == {"source": "folder", "trust": "verified", "assurance": "zone", "marks": []}
    assert (told["headers"], told["legacy_display"], told["signed_form"]) == ("baseline", False, "clear")


def test_what_becomes_of_header_fields_is_said(site: Path, ask: Ask, run: Run) -> None:
    text = (site / "gateway.toml").read_text()
    (site / "gateway.toml").write_text(text.replace("[organisation.hospital]\n", '[organisation.hospital]\nheaders = "shy"\n', 1))
    _, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    assert told["headers"] == "shy"
    people = run("explain", "--from", "cardiology@hospital.example", "--to", "results@laboratory.example")
    assert "  headers     protected, and subject, names and time zone hidden outside\n" in people.stdout


def learned(site: Path, value: bytes) -> None:
    """The gateway ran, and heard this of a reader's program."""
    (site / "state").mkdir()
    database = open_state(site / "state", now)
    HeardCapabilities(database, now).learn("hospital", parse_address("results@laboratory.example"), value, now())
    database.close()


def test_how_the_reader_is_encrypted_to_and_why(site: Path, ask: Ask, run: Run) -> None:
    given = ("cardiology@hospital.example", "results@laboratory.example")
    _, told = explain(ask, *given)
    assert told["algorithms"] == {"cipher": "aes256-cbc", "key": "rsa-pkcs1", "why": {"cipher": "default", "key": "default"}}
    assert told["besides"] == []
    learned(site, der.sequence(der.sequence(der.oid(AES256_GCM))))
    text = (site / "zones/health.toml").read_text()
    (site / "zones/health.toml").write_text(text.replace("port = 1\n", 'port = 1\nopens = { transport = "rsa-oaep-sha256" }\n'))
    _, told = explain(ask, *given)
    why = {"cipher": "advertised", "key": "override"}
    assert told["algorithms"] == {"cipher": "aes256-gcm", "key": "rsa-oaep-sha256", "why": why}
    people = run("explain", "--from", given[0], "--to", given[1]).stdout
    assert re.search(r" cipher +aes256-gcm \(advertised\)\n +key +rsa-oaep-sha256 \(override\)\n", people)


def test_what_was_heard_and_cannot_be_read_is_said_to_be_left_out(site: Path, run: Run) -> None:
    (site / "state").mkdir()
    (site / "state" / "state.sqlite").write_text("no database, but long enough to be looked at" * 30)
    told = run("explain", "--from", "cardiology@hospital.example", "--to", "results@laboratory.example")
    assert told.exit_code == 0
    assert "what readers' programs said, and what is pinned, is left out" in told.stderr
    assert "aes256-cbc (default)" in told.stdout


def test_a_reader_below_the_floor_is_refused_and_the_floor_is_named(site: Path, ask: Ask) -> None:
    text = (site / "gateway.toml").read_text()
    floor = 'outbound = "smarthost"\nfloor = { cipher = "aes256-gcm" }\n'
    (site / "gateway.toml").write_text(text.replace('outbound = "smarthost"\n', floor))
    learned(site, der.sequence(der.sequence(der.oid(AES256_CBC))))
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    assert (status, told["outcome"], told["reason"]) == (1, "refuse", "WEAK_ALGORITHM")
    assert told["detail"] == "rule default-zone: opens no better than aes256-cbc (advertised), and the floor is aes256-gcm"


@pytest.mark.parametrize(("days", "noted"), [(-1, "it has expired"), (20, "it expires in 19 days"), (40, "")])
def test_who_else_reads_it_and_what_waits_for_them(site: Path, ask: Ask, run: Run, days: int, noted: str) -> None:
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    (site / "archive.pem").write_bytes(Ca.root().reader("archive@hospital.example", not_after=end).pem)
    text = (site / "gateway.toml").read_text()
    asked = 'outbound = "smarthost"\narchive = ["archive.pem"]\nto_sender = true\n'
    (site / "gateway.toml").write_text(text.replace('outbound = "smarthost"\n', asked))
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    if days < 0:
        assert (status, told["outcome"], told["reason"]) == (0, "defer", "KEY_UNAVAILABLE")
        assert told["detail"].startswith("archive archive.pem: CN=archive@hospital.example: expired")
    else:
        assert (status, told["outcome"], told["besides"]) == (0, "deliver", ["archive archive.pem", "key decrypt"])
    notes = [line for line in run("check").stdout.splitlines() if "waits" in line]
    before = "note: organisation hospital waits with all encrypted mail once archive.pem has expired: "
    assert notes == ([before + noted] if noted else [])


def test_to_a_peer_without_a_certificate_it_is_refused_with_1(ask: Ask, run: Run) -> None:
    status, told = explain(ask, "cardiology@hospital.example", "nobody@laboratory.example")
    assert status == 1
    assert (told["outcome"], told["reason"]) == ("refuse", "NO_CERTIFICATE")
    people = run("explain", "--from", "cardiology@hospital.example", "--to", "nobody@laboratory.example")
    assert people.exit_code == 1
    assert "would be refused" in people.stdout
    assert "administrator: look with `cert find`; import the recipient's certificate" in people.stdout


def test_a_header_may_change_the_rule(ask: Ask) -> None:
    given = ("--header", "Subject: =?utf-8?q?=5Bheld=5D?= discharge")
    status, told = explain(ask, "cardiology@hospital.example", "nobody@laboratory.example", *given)
    assert status == 0
    assert (told["outcome"], told["reason"], told["rule"]) == ("hold", "NO_CERTIFICATE", "held")


def test_a_directory_that_does_not_answer_defers_whatever_the_rule_says(site: Path, ask: Ask) -> None:
    text = (site / "gateway.toml").read_text()
    ldap = 'kind = "ldap"\nuri = "ldap://127.0.0.1:1"\ndeadline_seconds = 2.0'
    (site / "gateway.toml").write_text(text.replace('kind = "folder"\npath = "certificates"', ldap))
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    assert status == 0
    assert (told["outcome"], told["reason"]) == ("defer", "DIRECTORY_UNAVAILABLE")


def test_plaintext_is_called_unprotected(ask: Ask, run: Run) -> None:
    status, told = explain(ask, "cardiology@hospital.example", "desk@fax.example")
    assert status == 0
    assert (told["rule"], told["protection"]) == ("fax-unprotected", "unprotected")
    people = run("explain", "--from", "cardiology@hospital.example", "--to", "desk@fax.example")
    assert "as it is, unprotected" in people.stdout


def test_a_from_that_is_not_ours_is_refused(ask: Ask) -> None:
    given = ("--header", "From: results@laboratory.example")
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example", *given)
    assert status == 1
    assert told["reason"] == "SENDER_NOT_ALLOWED"


def test_from_a_peer_it_is_opened_and_goes_to_the_mail_server(ask: Ask) -> None:
    status, told = explain(ask, "results@laboratory.example", "cardiology@hospital.example")
    assert status == 0
    assert (told["direction"], told["brought_by"], told["hop"]) == ("inbound", "peer health/laboratory", "route:mailserver")


@pytest.mark.parametrize(
    ("sender", "recipient", "reason"),
    [
        ("patient@post.example", "cardiology@hospital.example", "CLIENT_UNKNOWN"),
        ("patient@post.example", "other@post.example", "RELAY_DENIED"),
        ("results@laboratory.example", "patient@post.example", "RELAY_DENIED"),
    ],
)
def test_what_nobody_may_bring_is_refused(ask: Ask, sender: str, recipient: str, reason: str) -> None:
    status, told = explain(ask, sender, recipient)
    assert status == 1
    assert told["reason"] == reason


def test_each_recipient_has_an_answer_of_its_own(ask: Ask) -> None:
    both = ("--to", "results@laboratory.example", "--to", "nobody@laboratory.example")
    status, told = ask("explain", "--from", "cardiology@hospital.example", *both)
    assert status == 1
    assert [each["outcome"] for each in told["to"]] == ["deliver", "refuse"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "nobody", "--to", "a@b.example"],
        ["--from", "a@b.example", "--to", "a@b@c"],
        ["--from", "a@b.example", "--to", "a@b.example", "--header", "no field"],
        ["--from", "a@b.example", "--to", "a@b.example", "--header", "Subject: x\nFrom: y@z.example"],
    ],
)
def test_what_cannot_be_read_is_wrong_usage(site: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["--config", str(site / "gateway.toml"), "explain", *arguments])
    assert done.exit_code == 2


def test_a_rule_that_only_observes_says_what_it_would_do(site: Path, ask: Ask, run: Run) -> None:
    text = (site / "gateway.toml").read_text()
    trial = '[[rule]]\nname = "trial"\nprotect = "both"\nmode = "observe"\nwhen = { recipient = ["@laboratory.example"] }\n\n'
    (site / "gateway.toml").write_text(text.replace("[[rule]]", trial + "[[rule]]", 1))
    status, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example")
    assert status == 0
    assert (told["rule"], told["mode"], told["outcome"]) == ("trial", "observe", "deliver")
    assert (told["protection"], told["would"]) == ("unprotected", "both")
    status, told = explain(ask, "cardiology@hospital.example", "nobody@laboratory.example")
    assert (status, told["outcome"], told["would"], told["reason"]) == (0, "deliver", "refuse", "NO_CERTIFICATE")
    other = ("--header", "From: minister@government.example")
    _, told = explain(ask, "cardiology@hospital.example", "results@laboratory.example", *other)
    assert (told["outcome"], told["would"], told["reason"]) == ("deliver", "refuse", "SENDER_NOT_ALLOWED")
    people = run("explain", "--from", "cardiology@hospital.example", "--to", "nobody@laboratory.example")
    assert "would go to peer:health/laboratory, as it is, unprotected: its rule only observes" in people.stdout
    assert re.search(r"enforced +refused\n", people.stdout)
    checked = run("check")
    assert "note: rule trial only observes: what it would protect, hold or refuse leaves unprotected" in checked.stdout


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_what_leaves_in_clear_for_want_of_a_certificate_is_said_to_be_neither_signed_nor_protected(
    site: Path, ask: Ask, run: Run, mode: str
) -> None:
    text = (site / "gateway.toml").read_text()
    loose = f'[[rule]]\nname = "loose"\nprotect = "both"\nmissing = "unprotected"\nmode = "{mode}"\n'
    loose += 'when = { recipient = ["@laboratory.example"] }\n\n'
    (site / "gateway.toml").write_text(text.replace("[[rule]]", loose + "[[rule]]", 1))
    status, told = explain(ask, "cardiology@hospital.example", "nobody@laboratory.example")
    assert (status, told["outcome"], told["rule"]) == (0, "deliver", "loose")
    assert (told["protection"], told["unprotected_because"]) == ("unprotected", "NO_CERTIFICATE")
    assert (told["sign_key"], told["signed_form"], told["headers"], told["legacy_display"]) == (None, None, "off", False)
    assert told.get("would") == ("unprotected" if mode == "observe" else None)
    people = run("explain", "--from", "cardiology@hospital.example", "--to", "nobody@laboratory.example").stdout
    assert "unprotected" in people.splitlines()[0]
    assert not re.search(r"signed by|headers", people)


def test_a_peer_that_is_said_to_open_less_than_the_floor_is_named(site: Path, run: Run) -> None:
    """Nothing encrypted would ever reach its people."""
    zone = site / "zones" / "health.toml"
    zone.write_text(zone.read_text() + 'opens = { cipher = "aes256-cbc" }\n')
    assert "below floor" not in run("check").stdout
    floor = 'outbound = "smarthost"\nfloor = { cipher = "aes256-gcm" }\n'
    text = (site / "gateway.toml").read_text()
    (site / "gateway.toml").write_text(text.replace('outbound = "smarthost"\n', floor))
    note = "note: organisation hospital encrypts to nobody of peer health/radiology but whom a reader names: cipher below floor\n"
    assert note in run("check").stdout
