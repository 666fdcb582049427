"""docs/configuration.md documents every key, no other, and the default it really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from gateway.config.correspondents import Correspondents
from gateway.config.model import (
    Agents,
    Client,
    Config,
    Directory,
    Endpoint,
    Fetching,
    Floor,
    HeaderTrigger,
    Inbound,
    Key,
    KnownReader,
    Limits,
    Listener,
    Opens,
    Organisation,
    Processes,
    Recipients,
    Retry,
    Route,
    Rule,
    Secret,
    Section,
    TlsIdentity,
    Token,
    When,
    Zone,
    ZonePeer,
)
from gateway.config.revocation import RevocationOf, ZoneRevocationOf

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
SECTIONS: dict[str, type[Section]] = {
    "The top": Config,
    "`[organisation.NAME]`": Organisation,
    "`recipients` of an organisation": Recipients,
    "`inbound` of an organisation": Inbound,
    "`revocation_of` of an organisation": RevocationOf,
    "`floor` of an organisation": Floor,
    "`[[organisation.NAME.correspondents]]`": Correspondents,
    "`[[organisation.NAME.reader]]`": KnownReader,
    "`opens` of a reader or of a peer": Opens,
    "`[token]`": Token,
    "Secrets": Secret,
    "`[key.NAME]`": Key,
    "`[tls.NAME]`": TlsIdentity,
    "`[listener.NAME]`": Listener,
    "`[client.NAME]`": Client,
    "`[route.NAME]`": Route,
    "`[directory.NAME]`": Directory,
    "`[[rule]]`": Rule,
    "`when` of a rule": When,
    "`header` of a rule": HeaderTrigger,
    "`zones/NAME.toml`": Zone,
    "`revocation_of` of a zone": ZoneRevocationOf,
    "`[[peer]]`": ZonePeer,
    "`[limits]`": Limits,
    "`[retry]`": Retry,
    "`[processes]`": Processes,
    "`[agents]`": Agents,
    "`[metrics]`": Endpoint,
    "`[fetching]`": Fetching,
}


def rows(title: str) -> dict[str, str]:
    """Key and default of each row of the table under ``title``."""
    part = re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", part, re.MULTILINE))


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_documented_and_no_other(title: str) -> None:
    assert list(rows(title)) == list(SECTIONS[title].model_fields)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_documented_default_is_the_real_one(title: str) -> None:
    for name, told in rows(title).items():
        field = SECTIONS[title].model_fields[name]
        default = field.default
        assert (told == "required") == field.is_required(), name
        if isinstance(default, bool):
            assert told == f"`{str(default).lower()}`", name
        elif isinstance(default, str | int | float):
            assert told.strip("`") == str(default) or (told, default) == ("empty", ""), name
        elif default in (None, ()) or default is PydanticUndefined:
            assert "`" not in told, name


def test_every_section_of_the_model_is_on_the_page() -> None:
    def below(section: type[Section]) -> set[type[Section]]:
        direct = {each for each in section.__subclasses__() if each.__module__.startswith("gateway.config")}
        return direct.union(*map(below, direct))

    assert below(Section) == set(SECTIONS.values())
