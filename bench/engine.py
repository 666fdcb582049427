"""The S/MIME engine beside a C program on libcrypto that does the same in memory: CPU time, in turn, at three sizes; and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.contest import MEGABYTE
from bench.engineside import READER, SIGNER, Task
from bench.parts import NotAllowed, sampled

ROOT: Final = Path(__file__).parent.parent
SMALL: Final = 5 * 1024
LARGEST: Final = 100 * MEGABYTE  # for memory; speed is measured up to 50 MB
# How many messages of each size a turn has: about half a second of the slower side
TURNS: Final[Mapping[int, int]] = {SMALL: 400, MEGABYTE: 20, 50 * MEGABYTE: 1}
PROFILED: Final[Mapping[int, int]] = {SMALL: 4000, 50 * MEGABYTE: 20}

_PATIENCE: Final = 120  # seconds for one turn
_LINE: Final = b"The result of the examination lies within the usual range, no findings.....\r\n"
_OUTER: Final = b"From: results@laboratory.example\r\nTo: cardiology@hospital.example\r\nSubject: result\r\n"
_INNER: Final = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"

# The beginning of a frame of ours, ``function (file``, and the part it belongs to; the first that fits
_PARTS: Final = (
    ("unwrap (gateway/edge/keyfile", "the private key"),
    ("gateway/smime/verify", "verifying the signature, reading its attributes"),
    ("gateway/smime/decrypt", "the content cipher"),
    ("gateway/mail/mime", "base64"),
    ("gateway/mail/clean", "looking at every byte decrypted: line ends, NUL, 8-bit"),
    ("gateway/mail/form", "finding the parts of multipart/signed"),
    ("_check (gateway/flow/peel", "the digest of the content"),
    ("gateway/smime/", "reading CMS"),
    ("gateway/mail/memory", "copying bodies"),
    ("gateway/mail/", "headers"),
)
_REST: Final = "going from step to step"


@dataclass(frozen=True)
class Turn:
    """What both did in one turn: CPU milliseconds for one message."""

    ours: float
    theirs: float


@dataclass(frozen=True)
class Engine:
    """What was measured. ``turns`` by what was done and the size of its content in bytes; ``growth`` of peak memory by the same.

    ``parts`` are the shares of our CPU time while opening, by size; empty where the system lets nobody look.
    """

    turns: Mapping[tuple[Task, int], tuple[Turn, ...]]
    growth: Mapping[tuple[Task, int], int]
    parts: Mapping[int, Mapping[str, float]]

    def ratio(self, what: Task, size: int) -> float:
        """Ours over theirs: the median of each turn's ratio."""
        return statistics.median(turn.ours / turn.theirs for turn in self.turns[what, size])


class Side:
    """A process that does as many messages as it is told."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.pid = self._process.pid

    def turn(self, messages: int) -> tuple[float, int]:
        """CPU milliseconds for each of ``messages``, and how many bytes one came to."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a side without pipes")
        self._process.stdin.write(f"{messages}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait(_PATIENCE)}")
        return float(answer[0]) / messages * 1000, int(answer[1])

    def close(self) -> None:
        """No more turns."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(_PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Workshop:
    """A folder with keys, certificates, the C program, and messages of any size, each made when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = folder / "libcrypto"
        compiler: list[str | Path] = [
            "cc",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            self._program,
            ROOT / "bench" / "libcrypto.c",
            "-lcrypto",
        ]
        subprocess.run(compiler, check=True)
        for who in (SIGNER, READER):
            files: list[str | Path] = ["-keyout", folder / f"{who}.key", "-out", folder / f"{who}.pem"]
            new: list[str | Path] = [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                f"/CN={who}",
                "-days",
                "30",
                *files,
            ]
            subprocess.run(new, check=True, capture_output=True)

    def input(self, what: Task, size: int) -> Path:
        """The file with the message that is opened or protected, whose content has about ``size`` bytes."""
        path = self.folder / f"{'small' if size == SMALL else size}.{what}"
        if not path.exists():
            content = _INNER + _LINE * (size // len(_LINE))
            path.write_bytes(_OUTER + content if what is Task.PROTECT else self._protected(content, what))
        return path

    def sides(self, what: Task, size: int) -> tuple[Side, Side]:
        """Ours and theirs."""
        path = self.input(what, size)
        people = [self.folder / f"{who}.{kind}" for who in (SIGNER, READER) for kind in ("pem", "key")]
        ours = Side([sys.executable, "-m", "bench.engineside", what, path, self.folder])
        return ours, Side([self._program, what, path, *people])

    def growth(self, what: Task, size: int) -> int:
        """Bytes by which one message makes our peak memory grow, in a fresh process."""
        self.input(what, SMALL)
        command: list[str | Path] = [sys.executable, "-m", "bench.engineside", what, self.input(what, size), self.folder, "files"]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=_PATIENCE).stdout)

    def _protected(self, content: bytes, what: Task) -> bytes:
        """``content`` signed and encrypted by openssl(1)."""
        signing: list[str | Path] = ["-signer", self.folder / "signer.pem", "-inkey", self.folder / "signer.key"]
        if what is Task.OPEN_DER:
            inside = _openssl(content, "-sign", "-outform", "DER", "-nodetach", *signing)
            return _openssl(inside, "-encrypt", "-outform", "DER", "-aes-256-cbc", self.folder / "reader.pem")
        inside = _crlf(_openssl(content, "-sign", *signing))
        return _OUTER + _crlf(_openssl(inside, "-encrypt", "-aes-256-cbc", self.folder / "reader.pem"))


def _openssl(data: bytes, *arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", "cms", "-binary", *arguments], input=data, check=True, stdout=subprocess.PIPE).stdout


def _crlf(mail: bytes) -> bytes:
    """With ``-binary`` openssl(1) ends the lines of MIME as Unix does."""
    return mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@contextmanager
def workshop() -> Iterator[Workshop]:
    """One, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="gateway-engine-") as name:
        yield Workshop(Path(name))


def engine(rounds: int, turns: Mapping[int, int] = TURNS, largest: int = LARGEST, profiled: Mapping[int, int] = PROFILED) -> Engine:
    """Measures. ``turns`` says how many messages of each size make a turn, ``profiled`` how many are looked into."""
    with workshop() as shop:
        measured = {(what, size): _contest(shop, what, size, rounds, count) for what in Task for size, count in turns.items()}
        growth = {(what, size): shop.growth(what, size) for what in (Task.OPEN, Task.PROTECT) for size in (MEGABYTE, largest)}
        return Engine(measured, growth, {size: _profile(shop, size, count) for size, count in profiled.items()})


def _contest(shop: Workshop, what: Task, size: int, rounds: int, messages: int) -> tuple[Turn, ...]:
    with ExitStack() as stack:
        ours, theirs = shop.sides(what, size)
        stack.callback(ours.close)
        stack.callback(theirs.close)
        warm = ours.turn(1)[1], theirs.turn(1)[1]
        if what is not Task.PROTECT and warm[0] != warm[1]:
            raise RuntimeError(f"{warm[0]} bytes of content here, {warm[1]} there")
        return tuple(Turn(ours.turn(messages)[0], theirs.turn(messages)[0]) for _ in range(rounds))


def _profile(shop: Workshop, size: int, messages: int) -> Mapping[str, float]:
    ours, theirs = shop.sides(Task.OPEN, size)
    theirs.close()
    try:
        ours.turn(1)
        return sampled(ours.pid, lambda: ours.turn(messages), _PARTS, _REST)
    except NotAllowed:
        return {}
    finally:
        ours.close()
