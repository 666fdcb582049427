"""The matrix of cases: what kind of message, by which algorithms. A case says nothing of who writes it and who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Scheme(StrEnum):
    """A signature scheme, with the curve where it is one of curves. SHA-256, or the digest of the curve's size."""

    PKCS1 = "RSA PKCS #1 v1.5"
    PSS = "RSA-PSS"
    P256 = "ECDSA P-256"
    P384 = "ECDSA P-384"
    P521 = "ECDSA P-521"
    ED25519 = "Ed25519"


class Form(StrEnum):
    """Where signed content lies: beside the signature (multipart/signed), or inside it (application/pkcs7-mime)."""

    CLEAR = "clear"
    OPAQUE = "opaque"


class Management(StrEnum):
    """How the content-encryption key comes to the reader."""

    PKCS1 = "RSA PKCS #1 v1.5"
    OAEP = "RSA-OAEP"
    P256 = "ECDH P-256"
    P384 = "ECDH P-384"
    P521 = "ECDH P-521"
    X25519 = "X25519"


class Cipher(StrEnum):
    """How content is encrypted. Those with a tag (GCM) make it AuthEnvelopedData (RFC 5083)."""

    AES128_CBC = "AES-128-CBC"
    AES256_CBC = "AES-256-CBC"
    AES128_GCM = "AES-128-GCM"
    AES256_GCM = "AES-256-GCM"
    TRIPLE_DES = "3DES-CBC"

    @property
    def authenticated(self) -> bool:
        """Whether it has a tag."""
        return self.value.endswith("GCM")


SIGNER_KEYS: Final = {
    Scheme.PKCS1: "rsa2048",
    Scheme.PSS: "rsa2048",
    Scheme.P256: "p256",
    Scheme.P384: "p384",
    Scheme.P521: "p521",
    Scheme.ED25519: "ed25519",
}
"""The kind of key each scheme wants, in the words of tests.pki."""
READER_KEYS: Final = {
    Management.PKCS1: "rsa2048",
    Management.OAEP: "rsa2048",
    Management.P256: "p256",
    Management.P384: "p384",
    Management.P521: "p521",
    Management.X25519: "x25519",
}
"""The kind of key each way to a reader wants."""
_STRONG: Final = frozenset({Management.P384, Management.P521})


@dataclass(frozen=True, slots=True)
class Signing:
    """How it is signed."""

    scheme: Scheme
    form: Form = Form.CLEAR

    @property
    def name(self) -> str:
        """As in the name of a row."""
        return f"signed {self.form}, {self.scheme}"


@dataclass(frozen=True, slots=True)
class Encryption:
    """How it is encrypted. The peer has the key of the first of ``readers`` alone."""

    readers: tuple[Management, ...]
    cipher: Cipher = Cipher.AES256_CBC

    @property
    def name(self) -> str:
        """As in the name of a row."""
        return f"{self.cipher} to {' and '.join(self.readers)}"

    @property
    def of_nss(self) -> Cipher:
        """The cipher that NSS chooses for readers whose capabilities it never saw: by the strength of their keys."""
        return Cipher.AES256_CBC if _STRONG.issuperset(self.readers) else Cipher.AES128_CBC


class By(StrEnum):
    """How we are asked to open or write it."""

    FUNCTION = "function"
    COMMAND = "command"


class Twist(StrEnum):
    """What else is particular about what we write."""

    NONE = ""
    LATE = "two hours after its Date"
    PROTECTED = "header protected, no Subject outside where encrypted"
    REPEATED = "header protected, and what is hidden repeated in the text"
    ORGANISATION = "by a certificate that does not name its From"


@dataclass(frozen=True, slots=True)
class Case:
    """Signed, encrypted, or signed and then encrypted; ``around`` is a signature around all that."""

    signing: Signing | None = None
    encryption: Encryption | None = None
    around: Signing | None = None
    by: By = By.FUNCTION
    twist: Twist = Twist.NONE

    @property
    def layers(self) -> tuple[Signing | Encryption, ...]:
        """In the order in which they are put on."""
        return tuple(layer for layer in (self.signing, self.encryption, self.around) if layer is not None)

    @property
    def name(self) -> str:
        """What a row of the table is called."""
        parts = [layer.name for layer in self.layers]
        if self.by is By.COMMAND:
            parts.append("by the command")
        if self.twist:
            parts.append(self.twist)
        return "; ".join(parts)


def _cases() -> Iterator[Case]:
    for form in Form:
        for scheme in Scheme:
            yield Case(Signing(scheme, form))
    for management in Management:
        yield Case(encryption=Encryption((management,)))
    for cipher in Cipher:
        if cipher is not Cipher.AES256_CBC:
            yield Case(encryption=Encryption((Management.PKCS1,), cipher))
    for management in (Management.OAEP, Management.P256, Management.X25519):
        yield Case(encryption=Encryption((management,), Cipher.AES256_GCM))
    for cipher in (Cipher.AES256_CBC, Cipher.AES128_CBC):
        yield Case(encryption=Encryption((Management.PKCS1, Management.P256), cipher))
        for by in By:
            yield Case(Signing(Scheme.PKCS1), Encryption((Management.PKCS1,), cipher), by=by)
        yield Case(Signing(Scheme.P256), Encryption((Management.P256,), cipher))
    yield Case(Signing(Scheme.PKCS1, Form.OPAQUE), Encryption((Management.PKCS1,)))
    yield Case(Signing(Scheme.PSS), Encryption((Management.OAEP,), Cipher.AES256_GCM))
    yield Case(Signing(Scheme.PKCS1), Encryption((Management.PKCS1,)), Signing(Scheme.P256))
    yield Case(Signing(Scheme.PKCS1), twist=Twist.LATE)
    yield Case(Signing(Scheme.PKCS1), twist=Twist.PROTECTED)
    for twist in (Twist.PROTECTED, Twist.REPEATED):
        yield Case(Signing(Scheme.PKCS1), Encryption((Management.PKCS1,)), twist=twist)
    yield Case(Signing(Scheme.PKCS1), twist=Twist.ORGANISATION)


CASES: Final = tuple(_cases())
