"""A file of mail addresses and ``@domain`` lines, read again when it changes. ``#`` begins a comment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from gateway.mail.address import Address, AddressError, normal_domain, parse_address
from gateway.outcome import GatewayError, Reason

MAX_BYTES: Final = 64 * 1024 * 1024

_log = structlog.get_logger()


class AddressList:
    """The list in ``path``. A changed file that is wrong leaves the list before in force, and says so in the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._entries: frozenset[str] | None = None

    async def holds(self, address: Address) -> bool:
        """Whether ``address`` or its whole domain is listed. Raises :class:`GatewayError` (RECIPIENT_UNCHECKED) where the file
        never could be read.
        """
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen != self._seen:
                self._entries = await asyncio.to_thread(_read, self._path)
                self._seen = seen
        except (OSError, ValueError) as error:
            trouble = error.strerror if isinstance(error, OSError) else str(error)
            _log.warning("recipient_list_unreadable", file=str(self._path), trouble=trouble)
            if self._entries is None:
                raise GatewayError(Reason.RECIPIENT_UNCHECKED, f"{self._path}: {trouble}") from error
        assert self._entries is not None  # noqa: S101 - read above, or before
        return address.key in self._entries or f"@{address.domain}" in self._entries


def _read(path: Path) -> frozenset[str]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES} bytes")
    entries = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition("#")[0].strip()
        try:
            if text.startswith("@"):
                entries.add(f"@{normal_domain(text[1:])}")
            elif text:
                entries.add(parse_address(text).key)
        except AddressError as error:
            raise ValueError(f"line {number}: {error}") from error
    return frozenset(entries)
