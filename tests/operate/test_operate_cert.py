"""``cert list``, ``pin``, ``approve``, ``forget``: what a person says of certificates, who said it, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.database.thread import Database
from gateway.mail.address import Address, parse_address
from gateway.mail.identifier import make_mail_id
from gateway.state.certificates import KeptCertificates
from gateway.state.state import open_state
from gateway.trust.harvested import Harvesting, Taught
from gateway.trust.kept import Kept, KeptAs
from tests import pki
from tests.doubles import Events
from tests.pki import END, NOW, Ca, Issued

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]

AT = 1_772_366_400_000_000
ADDRESS = "results@laboratory.example"
ROOT = Ca.root()
ONE, TWO, THREE = (ROOT.reader(ADDRESS, "p256") for _ in range(3))


def print_of(issued: Issued) -> str:
    return hashlib.sha256(issued.der).hexdigest()


@pytest.fixture
def database(site: Path) -> Iterator[Database]:
    """The state of a gateway that has run."""
    (site / "state").mkdir()
    made = open_state(site / "state", lambda: AT)
    yield made
    made.close()


@pytest.fixture
def harvested(database: Database) -> None:
    """One certificate from mail in use, two that wait."""
    teach(database, Harvesting.APPROVE, ONE, TWO, THREE)


def teach(database: Database, harvesting: Harvesting, *shown: Issued) -> None:
    """One mail after the other shows these."""

    async def receive() -> None:
        kept = KeptCertificates(database, Events(), lambda: AT)
        for number, issued in enumerate(shown):
            taught = Taught(parse_address(ADDRESS), issued.der, (ROOT.der,), "health", AT + number * 10**6)
            kept.teach("hospital", make_mail_id(AT, bytes(10)), taught, harvesting)
        await kept.kept("hospital", parse_address(ADDRESS))

    asyncio.run(receive())


def kept(database: Database, address: str = ADDRESS) -> dict[bytes, KeptAs]:
    """As a worker finds it."""
    return {each.certificate: each.kept_as for each in found(database, parse_address(address))}


def found(database: Database, address: Address) -> Sequence[Kept]:
    return asyncio.run(KeptCertificates(database, Events(), lambda: AT).kept("hospital", address))


def audited(site: Path) -> list[dict[str, Any]]:
    lines = [line for file in sorted((site / "state/audit").glob("cert-*")) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.mark.usefixtures("harvested")
class TestHarvested:
    def test_list_shows_whose_they_are_how_they_came_and_what_waits(self, run: Run, ask: Ask) -> None:
        shown = run("cert", "list")
        assert shown.exit_code == 0
        assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [
            [ADDRESS, "waiting"],
            [ADDRESS, "waiting"],
            [ADDRESS, "harvested"],
        ]
        _, told = ask("cert", "list", ADDRESS.upper(), "--kept-as", "harvested", "--organisation", "hospital")
        [one] = told["certificates"]
        assert one == {
            "organisation": "hospital",
            "address": ADDRESS,
            "kept_as": "harvested",
            "since": "2026-03-01T12:00:00.000000Z",
            "seen": "2026-03-01T12:00:00.000000Z",
            "zone": "health",
            "fingerprint": print_of(ONE),
            "subject": ONE.certificate.subject.rfc4514_string(),
            "issuer": ROOT.certificate.subject.rfc4514_string(),
            "serial": f"{ONE.certificate.serial_number:X}",
            "not_before": "2024-01-01T00:00:00.000000Z",
            "not_after": "2044-01-01T00:00:00.000000Z",
            "above": 1,
        }

    def test_another_address_or_kind_has_none(self, ask: Ask) -> None:
        assert ask("cert", "list", "other@laboratory.example") == (0, {"certificates": []})
        assert ask("cert", "list", "--kept-as", "pinned") == (0, {"certificates": []})

    def test_approve_lets_the_named_one_be_used(self, site: Path, database: Database, ask: Ask) -> None:
        status, told = ask("cert", "approve", ADDRESS, print_of(TWO))
        assert (status, told["approved"]) == (0, [print_of(TWO)])
        assert kept(database) == {ONE.der: KeptAs.HARVESTED, TWO.der: KeptAs.HARVESTED, THREE.der: KeptAs.WAITING}
        [line] = audited(site)
        assert (line["event"], line["operation"], line["org"]) == ("certificate_changed", "approve", "hospital")
        assert (line["address"], line["fingerprint"]) == (ADDRESS, print_of(TWO))
        assert (line["who"], line["uid"]) == (os.environ.get("SUDO_USER") or getpass.getuser(), os.getuid())

    def test_approve_wants_to_know_which_where_several_wait(self, database: Database, run: Run) -> None:
        refused = run("cert", "approve", ADDRESS)
        assert (refused.exit_code, "2 wait" in refused.stderr) == (2, True)
        assert run("cert", "approve", ADDRESS, print_of(TWO)).exit_code == 0
        assert run("cert", "approve", ADDRESS).exit_code == 0
        assert set(kept(database).values()) == {KeptAs.HARVESTED}

    def test_what_does_not_wait_cannot_be_approved(self, site: Path, ask: Ask) -> None:
        status, told = ask("cert", "approve", ADDRESS, print_of(ONE))
        assert (status, told["approved"]) == (1, [])
        assert ask("cert", "approve", "other@laboratory.example")[0] == 1
        assert audited(site) == []

    @pytest.mark.parametrize("digits", [8, 64])
    def test_forget_one_by_the_beginning_of_its_fingerprint(self, site: Path, database: Database, ask: Ask, digits: int) -> None:
        named = print_of(THREE)[:digits].upper()
        named = ":".join(named[at : at + 2] for at in range(0, digits, 2))
        status, told = ask("cert", "forget", ADDRESS, named)
        assert (status, told["forgotten"]) == (0, [print_of(THREE)])
        assert kept(database) == {ONE.der: KeptAs.HARVESTED, TWO.der: KeptAs.WAITING}
        assert [line["operation"] for line in audited(site)] == ["forget"]

    def test_forget_everything_of_an_address(self, site: Path, database: Database, run: Run) -> None:
        assert run("cert", "forget", ADDRESS).exit_code == 0
        assert kept(database) == {}
        assert len(audited(site)) == 3
        assert run("cert", "forget", ADDRESS).exit_code == 1

    @pytest.mark.parametrize("wrong", ["xyz", "12345", "zz" * 32, "a" * 65])
    def test_what_is_no_fingerprint_is_said_to_be_none(self, run: Run, wrong: str) -> None:
        assert run("cert", "forget", ADDRESS, wrong).exit_code == 2

    def test_pin_one_that_is_kept(self, database: Database, ask: Ask) -> None:
        status, told = ask("cert", "pin", ADDRESS, print_of(TWO))
        assert (status, told["pinned"], told["new"]) == (0, True, True)
        assert kept(database)[TWO.der] is KeptAs.PINNED
        [pin, *_] = found(database, parse_address(ADDRESS))
        assert (pin.certificate, pin.above) == (TWO.der, (ROOT.der,))

    def test_a_fingerprint_that_is_not_kept_cannot_be_pinned(self, run: Run) -> None:
        assert run("cert", "pin", ADDRESS, "0" * 64).exit_code == 2
        assert run("cert", "pin", "other@laboratory.example", print_of(ONE)).exit_code == 2


def test_approve_puts_one_of_another_organisation_in_the_place_of_what_was_harvested_before(
    site: Path, database: Database, run: Run, ask: Ask, tmp_path: Path
) -> None:
    """Side by side neither would be taken. What names none is in nobody's way, and what a person put in is his."""
    clinic, imported, laboratory = (ROOT.reader(ADDRESS, "p256", subject=f"CN=x,O={name}") for name in ("Clinic", "Clinic", "Lab"))
    teach(database, Harvesting.KEEP, ONE, clinic, laboratory)
    (tmp_path / "imported.pem").write_bytes(imported.pem)
    assert run("cert", "import", str(tmp_path / "imported.pem")).exit_code == 0
    assert kept(database)[laboratory.der] is KeptAs.WAITING
    status, told = ask("cert", "approve", ADDRESS)
    assert (status, told["approved"], told["forgotten"]) == (0, [print_of(laboratory)], [print_of(clinic)])
    assert kept(database) == {ONE.der: KeptAs.HARVESTED, laboratory.der: KeptAs.HARVESTED, imported.der: KeptAs.IMPORTED}
    changes = [(line["operation"], line["fingerprint"]) for line in audited(site)]
    assert changes[-2:] == [("approve", print_of(laboratory)), ("forget", print_of(clinic))]


class TestPin:
    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize("form", ["pem", "der"])
    def test_a_file_is_pinned_and_counts_for_the_gateway(
        self, site: Path, database: Database, run: Run, tmp_path: Path, form: str
    ) -> None:
        file = tmp_path / f"one.{form}"
        file.write_bytes(ONE.pem if form == "pem" else ONE.der)
        for _ in range(2):
            assert run("cert", "pin", ADDRESS, str(file)).exit_code == 0
        assert kept(database) == {ONE.der: KeptAs.PINNED}
        assert [line["operation"] for line in audited(site)] == ["pin"]

    def test_what_stands_behind_it_in_the_file_is_kept_with_it(self, database: Database, run: Run, tmp_path: Path) -> None:
        issuing = ROOT.intermediate()
        own = issuing.reader(ADDRESS, "p256")
        (tmp_path / "chain.pem").write_bytes(own.pem + issuing.pem)
        assert run("cert", "pin", ADDRESS, str(tmp_path / "chain.pem")).exit_code == 0
        [pin] = found(database, parse_address(ADDRESS))
        assert (pin.certificate, pin.above) == (own.der, (issuing.der,))

    def test_it_may_name_somebody_else_and_lead_nowhere(self, database: Database, run: Run, tmp_path: Path) -> None:
        """That is what a pin is for: a domain's gateway, an authority that nobody here believes."""
        own = Ca.root("CN=Elsewhere").organisation_reader("elsewhere.example")
        own.write(tmp_path, "own")
        assert run("cert", "pin", ADDRESS, str(tmp_path / "own.pem")).exit_code == 0
        assert kept(database) == {own.der: KeptAs.PINNED}

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda ca: ca.reader(ADDRESS, not_after=NOW - dt.timedelta(days=1)), "EXPIRED"),
            (pki.short_rsa, "WEAK_ALGORITHM"),
            (pki.not_for_encryption, "KEY_USAGE"),
            (lambda ca: ca.reader(ADDRESS, eku=["code"]), "EKU"),
            (lambda ca: ca.reader(ADDRESS, critical="1.3.6.1.4.1.99999.1"), "CHAIN"),
            (lambda ca: ca.signer(ADDRESS, "ed25519"), "UNSUPPORTED"),
        ],
    )
    def test_what_nobody_could_be_encrypted_to_is_refused_by_its_rule(
        self, database: Database, ask: Ask, tmp_path: Path, make: Callable[[Ca], Issued], reason: str
    ) -> None:
        (tmp_path / "own.der").write_bytes(make(ROOT).der)
        status, told = ask("cert", "pin", ADDRESS, str(tmp_path / "own.der"))
        assert (status, told["pinned"], told["reason"]) == (1, False, reason)
        assert told["detail"]
        assert kept(database) == {}

    def test_one_whose_time_comes_later_may_wait_for_it(self, database: Database, run: Run, tmp_path: Path) -> None:
        own = ROOT.reader(ADDRESS, "p256", not_before=END - dt.timedelta(days=1))
        (tmp_path / "own.der").write_bytes(own.der)
        assert run("cert", "pin", ADDRESS, str(tmp_path / "own.der")).exit_code == 0
        assert kept(database) == {own.der: KeptAs.PINNED}

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_a_file_of_something_else_is_wrong_usage(self, run: Run, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "own").write_bytes(content)
        assert run("cert", "pin", ADDRESS, str(tmp_path / "own")).exit_code == 2
        assert run("cert", "pin", ADDRESS, str(tmp_path / "nowhere")).exit_code == 2
        assert run("cert", "pin", "no address", str(tmp_path / "own")).exit_code == 2


def test_of_several_organisations_one_is_named(site: Path, database: Database, run: Run, tmp_path: Path) -> None:
    toml = (site / "gateway.toml").read_text()
    clinic = '\n[organisation.clinic]\ndomains = ["clinic.example"]\nmail_server = "mailserver"\n'
    (site / "gateway.toml").write_text(toml + clinic)
    (tmp_path / "own.der").write_bytes(ONE.der)
    pin = ("cert", "pin", ADDRESS, str(tmp_path / "own.der"))
    assert run(*pin).exit_code == 2
    assert run(*pin, "--organisation", "ward").exit_code == 2
    assert run(*pin, "--organisation", "clinic").exit_code == 0
    assert kept(database) == {}


def test_before_the_gateway_ever_ran_a_pin_is_made_by_the_owner_of_its_state(site: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.der").write_bytes(ONE.der)
    pin = ("cert", "pin", ADDRESS, str(tmp_path / "own.der"))
    assert run(*pin).exit_code == 3
    assert run("cert", "list").exit_code == 3
    assert not (site / "state").exists()
    (site / "state").mkdir()
    assert run("cert", "list").exit_code == 3
    assert list((site / "state").iterdir()) == []
    assert run(*pin).exit_code == 0
    if os.geteuid() == 0:
        os.chown(site / "state", 65534, 65534)
        (site / "state/state.sqlite").unlink()
        assert run(*pin).exit_code == 3


def test_a_damaged_database_is_unavailable_and_check_says_so(site: Path, run: Run, ask: Ask) -> None:
    (site / "state").mkdir()
    (site / "state/state.sqlite").write_bytes(b"no database" * 100)
    assert run("cert", "list").exit_code == 3
    _, told = ask("check")
    [note] = [note for note in told["notes"] if "state.sqlite" in note]
    assert "not a database" in note
    assert "what would be encrypted waits" in note


@pytest.mark.usefixtures("database")
def test_check_has_nothing_to_say_of_a_sound_one(site: Path, ask: Ask) -> None:
    assert not [note for note in ask("check")[1]["notes"] if "state.sqlite" in note]
    (site / "state/state.sqlite").rename(site / "elsewhere")
    assert not [note for note in ask("check")[1]["notes"] if "state.sqlite" in note]
    assert not (site / "state/state.sqlite").exists()
