"""``user line``: what it prints is a line that a file of users may have, and the password is in none of it."""

from __future__ import annotations

import hashlib
import json

import pytest
from click.testing import CliRunner

from gateway.config.users import parse_users
from gateway.operate.cli import main


def test_its_line_opens_to_the_password_it_read() -> None:
    ran = CliRunner().invoke(main, ["user", "line", "scanner"], input="open s\u00e9same\n")
    assert ran.exit_code == 0
    known = parse_users(ran.stdout.encode()).by_name["scanner"]
    again = hashlib.scrypt("open s\u00e9same".encode(), salt=known.salt, n=known.n, r=known.r, p=known.p, maxmem=2**27, dklen=64)
    assert known.hash == again[: len(known.hash)]
    assert "same" not in ran.output


def test_two_lines_of_one_password_differ() -> None:
    lines = {CliRunner().invoke(main, ["user", "line", "scanner", "--json"], input="x\n").stdout for _ in range(2)}
    assert len({json.loads(line)["line"] for line in lines}) == 2


@pytest.mark.parametrize(
    ("name", "password"), [("a:b", "x\n"), ("#a", "x\n"), ("", "x\n"), ("scanner", ""), ("scanner", "x" * 513)]
)
def test_what_can_be_no_user_is_refused(name: str, password: str) -> None:
    ran = CliRunner().invoke(main, ["user", "line", name], input=password)
    assert ran.exit_code == 2
    assert "scrypt" not in ran.output
