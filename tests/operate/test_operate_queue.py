"""``queue`` shows envelopes and reasons, never content; what a person does stands in the audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import Result

from gateway.config.load import load
from gateway.mail.address import parse_address
from gateway.mail.ending import Held
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, Recipient, Role, Stage
from gateway.mail.identifier import make_mail_id
from gateway.outcome import Reason
from gateway.spool.epoch import load_sealing_key
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.store import Settlement
from gateway.supervise import tree_file

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]

AT = 1_772_366_400_000_000
HELD = make_mail_id(AT, b"0" * 10)
WAITS = make_mail_id(AT, b"1" * 10)
PARENT = make_mail_id(AT, b"2" * 10)
GONE = make_mail_id(AT, b"3" * 10)


@pytest.fixture
def spool(site: Path) -> None:
    """A spool with two mails: one held because a certificate is missing, one that waits."""

    async def fill() -> None:
        sealing = (load_sealing_key("spool", (site / "keys/spool.pub").read_bytes()),)
        spool = SqliteSpool(site / "state", sealing=sealing, now=lambda: AT)
        await spool.start()
        try:
            for identifier in (HELD, WAITS):
                writer = spool.bodies.create()
                writer.write(b"Subject: a secret subject\r\n\r\nand a secret text\r\n")
                recipients = (Recipient(parse_address("results@laboratory.example")),)
                envelope = Envelope(parse_address("cardiology@hospital.example"), recipients)
                arrival = Arrival(identifier, AT, "hospital", Direction.OUTBOUND, Role.INSIDE, "inside", client="mailserver")
                arrival = replace(arrival, parent=PARENT if identifier == WAITS else None)
                await spool.accept(Mail(arrival, envelope, writer.close(), Stage.FLOW))
                if identifier == HELD:
                    (lease,) = await spool.lease(1)
                    held = Held(recipients, Reason.NO_CERTIFICATE, "rule held: nothing in folder")
                    await spool.replace(lease, Settlement(remainders=(held,)))
        finally:
            await spool.close()

    asyncio.run(fill())


@pytest.mark.usefixtures("spool")
class TestFilled:
    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("gateway.toml", "port = 2525", "port = 252525"),
            ("gateway.toml", "port = 2525", "port = 25 25"),
            ("zones/health.toml", "anchors", "anchor"),
        ],
    )
    def test_while_the_files_are_wrong_what_is_in_force_counts(
        self, run: Run, ask: Ask, site: Path, file: str, old: str, new: str
    ) -> None:
        """The gateway goes on by what it took last, and whoever made the mistake may look into the queue meanwhile."""
        (site / "run").mkdir()
        tree_file(site / "run").write_text(load(site / "gateway.toml").model_dump_json())
        (site / file).write_text((site / file).read_text().replace(old, new))
        assert run("check").exit_code == 2
        shown = run("queue", "list")
        assert shown.exit_code == 0
        assert HELD in shown.stdout
        assert "gateway.toml is wrong, as `check` says in full" in shown.stderr
        assert ask("queue", "release", HELD)[0] == 0
        assert run("status").exit_code == 3  # not running, and no longer that nobody can say

    @pytest.mark.parametrize(("old", "new"), [('run = "run"', 'run = "elsewhere'), ('run = "run"', "run = 1"), ("port = 2525", "")])
    def test_without_one_in_force_the_mistakes_are_told(self, run: Run, site: Path, old: str, new: str) -> None:
        (site / "gateway.toml").write_text((site / "gateway.toml").read_text().replace(old, new))
        shown = run("queue", "list")
        assert shown.exit_code == 2
        assert "gateway.toml:" in shown.stderr

    def test_list_shows_envelopes_and_reasons_and_nothing_of_the_content(self, run: Run, ask: Ask) -> None:
        shown = run("queue", "list")
        assert shown.exit_code == 0
        assert "NO_CERTIFICATE" in shown.stdout
        assert "results@laboratory.example" in shown.stdout
        _, told = ask("queue", "list")
        assert [(each["mail"], each["state"]) for each in told["mails"]] == [(HELD, "held"), (WAITS, "waiting")]
        assert told["mails"][0]["arrived"] == "2026-03-01T12:00:00.000000Z"
        assert "secret" not in shown.stdout + json.dumps(told)

    def test_list_may_be_narrowed_to_a_state(self, ask: Ask) -> None:
        _, told = ask("queue", "list", "--state", "held")
        assert [each["mail"] for each in told["mails"]] == [HELD]

    def test_a_row_that_cannot_be_read_is_shown_as_such_beside_the_others(self, site: Path, run: Run, ask: Ask) -> None:
        """With its identifier, so that it can be dropped."""
        database = apsw.Connection(str(site / "state/spool.sqlite"))
        database.execute("UPDATE mail SET content = '{}' WHERE id = ?", (HELD,))
        database.close()
        shown = run("queue", "list")
        assert shown.exit_code == 0
        assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [HELD, WAITS]
        assert "unreadable: content is not of version 1" in shown.stdout
        _, told = ask("queue", "list", "--state", "held")
        assert told["mails"] == [
            {
                "mail": HELD,
                "organisation": "hospital",
                "state": "held",
                "unreadable": True,
                "detail": "content is not of version 1",
            }
        ]
        for verb in ("why", "show"):
            shown = run("queue", verb, HELD)
            assert shown.exit_code == 0
            assert "content is not of version 1" in shown.stdout
        assert ask("queue", "drop", "--yes", HELD) == (0, {"dropped": [HELD], "not_found": []})
        (line,) = [line for file in (site / "state/audit").glob("queue-*") for line in file.read_text().splitlines()]
        assert json.loads(line)["org"] == "hospital"
        assert [each["mail"] for each in ask("queue", "list")[1]["mails"]] == [WAITS]

    def test_why_says_reason_and_next_step(self, run: Run, ask: Ask) -> None:
        shown = run("queue", "why", HELD.lower())
        assert shown.exit_code == 0
        assert "NO_CERTIFICATE: No usable certificate" in shown.stdout
        assert "import the recipient's certificate" in shown.stdout
        assert "rule held: nothing in folder" in shown.stdout
        _, told = ask("queue", "why", HELD)
        assert told["owner"] == "administrator"

    def test_show_tells_all_but_the_content(self, run: Run) -> None:
        shown = run("queue", "show", WAITS).stdout
        assert "mailserver" in shown
        assert "secret" not in shown

    def test_release_lets_a_held_mail_go_on_and_says_so_in_the_audit(self, site: Path, run: Run, ask: Ask) -> None:
        assert run("queue", "release", HELD).exit_code == 0
        _, told = ask("queue", "show", HELD)
        assert told["state"] == "waiting"
        (line,) = [line for file in (site / "state/audit").glob("queue-*") for line in file.read_text().splitlines()]
        record = json.loads(line)
        assert (record["event"], record["mail"], record["org"]) == ("mail_released", HELD, "hospital")
        assert record["who"]

    def test_a_mail_that_waits_is_tried_now(self, run: Run, ask: Ask) -> None:
        assert run("queue", "release", WAITS).exit_code == 0
        assert ask("queue", "release", HELD, GONE) == (1, {"released": [HELD], "not_found": [GONE]})

    def test_a_mail_that_went_on_as_copies_leads_to_them(self, run: Run, ask: Ask) -> None:
        """The server that brought it knows no other identifier, and it is not done."""
        for verb in ("why", "show"):
            shown = run("queue", verb, PARENT)
            assert shown.exit_code == 1
            assert shown.stdout == f"{PARENT}: no such mail any more; of it there are still: {WAITS}\n"
        assert ask("queue", "why", PARENT) == (1, {"mail": PARENT, "error": "not found", "copies": [WAITS]})

    def test_drop_asks_first(self, run: Run, ask: Ask) -> None:
        assert run("queue", "drop", HELD, answer="n\n").exit_code == 1
        assert len(ask("queue", "list")[1]["mails"]) == 2
        assert run("queue", "drop", HELD, answer="y\n").exit_code == 0
        assert [each["mail"] for each in ask("queue", "list")[1]["mails"]] == [WAITS]

    def test_drop_with_yes_asks_nothing(self, ask: Ask) -> None:
        status, told = ask("queue", "drop", "--yes", HELD)
        assert (status, told["dropped"]) == (0, [HELD])

    def test_a_mail_that_is_not_there_is_a_clean_no(self, site: Path, run: Run) -> None:
        """And what became of it can be looked up: the most asked question there is."""
        for command in (["why"], ["show"], ["release"], ["drop", "--yes"]):
            assert run("queue", *command, GONE).exit_code == 1
        assert f"it is done, or never was here: see its lines in {site / 'state' / 'audit'}" in run("queue", "why", GONE).stdout


def test_without_a_spool_it_is_unavailable_and_none_is_made(site: Path, run: Run) -> None:
    assert run("queue", "list").exit_code == 3
    assert not (site / "state").exists()
