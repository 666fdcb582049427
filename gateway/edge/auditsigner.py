"""Signs the heads of the audit: reads the ends of all segments from outside, and appends one signed record for what is new.

Lines after the last record are the audit's own word alone until the next: at most ``SIGN_SECONDS`` of them while the gateway
runs, and after a drain those of the agents and of the supervisor, which end after the control process.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.edge.auditheads import (
    HEADS_FILE,
    MECHANISM,
    Head,
    HeadsRecord,
    SignedHeads,
    attributes_for,
    line_digest,
    read_heads,
    whole_lines,
)
from gateway.edge.observe import GENESIS
from gateway.events import AuditSigned, Observer
from gateway.outcome import GatewayError
from gateway.smime.keys import Signer

SIGN_SECONDS: Final = 60.0
LAST_SECONDS: Final = 10.0  # for the record of a drain; a token that is away must not hold up the end
_TAIL: Final = 64 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tail:
    """The last whole line of a segment. ``event`` and ``key`` are what it says."""

    head: Head
    event: str
    key: str


def read_tail(path: Path) -> Tail | None:
    """The end of a segment; None where nothing is written yet. Raises ``OSError``, and ``ValueError`` for what is no audit."""
    with path.open("rb") as file:
        size, wanted = file.seek(0, os.SEEK_END), _TAIL
        while True:
            file.seek(max(0, size - wanted))
            data = file.read(min(wanted, size))
            end = data.rfind(b"\n")
            start = data.rfind(b"\n", 0, max(end, 0)) + 1
            if start > 0 or wanted >= size:
                break
            wanted *= 4  # a line longer than that: a mail with very many recipients
    if end < 0:
        return None
    line = data[start:end]
    try:
        facts = json.loads(line)
        return Tail(Head(path.name, int(facts["seq"]), line_digest(line)), str(facts["event"]), str(facts.get("key", "")))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a line of the audit") from error


class AuditSigner:
    """One at a time for each folder, which a lock sees to: a successor waits until its predecessor has ended."""

    def __init__(
        self, folder: Path, key: str, public_key: rsa.RSAPublicKey, signer: Signer, observer: Observer, now: Callable[[], int]
    ) -> None:
        """``key`` is the name of the audit key, ``public_key`` its other half; ``now`` in microseconds UTC."""
        self._folder = folder
        self._key = key
        self._public_key = public_key
        self._signer = signer
        self._observer = observer
        self._now = now
        self._file: int | None = None
        self._count = 0
        self._prev = GENESIS
        self._known: dict[str, Head] = {}
        self._sizes: dict[str, int] = {}
        self.signed_at: int | None = None
        """When every line there was stood under a signature (microseconds UTC); None before the first time."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Sign now and then until ``stopping`` is set, and once more then. What cannot be signed now is signed later."""
        while not stopping.is_set():
            await self.sign()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), SIGN_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.sign()

    async def sign(self) -> None:
        """One record, where there is something new. Raises nothing of a missing key, disk or lock: the age of the last tells."""
        try:
            await self._sign()
        except GatewayError as error:
            _log.warning("audit_not_signed", reason=error.reason, detail=error.detail)
        except OSError as error:
            _log.warning("audit_not_signed", reason=error.strerror)

    def close(self) -> None:
        """Let the next one sign."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _sign(self) -> None:
        if self._file is None:
            await asyncio.to_thread(self._open)
        at = self._now()
        changed = await asyncio.to_thread(self._changed)
        if changed:
            record = HeadsRecord(self._count + 1, self._prev, at, self._key, tuple(changed))
            content = record.content()
            attributes = attributes_for(content, at)
            signed = SignedHeads(record, content, attributes, await self._signer.sign(self._key, attributes, MECHANISM))
            signed.check(self._public_key)
            await asyncio.to_thread(self._append, signed)
            self._observer.see(AuditSigned(record=record.seq, digest=self._prev, segments=len(changed)))
            _log.info("audit_signed", record=record.seq, digest=self._prev)
        self.signed_at = at

    def _open(self) -> None:
        """Take the file and go on after its last whole record: one cut short by a crash was never told to anybody."""
        file = os.open(self._folder / HEADS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines = whole_lines((self._folder / HEADS_FILE).read_bytes())
            os.ftruncate(file, sum(map(len, lines)))
        except BaseException:
            os.close(file)
            raise
        for line in lines:
            with contextlib.suppress(ValueError):  # a damaged one is for `audit verify` to tell
                self._known.update({head.file: head for head in read_heads(line).record.heads})
        self._count, self._prev, self._file = len(lines), line_digest(lines[-1]) if lines else GENESIS, file

    def _changed(self) -> list[Head]:
        """The heads that are not signed yet; none where all that is new came of our own last signature."""
        fresh: list[Tail] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                size = path.stat().st_size
                if self._sizes.get(path.name) == size:
                    continue
                tail = read_tail(path)
            except (OSError, ValueError) as error:
                _log.warning("audit_segment_unreadable", segment=path.name, error=type(error).__name__)
                continue
            known = self._known.get(path.name)
            if tail is None or tail.head == known:
                self._sizes[path.name] = size
            else:
                fresh.append(tail)
        return [] if all(self._is_echo(tail) for tail in fresh) else [tail.head for tail in fresh]

    def _is_echo(self, tail: Tail) -> bool:
        """Whether the one new line tells of our own signature: to sign that too would go on for ever."""
        known = self._known.get(tail.head.file)
        ours = tail.event == "audit_signed" or (tail.event == "key_used" and tail.key == self._key)
        return ours and tail.head.seq == (known.seq if known else 0) + 1

    def _append(self, signed: SignedHeads) -> None:
        if self._file is None:
            raise AssertionError("signed without the file")
        line, whole = signed.line(), os.fstat(self._file).st_size
        left = line + b"\n"
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, whole)  # a disk that is full took a part of it
            raise
        self._count, self._prev = self._count + 1, line_digest(line)
        self._known.update({head.file: head for head in signed.record.heads})
