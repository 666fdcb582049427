"""What is said where we cannot listen: which section of the configuration asked for it, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(section: str, address: str, port: int) -> Iterator[None]:
    """Whatever fails within is said of ``section``: the system's own words name no address. Raises ``OSError``."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{section}: cannot listen on {address}, port {port}: {error.strerror}") from error
