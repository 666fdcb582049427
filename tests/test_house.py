"""The house keeps its shape: imports point one way, pure code stays pure, files stay short enough to read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway"
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in ROOT.rglob("*.py")
}

# Each storey and what it may import from. A storey may always import from itself; a name is the first part below gateway.
STOREYS: dict[str, frozenset[str]] = {}
_BASE = {"outcome", "events", "mail"}
for _name in ("outcome", "mail", "events"):
    STOREYS[_name] = frozenset(_BASE)
for _name in ("smtp", "smime", "trust"):
    STOREYS[_name] = frozenset(_BASE)
_PURE = _BASE | {"smtp", "smime", "trust"}
STOREYS["config"] = frozenset(_PURE)
STOREYS["policy"] = frozenset(_PURE | {"config"})
_DECIDING = _PURE | {"config", "policy"}
STOREYS["database"] = frozenset(_BASE)
for _name in ("flow", "edge"):
    STOREYS[_name] = frozenset(_DECIDING)
for _name in ("spool", "state"):
    STOREYS[_name] = frozenset(_DECIDING | {"database"})
STOREYS["library"] = frozenset(_DECIDING | {"flow", "edge"})
_PARTS = _DECIDING | {"flow", "spool", "state", "edge"}
_JOURNEY = ("receive", "callforward", "nexthop", "deliver", "report", "onward", "worker")
for _name in _JOURNEY:
    STOREYS[_name] = frozenset(_PARTS | set(_JOURNEY))
STOREYS["supervise"] = frozenset(_PARTS)
STOREYS["app"] = frozenset(_PARTS | set(_JOURNEY) | {"supervise"})
STOREYS["operate"] = frozenset(_PARTS | set(_JOURNEY) | {"supervise", "app", "library"})

PURE_STOREYS = ("mail", "smtp", "smime", "trust")
IMPURE_MODULES = frozenset({"asyncio", "socket", "ssl", "logging", "structlog", "subprocess", "threading", "time"})
IMPURE_MODULES |= {"random", "secrets", "os", "pathlib", "tempfile", "aiohttp"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def storey(module: str) -> str:
    """The part of the house a module of ours lives in."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    """A module imports only from its own storey and those below it."""
    own = storey(module)
    if not own:
        return
    assert own in STOREYS, f"{own} has no place in the house yet"
    for name in imports(MODULES[module]):
        if name.startswith("gateway.") and storey(name) != own:
            assert storey(name) in STOREYS[own], f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if storey(name) in PURE_STOREYS))
def test_pure_code_stays_pure(module: str) -> None:
    """The pure storeys import nothing that waits, reads clocks or touches files, and await nothing."""
    tree = ast.parse(MODULES[module].read_text())
    names = {name.split(".")[0] for name in imports(MODULES[module])}
    assert not names & IMPURE_MODULES
    assert not any(isinstance(node, ast.Await) for node in ast.walk(tree))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_are_short_and_say_what_they_are(module: str) -> None:
    """A file can be read in one sitting, and opens with what it is."""
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_group_is_possessive(module: str) -> None:
    """Python before 3.11.5, as Debian 12 has it, goes on in the wrong place where one fails half way (python/cpython#106052)."""
    assert not re.findall(r"\)[*+?]\+", MODULES[module].read_text())
