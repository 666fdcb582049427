"""How commands answer: words for people, one JSON object with ``--json``, and an exit status that means the same everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click

DEFAULT_CONFIG: Final = Path("/etc/smime-gateway/gateway.toml")

# Control characters (C0, DEL, C1) move cursors and change colours; bidirectional ones reorder what is read. The line end is ours.
_UNSAFE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

P = ParamSpec("P")
T = TypeVar("T")


class Exit(IntEnum):
    """Exit statuses."""

    DONE = 0
    NO = 1
    """A clean no: not verified, not found, would be refused."""
    WRONG = 2
    """Wrong usage, wrong configuration, unreadable input."""
    UNAVAILABLE = 3
    """The gateway, or a part it needs, is unavailable."""


@dataclass(slots=True)
class Settings:
    """What every command is told: where the configuration is, and whether the answer is for a program."""

    config: Path = DEFAULT_CONFIG
    as_json: bool = False


def command_options(function: Callable[Concatenate[Settings, P], T]) -> Callable[P, T]:
    """Gives a command ``--config`` and ``--json``, and hands it the :class:`Settings` first. Put it nearest to the function."""

    def note_config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            context.ensure_object(Settings).config = value

    def note_json(context: click.Context, _: click.Parameter, value: bool) -> None:
        settings = context.ensure_object(Settings)
        settings.as_json = settings.as_json or value

    passing = click.make_pass_decorator(Settings, ensure=True)(function)
    with_json = click.option("--json", is_flag=True, expose_value=False, callback=note_json, help="Answer in JSON.")(passing)
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option(
        "--config", type=path, expose_value=False, callback=note_config, help=f"The configuration.  [default: {DEFAULT_CONFIG}]"
    )(with_json)


def safe(text: object) -> str:
    """``text`` as it may be shown on a terminal, whoever wrote it."""
    return _UNSAFE.sub(lambda matched: f"\\x{ord(matched[0]):02x}", str(text))


def say(text: str = "", *, error: bool = False) -> None:
    """A line for people."""
    click.echo(safe(text), err=error)


def answer(settings: Settings, data: Mapping[str, Any], people: Iterable[str]) -> None:
    """``data`` in JSON, or the lines ``people`` instead."""
    if settings.as_json:
        click.echo(json.dumps(data, ensure_ascii=True, default=str))
    else:
        for line in people:
            say(line)


def columns(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table as lines: each column as wide as its widest cell, the last as long as it likes."""
    cells = [[safe(cell).replace("\n", " ") for cell in row] for row in (titles, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles) - 1)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in cells]
