"""``gateway.toml`` and ``zones/*.toml`` beside it become one frozen tree, or an error that holds every mistake at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from gateway.config.lines import Lines
from gateway.config.material import material
from gateway.config.mistake import ConfigError, Finding, KeyPath, Mistake, dotted, one_of, shown
from gateway.config.model import Config, Rule, Zone
from gateway.config.references import Tree, references
from gateway.config.shape import take

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
    files = sorted((path.absolute().parent / ZONES).glob("*.toml"))
    zones = {file.stem: _Source.read(file) for file in files}
    mistakes = [mistake for source in (main, *zones.values()) for mistake in source.mistakes]
    if main.data is None:
        raise ConfigError(mistakes)
    tree, findings = _build(main, zones)
    findings += references(tree)
    findings += material(tree.config)
    for finding in findings:
        source, inner = main, finding.path
        if inner[:1] == ("zone",) and str(inner[1]) in zones:
            source, inner = zones[str(inner[1])], inner[2:]
        mistakes.append(source.mistake(inner, finding.found, finding.allowed))
    if mistakes:
        raise ConfigError(mistakes)
    return tree.config.model_copy(update={"generation": generation})


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
            source._broken(line, told[1] if told else "a number too long", "TOML (https://toml.io)")
        except RecursionError:
            source._broken(1, "values nested too deep", "TOML (https://toml.io)")
        return source

    def mistake(self, path: KeyPath, found: str, allowed: str) -> Mistake:
        return Mistake(self.file, self.lines.line(path), dotted(path), found, allowed)

    def _broken(self, line: int, found: str, allowed: str) -> None:
        self.data = None
        self.mistakes.append(Mistake(self.file, line, "", found, allowed))


def _build(main: _Source, zones: dict[str, _Source]) -> tuple[Tree, list[Finding]]:
    """Every section by itself, so that one mistake hides no other."""
    data, base, findings = main.data or {}, main.file.parent, list[Finding]()
    known = Config.model_fields.keys() - _NOT_IN_FILE
    for key in data.keys() - known:
        allowed = "zones in files of their own, zones/NAME.toml" if key == "zone" else one_of(known, key, "a section or key")
        findings.append(Finding((key,), "an unknown key", allowed))
    good: dict[str, Any] = {}
    rules: list[tuple[int, Rule]] = []
    names: dict[str, set[str]] = {"zone": set(zones)}
    for key in known:
        if key not in data:
            if Config.model_fields[key].is_required():
                findings.append(Finding((key,), "nothing", _required(key)))
            continue
        kind = _inner(key)
        if kind is not None and isinstance(data[key], dict) and (data[key] or not Config.model_fields[key].is_required()):
            names[key] = set(data[key])
            good[key] = dict(_sections(kind, key, data[key], base, findings))
        elif key == "rule" and isinstance(data[key], list):
            for number, each in enumerate(data[key]):
                rule, wrong = take(Rule, each, (key, number), base)
                findings += wrong
                rules += [] if rule is None else [(number, rule)]
        else:
            names[key] = set()
            value, wrong = take(_annotation(key), data[key], (key,), base)
            findings += wrong
            if not wrong:
                good[key] = value
    good["zone"] = {}
    for name, source in zones.items():
        findings += _named("zone", name)
        if source.data is not None:
            zone, wrong = take(Zone, source.data, ("zone", name), source.file.parent)
            findings += wrong
            good["zone"] |= {} if zone is None else {name: zone}
    good["rule"] = tuple(rule for _, rule in rules)
    missing: dict[str, Any] = {key: {} for key in known if key not in good and _inner(key) is not None}
    return Tree(Config.model_construct(**missing, **good), names, rules), findings


def _sections(kind: object, key: str, data: dict[str, Any], base: Path, findings: list[Finding]) -> Iterator[tuple[str, Any]]:
    for name, each in data.items():
        findings += _named(key, name)
        section, wrong = take(kind, each, (key, name), base)
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
