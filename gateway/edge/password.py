"""Passwords are compared with their scrypt hashes, in threads: each takes memory and tens of milliseconds on purpose."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from gateway.config.users import MAX_MEMORY, Hashed

AT_ONCE: Final = 2  # in one worker: more would take the processor from the mail

DEFAULT_N: Final = 2**15
DEFAULT_R: Final = 8
DEFAULT_P: Final = 1


class Passwords:
    """``right`` is asked by many sessions; few of them are answered at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def right(self, users: Mapping[str, Hashed], name: str, password: str) -> bool:
        """Whether ``password`` is that of ``name``. A name that is unknown takes as long as one that is not."""
        known = users.get(name)
        hashed = known or _stand_in(users, name)
        async with self._turns:
            same = await asyncio.to_thread(_same, hashed, password)
        return same and known is not None


def hash_password(password: str, salt: bytes) -> Hashed:
    """``password`` as it stands in a file of users."""
    hashed = Hashed(DEFAULT_N, DEFAULT_R, DEFAULT_P, salt, bytes(32))
    return Hashed(DEFAULT_N, DEFAULT_R, DEFAULT_P, salt, _scrypt(hashed, password))


def _stand_in(users: Mapping[str, Hashed], name: str) -> Hashed:
    """One of ``users``, always the same for a name: where their costs differ, that of an unknown one differs as theirs do."""
    all_of_them = list(users.values())
    chosen = hashlib.blake2b(name.encode(), key=all_of_them[0].salt[:64]).digest()
    return all_of_them[int.from_bytes(chosen[:8]) % len(all_of_them)]


def _same(hashed: Hashed, password: str) -> bool:
    return hmac.compare_digest(_scrypt(hashed, password), hashed.hash)


def _scrypt(hashed: Hashed, password: str) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=hashed.salt, n=hashed.n, r=hashed.r, p=hashed.p, maxmem=2 * MAX_MEMORY, dklen=len(hashed.hash)
    )
