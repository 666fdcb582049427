"""S/MIME entities (RFC 8551 3): the MIME around the CMS. Each is read as often as needed, and checks itself while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.mail.entity import Entity
from gateway.mail.mime import Base64Lines, wrap, wrapped_size
from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import MICALG, ContentCipher
from gateway.smime.encrypt import Encryptor
from gateway.smime.keys import Digest
from gateway.smime.recipients import Reader

BOUNDARY_BYTES: Final = 16
_SMIME_TYPE: Final = {ContentCipher.AES256_CBC: "enveloped-data", ContentCipher.AES256_GCM: "authEnveloped-data"}


class SignedForm(StrEnum):
    """How signed mail is written (RFC 8551 3.5.1). Anybody reads clear-signed mail; what is opaque no relay can break."""

    CLEAR = "clear"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class SignedEntity:
    """multipart/signed (RFC 8551 3.5.3): ``content``, and its SignedData ``signature`` (DER) made over ``message_digest``.

    ``eight_bit``: the content is not 7-bit, which is only right inside encryption. ``boundary`` is ``BOUNDARY_BYTES`` random
    bytes, so that it cannot stand in the content.
    """

    content: Entity
    content_size: int
    signature: bytes
    digest: Digest
    message_digest: bytes
    boundary: bytes
    eight_bit: bool

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._head()) + self.content_size + len(self._tail())

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start. Raises :class:`GatewayError` (OWN_WORK_WRONG) before its end where other bytes were signed."""
        digest = hashlib.new(self.digest)
        yield self._head()
        for chunk in self.content.chunks():
            digest.update(chunk)
            yield chunk
        if digest.digest() != self.message_digest:
            raise GatewayError(Reason.OWN_WORK_WRONG, "what leaves is not what was signed")
        yield self._tail()

    def _delimiter(self) -> bytes:
        return b"--=_" + self.boundary.hex().encode()

    def _head(self) -> bytes:
        label = "Content-Transfer-Encoding: 8bit\r\n" if self.eight_bit else ""
        return (
            (
                'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
                f' micalg={MICALG[self.digest]}; boundary="=_{self.boundary.hex()}"\r\n{label}\r\n'
            ).encode()
            + self._delimiter()
            + b"\r\n"
        )

    def _tail(self) -> bytes:
        part = (
            b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
            b"Content-Transfer-Encoding: base64\r\n"
            b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n'
        )
        delimiter = self._delimiter()
        return b"\r\n" + delimiter + b"\r\n" + part + wrap(self.signature) + delimiter + b"--\r\n"


@dataclass(frozen=True, slots=True)
class OpaqueEntity:
    """application/pkcs7-mime with signed-data (RFC 8551 3.5.2): ``content`` inside its SignedData, which was made over
    ``message_digest``; ``before`` and ``behind`` (DER) are what stands around it.

    Nothing on the way can change the content, which keeps its 8bit; who reads no S/MIME reads nothing.
    """

    content: Entity
    content_size: int
    before: bytes
    behind: bytes
    digest: Digest
    message_digest: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(_pkcs7_mime("signed-data")) + wrapped_size(len(self.before) + self.content_size + len(self.behind))

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start. Raises :class:`GatewayError` (OWN_WORK_WRONG) before its end where other bytes were signed."""
        digest, lines = hashlib.new(self.digest), Base64Lines()
        yield _pkcs7_mime("signed-data")
        yield lines.update(self.before)
        for chunk in self.content.chunks():
            digest.update(chunk)
            yield lines.update(chunk)
        if digest.digest() != self.message_digest:
            raise GatewayError(Reason.OWN_WORK_WRONG, "what leaves is not what was signed")
        yield lines.update(self.behind)
        yield lines.finalize()


@dataclass(frozen=True, slots=True)
class EncryptedEntity:
    """application/pkcs7-mime (RFC 8551 3.3): ``content`` of ``size`` bytes for ``readers``. Every reading encrypts anew."""

    content: Entity
    content_size: int
    readers: tuple[Reader, ...]
    random: Callable[[int], bytes]
    cipher: ContentCipher = ContentCipher.AES256_CBC

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start. Raises as :class:`Encryptor`."""
        yield _pkcs7_mime(_SMIME_TYPE[self.cipher])
        encryptor = Encryptor(self.readers, self.content_size, self.random, self.cipher)
        lines = Base64Lines()
        yield lines.update(encryptor.begin())
        for chunk in self.content.chunks():
            yield lines.update(encryptor.update(chunk))
        yield lines.update(encryptor.finalize())
        yield lines.finalize()


def _pkcs7_mime(kind: str) -> bytes:
    """The header of an application/pkcs7-mime entity (RFC 8551 3.2) with this smime-type."""
    return (
        f'Content-Type: application/pkcs7-mime; smime-type={kind};\r\n name="smime.p7m"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7m"\r\n\r\n'
    ).encode()


def message_of(outer: bytes, entity: Entity) -> Iterator[bytes]:
    """A message: the ``outer`` header fields, MIME-Version once, then ``entity``."""
    yield outer + b"MIME-Version: 1.0\r\n"
    yield from entity.chunks()
