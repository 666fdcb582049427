"""Every limit that the book names is put to the test by its own name. That a test stands at its edge, its reader sees; that none
was forgotten, or is tested by a number that is no longer its own, is seen here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.test_docs import rows

TESTS = Path(__file__).parents[1]


def limits() -> list[tuple[str, str]]:
    """Module and name of each."""
    built_in = rows("limits.md", "Built in")
    return [
        (cells[2].strip("`").removesuffix(".py").replace("/", "."), cells[0]) for cells in built_in if cells[0].startswith("MAX_")
    ]


@cache
def _tested() -> frozenset[tuple[str, str]]:
    """Module and name of every limit that a test is about."""
    return frozenset(limit for path in TESTS.rglob("test_*.py") for limit in _in(ast.parse(path.read_text())))


def _in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """In one file: ``limit`` imported and used, ``module.limit``, or the rows of a table of which each limit is read by getattr."""
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if name in imported:
                yield imported[name]
            case ast.Attribute(value=ast.Name(id=name), attr=limit) if name in imported:
                yield ".".join(imported[name]), limit
            case ast.Tuple(elts=[ast.Name(id=name), ast.Constant(value=str(limit)), *_]) if name in imported:
                yield ".".join(imported[name]), limit
            case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id=name), *_]) if name in imported:
                yield from ((".".join(imported[name]), limit) for limit in _named_in(tree))


def _named_in(tree: ast.Module) -> Iterator[str]:
    """The names that stand first in a row of a table."""
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(limit)), *_]):
                yield limit


@pytest.mark.parametrize(("module", "limit"), limits())
def test_a_limit_is_tested_by_its_name(module: str, limit: str) -> None:
    assert (module, limit) in _tested()
