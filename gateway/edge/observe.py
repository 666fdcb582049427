"""One named event becomes one audit line, one counter and one log line. Each process has its own :class:`Observe`.

The audit is a file of JSON lines, one segment for each process start, each line chained to the one before by ``prev``, the
SHA-256 of that line; so a line cannot be changed or taken out unseen. Addresses stand in the audit and never in the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog

from gateway.events import ConfigurationRefused, Event, FetchFailed, KeyFailed, MailBroken, PeerAllowed, PeerRejected, ProcessEnded
from gateway.outcome import GatewayError, Reason

AUDIT_VERSION: Final = 1
GENESIS: Final = "0" * 64
MAX_OWED: Final = 16 * 1024 * 1024  # bytes of lines that wait for the disk
_encode: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode

# Fields that may be labels: each takes few values, so that series stay few however many peers and people there are.
_LABELS: Final = (
    *("org", "listener", "verb", "direction", "rule", "protection", "verdict", "assurance", "operation", "reason", "would"),
    *("kind", "result"),
)
# Fields that name people; the audit may hold them, the log may not.
_PRIVATE: Final = frozenset({"sender", "recipients", "address", "signer", "subject", "reply", "detail"})
_ALARMING: Final = (MailBroken, KeyFailed, ProcessEnded, ConfigurationRefused, PeerRejected, PeerAllowed, FetchFailed)

_log = structlog.get_logger()

CounterKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Shape:
    """An event class as audit, log and metric see it: ``MailAccepted`` is ``mail_accepted`` in all three.

    ``series`` picks from the ``values`` of an event what its metric counts it by.
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    values: Callable[[Event], tuple[Any, ...]]
    series: Callable[[tuple[Any, ...]], Any]


_SHAPES: Final[dict[type[Event], Shape]] = {}


def shape(kind: type[Event]) -> Shape:
    """The shape of an event class, worked out once."""
    found = _SHAPES.get(kind)
    if found is None:
        names = tuple(field.name for field in fields(kind))
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
        labels = tuple(label for label in _LABELS if label in names)
        places = [names.index(label) for label in labels]
        found = _SHAPES[kind] = Shape(name, names, labels, attrgetter(*names), itemgetter(*places))
    return found


def rfc3339(at: int) -> str:
    """Microseconds UTC as RFC 3339 text in UTC."""
    return f"{_second(at // 1_000_000)}.{at % 1_000_000:06d}Z"


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Audit:
    """An append-only, hash-chained segment of the audit.

    Where the disk takes nothing, lines wait in memory and follow as soon as it does: what happened has happened, and whoever
    reports it must go on. ``check`` is for those who have yet to begin something.
    """

    def __init__(self, folder: Path, process: str, now: Callable[[], int]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._now = now
        self._seq = 0
        self._prev = GENESIS
        self._owed = bytearray()
        self._unrecorded = 0
        self._failing = False
        self.path = folder / f"{process}-{now()}-{os.getpid()}.jsonl"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)

    def write(self, name: str, facts: dict[str, Any]) -> None:
        """Append one record. Beyond ``MAX_OWED`` bytes that wait, records are counted and no more; a later one says how many."""
        if len(self._owed) > MAX_OWED and not self._flush():
            self._unrecorded += 1
            return
        if self._unrecorded:
            self._append("audit_gap", {"lines": self._unrecorded})
            self._unrecorded = 0
        self._append(name, facts)
        self._flush()

    def check(self) -> None:
        """Raises :class:`GatewayError` (AUDIT_UNAVAILABLE) while lines wait for the disk."""
        if self._owed and not self._flush():
            raise GatewayError(Reason.AUDIT_UNAVAILABLE, f"{len(self._owed)} bytes of the audit wait for the disk")

    def _append(self, name: str, facts: dict[str, Any]) -> None:
        self._seq += 1
        record = {"v": AUDIT_VERSION, "seq": self._seq, "prev": self._prev, "at": rfc3339(self._now()), "event": name, **facts}
        line = _encode(record).encode()
        self._prev = hashlib.sha256(line).hexdigest()
        self._owed += line + b"\n"

    def _flush(self) -> bool:
        """Whether everything is written. What a full disk has taken of a line is continued later."""
        waited = self._failing
        try:
            while self._owed:
                del self._owed[: os.write(self._file, self._owed)]
            self._failing = False
        except OSError as error:
            self._failing = True
            if not waited:
                _log.error("audit_failed", error=error.strerror)
        return not self._failing

    def close(self) -> None:
        """End the segment."""
        self._flush()
        os.close(self._file)


def broken_link(lines: Iterable[bytes]) -> int | None:
    """The number (from 1) of the first line of a segment that does not follow from the one before, or None if all do."""
    prev = GENESIS
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            return number
        if not isinstance(record, dict) or record.get("prev") != prev or record.get("seq") != number:
            return number
        prev = hashlib.sha256(line.rstrip(b"\n")).hexdigest()
    return None


class Observe:
    """The observer of one process."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._seen: Counter[tuple[type[Event], Any]] = Counter()

    def see(self, event: Event, /) -> None:
        """Write the audit line, count, and log. Raises nothing: what has happened cannot be taken back."""
        kind = shape(type(event))
        values = kind.values(event)
        # What is not known is not said; a number or a yes and no always is
        facts = {name: value for name, value in zip(kind.fields, values, strict=True) if value or value == 0}
        self._audit.write(kind.name, facts)
        self._seen[type(event), kind.series(values)] += 1
        if isinstance(event, _ALARMING):
            _log.warning(kind.name, **{name: value for name, value in facts.items() if name not in _PRIVATE})

    @property
    def counters(self) -> Counter[CounterKey]:
        """How often each event was seen, by its name and its labels. From any thread."""
        found: Counter[CounterKey] = Counter()
        for (kind, series), count in self._seen.copy().items():
            labels = shape(kind).labels
            texts = [str(value or "") for value in (series if len(labels) > 1 else (series,))]
            found[shape(kind).name, tuple(zip(labels, texts, strict=True))] += count
        return found

    def check(self) -> None:
        """Raises :class:`GatewayError` (AUDIT_UNAVAILABLE) while what happens cannot be recorded."""
        self._audit.check()

    def close(self) -> None:
        """End the audit segment."""
        self._audit.close()


def _where_only(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception in the log is its class and the places it came through. Its text may quote a mail, so it is left out."""
    if entry.pop("exc_info", None):
        kind, _error, trace = sys.exc_info()
        entry["error"] = kind.__name__ if kind else ""
        entry["places"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return entry


class _Log:
    """Standard error, which may be a file on a full disk: what cannot be written there is lost, and nothing else is."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed counts too
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logging(process: str) -> None:
    """JSON lines on standard error, each naming the process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _where_only,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Log())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
