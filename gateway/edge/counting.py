"""How a process tells the control process what it counted: cumulative counters, once a second, over the control socket.

A thread of its own, so that every kind of process does it alike, with an event loop or without.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.edge.observe import Observe

REPORT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0


def control_socket(run: Path) -> Path:
    """Where the control process listens, below the run directory."""
    return run / "control.sock"


class CounterReports:
    """Reports until stopped; what cannot be sent goes with the next, since counters are cumulative. A context manager."""

    def __init__(self, path: Path, process: str, observer: Observe, now: Callable[[], int]) -> None:
        """``path`` is the control socket; the epoch of ``process`` is its start by ``now`` (microseconds UTC)."""
        self._path = path
        self._process = process
        self._observer = observer
        self._epoch = now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counter-reports", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(REPORT_SECONDS):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(str(self._path))
                with connection.makefile("rb") as answers:
                    self._report(connection, answers.readline)

    def _report(self, connection: socket.socket, answer: Callable[[], bytes]) -> None:
        while True:
            counters = [[name, labels, value] for (name, labels), value in self._observer.counters.copy().items()]
            request = {"verb": "report", "process": self._process, "epoch": self._epoch, "counters": counters}
            connection.sendall(json.dumps(request).encode() + b"\n")
            if not answer() or self._stop.wait(REPORT_SECONDS):
                return
