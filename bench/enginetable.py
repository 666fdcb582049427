"""The figures of the S/MIME engine as a section of the page."""

from __future__ import annotations

import statistics
from typing import Final

from bench.contest import MEGABYTE
from bench.engine import SMALL, Engine, Turn
from bench.engineside import Task
from bench.goal import Goal

# At most so much of libcrypto's CPU time
MARKS: Final = {
    (Task.OPEN, SMALL): 1.0,
    (Task.OPEN, MEGABYTE): 0.25,
    (Task.OPEN, 50 * MEGABYTE): 0.12,
    (Task.PROTECT, SMALL): 1.2,
    (Task.PROTECT, MEGABYTE): 0.8,
    (Task.PROTECT, 50 * MEGABYTE): 0.5,
}
GROWTH: Final = 8 * MEGABYTE
WORDS: Final = {Task.OPEN: "decrypt, verify", Task.PROTECT: "sign, encrypt", Task.OPEN_DER: "decrypt, verify bare structures"}


def size_of(size: int) -> str:
    """In words."""
    return f"{size // MEGABYTE} MB" if size >= MEGABYTE else f"{size // 1024} KB"


def engine_lines(engine: Engine) -> list[str]:
    """The section."""
    return [
        "## (f) The S/MIME engine",
        "",
        "Our engine as a library, beside a C program on libcrypto's CMS API (`bench/libcrypto.c`): RSA-2048, AES-256-CBC,",
        "SHA-256. Each does the same messages in one process, in turn, warm, with keys from files; input and output lie in memory.",
        "What is opened is a whole mail as openssl(1) makes it, signed (multipart/signed), then encrypted: both undo MIME and",
        "base64 around the encryption, and MIME inside it, each in its own way; chains are not looked at. Ours also looks at every",
        "byte it decrypted (line ends, NUL, 8-bit), as it does before it releases any. The bare structures are the same without",
        "MIME and base64, the signature opaque: what is left is ciphers, digests and ASN.1.",
        *("", "| | content | ours, CPU ms | libcrypto, CPU ms | ratio | turns, ratios |", "|---|---:|---:|---:|---:|---|"),
        *(_row(engine, what, size, turns) for (what, size), turns in engine.turns.items()),
        *("", "Growth of our peak memory by one message over that of a small one, in a fresh process, bodies in files:"),
        *("", "| | content | MB |", "|---|---:|---:|"),
        *(f"| {WORDS[what]} | {size_of(size)} | {grown / MEGABYTE:.1f} |" for (what, size), grown in engine.growth.items()),
        *("", "What our time is made of while decrypting and verifying (py-spy, the innermost of our functions):"),
        *("", *_parts(engine)),
    ]


def _row(engine: Engine, what: Task, size: int, turns: tuple[Turn, ...]) -> str:
    ours, theirs = (statistics.median(each) for each in zip(*((turn.ours, turn.theirs) for turn in turns), strict=True))
    ratios = ", ".join(f"{turn.ours / turn.theirs:.2f}" for turn in turns)
    return f"| {WORDS[what]} | {size_of(size)} | {ours:.2f} | {theirs:.2f} | {engine.ratio(what, size):.2f} | {ratios} |"


def _parts(engine: Engine) -> list[str]:
    sizes = list(engine.parts)
    names = dict.fromkeys(part for size in reversed(sizes) for part in engine.parts[size])
    return [
        f"| part | {' | '.join(map(size_of, sizes))} |",
        f"|---|{'---:|' * len(sizes)}",
        *(f"| {name} | {' | '.join(f'{engine.parts[size].get(name, 0.0):.0%}' for size in sizes)} |" for name in names),
    ]


def engine_goals(engine: Engine) -> list[Goal]:
    """What was asked of what was measured."""
    speed = [
        Goal(f"(f) {WORDS[what]} at {size_of(size)}: at most {mark} of libcrypto's CPU", engine.ratio(what, size) <= mark)
        for (what, size), mark in MARKS.items()
        if (what, size) in engine.turns
    ]
    return [*speed, Goal("(f) at most 8 MB more memory for 100 MB than for 1 MB", max(growths(engine).values()) <= GROWTH)]


def growths(engine: Engine) -> dict[Task, int]:
    """For each direction, how much more the largest message takes than that of 1 MB, in bytes."""
    found = {}
    for what in dict.fromkeys(what for what, _ in engine.growth):
        sizes = [engine.growth[key] for key in engine.growth if key[0] == what]
        found[what] = sizes[-1] - sizes[0]
    return found
