"""What was fetched, on disk: one file for each need, shared by our processes, and checked when it is read.

A file is a line with the digest of the next, a line of JSON, then the contents, whose digest stands in that JSON. It appears whole
or not at all; one that is damaged is as good as none. Its time of modification says when it was last used.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import SECOND

MAX_KEPT: Final = 8192
MAX_KEPT_BYTES: Final = 512 * 1024 * 1024
MAX_HEAD: Final = 256 * 1024
USE_NOTED: Final = 3600 * SECOND

_SUFFIX: Final = ".kept"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known about one need without its contents. Times in microseconds UTC.

    ``checked`` is when its place last gave them, 0 for never; ``until`` when they go out of date, None for never. Since then
    it failed ``failures`` times, with ``detail``, and is left alone before ``again``. ``digest`` is that of the contents.
    """

    need: Need
    checked: int = 0
    until: int | None = None
    failures: int = 0
    again: int = 0
    detail: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the shelf: its note, when it was last used (microseconds UTC), and where it lies."""

    note: Note
    used: int
    path: Path


class Shelf:
    """Files below one folder. Every method blocks, and raises nothing: a full disk costs what is kept, not the answer."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is created, for its owner alone."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def read(self, need: Need) -> tuple[Note, tuple[bytes, ...]] | None:
        """What is kept for ``need``: note and contents, none where there never were any."""
        try:
            with self._path(need).open("rb") as file:
                note, sizes = _read_head(file.readline(MAX_HEAD), file.readline(MAX_HEAD))
                content = file.read()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if note.need != need or _digest(content) != note.digest or sum(sizes) != len(content):
            return None
        return note, tuple(_cut(content, sizes))

    def peek(self, need: Need) -> Note | None:
        """The note alone, which costs little however much is kept."""
        found = self._look(self._path(need))
        return None if found is None or found.note.need != need else found.note

    def use(self, need: Need, at: int) -> None:
        """What is kept for ``need`` is used at ``at``."""
        with contextlib.suppress(OSError):
            if abs(at - self._path(need).stat().st_mtime_ns // 1000) > USE_NOTED:
                os.utime(self._path(need), ns=(at * 1000, at * 1000))

    def write(self, note: Note, contents: tuple[bytes, ...], at: int, before: str) -> Note | None:
        """Keeps ``contents`` in place of those whose digest is ``before``, "" for none. Answers ``note`` with their digest.

        None where other contents are there now: another process was faster, and perhaps found newer ones.
        """
        content = b"".join(contents)
        note = replace(note, digest=_digest(content))
        with contextlib.suppress(OSError), self._alone():
            found = self.peek(note.need)
            if found is not None and found.digest != before:
                return None
            self._make_room(len(content))
            self._replace(self._path(note.need), _head(note, [len(each) for each in contents]) + content, at)
        return note

    def annotate(self, note: Note, at: int) -> Note | None:
        """Keeps ``note`` in place of the one before, and the contents as they are. None where they are others by now."""
        read = self.read(note.need)
        return self.write(note, read[1] if read is not None else (), at, note.digest)

    def all(self) -> Iterator[Found]:
        """Everything that can be read, in no order."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            found = self._look(path)
            if found is not None:
                yield found

    def _path(self, need: Need) -> Path:
        key = hashlib.sha256()
        for part in (need.kind.encode(), need.url.encode(errors="surrogatepass"), need.issuer, need.request):
            key.update(hashlib.sha256(part).digest())
        return self._folder / (key.hexdigest() + _SUFFIX)

    def _look(self, path: Path) -> Found | None:
        try:
            with path.open("rb") as file:
                used = os.fstat(file.fileno()).st_mtime_ns // 1000
                note, _ = _read_head(file.readline(MAX_HEAD), file.readline(MAX_HEAD))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Found(note, used, path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process of ours writes meanwhile."""
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _replace(self, path: Path, data: bytes, at: int) -> None:
        """Whole or not at all; when it was last used stays."""
        used = path.stat().st_mtime_ns if path.exists() else at * 1000
        handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)  # its owner's alone
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.utime(part, ns=(used, used))
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Takes away what was not used for longest, until one more file of ``size`` fits."""
        found: list[tuple[int, int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        found.sort(reverse=True)  # a part left behind by a process that died is the oldest in the end
        total = size + sum(length for _, length, _ in found)
        while found and (len(found) >= MAX_KEPT or total > MAX_KEPT_BYTES):
            _, length, path = found.pop()
            total -= length
            Path(path).unlink(missing_ok=True)


def _head(note: Note, sizes: list[int]) -> bytes:
    need = note.need
    told = {
        "kind": need.kind.value,
        "url": need.url,
        "issuer": base64.b64encode(need.issuer).decode(),
        "request": base64.b64encode(need.request).decode(),
        "checked": note.checked,
        "until": note.until,
        "failures": note.failures,
        "again": note.again,
        "detail": note.detail,
        "sizes": sizes,
        "digest": note.digest,
    }
    line = json.dumps(told).encode()
    return _digest(line).encode() + b"\n" + line + b"\n"


def _read_head(digest: bytes, line: bytes) -> tuple[Note, list[int]]:
    """Raises ValueError, KeyError or TypeError for what we did not write."""
    if _digest(line.rstrip(b"\n")).encode() != digest.rstrip(b"\n"):
        raise ValueError("damaged")
    told = json.loads(line)
    need = Need(NeedKind(told["kind"]), told["url"], base64.b64decode(told["issuer"]), base64.b64decode(told["request"]))
    times = told["checked"], told["until"], told["failures"], told["again"]
    return Note(need, *times, told["detail"], told["digest"]), told["sizes"]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _cut(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    begin = 0
    for size in sizes:
        yield content[begin : begin + size]
        begin += size
