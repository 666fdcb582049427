"""A mistake in the configuration: where it is, what was found there, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

KeyPath = tuple[str | int, ...]

_SECRET: Final = frozenset({"pin", "password", "passphrase"})
_SHOWN: Final = 80
_LISTED: Final = 8


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. ``line`` counts from 1; ``path`` is the key's path inside ``file``, or "" for the file itself."""

    file: Path
    line: int
    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.path}" if self.path else f"{self.file}:{self.line}"
        return f"{where}: found {self.found}; allowed: {self.allowed}"


class ConfigError(Exception):
    """The configuration is wrong. ``mistakes`` is every mistake there is, in the order of files and lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.file, mistake.line)))
        super().__init__("\n".join(map(str, self.mistakes)))


class Finding(NamedTuple):
    """A mistake before its place is known. ``path`` begins with ("zone", NAME) where it is in a file of ``zones/``."""

    path: KeyPath
    found: str
    allowed: str


def shown(value: object, path: KeyPath = ()) -> str:
    """``value`` as an administrator wrote it, cut to a line. What stands where a secret is meant is never shown."""
    if isinstance(value, dict):
        return "a section with " + ", ".join(map(str, value)) if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if not _SECRET.isdisjoint(path):
        return "a value that is not shown"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def one_of(names: Iterable[str], wrong: str, what: str) -> str:
    """``what``, the nearest of ``names`` to ``wrong``, and the names there are."""
    known = sorted(names)
    if not known:
        return f"{what}, of which there is none"
    nearest = get_close_matches(wrong, known, 1)
    guess = f"; did you mean '{nearest[0]}'?" if nearest else ""
    listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
    return f"{what} ({listed}){guess}"


def dotted(path: KeyPath) -> str:
    """``path`` as TOML writes it, with numbers (from 0) in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.isascii() and part.replace("-", "").replace("_", "").isalnum()
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text
