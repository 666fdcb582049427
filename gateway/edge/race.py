"""Connections raced: the addresses of one host are tried one after another, a little apart, and the first that answers is taken.

After RFC 8305 5: a host whose IPv6 leads nowhere costs a mail a quarter of a second, not the patience for a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Final, TypeVar

APART: Final = 0.25  # seconds (RFC 8305 5)

_Made = TypeVar("_Made")


def interleaved(addresses: Sequence[str]) -> tuple[str, ...]:
    """Numeric ``addresses``, in turn of one family and of the other (RFC 8305 4). The first stays the first, and each family
    keeps its order.
    """
    first = [address for address in addresses if _version(address) == _version(addresses[0])]
    other = [address for address in addresses if address not in first]
    return tuple(address for address in chain.from_iterable(zip_longest(first, other)) if address is not None)


def source_for(address: str, sources: Sequence[str]) -> str | None:
    """The one of ``sources`` (numeric) that is of the family of ``address``, None where none is."""
    return next((source for source in sources if _version(source) == _version(address)), None)


def _version(address: str) -> int:
    return ip_address(address.partition("%")[0]).version


async def race(
    connect: Callable[[str], Awaitable[_Made]], addresses: Sequence[str], undo: Callable[[_Made], None], apart: float = APART
) -> tuple[str, _Made]:
    """The address that answered first, and what ``connect`` made of it. ``apart`` is in seconds; a failure starts the next at once.

    ``undo`` is done with whatever else was made. Raises the last ``OSError`` where every address failed.
    """
    running: dict[asyncio.Task[_Made], str] = {}
    trouble = OSError("no address")
    left = list(addresses)
    try:
        while left or running:
            if left:
                address = left.pop(0)
                running[asyncio.ensure_future(_run(connect, address))] = address
            done, _ = await asyncio.wait(running, timeout=apart if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    made = task.result()
                except OSError as error:
                    trouble = error
                    del running[task]
                else:
                    return running.pop(task), made
        raise trouble
    finally:
        for task in running:
            task.cancel()
        for other in await asyncio.gather(*running, return_exceptions=True):
            if not isinstance(other, BaseException):
                undo(other)


async def _run(connect: Callable[[str], Awaitable[_Made]], address: str) -> _Made:
    return await connect(address)
