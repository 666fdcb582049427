"""Whether the configuration changed on disk: the files it consists of, and those it names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gateway.config.model import Config


def fingerprint(config: Config, path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every file of the configuration at ``path``, as far as we may look."""
    names = {path, *path.parent.glob("zones/*.toml"), *_paths(config.model_dump())}
    marks = []
    for name in sorted(names):
        with contextlib.suppress(OSError):
            facts = name.stat()
            if not name.is_dir():
                marks.append((str(name), facts.st_mtime_ns, facts.st_size))
    return tuple(marks)


def _paths(tree: object) -> Iterator[Path]:
    if isinstance(tree, Path):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _paths(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from _paths(value)
