"""What happens to keys, configurations and processes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsed(Event):
    """A key agent did one private-key operation (``sign`` or ``unwrap``) for a worker."""

    key: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFailed(Event):
    """A key agent could not do an operation, or the token could not be opened."""

    key: str
    operation: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationLoaded(Event):
    """A configuration generation is in force in this process."""

    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationRefused(Event):
    """A changed configuration is wrong; the one before stays in force."""

    mistakes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStarted(Event):
    """One of our processes is ready."""

    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnded(Event):
    """One of our processes ended; ``status`` is its exit status, negative for a signal."""

    process: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSigned(Event):
    """The control process signed the heads of ``segments`` segments of the audit that were new: as ``record``, whose line has the
    SHA-256 ``digest`` (hex).
    """

    record: int
    digest: str
    segments: int
