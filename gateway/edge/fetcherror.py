"""What one fetch may cost, and how it can end other than well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.edge.reachable import Network
from gateway.outcome import GatewayError, Reason


class Fault(StrEnum):
    """Why nothing was fetched; a label of the metric."""

    FORBIDDEN = "forbidden"  # a URL or an address that we do not ask
    RESTING = "resting"  # its server failed a moment ago: nobody asked
    UNREACHABLE = "unreachable"
    TLS = "tls"
    LATE = "late"  # no complete answer before the deadline
    REFUSED = "refused"  # an answer that is a refusal
    TOO_LARGE = "too-large"
    BROKEN = "broken"  # an answer that broke off, or is against the protocol
    UNUSABLE = "unusable"  # complete, and not what was asked for


class FetchError(GatewayError):
    """It could not be fetched, or not within its limits."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(Reason.REVOCATION_UNKNOWN, detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one fetch may cost, and which networks of our own it may reach; ``proxy`` is the URL of an HTTP proxy."""

    bytes: int
    seconds: float
    allow_private: tuple[Network, ...] = ()
    proxy: str | None = None


def told(error: BaseException) -> str:
    """``error`` in one short line: its text may carry what the other side sent."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
