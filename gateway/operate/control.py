"""The control process: metrics for operations, status for the command line. One Unix socket, one HTTP listener.

On the socket each request and each answer is one line of JSON. Our own processes send ``report`` with cumulative counters,
tagged with process and epoch (its start), so that a restarted process adds to what its predecessor counted; the command
line asks ``status``. The socket lies in the run directory, which only our own users may enter.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.operate.reports import Snapshots, read_report
from gateway.outcome import GatewayError
from gateway.spool.store import State
from gateway.trust.kept import KeptAs

MAX_LINE: Final = 1 << 20
CONVERSATIONS: Final = 256
LINE_SECONDS: Final = 30.0

_log = structlog.get_logger()


@dataclass(slots=True)
class Counted:
    """How many rows there were of each kind, when they were counted last: mails by state, certificates by how they are kept."""

    spool: Mapping[str, int] = field(default_factory=dict)
    certificates: Mapping[str, int] = field(default_factory=dict)


class GatewayCollector(Collector):
    """What ``/metrics`` shows: one counter for each kind of event, and what lies in our databases."""

    def __init__(
        self,
        snapshots: Snapshots,
        counted: Callable[[], Counted],
        now: Callable[[], int],
        audit_signed: Callable[[], int | None] = lambda: None,
        expiries: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """``audit_signed`` says when the whole audit stood under a signature, None if it never did; ``expiries`` when our own
        certificates expire, by their section (both microseconds UTC).
        """
        self._snapshots = snapshots
        self._counted = counted
        self._now = now
        self._audit_signed = audit_signed
        self._expiries = expiries

    def collect(self) -> Iterator[Metric]:
        """Every metric at this moment."""
        families: dict[str, CounterMetricFamily] = {}
        for (name, labels), value in sorted(self._snapshots.totals().items()):
            if name not in families:
                families[name] = CounterMetricFamily(
                    f"smime_gateway_{name}", f"Events named {name}.", labels=[label for label, _ in labels]
                )
            families[name].add_metric([text for _, text in labels], value)
        yield from families.values()
        counted = self._counted()
        yield _gauge("smime_gateway_spool_rows", "Mails in the spool by state.", "state", counted.spool)
        text = "Certificates of correspondents by how they are kept."
        yield _gauge("smime_gateway_certificates_kept", text, "kept_as", counted.certificates)
        up = GaugeMetricFamily("smime_gateway_process_seen_seconds", "Seconds since a process last reported.", labels=["process"])
        for process, seen in tuple(self._snapshots.seen_at.items()):
            up.add_metric([process], (self._now() - seen) / 1_000_000)
        yield up
        text = "Series a process reports that are none of ours, and are left out."
        yield _gauge("smime_gateway_process_series_impossible", text, "process", self._snapshots.impossible.copy())
        name, text = "smime_gateway_certificate_expires_seconds", "Seconds until a certificate of ours expires."
        expires = GaugeMetricFamily(name, text, labels=["section"])
        for section, not_after in self._expiries().items():
            expires.add_metric([section], (not_after - self._now()) / 1_000_000)
        yield expires
        if (signed := self._audit_signed()) is not None:
            name, text = "smime_gateway_audit_signed_seconds", "Seconds since the whole audit stood under a signature."
            yield GaugeMetricFamily(name, text, (self._now() - signed) / 1_000_000)


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    found = GaugeMetricFamily(name, text, labels=[label])
    for kind, count in values.items():
        found.add_metric([kind], count)
    return found


class Counts(Protocol):
    """The part of a database that is needed here."""

    async def count(self) -> Mapping[State, int] | Mapping[KeptAs, int]:
        """How many rows there are of each kind."""


class Control:
    """Serves the control socket."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        spool: Counts,
        certificates: Counts,
        now: Callable[[], int],
        generation: Callable[[], int],
        expected: Collection[str] = (),
        most: int = CONVERSATIONS,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        """``expected`` are the names of processes that ``status`` tells of even if they never reported. At most ``most`` are talked
        with at once, and each has so long to say a line, and to read the answer.
        """
        self._expected = expected
        self._most = most
        self._line_seconds = line_seconds
        self._snapshots = snapshots
        self._spool = spool
        self._certificates = certificates
        self._now = now
        self._generation = generation
        self._conversations: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self.counted = Counted()

    async def serve(self, path: Path, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until ``stopping`` is set; ``ready`` is called once requests are taken."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, path, limit=MAX_LINE)
        path.chmod(0o660)
        ready()
        async with server:
            while not stopping.is_set():
                await self._count()
                try:
                    await asyncio.wait_for(stopping.wait(), 5)
                except TimeoutError:
                    continue
            server.close()
            await self._hang_up()
        path.unlink(missing_ok=True)

    async def _count(self) -> None:
        """Bring the gauges up to date. What cannot be counted stays as it was: there is more to tell than rows."""
        self.counted.spool = await _count_of(self._spool, self.counted.spool, "spool_not_counted")
        self.counted.certificates = await _count_of(self._certificates, self.counted.certificates, "certificates_not_counted")

    async def _hang_up(self) -> None:
        """Key agents end after us, and keep their connection until then; they report to the next control process anew."""
        tasks = [task for task in self._conversations.values() if task is not None]
        for writer in self._conversations:
            writer.transport.abort()  # to close waits for one who does not read
        await asyncio.gather(*tasks)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._conversations) >= self._most:
            writer.transport.abort()
            return
        self._conversations[writer] = asyncio.current_task()
        try:
            while line := await asyncio.wait_for(reader.readline(), self._line_seconds):
                answer = await self._answer(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await asyncio.wait_for(writer.drain(), self._line_seconds)
        except TimeoutError:
            writer.transport.abort()
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError, ConnectionError):
            pass  # not one of ours, or gone; nothing to tell it
        finally:
            writer.close()
            del self._conversations[writer]

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["verb"] == "report":
            self._snapshots.take(read_report(request), self._now())
            return {"ok": True}
        if request["verb"] == "status":
            return await self._status()
        return {"error": "unknown verb"}

    async def _status(self) -> dict[str, Any]:
        await self._count()
        now = self._now()
        return {
            "generation": self._generation(),
            "spool": self.counted.spool,
            "certificates": self.counted.certificates,
            "processes": {
                process: {"seen_seconds": None if seen is None else round((now - seen) / 1_000_000, 1)}
                for process, seen in sorted({**dict.fromkeys(self._expected), **self._snapshots.seen_at}.items())
            },
            "counters": [
                {"name": name, "labels": dict(labels), "value": value}
                for (name, labels), value in sorted(self._snapshots.totals().items())
            ],
        }


async def _count_of(counts: Counts, before: Mapping[str, int], failed: str) -> Mapping[str, int]:
    try:
        return {str(kind): count for kind, count in (await counts.count()).items()}
    except GatewayError as error:
        _log.warning(failed, reason=error.reason)
        return before


def ask(path: Path, request: dict[str, Any], seconds: float = 5.0) -> dict[str, Any]:
    """One request to the control socket, for the command line. Raises :class:`OSError` where nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline(MAX_LINE * 8))
    if not isinstance(answer, dict):
        raise ConnectionError("the control process answered something else")
    return answer
