"""S/MIME entities (RFC 8551 3): the MIME around the CMS. Each is read as often as needed, and checks itself while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.mail.entity import Entity, gathered
from gateway.mail.mime import Base64Lines, wrap, wrapped_size
from gateway.smime.algorithms import MICALG, ContentCipher
from gateway.smime.content import SignedContent
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
    """multipart/signed (RFC 8551 3.5.3): ``content``, and what stands ``before`` and ``behind`` it, where its signature is."""

    content: SignedContent
    before: bytes
    behind: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.before) + self.content.size + len(self.behind)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start. Raises as :class:`SignedContent`, before the end."""
        yield self.before
        yield from self.content.chunks()
        yield self.behind


def around_signed(signature: bytes, digest: Digest, boundary: bytes, *, eight_bit: bool) -> tuple[bytes, bytes]:
    """What stands before and behind the content of a multipart/signed. ``signature`` is its SignedData (DER).

    ``eight_bit``: the content is not 7-bit, which is only right inside encryption. ``boundary`` is ``BOUNDARY_BYTES`` random
    bytes, so that it cannot stand in the content.
    """
    name, label = boundary.hex(), "Content-Transfer-Encoding: 8bit\r\n" if eight_bit else ""
    before = (
        'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        f' micalg={MICALG[digest]}; boundary="=_{name}"\r\n{label}\r\n--=_{name}\r\n'
    )
    between = (
        f'\r\n--=_{name}\r\nContent-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n'
    )
    return before.encode(), between.encode() + wrap(signature) + f"--=_{name}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class OpaqueEntity:
    """application/pkcs7-mime with signed-data (RFC 8551 3.5.2): ``content`` inside its SignedData; ``before`` and ``behind`` (DER)
    are what stands around it.

    Nothing on the way can change the content, which keeps its 8bit; who reads no S/MIME reads nothing.
    """

    content: SignedContent
    before: bytes
    behind: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(_pkcs7_mime("signed-data")) + wrapped_size(len(self.before) + self.content.size + len(self.behind))

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start. Raises as :class:`SignedContent`, before the end."""
        lines = Base64Lines()
        yield _pkcs7_mime("signed-data")
        yield lines.update(self.before)
        for chunk in self.content.chunks():
            yield lines.update(chunk)
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
        lines = Base64Lines()
        yield _pkcs7_mime(_SMIME_TYPE[self.cipher])
        for piece in gathered(self._structure()):
            yield lines.update(piece)
        yield lines.finalize()

    def _structure(self) -> Iterator[bytes]:
        encryptor = Encryptor(self.readers, self.content_size, self.random, self.cipher)
        yield encryptor.begin()
        for chunk in gathered(self.content.chunks()):
            yield encryptor.update(chunk)
        yield encryptor.finalize()


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
