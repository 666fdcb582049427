"""The control process: metrics for operations, status for the command line. One Unix socket, one HTTP listener.

On the socket each request and each answer is one line of JSON. Our own processes send ``report`` with cumulative counters,
tagged with process and epoch (its start), so that a restarted process adds to what its predecessor counted; the command
line asks ``status``. The socket lies in the run directory, which only our own users may enter.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.outcome import GatewayError
from gateway.spool.store import State

MAX_LINE: Final = 1 << 20
MAX_EPOCHS: Final = 10_000

_log = structlog.get_logger()

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Snapshots:
    """The latest counters of every process epoch. What an ended epoch counted stays counted."""

    counters: dict[tuple[str, int], dict[Series, float]] = field(default_factory=dict)
    seen_at: dict[str, int] = field(default_factory=dict)

    def take(self, process: str, epoch: int, counters: dict[Series, float], now: int) -> None:
        """The newest cumulative counters of one process epoch."""
        if (process, epoch) not in self.counters and len(self.counters) >= MAX_EPOCHS:
            return
        self.counters[process, epoch] = counters
        self.seen_at[process] = now

    def totals(self) -> dict[Series, float]:
        """Every series, summed over processes and epochs."""
        totals: defaultdict[Series, float] = defaultdict(float)
        for counters in self.counters.values():
            for series, value in counters.items():
                totals[series] += value
        return dict(totals)


class GatewayCollector(Collector):
    """What ``/metrics`` shows: one counter for each kind of event, and the rows of the spool by state."""

    def __init__(
        self,
        snapshots: Snapshots,
        rows: Callable[[], dict[str, int]],
        now: Callable[[], int],
        audit_signed: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``audit_signed`` says when the whole audit stood under a signature (microseconds UTC), None if it never did."""
        self._snapshots = snapshots
        self._rows = rows
        self._now = now
        self._audit_signed = audit_signed

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
        spool = GaugeMetricFamily("smime_gateway_spool_rows", "Mails in the spool by state.", labels=["state"])
        for state, count in self._rows().items():
            spool.add_metric([state], count)
        yield spool
        up = GaugeMetricFamily("smime_gateway_process_seen_seconds", "Seconds since a process last reported.", labels=["process"])
        for process, seen in self._snapshots.seen_at.items():
            up.add_metric([process], (self._now() - seen) / 1_000_000)
        yield up
        if (signed := self._audit_signed()) is not None:
            name, text = "smime_gateway_audit_signed_seconds", "Seconds since the whole audit stood under a signature."
            yield GaugeMetricFamily(name, text, (self._now() - signed) / 1_000_000)


class Counts(Protocol):
    """The part of the spool that is needed here."""

    async def count(self) -> dict[State, int]:
        """How many rows are in each state."""


class Control:
    """Serves the control socket."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        spool: Counts,
        now: Callable[[], int],
        generation: Callable[[], int],
        expected: Collection[str] = (),
    ) -> None:
        """``expected`` are the names of processes that ``status`` tells of even if they never reported."""
        self._expected = expected
        self._snapshots = snapshots
        self._spool = spool
        self._now = now
        self._generation = generation
        self._conversations: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self.rows: dict[str, int] = {}

    async def serve(self, path: Path, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until ``stopping`` is set; ``ready`` is called once requests are taken."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, path, limit=MAX_LINE)
        path.chmod(0o660)
        ready()
        async with server:
            while not stopping.is_set():
                await self.count_rows()
                try:
                    await asyncio.wait_for(stopping.wait(), 5)
                except TimeoutError:
                    continue
            server.close()
            await self._hang_up()
        path.unlink(missing_ok=True)

    async def count_rows(self) -> None:
        """Bring the gauge of spool rows up to date. A spool that fails leaves it as it was: there is more to tell than rows."""
        try:
            self.rows = {state.value: count for state, count in (await self._spool.count()).items()}
        except GatewayError as error:
            _log.warning("spool_not_counted", reason=error.reason)

    async def _hang_up(self) -> None:
        """Key agents end after us, and keep their connection until then; they report to the next control process anew."""
        tasks = [task for task in self._conversations.values() if task is not None]
        for writer in self._conversations:
            writer.close()
        await asyncio.gather(*tasks)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._conversations[writer] = asyncio.current_task()
        try:
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError, ConnectionError):
            pass  # not one of ours, or gone; nothing to tell it
        finally:
            writer.close()
            del self._conversations[writer]

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["verb"] == "report":
            counters = {
                (str(name), tuple((str(key), str(text)) for key, text in labels)): float(value)
                for name, labels, value in request["counters"]
            }
            self._snapshots.take(str(request["process"]), int(request["epoch"]), counters, self._now())
            return {"ok": True}
        if request["verb"] == "status":
            return await self._status()
        return {"error": "unknown verb"}

    async def _status(self) -> dict[str, Any]:
        await self.count_rows()
        now = self._now()
        return {
            "generation": self._generation(),
            "spool": self.rows,
            "processes": {
                process: {"seen_seconds": None if seen is None else round((now - seen) / 1_000_000, 1)}
                for process, seen in sorted({**dict.fromkeys(self._expected), **self._snapshots.seen_at}.items())
            },
            "counters": [
                {"name": name, "labels": dict(labels), "value": value}
                for (name, labels), value in sorted(self._snapshots.totals().items())
            ],
        }


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
