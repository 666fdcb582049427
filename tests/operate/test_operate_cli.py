"""The command line: exit statuses, --json everywhere, safe words, and a quick start."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.operate.cli import COMMANDS, main
from gateway.operate.output import columns, safe

Run = Callable[..., Result]
Ask = Callable[..., tuple[int, Any]]


def test_the_list_of_commands_is_told_without_loading_any() -> None:
    code = "import sys; from gateway.operate.cli import main; main(['--help'], standalone_mode=False); "
    code += "sys.exit(any(name.startswith(('pydantic', 'cryptography', 'gateway.edge')) for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_the_version_is_that_of_the_project() -> None:
    """Said from a copy of the repository too, which is how docs/install.md has it, and where no distribution is installed."""
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    done = CliRunner().invoke(main, ["--version"], prog_name="smime-gateway")
    assert (done.exit_code, done.output) == (0, f"smime-gateway, version {declared}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["check", "--nonsense"], ["explain"], ["queue", "why", "x"], ["peer", "test"]])
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_right_configuration_ends_with_0(run: Run) -> None:
    done = run("check")
    assert done.exit_code == 0
    assert "gateway.toml is right" in done.stdout
    assert "rule fax-unprotected lets mail out unprotected" in done.stdout
    assert "zone health never asks" in done.stdout


@pytest.mark.parametrize(("host", "told"), [("10.1.0.10", True), ("mail.hospital.example", True), ("::1", False)])
def test_check_says_where_opened_mail_goes_in_clear(run: Run, site: Path, host: str, told: bool) -> None:
    file = site / "gateway.toml"
    place = '[route.mailserver]\nhost = "127.0.0.1"'
    note = "organisation hospital hands what it has opened to route mailserver in clear, over the network"
    assert note not in run("check").stdout
    file.write_text(file.read_text().replace(place, place.replace("127.0.0.1", host)))
    assert (note in run("check").stdout) is told
    file.write_text(file.read_text().replace(host, f'{host}"\ntls = "starttls'))
    assert note not in run("check").stdout


def test_every_way_out_in_clear_is_told(run: Run, site: Path) -> None:
    """Also that of a rule that names its direction, and of the default, unless a rule decides about everything."""
    default = "note: organisation hospital: what no rule decides leaves unprotected, outside of zones (default-outside-unprotected)"
    assert default in run("check").stdout
    text = (site / "gateway.toml").read_text()
    (site / "gateway.toml").write_text(
        text.replace('when = { recipient = ["@fax', 'when = { direction = "outbound", recipient = ["@fax')
    )
    assert "rule fax-unprotected lets mail out unprotected" in run("check").stdout
    (site / "gateway.toml").write_text(
        text + '\n[[rule]]\nname = "all"\nwhen = { direction = "inbound" }\nprotect = "unprotected"\n'
    )
    assert default in run("check").stdout
    (site / "gateway.toml").write_text(text + '\n[[rule]]\nname = "all"\nprotect = "both"\n')
    assert default not in run("check").stdout
    (site / "gateway.toml").write_text(text.replace('outbound = "smarthost"', ""))
    assert default not in run("check").stdout


def test_what_is_never_asked_is_told_by_purpose(run: Run, site: Path) -> None:
    """A zone that asks about peers and not about signers."""
    zone = site / "zones" / "health.toml"
    text = zone.read_text().replace('revocation = "unsafe_off"', 'revocation_of = { signer = "unsafe_off", reader = "soft" }')
    zone.write_text(text)
    told = run("check").stdout
    assert "zone health never asks whether the certificate of a signer is revoked" in told
    assert "of a reader" not in told
    assert "whether a certificate is revoked" not in told


def test_a_peer_that_may_show_a_servers_certificate_is_told(run: Run, site: Path) -> None:
    """It is no mistake, and somebody should know of it; by default there is none."""
    assert "meant for servers" not in run("check").stdout
    zone = site / "zones" / "health.toml"
    zone.write_text(zone.read_text() + 'client_usage = "server-auth-allowed"\n')
    done = run("check")
    assert done.exit_code == 0
    assert "note: peer health/" in done.stdout
    assert "meant for servers when it connects to us" in done.stdout


def test_the_configuration_may_be_named_after_the_command_too(site: Path) -> None:
    done = CliRunner().invoke(main, ["check", "--config", str(site / "gateway.toml"), "--json"])
    assert done.exit_code == 0


def test_a_wrong_configuration_ends_with_2_and_every_mistake_for_every_command(site: Path, run: Run, ask: Ask) -> None:
    text = (site / "gateway.toml").read_text()
    (site / "gateway.toml").write_text(text.replace("port = 2525", "port = 70000").replace("[tls.gateway]", "[tsl.gateway]"))
    for command in (["check"], ["status"], ["peer", "list"], ["queue", "list"]):
        done = run(*command)
        assert done.exit_code == 2
        assert not done.stdout
        assert "listener.inside.port: found 70000" in done.stderr
        assert "did you mean 'tls'?" in done.stderr
    status, told = ask("check")
    assert status == 2
    first = told["mistakes"][0]
    assert first.keys() == {"file", "line", "path", "found", "allowed"}
    assert {mistake["path"] for mistake in told["mistakes"]} >= {"listener.inside.port", "tsl"}


def test_a_configuration_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--config", str(tmp_path / "none.toml"), "check"])
    assert done.exit_code == 2


def test_a_gateway_that_does_not_run_ends_with_3(run: Run, ask: Ask) -> None:
    assert run("status").exit_code == 3
    status, told = ask("status")
    assert (status, told["running"]) == (3, False)


def test_peers_are_listed_with_what_their_certificates_must_show(run: Run, ask: Ask) -> None:
    shown = run("peer", "list").stdout
    assert "gateway.laboratory.example" in shown
    assert "CN=gateway,O=Radiology,C=FR" in shown
    assert "radiology.example, imaging.example" in shown
    _, told = ask("peer", "list", "--zone", "health")
    assert [each["peer"] for each in told["peers"]] == ["laboratory", "radiology"]
    assert run("peer", "list", "--zone", "none").exit_code == 2


@pytest.mark.parametrize("name", ["none", "none/laboratory"])
def test_a_peer_that_is_not_there_is_wrong_usage(run: Run, name: str) -> None:
    assert run("peer", "test", name).exit_code == 2


def test_control_characters_never_reach_a_terminal() -> None:
    assert safe("a\x1b[31mb\x07\r\u202ec\x9b") == "a\\x1b[31mb\\x07\\x0d\\u202ec\\x9b".replace("\\u", "\\x")
    assert safe("é 漢 plain") == "é 漢 plain"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns(("A", "B"), [("long", 1), ("x", "two\nlines")]) == ["A     B", "long  1", "x     two lines"]
