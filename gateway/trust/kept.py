"""Certificates of correspondents that we keep ourselves, and the port they are asked for through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from gateway.mail.address import Address


class KeptAs(StrEnum):
    """How a certificate came to be kept."""

    PINNED = "pinned"
    """An administrator bound it to the address: his word is all it needs."""
    IMPORTED = "imported"
    """An administrator put it in with others, to be found like one of a folder."""
    HARVESTED = "harvested"
    """The author of a verified mail signed with it, or named it to be written to."""
    WAITING = "waiting"
    """Harvested, with another key than the address had before: not used before somebody approves it."""


KEPT: Final = "kept"  # as all of it together is told of, where a directory is by its name


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate (DER) kept for an address. ``since`` in microseconds UTC: the signing time of what it was harvested from,
    else when an administrator said so. ``above`` are certificates that came with it and may lie between it and an anchor (DER).
    """

    certificate: bytes
    kept_as: KeptAs
    since: int
    above: tuple[bytes, ...] = ()


class Keeping(Protocol):
    """What an organisation keeps."""

    async def kept(self, organisation: str, address: Address, /) -> tuple[Kept, ...]:
        """Everything kept for ``address``, what waits too, bound to it by whoever kept it.

        Raises :class:`gateway.trust.sources.DirectoryError`.
        """


class _KeepsNothing:
    """For whoever has no state to look into."""

    async def kept(self, organisation: str, address: Address, /) -> tuple[Kept, ...]:  # noqa: ARG002 - the port
        return ()


KEEPS_NOTHING: Final[Keeping] = _KeepsNothing()
