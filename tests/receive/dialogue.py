"""A dialogue of ``tests/dialogues``, read: what the client says, and what one line of the server after the other must match.

``listener:`` comes first, then perhaps ``limits:`` that differ from the house's. ``C:`` is a line of the client, ``+:`` raw
octets of it (with escapes), ``=:`` such that always come together, ``*:`` one character so many times. ``S:`` is a pattern that
one line of the server must match, ``S*:`` a pattern for the last line of a whole reply. ``tls`` begins TLS, ``closed`` expects
the end of the connection, ``spool:`` how many mails were accepted in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIALOGUES: Final = sorted((Path(__file__).parent.parent / "dialogues").glob("*.smtp"))


@dataclass(frozen=True)
class Send:
    """Octets of the client. ``together``: never a byte at a time, where it matters what had come already."""

    data: bytes
    together: bool = False


@dataclass(frozen=True)
class Hear:
    """One reply. ``lines`` has a pattern for each of its lines, or for the last alone where ``whole`` is false."""

    lines: tuple[str, ...]
    whole: bool = True

    @property
    def last(self) -> str:
        return self.lines[-1]


@dataclass(frozen=True)
class Tls:
    """The handshake."""


@dataclass(frozen=True)
class Closed:
    """The server has hung up."""


@dataclass(frozen=True)
class Spool:
    """How many mails it took."""

    mails: int


Step = Send | Hear | Tls | Closed | Spool


@dataclass(frozen=True)
class Dialogue:
    """A file of ``tests/dialogues``."""

    listener: str
    limits: dict[str, float]
    steps: tuple[Step, ...]


def read_dialogue(path: Path) -> Dialogue:
    lines = [line for line in path.read_text().split("\n") if line and not line.startswith("#")]
    listener = lines.pop(0).removeprefix("listener: ")
    limits: dict[str, float] = {}
    if lines[0].startswith("limits: "):
        limits = {name: float(value) for name, _, value in (each.partition("=") for each in lines.pop(0).split()[1:])}
    steps: list[Step] = []
    begun: list[str] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "S:":
            begun.append(rest)
            if not rest.startswith(f"{rest[:3]}-"):
                steps.append(Hear(tuple(begun)))
                begun = []
            continue
        assert not begun, f"{line!r} in the middle of a reply"
        steps.append(_step(word, rest))
    return Dialogue(listener, limits, tuple(steps))


def _step(word: str, rest: str) -> Step:
    match word:
        case "C:":
            return Send(rest.encode() + b"\r\n")
        case "+:" | "=:":
            return Send(rest.encode().decode("unicode_escape").encode("latin-1"), together=word == "=:")
        case "*:":
            count, _, character = rest.partition(" ")
            return Send(character.encode() * int(count))
        case "S*:":
            return Hear((rest,), whole=False)
        case "tls":
            return Tls()
        case "closed":
            return Closed()
        case "spool:":
            return Spool(int(rest))
    raise AssertionError(f"what is {word!r}?")
