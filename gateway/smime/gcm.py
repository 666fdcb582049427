"""AES-GCM (RFC 5084 2.2, NIST SP 800-38D), decrypted as it comes, also where what is authenticated beside it comes last."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from gateway.smime.ber import integrity

_ZEROS: Final = bytes(64 * 1024)


class GcmDecryptor:
    """One content. What :meth:`update` gives must not be shown to anybody before :meth:`finalize` has checked the tag."""

    def __init__(self, key: bytes, nonce: bytes, tag_length: int) -> None:
        self._key = key
        self._nonce = nonce
        self._tag_length = tag_length
        self._cipher = Cipher(AES(key), GCM(nonce, min_tag_length=tag_length)).decryptor()
        self._size = 0

    def update(self, data: bytes) -> bytes:
        """Plaintext, not yet proven."""
        self._size += len(data)
        return self._cipher.update(data)

    def finalize(self, tag: bytes | None, attributes: bytes = b"") -> bytes:
        """The last of the plaintext. ``attributes`` is what is authenticated beside it. Raises :class:`CmsError` (INTEGRITY)."""
        if tag is None or len(tag) != self._tag_length:
            raise integrity()
        if attributes:
            tag = bytes(a ^ b for a, b in zip(tag, self._share(attributes), strict=False))
        try:
            return self._cipher.finalize_with_tag(tag)
        except (InvalidTag, ValueError) as error:
            raise integrity() from error

    def _share(self, attributes: bytes) -> bytes:
        """The part of the tag that ``attributes`` are: exclusive-or with it is the tag of the same content without them.

        GCM takes them before the content, and CMS writes them behind it (RFC 5083 2.1). But a tag is a sum: of each block, times a
        power that its distance from the end gives, and a mask (SP 800-38D 6.4, 7.1). What attributes add does not depend on the
        content, only on its length; so zeros of that length, sealed with them and without, tell it. Nothing of that is kept.
        """
        tags = []
        for associated in (attributes, b""):
            cipher = Cipher(AES(self._key), GCM(self._nonce)).encryptor()
            cipher.authenticate_additional_data(associated)
            for done in range(0, self._size, len(_ZEROS)):
                cipher.update(_ZEROS[: self._size - done])
            cipher.finalize()
            tags.append(cipher.tag)
        return bytes(a ^ b for a, b in zip(*tags, strict=True))
