"""Writes EnvelopedData (RFC 5652 6) and AuthEnvelopedData (RFC 5083) as a stream, in DER: the length of the content is known first.

encryptor = Encryptor(readers, size, random)
write(encryptor.begin())
for chunk in entity: write(encryptor.update(chunk))
write(encryptor.finalize())
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.algorithms import AES256_CBC, AES256_GCM, AUTH_ENVELOPED_DATA, DATA, ENVELOPED_DATA, ContentCipher
from gateway.smime.certificate import identified
from gateway.smime.recipients import Reader, read_readers, recipient_infos, version

KEY_LENGTH: Final = 32
BLOCK: Final = 16
TAG_LENGTH: Final = 16
NONCE_LENGTH: Final = 12
_ENCRYPTED_CONTENT: Final = der.CONTEXT + 0
_KINDS: Final = frozenset({der.oid(ENVELOPED_DATA), der.oid(AUTH_ENVELOPED_DATA)})


class Encryptor:
    """Encrypts ``size`` bytes of content to ``readers``. ``random`` gives as many random bytes as asked, fit for keys.

    Raises :class:`GatewayError`: NO_CERTIFICATE for no readers, WEAK_ALGORITHM or UNSUPPORTED for a reader's key.
    """

    def __init__(
        self,
        readers: Sequence[Reader],
        size: int,
        random: Callable[[int], bytes],
        cipher: ContentCipher = ContentCipher.AES256_CBC,
    ) -> None:
        self._readers = tuple(dict.fromkeys(readers))
        self._left = size
        key = random(KEY_LENGTH)
        infos = recipient_infos(self._readers, key)
        if cipher is ContentCipher.AES256_GCM:
            nonce = random(NONCE_LENGTH)
            gcm = Cipher(algorithms.AES256(key), modes.GCM(nonce)).encryptor()
            self._stream: CipherContext = gcm
            self._padding = b""
            self._mac: Callable[[], bytes] = lambda: der.octet_string(gcm.tag)
            parameters = der.sequence(der.octet_string(nonce), der.integer(TAG_LENGTH))  # RFC 5084 3.2
            opening = AUTH_ENVELOPED_DATA, 0, infos, der.sequence(der.oid(AES256_GCM), parameters)
            tail = len(der.head(der.OCTET_STRING, TAG_LENGTH)) + TAG_LENGTH
        else:
            start = random(BLOCK)
            self._stream = Cipher(algorithms.AES256(key), modes.CBC(start)).encryptor()
            pad = BLOCK - size % BLOCK  # RFC 5652 6.3
            self._padding = bytes((pad,)) * pad
            self._mac = bytes
            opening = ENVELOPED_DATA, version(self._readers), infos, der.sequence(der.oid(AES256_CBC), der.octet_string(start))
            tail = 0
        self._head = _head(*opening, size + len(self._padding), tail)

    def begin(self) -> bytes:
        """Everything before the encrypted content, read back first. Raises :class:`GatewayError` (OWN_WORK_WRONG)."""
        check_head(self._head, self._readers)
        return self._head

    def update(self, data: bytes) -> bytes:
        """The encrypted form of the next bytes of the content."""
        self._left -= len(data)
        return self._stream.update(data)

    def finalize(self) -> bytes:
        """The end. Raises :class:`GatewayError` (OWN_WORK_WRONG) where the content had not the announced length."""
        if self._left:
            raise GatewayError(Reason.OWN_WORK_WRONG, "the content has not the announced length")
        return self._stream.update(self._padding) + self._stream.finalize() + self._mac()


def _head(content_type: str, number: int, infos: bytes, algorithm: bytes, length: int, tail: int) -> bytes:
    """ContentInfo up to the first byte of ``length`` encrypted ones, behind which ``tail`` more bytes follow."""
    written = der.oid(DATA) + algorithm + der.head(_ENCRYPTED_CONTENT, length)
    written = der.integer(number) + infos + der.head(der.SEQUENCE, len(written) + length) + written
    written = der.head(der.SEQUENCE, len(written) + length + tail) + written
    written = der.oid(content_type) + der.head(der.CONTEXT_CONSTRUCTED + 0, len(written) + length + tail) + written
    return der.head(der.SEQUENCE, len(written) + length + tail) + written


def check_head(head: bytes, readers: Sequence[Reader]) -> None:
    """Returns when ``head``, as written, is encrypted to exactly ``readers``. Raises :class:`GatewayError` (OWN_WORK_WRONG)."""
    try:
        kind = der.read(head, der.read_head(head).inside)
        enveloped = der.read_head(head, der.read_head(head, kind.end).inside)
        infos = der.read(head, der.read(head, enveloped.inside).end)
        written = read_readers(infos.raw)
    except GatewayError as error:
        raise GatewayError(Reason.OWN_WORK_WRONG, f"our own head cannot be read: {error.detail}") from error
    planned = [identified(reader.certificate).issuer_and_serial for reader in readers]
    if not planned or sorted(written) != sorted(planned) or kind.raw not in _KINDS:
        raise GatewayError(Reason.OWN_WORK_WRONG, "RecipientInfos are not those that were planned")
