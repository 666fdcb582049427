"""AES-CCM (RFC 5084 2.1, NIST SP 800-38C), decrypted as it comes. The library's own takes all at once, and as much memory again.

The first block of the authentication holds the length of the content, and behind it comes what is authenticated beside it. CMS may
write either of the two behind the content, which then has to be held until they are known, and so is bounded.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from gateway.outcome import Reason
from gateway.smime.ber import CmsError, integrity

MAX_CCM: Final = 8 * 1024 * 1024  # bytes of content that is held in memory: its length was not said before, or it has attributes
_BLOCK: Final = 16
_PIECE: Final = 64 * 1024


class CcmDecryptor:
    """One content. What :meth:`update` gives must not be shown to anybody before :meth:`finalize`.

    ``size`` is the length of the content in bytes, None where it is not known yet; ``nonce`` has 7 to 13 bytes.
    """

    def __init__(self, key: bytes, nonce: bytes, tag_length: int, size: int | None) -> None:
        self._key = key
        self._nonce = nonce
        self._tag_length = tag_length
        self._held = bytearray()
        self._size = 0
        self._opening = None if size is None else _Opening(key, nonce, tag_length, size)

    def update(self, data: bytes) -> bytes:
        """Plaintext, not yet proven. Raises :class:`CmsError` (LIMIT)."""
        self._size += len(data)
        if self._size <= MAX_CCM:
            self._held += data
        elif self._opening is None:
            raise CmsError(Reason.LIMIT, f"more than {MAX_CCM} bytes in CCM, in pieces")
        else:
            self._held.clear()
        return b"" if self._opening is None else self._opening.update(data)

    def finalize(self, tag: bytes | None, attributes: bytes = b"") -> bytes:
        """The last of the plaintext. ``attributes`` is what is authenticated beside it.

        Raises :class:`CmsError` (LIMIT, INTEGRITY).
        """
        opening, last = self._opening, b""
        if opening is None or attributes:
            if self._size > MAX_CCM:
                raise CmsError(Reason.LIMIT, f"more than {MAX_CCM} bytes in CCM, with attributes")
            opening = _Opening(self._key, self._nonce, self._tag_length, self._size, attributes)
            last = opening.update(self._held)
        if tag is None or not hmac.compare_digest(opening.tag(), tag):
            raise integrity()
        return last if self._opening is None else b""


class _Opening:
    """SP 800-38C 6.2, with the formatting of its appendix A. Raises :class:`CmsError` (INTEGRITY) for a length that has no room."""

    def __init__(self, key: bytes, nonce: bytes, tag_length: int, size: int, attributes: bytes = b"") -> None:
        field = _BLOCK - 1 - len(nonce)  # bytes that the length has, and the counter
        if size >> 8 * field:
            raise integrity()
        self._tag_length = tag_length
        self._counter = Cipher(AES(key), CTR(bytes((field - 1,)) + nonce + bytes(field))).encryptor()
        self._mask = self._counter.update(bytes(_BLOCK))
        self._chain = Cipher(AES(key), CBC(bytes(_BLOCK))).encryptor()
        flags = bool(attributes) << 6 | (tag_length - 2) // 2 << 3 | field - 1
        self._last = self._chain.update(bytes((flags,)) + nonce + size.to_bytes(field))
        if attributes:
            self._chained(_counted(attributes))
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


def _counted(attributes: bytes) -> bytes:
    """What is authenticated beside the content, with its length (SP 800-38C A.2.2) and zeros up to a whole block."""
    size = len(attributes)
    counted = (size.to_bytes(2) if size < 0xFF00 else b"\xff\xfe" + size.to_bytes(4)) + attributes
    return counted + bytes(-len(counted) % _BLOCK)
