"""What the modes of a file and of the directories above it let a user do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.operate.cli import main
from gateway.operate.exposed import may

READ, WRITE = os.R_OK, os.W_OK
STRANGER = "nobody"  # in no group of ours


@pytest.fixture
def file() -> Iterator[Path]:
    """A file in a directory that everybody may pass through, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="smime-gateway-exposed-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "secret").touch()
        yield folder / "secret"


@pytest.mark.parametrize(
    ("mode", "access", "expected"),
    [(0o644, READ, True), (0o640, READ, False), (0o644, WRITE, False), (0o642, WRITE, True), (0o600, READ, False)],
)
def test_a_stranger_may_what_the_last_three_bits_say(file: Path, mode: int, access: int, expected: bool) -> None:
    file.chmod(mode)
    assert may(STRANGER, file, access) is expected


def test_a_closed_directory_closes_what_is_in_it(file: Path) -> None:
    file.chmod(0o644)
    file.parent.chmod(0o710)
    assert not may(STRANGER, file, READ)


@pytest.mark.parametrize("access", [READ, WRITE])
def test_an_owner_may_what_he_can_let_himself(file: Path, access: int) -> None:
    """By chmod(2), to what is his and to what lies in a directory of his."""
    owner = file.owner()
    file.chmod(0o400)
    assert may(owner, file, access)
    file.chmod(0o066)
    file.parent.chmod(0o600)
    assert may(owner, file, access)


def test_what_is_not_there_is_open_to_nobody(file: Path) -> None:
    assert not may(STRANGER, file.with_name("other"), READ)


def test_check_names_secrets_that_everybody_may_read(file: Path, world: dict[str, bytes]) -> None:
    """Also where all of it runs as one user."""
    for name, data in world.items():
        (file.parent / name).parent.mkdir(exist_ok=True)
        (file.parent / name).write_bytes(data)
    keys = file.parent / "keys"
    for key in keys.glob("*.key"):
        key.chmod(0o600)
    ask = ["check", "--config", str(file.parent / "gateway.toml")]
    assert "may read" not in CliRunner().invoke(main, ask).stdout
    for name in ("spool", "gateway"):
        (keys / f"{name}.key").chmod(0o644)
    told = CliRunner().invoke(main, ask).stdout
    assert f"note: every user of this host may read {keys / 'spool.key'}" in told
    assert f"note: every user of this host may read {keys / 'gateway.key'}" in told
    keys.chmod(0o750)
    assert "may read" not in CliRunner().invoke(main, ask).stdout
