"""AES-CCM (RFC 5084 2.1, NIST SP 800-38C), decrypted as it comes. The library's own takes all at once, and as much memory again.

The first block of the authentication holds the length of the content. Where a sender does not say it before, content is held
until it is known, and so bounded.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from gateway.outcome import Reason
from gateway.smime.ber import CmsError, integrity

MAX_CCM: Final = 8 * 1024 * 1024  # bytes of content whose length is not said before, which is held in memory
_BLOCK: Final = 16
_PIECE: Final = 64 * 1024


class CcmDecryptor:
    """One content, without associated data. What :meth:`update` gives must not be shown to anybody before :meth:`finalize`.

    ``size`` is the length of the content in bytes, None where it is not known yet; ``nonce`` has 7 to 13 bytes.
    """

    def __init__(self, key: bytes, nonce: bytes, tag_length: int, size: int | None) -> None:
        self._key = key
        self._nonce = nonce
        self._tag_length = tag_length
        self._held = bytearray()
        self._opening = None if size is None else _Opening(key, nonce, tag_length, size)

    def update(self, data: bytes) -> bytes:
        """Plaintext, not yet proven. Raises :class:`CmsError` (LIMIT)."""
        if self._opening is not None:
            return self._opening.update(data)
        self._held += data
        if len(self._held) > MAX_CCM:
            raise CmsError(Reason.LIMIT, f"more than {MAX_CCM} bytes in CCM, in pieces")
        return b""

    def finalize(self, tag: bytes | None) -> bytes:
        """The last of the plaintext. Raises :class:`CmsError` (INTEGRITY)."""
        last = b""
        if self._opening is None:
            self._opening = _Opening(self._key, self._nonce, self._tag_length, len(self._held))
            last = self._opening.update(self._held)
        if tag is None or not hmac.compare_digest(self._opening.tag(), tag):
            raise integrity()
        return last


class _Opening:
    """SP 800-38C 6.2, with the formatting of its appendix A. Raises :class:`CmsError` (INTEGRITY) for a length that has no room."""

    def __init__(self, key: bytes, nonce: bytes, tag_length: int, size: int) -> None:
        field = _BLOCK - 1 - len(nonce)  # bytes that the length has, and the counter
        if size >> 8 * field:
            raise integrity()
        self._tag_length = tag_length
        self._counter = Cipher(AES(key), CTR(bytes((field - 1,)) + nonce + bytes(field))).encryptor()
        self._mask = self._counter.update(bytes(_BLOCK))
        self._chain = Cipher(AES(key), CBC(bytes(_BLOCK))).encryptor()
        first = bytes(((tag_length - 2) // 2 << 3 | field - 1,)) + nonce + size.to_bytes(field)
        self._last = self._chain.update(first)
        self._size = 0

    def update(self, data: bytes | bytearray) -> bytes:
        out = []
        for start in range(0, len(data), _PIECE):
            out.append(self._counter.update(data[start : start + _PIECE]))
            self._chained(out[-1])
        self._size += len(data)
        return b"".join(out)

    def tag(self) -> bytes:
        """What the tag must be. Nothing more can be updated."""
        self._chained(bytes(-self._size % _BLOCK))
        return bytes(a ^ b for a, b in zip(self._last, self._mask, strict=True))[: self._tag_length]

    def _chained(self, plain: bytes) -> None:
        chained = self._chain.update(plain)
        if chained:
            self._last = chained[-_BLOCK:]
