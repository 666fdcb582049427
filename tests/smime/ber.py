"""Structures of CMS put together by hand, right and wrong, definite and indefinite."""

from __future__ import annotations

from gateway.smime import der

SIGNED = der.oid("1.2.840.113549.1.7.2")
ENVELOPED = der.oid("1.2.840.113549.1.7.3")
DATA = der.oid("1.2.840.113549.1.7.1")
SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
RSA = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
AES256_CBC = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octet_string(bytes(16)))
END = b"\0\0"
NAME = der.sequence(der.sequence(), der.integer(1))  # IssuerAndSerialNumber


def open_element(tag: int) -> bytes:
    """The head of an element of indefinite length."""
    return bytes((tag, 0x80))


def signed_head() -> bytes:
    """SignedData up to its digestAlgorithms."""
    return open_element(0x30) + SIGNED + open_element(0xA0) + open_element(0x30) + der.integer(1)


def signed(
    *,
    digests: bytes = b"\x31\x00",
    content: bytes = b"",
    certificates: bytes = b"",
    crls: bytes = b"",
    signers: bytes = b"\x31\x00",
) -> bytes:
    """SignedData; ``content`` is the eContent from its [0] on, ``certificates`` and ``crls`` are whole elements."""
    encapsulated = open_element(0x30) + DATA + content + END
    return signed_head() + digests + encapsulated + certificates + crls + signers + END * 3


def octets_head() -> bytes:
    """SignedData up to the first piece of its content, which is in pieces."""
    return signed_head() + b"\x31\x00" + open_element(0x30) + DATA + open_element(0xA0) + open_element(0x24)


def octets_tail() -> bytes:
    """What follows the last piece."""
    return END * 3 + b"\x31\x00" + END * 3


def signer(signed_attributes: bytes = b"", unsigned: bytes = b"", name: bytes = NAME) -> bytes:
    """SignerInfo. The attributes are whole elements, [0] and [1]."""
    return der.sequence(der.integer(1), name, SHA256, signed_attributes, RSA, der.octet_string(bytes(256)), unsigned)


def attribute(number: int, *values: bytes) -> bytes:
    """An Attribute of a type of nobody's."""
    return der.sequence(der.oid(f"1.3.6.1.4.1.99999.{number}"), der.set_of(*values))


def recipient(number: int = 1) -> bytes:
    """KeyTransRecipientInfo."""
    return der.sequence(der.integer(0), der.sequence(der.sequence(), der.integer(number)), RSA, der.octet_string(bytes(16)))


def enveloped_head() -> bytes:
    """EnvelopedData up to its recipientInfos."""
    return open_element(0x30) + ENVELOPED + open_element(0xA0) + open_element(0x30) + der.integer(0)


def enveloped(recipients: bytes, content: bytes = bytes(32)) -> bytes:
    """EnvelopedData; ``recipients`` is the whole SET."""
    encrypted = der.sequence(DATA, AES256_CBC, der.element(0x80, content))
    return enveloped_head() + recipients + encrypted + END * 3


def nested(depth: int, tag: int = 0x30) -> bytes:
    """``depth`` elements one inside the other, definite lengths; the innermost is empty."""
    heads: list[bytes] = []
    length = 0
    for _ in range(depth):
        heads.append(der.head(tag, length))
        length += len(heads[-1])
    return b"".join(reversed(heads))
