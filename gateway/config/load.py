"""``gateway.toml`` and ``zones/*.toml`` beside it become one frozen tree, or an error that holds every mistake at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from gateway.config.kinds import Reading
from gateway.config.lines import Lines
from gateway.config.mistake import ConfigError, Finding, KeyPath, Mistake, dotted, one_of, shown
from gateway.config.model import Config, Zone
from gateway.config.references import references, repeated
from gateway.config.shape import take

__all__ = ["ConfigError", "load"]

MAX_FILE: Final = 32 * 1024 * 1024
ZONES: Final = "zones"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NOT_IN_FILE: Final = frozenset({"zone", "generation"})


def load(path: Path, generation: int = 0) -> Config:
    """The configuration in the file ``path``; ``generation`` is the number it is to carry.

    Reads the files it names (certificates, public keys, anchors, TLS keys), never a secret. Raises :class:`ConfigError`
    and, whatever the files hold, nothing else.
    """
    main = _Source.read(path.absolute())
    mistakes: list[Mistake] = []
    zones = {file.stem: _Source.read(file) for file in _zone_files(path.absolute().parent / ZONES, mistakes)}
    mistakes += [mistake for source in (main, *zones.values()) for mistake in source.mistakes]
    if main.data is None:
        raise ConfigError(mistakes)
    config, findings = _build(main, zones)
    findings += repeated({**main.data, "zone": {name: source.data for name, source in zones.items()}})
    findings += references(config, has_token="token" in main.data)
    for finding in findings:
        source, inner = main, finding.path
        if len(inner) > 1 and inner[0] == "zone" and inner[1] in zones:
            source, inner = zones[str(inner[1])], inner[2:]
        mistakes.append(source.mistake(inner, finding.found, finding.allowed))
    if mistakes:
        raise ConfigError(mistakes)
    return config.model_copy(update={"generation": generation})


def _zone_files(folder: Path, mistakes: list[Mistake]) -> list[Path]:
    """The files in ``folder``. One that is there and cannot be read is a mistake, and not one without zones."""
    try:
        return sorted(file for file in folder.iterdir() if file.name.endswith(".toml")) if os.path.lexists(folder) else []
    except OSError as error:
        mistakes.append(Mistake(folder, 1, "", error.strerror or type(error).__name__, "a directory that can be read"))
        return []


@dataclass(slots=True)
class _Source:
    """One TOML file: what it holds (None where it cannot be read) and where each key stands."""

    file: Path
    data: dict[str, Any] | None = None
    lines: Lines = field(default_factory=lambda: Lines(""))
    mistakes: list[Mistake] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> _Source:
        source = cls(file)
        try:
            with file.open("rb") as stream:
                raw = stream.read(MAX_FILE + 1)
        except (OSError, ValueError) as error:
            source._broken(1, getattr(error, "strerror", None) or "no file name", "a TOML file that can be read")
            return source
        if len(raw) > MAX_FILE:
            source._broken(1, "a file too large", f"at most {MAX_FILE} bytes")
            return source
        try:
            text = raw.decode().replace("\r\n", "\n")
            source.data = tomllib.loads(text)
            source.lines = Lines(text)
        except UnicodeDecodeError as error:
            source._broken(raw.count(b"\n", 0, error.start) + 1, "bytes that are no text", "UTF-8")
        except ValueError as error:
            told = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
            line = int(told[2] or text.count("\n") + 1) if told else 1
            source._broken(line, f"broken TOML ({told[1]})" if told else "a number too long", "TOML (https://toml.io)")
        except RecursionError:
            source._broken(1, "values nested too deep", "TOML (https://toml.io)")
        return source

    def mistake(self, path: KeyPath, found: str, allowed: str) -> Mistake:
        return Mistake(self.file, self.lines.line(path), dotted(path), found, allowed)

    def _broken(self, line: int, found: str, allowed: str) -> None:
        self.data = None
        self.mistakes.append(Mistake(self.file, line, "", found, allowed))


def _build(main: _Source, zones: dict[str, _Source]) -> tuple[Config, list[Finding]]:
    """A configuration of the sections that are right, and what is wrong with the others. Each is read by itself, so that one
    mistake hides no other.
    """
    data, findings = main.data or {}, list[Finding]()
    known = Config.model_fields.keys() - _NOT_IN_FILE
    for key in data.keys() - known:
        allowed = "zones in files of their own, zones/NAME.toml" if key == "zone" else one_of(known, key, "a section or key")
        findings.append(Finding((key,), "an unknown key", allowed))
    names = {key: set(data[key]) for key in known if isinstance(data.get(key), dict)} | {"zone": set(zones)}
    reading = Reading(main.file.parent, names)
    good: dict[str, Any] = {}
    for key in known:
        each, value = _inner(key), data.get(key)
        required = Config.model_fields[key].is_required()
        if value is None or (value == {} and required):
            findings += [Finding((key,), "nothing", _required(key))] if required else []
        elif each is not None and isinstance(value, dict):
            good[key] = dict(_sections(each, key, value, reading, findings))
        else:
            good[key], wrong = take(_annotation(key), value, (key,), reading)
            findings += wrong
    written = {name: source.data for name, source in zones.items() if source.data is not None}
    good["zone"] = dict(_sections(Zone, "zone", written, Reading(main.file.parent / ZONES, names), findings))
    right = {key: value for key, value in good.items() if value is not None}
    absent: dict[str, Any] = {key: {} for key in known if key not in right and _inner(key) is not None}
    return Config.model_construct(**absent, **right), findings


def _sections(kind: object, key: str, data: dict[str, Any], reading: Reading, findings: list[Finding]) -> Iterator[tuple[str, Any]]:
    for name, each in data.items():
        findings += _named(key, name)
        section, wrong = take(kind, each, (key, name), reading)
        findings += wrong
        if section is not None:
            yield name, section


def _named(key: str, name: str) -> list[Finding]:
    """Names appear in file names, token labels and reports, so they are plain."""
    if _NAME.fullmatch(name):
        return []
    return [Finding((key, name), shown(name), "a name of letters, digits, '_', '-' and '.', at most 63")]


def _annotation(key: str) -> object:
    declared = Config.model_fields[key]
    return Annotated[declared.annotation, *declared.metadata] if declared.metadata else declared.annotation


def _inner(key: str) -> object | None:
    """What the sections of ``[key.NAME]`` are, or None where ``key`` is not of that kind."""
    annotation = Config.model_fields[key].annotation
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _required(key: str) -> str:
    return "a value: this key is required" if _inner(key) is None else f"at least one [{key}.NAME] section"
