"""The configuration the gateway works by, also while its files hold a mistake: whoever is called at night must see the queue."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from gateway.config.load import load
from gateway.config.mistake import ConfigError
from gateway.config.model import Config
from gateway.operate.output import Settings, say
from gateway.supervise import read_tree

_SECTION: Final = re.compile(r"^\s*\[", re.MULTILINE)
_READ: Final = 1 << 20  # characters: what stands before the first section is short


def in_force(settings: Settings) -> Config:
    """That of the files. Where they are wrong, what the gateway was last started or reloaded with, and a word about that on
    standard error.

    Raises :class:`ConfigError` where the files are wrong, and nothing they say before their first section leads to another.
    """
    try:
        return load(settings.config)
    except ConfigError as wrong:
        try:
            config = read_tree(_run(settings.config.absolute()))
        except (OSError, ValueError, KeyError, TypeError):
            raise wrong from None
    say(f"{settings.config} is wrong, as `check` says in full: this is by the configuration in force", error=True)
    return config


def _run(path: Path) -> Path:
    """The run directory, as it stands before the first section. Raises OSError, ValueError, KeyError or TypeError."""
    with path.open() as file:
        text = file.read(_READ)
    run: str = tomllib.loads(_SECTION.split(text, 1)[0])["run"]
    return path.parent / run
