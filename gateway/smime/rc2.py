"""RC2 with a key of 40 or 64 effective bits (RFC 2268), which no library of ours has any more: to read mail of the last century.

A megabyte takes seconds, so what is longer is not read. With 128 bits it is the library's.
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.outcome import Reason
from gateway.smime.ber import CmsError

MAX_RC2: Final = 1024 * 1024  # bytes of ciphertext

# RFC 2268 2, "a random permutation of the values 0 to 255, based on the digits of pi"
_PI: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_TURNS: Final = (1, 2, 3, 5)  # bits by which the four words are turned
_MASHED: Final = (5, 11)  # mixing rounds of which, taken back, a mashing round comes next (section 4)


def expanded(key: bytes, bits: int) -> tuple[int, ...]:
    """The 64 words into which ``key`` is expanded, of which ``bits`` are effective (section 2)."""
    size = (bits + 7) // 8
    table = bytearray(key)
    while len(table) < 128:
        table.append(_PI[(table[-1] + table[-len(key)]) & 0xFF])
    table[128 - size] = _PI[table[128 - size] & (0xFF >> (8 * size - bits))]
    for index in range(127 - size, -1, -1):
        table[index] = _PI[table[index + 1] ^ table[index + size]]
    return struct.unpack("<64H", table)


def block(words: tuple[int, ...], data: bytes) -> bytes:
    """One block of eight bytes, decrypted (section 4)."""
    r = list(struct.unpack("<4H", data))
    index = 63
    for turn in range(16):
        for i in (3, 2, 1, 0):
            turned = (r[i] >> _TURNS[i] | r[i] << 16 - _TURNS[i]) & 0xFFFF
            r[i] = (turned - words[index] - (r[i - 1] & r[i - 2]) - (~r[i - 1] & r[i - 3])) & 0xFFFF
            index -= 1
        if turn + 1 in _MASHED:
            for i in (3, 2, 1, 0):
                r[i] = (r[i] - words[r[i - 1] & 63]) & 0xFFFF
    return struct.pack("<4H", *r)


class Rc2Cbc:
    """Decrypts RC2 in CBC, without its padding; as the library's ciphers."""

    def __init__(self, key: bytes, bits: int, vector: bytes) -> None:
        self._words = expanded(key, bits)
        self._before = vector
        self._rest = b""
        self._taken = 0

    def update(self, data: bytes) -> bytes:
        """The blocks that are whole. Raises :class:`CmsError` (LIMIT)."""
        self._taken += len(data)
        if self._taken > MAX_RC2:
            raise CmsError(Reason.LIMIT, f"more than {MAX_RC2} bytes in RC2")
        data = self._rest + data
        out = []
        for start in range(0, len(data) - 7, 8):
            one = data[start : start + 8]
            out.append(bytes(a ^ b for a, b in zip(block(self._words, one), self._before, strict=True)))
            self._before = one
        self._rest = data[len(out) * 8 :]
        return b"".join(out)

    def finalize(self) -> bytes:
        """Nothing. Raises ``ValueError`` where a block is not whole."""
        if self._rest:
            raise ValueError("a block that is not whole")
        return b""
