"""On which line of a TOML file each key stands. ``tomllib`` keeps no positions, and a mistake without a line is half a message.

Meant for text that ``tomllib`` has accepted: it looks for keys and steps over values, and checks nothing itself.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*"|'[^'\n]*'))[ \t]*""")
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")


class Lines:
    """The index of one file. Paths are keys and, in arrays, numbers from 0, as pydantic gives them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)
        self._lines: dict[Path, int] = {(): 1}
        self._tables: dict[Path, int] = {}
        self._statements()

    def line(self, path: Path) -> int:
        """The line (from 1) of ``path``, or of the nearest table around it that has one."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _statements(self) -> None:
        table: Path = ()
        while self._skip() < len(self._text):
            start = self._at
            if self._take("[["):
                table = self._header(start, many=True)
            elif self._take("["):
                table = self._header(start, many=False)
            elif not self._pair(table):
                return

    def _header(self, start: int, *, many: bool) -> Path:
        keys = self._keys()
        path: Path = ()
        for number, key in enumerate(keys):
            path += (key,)
            if many and number == len(keys) - 1:
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path += (self._tables[path],)
        self._note(path, start)
        self._take("]]" if many else "]")
        return path

    def _pair(self, table: Path) -> bool:
        start = self._at
        path = table + tuple(self._keys())
        if len(path) == len(table) or not self._take("="):
            return False
        self._note(path, start)
        self._value(path)
        return True

    def _value(self, path: Path) -> None:
        self._skip()
        if self._take("["):
            number = 0
            before = -1
            while before < self._skip() < len(self._text) and not self._take("]"):
                before = self._at
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
                self._skip()
                self._take(",")
        elif self._take("{"):
            while self._skip() < len(self._text) and not self._take("}"):
                if not self._pair(path):
                    return
                self._skip()
                self._take(",")
        else:
            matched = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            self._at = matched.end() if matched else len(self._text)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while matched := _KEY.match(self._text, self._at):
            self._at = matched.end()
            keys.append(matched[1] or next(iter(tomllib.loads(f"{matched[2]} = 0"))))
            if not self._take("."):
                break
        return keys

    def _skip(self) -> int:
        matched = _BLANK.match(self._text, self._at)
        self._at = matched.end() if matched else self._at
        return self._at

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at)
        self._at += len(token) if found else 0
        return found

    def _note(self, path: Path, at: int) -> None:
        """Keeps the line of ``path`` and, where they have none yet, of the tables around it."""
        seen, line = self._counted
        line += self._text.count("\n", seen, at) if at >= seen else -self._text.count("\n", at, seen)
        self._counted = (at, line)
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
