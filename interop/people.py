"""Who signs and who reads: one person for each kind of key, certificates and keys in files, two authorities above them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from interop.case import READER_KEYS, SIGNER_KEYS, Encryption, Signing
from tests.pki import Ca, Issued

PASSPHRASE: Final = "interop"  # noqa: S105 - of the PKCS#12 files, of keys that are made for one run
_MONTGOMERY_AND_EDWARDS: Final = {"ed25519": ed25519.Ed25519PrivateKey.generate, "x25519": x25519.X25519PrivateKey.generate}


@dataclass(frozen=True, slots=True)
class Person:
    """One mailbox with one certificate. ``pem`` (with that of its issuer behind it) and ``key`` are files (PEM)."""

    address: str
    issued: Issued
    pem: Path
    key: Path

    @property
    def name(self) -> str:
        """A name for key stores."""
        return self.address.partition("@")[0]


@dataclass(frozen=True, slots=True)
class People:
    """``signers`` and ``readers`` by the kind of their key. ``ca``, whose certificate is in ``root``,
    is what everybody believes; below it stands ``issuer``. Both are files (PEM).
    """

    ca: Ca
    root: Path
    issuer: Path
    signers: Mapping[str, Person]
    readers: Mapping[str, Person]

    @classmethod
    def make(cls, folder: Path) -> People:
        """New ones, their files in ``folder``."""
        ca = Ca.root("CN=Interop Root,O=Interop,C=FR", "rsa3072")
        issuing = ca.intermediate("CN=Interop Issuing,O=Interop,C=FR", "rsa3072")
        root, issuer = folder / "root.pem", folder / "issuer.pem"
        root.write_bytes(ca.pem)
        issuer.write_bytes(issuing.pem)
        signers = {kind: _person(folder, f"signer-{kind}@laboratory.example", issuing, kind) for kind in set(SIGNER_KEYS.values())}
        readers = {kind: _person(folder, f"reader-{kind}@hospital.example", issuing, kind) for kind in set(READER_KEYS.values())}
        return cls(ca, root, issuer, signers, readers)

    @property
    def everybody(self) -> tuple[Person, ...]:
        """Signers, then readers."""
        return (*self.signers.values(), *self.readers.values())

    def signer(self, signing: Signing | None) -> Person:
        """Who signs; where nobody does, who is the author."""
        return self.signers["rsa2048" if signing is None else SIGNER_KEYS[signing.scheme]]

    def reading(self, encryption: Encryption) -> tuple[Person, ...]:
        """Whom it is encrypted to, the one who reads it first."""
        return tuple(self.readers[READER_KEYS[each]] for each in encryption.readers)


def _person(folder: Path, address: str, ca: Ca, kind: str) -> Person:
    issue = ca.signer if address.startswith("signer") else ca.reader
    generate = _MONTGOMERY_AND_EDWARDS.get(kind)
    issued = issue(address, kind) if generate is None else issue(address, kind, key=generate())
    pem, key = issued.write(folder, address.partition("@")[0])
    return Person(address, issued, pem, key)
