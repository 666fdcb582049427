"""What is installed is what is here: every package, and every file that is no Python."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = ROOT / "gateway"
DECLARED: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]


def test_every_folder_with_python_is_a_package() -> None:
    """Others are not found by ``[tool.setuptools.packages.find]``, and would be left out."""
    folders = {path.parent for path in HERE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_other_file_is_package_data() -> None:
    patterns = [f"{package.replace('.', '/')}/{each}" for package, globs in DECLARED.items() for each in globs]
    installed = {path for pattern in patterns for path in ROOT.glob(pattern)}
    others = {path for path in HERE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert HERE / "py.typed" in others
    assert installed == others
