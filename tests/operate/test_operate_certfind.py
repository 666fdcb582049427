"""``cert find``: each source, each certificate, and why it is taken or not, in the words of reasons.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.edge.clock import now
from gateway.mail.address import parse_address
from gateway.outcome import REASONS, Reason
from gateway.state.certificates import KeptCertificates
from gateway.state.state import open_state
from tests.doubles import Events
from tests.pki import Ca

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]

ADDRESS = "results@laboratory.example"
FOREIGN = Ca.root("CN=Stranger").reader(ADDRESS, "p256")


def test_the_one_that_is_taken(ask: Ask) -> None:
    status, told = ask("cert", "find", ADDRESS)
    assert status == 0
    assert (told["address"], told["organisation"], told["zone"]) == (ADDRESS, "hospital", "health")
    assert (told["found"]["source"], told["found"]["trust"], told["found"]["assurance"]) == ("folder", "verified", "zone")
    (source,) = told["sources"]
    assert (source["source"], source["needed"], source["unavailable"]) == ("folder", True, None)
    assert source["seconds"] >= 0
    (candidate,) = source["candidates"]
    assert (candidate["taken"], candidate["binding"], candidate["reason"]) == (True, "mailbox", None)
    assert candidate["fingerprint"] == told["found"]["fingerprint"]


def test_none_and_who_can_do_what(ask: Ask, run: Run) -> None:
    """The same words as those of ``explain``, and of the notice to the sender."""
    status, told = ask("cert", "find", "nobody@laboratory.example")
    assert (status, told["found"], told["reason"]) == (1, None, "NO_CERTIFICATE")
    assert told["public"] == REASONS[Reason.NO_CERTIFICATE].public
    _, explained = ask("explain", "--from", "cardiology@hospital.example", "--to", "nobody@laboratory.example")
    for key in ("reason", "public", "owner", "next_step"):
        assert explained["to"][0][key] == told[key]
    assert explained["to"][0]["detail"].endswith(told["detail"])
    assert "none: NO_CERTIFICATE" in run("cert", "find", "nobody@laboratory.example").stdout


def test_each_certificate_says_why_not(ask: Ask, run: Run, site: Path) -> None:
    (site / "certificates" / "foreign.pem").write_bytes(FOREIGN.chain_pem)
    status, told = ask("cert", "find", ADDRESS)
    assert status == 0
    (found,) = [each for each in told["sources"][0]["candidates"] if not each["taken"]]
    assert (found["trust"], found["reason"], found["issuer"]) == ("discovered", "CHAIN", "CN=Stranger")
    shown = run("cert", "find", ADDRESS).stdout
    assert f"discovered: CN={ADDRESS}" in shown
    assert "no path to an anchor" in shown
    assert "not taken: it stands at discovered, and the one that is taken at verified" in shown


def test_a_pin_counts_at_once_and_the_rest_is_not_needed(ask: Ask, site: Path, tmp_path: Path) -> None:
    (site / "state").mkdir()
    open_state(site / "state", now).close()
    (tmp_path / "foreign.pem").write_bytes(FOREIGN.chain_pem)
    assert ask("cert", "pin", ADDRESS, str(tmp_path / "foreign.pem"))[0] == 0
    status, told = ask("cert", "find", ADDRESS)
    assert status == 0
    assert (told["found"]["source"], told["found"]["trust"], told["found"]["assurance"]) == ("pinned", "pinned", "pinned")
    assert [(each["source"], each["needed"]) for each in told["sources"]] == [("pinned", True), ("folder", False)]
    _, explained = ask("explain", "--from", "cardiology@hospital.example", "--to", ADDRESS)
    assert explained["to"][0]["certificate"] == {"source": "pinned", "trust": "pinned", "assurance": "pinned", "marks": []}


def test_what_waits_is_shown(ask: Ask, site: Path) -> None:
    from gateway.mail.identifier import make_mail_id
    from gateway.trust.harvested import Harvesting, Taught

    (site / "state").mkdir()
    database = open_state(site / "state", now)

    async def teach() -> None:
        kept = KeptCertificates(database, Events(), now)
        address = parse_address("new@laboratory.example")
        for number, issued in enumerate((FOREIGN, Ca.root("CN=Other").reader("new@laboratory.example", "p256"))):
            taught = Taught(address, issued.der, (), "health", now() - 10**9 + number)
            kept.teach("hospital", make_mail_id(now(), bytes(10)), taught, Harvesting.APPROVE)
        await kept.kept("hospital", address)

    try:
        asyncio.run(teach())
    finally:
        database.close()
    status, told = ask("cert", "find", "new@laboratory.example")
    assert status == 1
    reasons = {each["reason"] for each in told["sources"][-1]["candidates"]}
    assert told["sources"][-1]["source"] == "harvested"
    assert "APPROVAL_PENDING" in reasons


def test_for_whom(ask: Ask, run: Run) -> None:
    _, told = ask("cert", "find", ADDRESS, "--from", "cardiology@hospital.example")
    assert told["organisation"] == "hospital"
    assert run("cert", "find", ADDRESS, "--organisation", "nobody").exit_code == 2
    assert run("cert", "find", "nonsense").exit_code == 2


@pytest.mark.parametrize("address", ["somebody@elsewhere.example"])
def test_outside_of_zones(ask: Ask, address: str) -> None:
    status, told = ask("cert", "find", address)
    assert (status, told["zone"], told["reason"]) == (1, None, "NO_CERTIFICATE")
