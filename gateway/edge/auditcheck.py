"""Checks an audit from the outside: the chain of every segment, the chain of the signed heads, and the one against the other.

The chain of a segment shows what was changed, taken out or put in between its lines; the heads show an end cut off and a
whole segment gone; the audit's own lines about its heads (``audit_signed``) show a record of them gone. What is left to a
forger is to take away the end of everything at once: whoever kept the digest of a later record elsewhere sees that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.edge.auditheads import HEADS_FILE, Head, SignedHeads, line_digest, read_heads, whole_lines
from gateway.edge.observe import GENESIS
from gateway.outcome import GatewayError


class Wrong(StrEnum):
    """What may be wrong with an audit."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    CUT_OFF = "cut-off"
    MISSING = "missing"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad-signature"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong. ``line`` counts from 1, 0 where it is about the whole file."""

    what: Wrong
    file: str
    line: int
    detail: str


@dataclass(slots=True)
class AuditReport:
    """What was found. ``beyond`` counts, for each segment, the lines after the last signed head: chained, and not yet signed."""

    segments: int = 0
    lines: int = 0
    records: int = 0
    last: SignedHeads | None = None
    beyond: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, what: Wrong, file: str, line: int, detail: str) -> None:
        """One more."""
        self.findings.append(Finding(what, file, line, detail))


def check_audit(folder: Path, keys: Mapping[str, rsa.RSAPublicKey]) -> AuditReport:
    """Check ``folder``; the audit may be written meanwhile. ``keys`` are the audit keys that are believed, by name.

    Raises ``OSError`` where the folder or its heads cannot be read.
    """
    report = AuditReport()
    # First how long the segments are, then the heads, then the segments: so every line that tells of a record comes after it.
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix == ".jsonl"}
    heads, digests = _check_heads(folder / HEADS_FILE, keys, report)
    for name in sorted({*sizes, *heads}):
        told = _Segment(name, heads.get(name, {}), sizes.get(name, 0), digests)
        try:
            with (folder / name).open("rb") as lines:
                told.check(lines, report)
        except FileNotFoundError:
            last = max(heads[name])
            report.note(Wrong.MISSING, name, 0, f"the segment is gone; {last} line{'s were' if last > 1 else ' was'} signed")
        except OSError as error:
            report.note(Wrong.UNREADABLE, name, 0, error.strerror or "cannot be read")
    if sizes and report.records == 0:
        report.note(Wrong.UNSIGNED, HEADS_FILE, 0, "no head is signed: an end cut off or a segment gone would not show")
    return report


def _check_heads(
    file: Path, keys: Mapping[str, rsa.RSAPublicKey], report: AuditReport
) -> tuple[dict[str, dict[int, Head]], set[str]]:
    """The signed heads by segment and ``seq``, and the digests of all records."""
    heads: dict[str, dict[int, Head]] = {}
    digests: set[str] = set()
    expected, prev = 1, GENESIS
    try:
        lines = whole_lines(file.read_bytes())
    except FileNotFoundError:
        lines = ()
    for number, line in enumerate(lines, 1):
        digests.add(line_digest(line))
        report.records += 1
        try:
            signed = read_heads(line)
        except ValueError as error:
            report.note(Wrong.CHANGED, HEADS_FILE, number, f"not a record of heads: {error}")
        else:
            _link(report, HEADS_FILE, number, (expected, prev), (signed.record.seq, signed.record.prev))
            expected = signed.record.seq
            if _believed(signed, keys, number, report):
                report.last = signed
                for head in signed.record.heads:
                    heads.setdefault(head.file, {})[head.seq] = head
        expected, prev = expected + 1, line_digest(line)
    return heads, digests


def _believed(signed: SignedHeads, keys: Mapping[str, rsa.RSAPublicKey], number: int, report: AuditReport) -> bool:
    key = keys.get(signed.record.key)
    if key is None:
        report.note(Wrong.BAD_SIGNATURE, HEADS_FILE, number, f"signed with {signed.record.key!r}, which is no audit key of ours")
        return False
    try:
        signed.check(key)
    except GatewayError as error:
        report.note(Wrong.BAD_SIGNATURE, HEADS_FILE, number, error.detail)
        return False
    if any(Path(head.file).name != head.file for head in signed.record.heads):
        report.note(Wrong.CHANGED, HEADS_FILE, number, "names a file elsewhere")
        return False
    return True


def _link(report: AuditReport, file: str, number: int, expected: tuple[int, str], found: tuple[int, str]) -> None:
    """Whether a line follows from the one before it; both as ``seq`` and ``prev``."""
    (seq, prev), (found_seq, found_prev) = expected, found
    if found_seq > seq:
        gone = f"{seq}" if found_seq == seq + 1 else f"{seq} to {found_seq - 1}"
        report.note(Wrong.REMOVED, file, number, f"what was numbered {gone} is not there")
    elif found_seq < seq:
        report.note(Wrong.ADDED, file, number, f"numbered {found_seq} where {seq} comes next")
    elif found_prev != prev:
        before = f"line {number - 1}" if number > 1 else "what it says of a line before it"
        report.note(Wrong.CHANGED, file, number, f"{before} is not what it follows from")


@dataclass(slots=True)
class _Segment:
    """One segment on its way through the check. ``size`` is up to where its word on records counts."""

    name: str
    heads: Mapping[int, Head]
    size: int
    digests: set[str]

    def check(self, lines: Iterable[bytes], report: AuditReport) -> None:
        expected, prev, at, number = 1, GENESIS, 0, 0
        for number, line in enumerate(_whole(lines), 1):
            at += len(line)
            facts = _facts(line)
            seq = facts.get("seq")
            if isinstance(seq, int):
                _link(report, self.name, number, (expected, prev), (seq, str(facts.get("prev"))))
                expected = seq
            else:
                report.note(Wrong.CHANGED, self.name, number, "not a line of the audit")
            prev = line_digest(line)
            head = self.heads.get(expected)
            if head is not None and head.digest != prev:
                report.note(Wrong.CHANGED, self.name, number, "not the line that was signed")
            if facts.get("event") == "audit_signed" and at <= self.size and facts.get("digest") not in self.digests:
                detail = f"record {facts.get('record')} is gone, of which {self.name} tells in line {number}"
                report.note(Wrong.MISSING, HEADS_FILE, 0, detail)
            expected += 1
        signed, last = max(self.heads, default=0), expected - 1
        if last < signed:
            report.note(Wrong.CUT_OFF, self.name, number, f"ends with {last}, and {signed} was signed")
        report.segments += 1
        report.lines += number
        if last > signed:
            report.beyond[self.name] = last - signed


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that were written to their end: the last may be on its way, or cut short by a crash."""
    return (line for line in lines if line.endswith(b"\n"))


def _facts(line: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
