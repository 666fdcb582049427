"""Who we are says what we run."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

import pytest

from gateway.config.agents import Agents
from gateway.config.model import Config
from gateway.config.part import Part, WrongUser, part_of

AGENTS = Agents(user="bin", serve="daemon", state=Path("/keys/state"), run=Path("/keys/run"))


def config(agents: Agents | None) -> Config:
    parts: dict[str, Any] = {"state": Path("/state"), "run": Path("/run"), "agents": agents}
    return Config.model_construct(**parts)


def user_id(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def test_one_user_runs_the_whole_whoever_it_is() -> None:
    assert {part_of(config(None), user_id(name)) for name in ("root", "daemon", "nobody")} == {Part.WHOLE}


def test_of_two_users_each_runs_its_part() -> None:
    assert part_of(config(AGENTS), user_id("bin")) is Part.KEYS
    assert part_of(config(AGENTS), user_id("daemon")) is Part.MAIL


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_of_two_users_a_third_runs_nothing(name: str) -> None:
    with pytest.raises(WrongUser, match=r"bin for the key agents, daemon for everything else"):
        part_of(config(AGENTS), user_id(name))


def test_the_agents_have_directories_of_their_own_if_they_are_apart() -> None:
    assert (config(None).key_state, config(None).key_run) == (Path("/state"), Path("/run"))
    assert (config(AGENTS).key_state, config(AGENTS).key_run) == (Path("/keys/state"), Path("/keys/run"))
