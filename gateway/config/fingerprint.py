"""Whether the configuration changed on disk: the files it consists of, and those it names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gateway.config.model import Config

Fingerprint = tuple[tuple[str, int, int], ...]


class Changes:
    """Whether there is something to be taken, by what was seen at one look after the other. A change counts once the next look
    finds the same: of a file that is being written, or put in the place of another, not the half is read.
    """

    def __init__(self, taken: Fingerprint) -> None:
        self._taken = self._seen = taken

    def at_rest(self, seen: Fingerprint) -> bool:
        """Whether ``seen`` is something else than what was taken, and has come to rest."""
        before, self._seen = self._seen, seen
        return seen == before and seen != self._taken

    def took(self, taken: Fingerprint) -> None:
        """What was ``taken``, whether or not it was good."""
        self._taken = taken


def fingerprint(config: Config, path: Path) -> Fingerprint:
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
