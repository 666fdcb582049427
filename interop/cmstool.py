"""Makes a peer of a program that knows CMS alone: S/MIME around its structures (RFC 8551 3)."""

from __future__ import annotations

import base64
import email
import re
from dataclasses import dataclass
from typing import Final, Protocol

from interop.case import Case, Encryption, Form, Scheme, Signing
from interop.peer import Refused

_MICALG: Final = {Scheme.P384: "sha-384", Scheme.P521: "sha-512", Scheme.ED25519: "sha-512"}
_BOUNDARY: Final = "=_interop"


class CmsTool(Protocol):
    """Reads and writes CMS structures in DER. Each method raises :class:`interop.peer.Refused`, the last two ``NotOffered`` too."""

    @property
    def name(self) -> str:
        """The program."""

    @property
    def version(self) -> str:
        """Its version."""

    def verify(self, structure: bytes, content: bytes | None) -> bytes:
        """The content of a SignedData that verifies; ``content`` is the one beside it."""

    def decrypt(self, structure: bytes) -> bytes:
        """The content of an EnvelopedData or AuthEnvelopedData."""

    def sign(self, content: bytes, signing: Signing) -> bytes:
        """A SignedData over ``content``, which is inside for the opaque form."""

    def encrypt(self, content: bytes, encryption: Encryption) -> bytes:
        """An EnvelopedData or AuthEnvelopedData with ``content``."""


@dataclass(frozen=True)
class MailOf:
    """The mail program that :attr:`tool` is not."""

    tool: CmsTool

    @property
    def name(self) -> str:
        """The program."""
        return self.tool.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.tool.version

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        entity = message
        for layer in reversed(case.layers):
            if isinstance(layer, Encryption):
                entity = self.tool.decrypt(structure(entity))
            else:
                entity = self.tool.verify(*detached(entity)) if is_clear(entity) else self.tool.verify(structure(entity), None)
        return entity

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        for layer in case.layers:
            if isinstance(layer, Encryption):
                kind = "authEnveloped-data" if layer.cipher.authenticated else "enveloped-data"
                entity = pkcs7_mime(kind, self.tool.encrypt(entity, layer))
            else:
                signed, clear = self.tool.sign(entity, layer), layer.form is Form.CLEAR
                entity = multipart(entity, signed, layer.scheme) if clear else pkcs7_mime("signed-data", signed)
        return header + b"MIME-Version: 1.0\r\n" + entity


def is_clear(entity: bytes) -> bool:
    """Whether it is multipart/signed."""
    return email.message_from_bytes(entity).get_content_type() == "multipart/signed"


def structure(entity: bytes) -> bytes:
    """The structure in an application/pkcs7-mime entity. Raises :class:`Refused` for another."""
    parsed = email.message_from_bytes(entity)
    if parsed.get_content_type() != "application/pkcs7-mime":
        raise Refused(f"found {parsed.get_content_type()} inside")
    return base64.b64decode(entity.partition(b"\r\n\r\n")[2])


def detached(entity: bytes) -> tuple[bytes, bytes]:
    """The structure in a multipart/signed entity, and the signed entity byte for byte."""
    boundary = email.message_from_bytes(entity).get_boundary() or ""
    _, content, signature, _ = re.split(rb"\r\n--" + re.escape(boundary.encode()) + rb"(?:--)?\r\n", entity)
    return structure(signature.replace(b"pkcs7-signature", b"pkcs7-mime", 1)), content


def pkcs7_mime(kind: str, content: bytes) -> bytes:
    """An application/pkcs7-mime entity."""
    head = f'Content-Type: application/pkcs7-mime; smime-type={kind}; name="smime.p7m"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    return head.encode() + _base64(content)


def multipart(entity: bytes, signature: bytes, scheme: Scheme) -> bytes:
    """A multipart/signed entity."""
    micalg = _MICALG.get(scheme, "sha-256")
    delimiter = f"\r\n--{_BOUNDARY}".encode()
    head = f'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg={micalg}; boundary="{_BOUNDARY}"\r\n'
    part = b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    return head.encode() + delimiter + b"\r\n" + entity + delimiter + b"\r\n" + part + _base64(signature) + delimiter + b"--\r\n"


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")
