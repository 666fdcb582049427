"""Target: a whole message, opened."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from fuzz import seeds
from fuzz.target import Target, failed, must, same
from gateway.flow.evidence import Signed
from gateway.flow.opening import open_message
from gateway.mail.verdict import Judged, Verdict
from gateway.outcome import Reason
from gateway.smime.keys import WrappedKey
from gateway.trust.along import Along
from gateway.trust.judgement import Distrusted
from tests.doubles import MemoryBodies, MemoryBody

AT = 1_800_000_000_000_000
_KEYS = {"reader": seeds.reader_certificate()}
# What opening a message may end in, as its docstring has it; all else is a verdict.
_ENDS = frozenset({Reason.MALFORMED, Reason.LIMIT})

_T = TypeVar("_T")


class ZeroKeys:
    """Every wrapped key is a key of zeros."""

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:  # noqa: ARG002
        return bytes(wrapped.length)


async def _nobody(certificate: bytes, along: Along, at: int, /) -> Signed:  # noqa: ARG001
    return Signed(Distrusted(Reason.CHAIN))


def _open(data: bytes) -> None:
    """A verdict, which with nobody believed is never ``verified``; and what the mailbox gets begins with our marks."""
    found = same(lambda given, size: _now(opened(given, size)), data)
    if failed(found):
        must(found in _ENDS, f"opening that ends in {found}")


async def opened(data: bytes, size: int) -> tuple[Verdict, bytes, tuple[str, ...]]:
    """What becomes of a message: its verdict, what the mailbox gets, and our keys that opened it."""
    bodies = MemoryBodies()
    result = await open_message(
        MemoryBody(data, size), bodies, unwrapper=ZeroKeys(), keys=_KEYS, judge=_nobody, at=AT, hostname="gateway.example"
    )
    written = b"".join(result.body.chunks())
    must(result.verdict.judged is not Judged.VERIFIED, "verified, though nobody is believed")
    must(written.startswith(b"Authentication-Results: gateway.example;"), "no mark")
    must(bodies.kept == [written], "a body that is left behind")
    must(result.eight_bit is not written.isascii(), "8-bit bytes that are not told of")
    result.verdict.to_json()
    return result.verdict, written, result.keys


def _now(work: Coroutine[object, object, _T]) -> _T:
    """The result of ``work``, which awaits nothing for a small message and these doubles."""
    try:
        work.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    finally:
        work.close()
    raise RuntimeError("it waits")


TARGETS = (Target("open", _open, seeds.mails),)
