"""The users of a client reach our own processes, and a change of their file is a change of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.fingerprint import fingerprint
from gateway.config.load import load
from gateway.config.model import Config
from gateway.config.users import MAX_MEMORY, UsersError, parse_users

LINE = f"scanner:scrypt$16384$8$1$c2Nhbm5lci0tLS0tLS0tLQ==${'A' * 43}=\n"


def test_users_go_with_the_configuration(site: Path) -> None:
    main = site / "gateway.toml"
    proxied = Path(__file__).parent / "bad" / "41-proxy" / "gateway.toml"
    written = proxied.read_text().replace('"10.0.0.5/8", "balancer"', "")
    main.write_text(written.replace("[client.mailserver]", '[client.mailserver]\nusers = "users.txt"'))
    (site / "users.txt").write_text(LINE)
    config = load(main)
    users = config.client["mailserver"].users
    assert users is not None
    assert list(users.by_name) == ["scanner"]
    assert Config.model_validate_json(config.model_dump_json()).client["mailserver"].users == users
    assert str(site / "users.txt") in {name for name, _, _ in fingerprint(config, main)}
    assert "AAAA" not in repr(config)


def test_the_memory_for_a_password() -> None:
    """128 N r bytes (RFC 7914 2)."""
    n, r = 2**16, MAX_MEMORY // 128 // 2**16
    longest = LINE.replace("$16384$8$", f"${n}${r}$")
    assert parse_users(longest.encode()).by_name["scanner"].n == n
    with pytest.raises(UsersError, match="too large"):
        parse_users(longest.replace(f"${r}$", f"${r + 1}$").encode())
