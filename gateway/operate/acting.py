"""What a person does by a command stands in the audit like everything else."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.config.model import Config
from gateway.edge.clock import now
from gateway.edge.observe import Audit, Observe
from gateway.events import Event


@contextmanager
def recorded(config: Config, command: str) -> Iterator[Callable[[Event], None]]:
    """What takes the events of ``command``, into a segment of its own."""
    observe = Observe(Audit(config.state / "audit", command, now))
    try:
        yield observe.see
    finally:
        observe.close()


def who() -> str:
    """Whoever sits at the terminal, also behind sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()
