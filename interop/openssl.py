"""The openssl command, which reads and writes whole S/MIME messages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interop.case import Case, Encryption, Form, Management, Scheme, Signing
from interop.command import run
from interop.peer import Refused
from interop.people import People

_DIGESTS: Final = {Scheme.P384: "sha384", Scheme.P521: "sha512", Scheme.ED25519: "sha512"}
_KDFS: Final = {Management.P384: "sha384", Management.P521: "sha512"}


class OpenSsl:
    """A :class:`interop.peer.Peer`."""

    name = "OpenSSL"

    def __init__(self, people: People) -> None:
        self._people = people

    @property
    def version(self) -> str:
        """As it says."""
        return run("openssl", "version").decode().split()[1]

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        entity = message
        for layer in reversed(case.layers):
            if isinstance(layer, Encryption):
                reader, *_ = self._people.reading(layer)
                entity = _openssl("-decrypt", "-recip", reader.pem, "-inkey", reader.key, data=entity)
            else:
                entity = _openssl("-verify", "-CAfile", self._people.root, "-purpose", "smimesign", data=entity)
        return entity

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        for layer in case.layers:
            if isinstance(layer, Encryption):
                made = _openssl("-encrypt", "-binary", *self._encryption(layer), data=entity)
            else:
                made = _openssl("-sign", "-binary", *self._signing(layer), data=entity)
            entity = made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")  # its own lines end in LF
        return header + entity

    def _signing(self, signing: Signing) -> list[str | Path]:
        signer = self._people.signer(signing)
        options: list[str | Path] = ["-signer", signer.pem, "-inkey", signer.key, "-certfile", self._people.issuer]
        options += ["-md", _DIGESTS.get(signing.scheme, "sha256")]
        if signing.scheme is Scheme.PSS:
            options += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]
        return [*options, "-nodetach"] if signing.form is Form.OPAQUE else options

    def _encryption(self, encryption: Encryption) -> list[str | Path]:
        cipher = "-des3" if encryption.cipher.value.startswith("3DES") else f"-{encryption.cipher.value.lower()}"
        options: list[str | Path] = [cipher]
        for management, reader in zip(encryption.readers, self._people.reading(encryption), strict=True):
            options += ["-recip", reader.pem]
            if management is Management.OAEP:
                options += ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"]
            elif management is not Management.PKCS1:
                options += ["-keyopt", f"ecdh_kdf_md:{_KDFS.get(management, 'sha256')}"]
        return options


def _openssl(*arguments: str | Path, data: bytes) -> bytes:
    try:
        return run("openssl", "cms", *arguments, data=data, noise="^(?!.*:error:)")
    except Refused as error:  # "80DB49D05E7F0000:error:1C80007A:Provider routines:eddsa_digest:invalid digest:../eddsa_sig.c:99:"
        raise Refused(": ".join(str(error).split(":")[4:6])) from error
