"""What an attacker does to bytes: messages put together from parts, CMS structures taken apart and written anew."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from asn1crypto import cms, core

from gateway.mail.mime import wrap
from gateway.smime import der
from tests.pki import Issued

TEXT: Final = b"Content-Type: text/plain\r\n\r\nPlease pay to the account below.\r\n"
_BODY: Final = re.compile(rb"\r\n\r\n")


def multipart(kind: str, *parts: bytes, boundary: str = "around") -> bytes:
    """An entity of ``kind`` (``mixed``, ``related``, ``alternative``) with these parts."""
    delimiter = f"--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode() + body + delimiter + b"--\r\n"


def mixed(*parts: bytes) -> bytes:
    return multipart("mixed", *parts)


def without_mime_version(entity: bytes) -> bytes:
    return entity.replace(b"MIME-Version: 1.0\r\n", b"")


def boundary_of(entity: bytes) -> bytes:
    return entity.split(b'boundary="')[1].split(b'"')[0]


def changed_signature(entity: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A multipart/signed with another signature in the place of its own."""
    before, _, rest = entity.rpartition(b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n')
    encoded, boundary, after = rest.partition(b"\r\n\r\n--")
    text = base64.encodebytes(change(base64.b64decode(encoded))).replace(b"\n", b"\r\n")
    return before + b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n' + text + boundary[2:] + after


def structure_of(entity: bytes) -> bytes:
    """The CMS structure of an application/pkcs7-mime entity."""
    return base64.b64decode(_BODY.split(entity, 1)[1])


def opaque(structure: bytes, kind: str) -> bytes:
    """An application/pkcs7-mime entity; ``kind`` is its smime-type."""
    return (
        f'Content-Type: application/pkcs7-mime; smime-type={kind}; name="smime.p7m"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    ).encode() + wrap(structure)


def no_signers(structure: bytes) -> bytes:
    """SignedData with its signers taken out."""
    kind, wrapped = der.read(structure)
    version, digests, content, certificates, _ = next(iter(wrapped))
    inside = der.sequence(version.raw, digests.raw, content.raw, certificates.raw, der.set_of())
    return der.sequence(kind.raw, der.element(0xA0, inside))


def signature_bad(structure: bytes, signer: Issued) -> bytes:
    """SignedData with one byte of this signer's signature changed."""
    serial = der.integer(signer.certificate.serial_number)
    inside = structure.index(b"\x04\x82\x01\x00", structure.rindex(serial)) + 4
    return structure[:inside] + bytes((structure[inside] ^ 1,)) + structure[inside + 1 :]


def with_content(structure: bytes, content: bytes) -> bytes:
    """Detached SignedData that holds ``content`` all the same."""
    kind, wrapped = der.read(structure)
    version, digests, encapsulated, *others = next(iter(wrapped))
    (data_type,) = encapsulated
    held = der.sequence(data_type.raw, der.element(0xA0, der.octet_string(content)))
    inside = der.sequence(version.raw, digests.raw, held, *(each.raw for each in others))
    return der.sequence(kind.raw, der.element(0xA0, inside))


def third_part(entity: bytes, part: bytes) -> bytes:
    """A multipart/signed with one part more behind the signature."""
    closing = b"--" + boundary_of(entity) + b"--"
    return entity.replace(closing, closing[:-2] + b"\r\n" + part + b"\r\n" + closing)


Change = Callable[[bytes, bytes], tuple[bytes, bytes]]
"""From the vector and the ciphertext of CBC to others."""


def changed_cipher(entity: bytes, change: Change) -> bytes:
    """EnvelopedData of which ``change`` made another vector and ciphertext."""
    info = cms.ContentInfo.load(structure_of(entity))
    encrypted = info["content"]["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    vector, ciphertext = change(algorithm["parameters"].native, encrypted["encrypted_content"].native)
    algorithm["parameters"] = core.OctetString(vector)
    encrypted["encrypted_content"] = ciphertext
    return opaque(info.dump(force=True), "enveloped-data")


def _steered(vector: bytes, known: bytes, block: bytes) -> bytes:
    """What, in front of the first block of ciphertext, makes it decrypt to ``block``."""
    return bytes(a ^ b ^ c for a, b, c in zip(vector, known, block, strict=True))


def gadget(vector: bytes, ciphertext: bytes, known: bytes, wanted: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The CBC gadget of EFAIL: a message that decrypts to ``wanted`` blocks with noise between them, and goes on as it was.

    ``known`` is the first block of the plaintext, which every S/MIME entity gives away.
    """
    first = ciphertext[:16]
    others = b"".join(_steered(vector, known, block) + first for block in wanted[1:])
    return _steered(vector, known, wanted[0]), first + others + vector + ciphertext


def insertion(vector: bytes, ciphertext: bytes, known: bytes, wanted: tuple[bytes, ...], place: int) -> bytes:
    """Ciphertext with ``wanted`` blocks at ``place`` (a multiple of 16), each behind a block of noise, and one more behind them."""
    steered = b"".join(_steered(vector, known, block) + ciphertext[:16] for block in wanted)
    return ciphertext[:place] + steered + ciphertext[place - 16 :]


def broken_tag(structure: bytes, length: int = 16) -> bytes:
    """AuthEnvelopedData whose tag has one bit changed, or is cut to ``length`` bytes while the parameters promise more."""
    kind, wrapped = der.read(structure)
    *before, tag = next(iter(wrapped))
    content = tag.content[:length] if length < 16 else bytes((tag.content[0] ^ 1,)) + tag.content[1:]
    inside = der.sequence(*(each.raw for each in before), der.octet_string(content))
    return der.sequence(kind.raw, der.element(0xA0, inside))


def as_cbc(structure: bytes) -> bytes:
    """AuthEnvelopedData written as EnvelopedData in CBC: the downgrade that RFC 9709 is about."""
    _, wrapped = der.read(structure)
    version, recipients, encrypted, _ = next(iter(wrapped))
    data_type, _, ciphertext = encrypted
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octet_string(bytes(16)))
    whole = ciphertext.content + bytes(-len(ciphertext.content) % 16)
    content = der.sequence(data_type.raw, algorithm, der.element(ciphertext.tag, whole))
    inside = der.sequence(version.raw, recipients.raw, content)
    return der.sequence(der.oid("1.2.840.113549.1.7.3"), der.element(0xA0, inside))
