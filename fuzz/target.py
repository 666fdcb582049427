"""What a target is: a reader of bytes, and what must hold for every input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.outcome import GatewayError, Reason

WHOLE = 64 * 1024
SHORT = 2000  # bytes of an input that is given a byte at a time; a longer one comes in pieces of PIECE, to try it more often
PIECE = 13

Chunks = Callable[[bytes, int], list[bytes]]


@dataclass(frozen=True)
class Target:
    """``check`` takes any bytes, and raises for a property that does not hold; ``seeds`` are inputs worth changing."""

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


class PropertyError(AssertionError):
    """A property does not hold. No input may cause it."""


def must(holds: bool, what: str) -> None:
    """Raises :class:`PropertyError` where it does not hold."""
    if not holds:
        raise PropertyError(what)


def outcome(work: Callable[[], object]) -> object:
    """The value, or the reason of an error of ours; every other exception is a find."""
    try:
        return work()
    except GatewayError as error:
        return error.reason


def same(read: Callable[[bytes, int], object], data: bytes) -> object:
    """What ``read`` gives for ``data`` whole, which must be what it gives for it a byte at a time. ``read`` takes the size of
    a piece.
    """
    whole = outcome(lambda: read(data, WHOLE))
    piecemeal = outcome(lambda: read(data, 1 if len(data) <= SHORT else PIECE))
    must(whole == piecemeal, f"whole: {_brief(whole)}; in pieces: {_brief(piecemeal)}")
    return whole


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """``data`` in pieces of ``size`` bytes."""
    return (data[start : start + size] for start in range(0, len(data), size))


def failed(value: object) -> bool:
    """Whether an outcome is an error."""
    return isinstance(value, Reason)


def _brief(value: object) -> str:
    return repr(value)[:300]
