"""Bouncy Castle's mail classes, behind a Java program that answers request by request (BouncyCastle.java)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from interop.case import Case, Cipher, Encryption, Form, Management, Scheme, Signing
from interop.command import run
from interop.peer import Refused
from interop.people import People

_JARS: Final = ":".join(
    f"/usr/share/java/{name}.jar" for name in ("bcmail", "bcpkix", "bcprov", "bcutil", "javax.mail", "javax.activation")
)
_SIGNATURES: Final = {
    Scheme.PKCS1: "SHA256withRSA",
    Scheme.PSS: "SHA256withRSAandMGF1",
    Scheme.P256: "SHA256withECDSA",
    Scheme.P384: "SHA384withECDSA",
    Scheme.P521: "SHA512withECDSA",
    Scheme.ED25519: "Ed25519",
}
_CIPHERS: Final = {Cipher.TRIPLE_DES: "DES_EDE3_CBC"}
_MANAGEMENT: Final = {
    Management.PKCS1: "pkcs1",
    Management.OAEP: "oaep",
    Management.P256: "1.3.132.1.11.1",
    Management.P384: "1.3.132.1.11.2",
    Management.P521: "1.3.132.1.11.3",
    Management.X25519: "1.2.840.113549.1.9.16.3.19",  # HKDF with SHA-256, which RFC 8418 2.2 asks for
}


class BouncyCastle:
    """A :class:`interop.peer.Peer`."""

    name = "Bouncy Castle"

    def __init__(self, folder: Path, people: People) -> None:
        self._people = people
        self._in, self._out = folder / "given", folder / "made"
        classes = folder / "classes"
        source = Path(__file__).parent / "BouncyCastle.java"
        run("javac", "-cp", _JARS, "-d", classes, source)
        command = ["java", "-cp", f"{_JARS}:{classes}", "BouncyCastle"]
        self._java = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self.version = self._line()

    def close(self) -> None:
        """Ends the Java program."""
        self._java.communicate(timeout=30)

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        words: list[str | Path] = [self._people.root, "unsigned" if case.signing is None else "signed"]
        if case.encryption is not None:
            reader, *_ = self._people.reading(case.encryption)
            words += [reader.pem, reader.key]
        return self._ask("open", message, *words)

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """See :class:`interop.peer.Peer`."""
        for layer in case.layers:
            entity = self._encrypt(entity, layer) if isinstance(layer, Encryption) else self._sign(entity, layer)
        return header + b"MIME-Version: 1.0\r\n" + entity

    def _sign(self, entity: bytes, signing: Signing) -> bytes:
        signer = self._people.signer(signing)
        form = "opaque" if signing.form is Form.OPAQUE else "clear"
        return self._ask("sign", entity, self._people.issuer, signer.pem, signer.key, _SIGNATURES[signing.scheme], form)

    def _encrypt(self, entity: bytes, encryption: Encryption) -> bytes:
        words: list[str | Path] = [
            _CIPHERS.get(encryption.cipher, encryption.cipher.value.replace("AES-", "AES").replace("-", "_"))
        ]
        for management, reader in zip(encryption.readers, self._people.reading(encryption), strict=True):
            words += [reader.pem, _MANAGEMENT[management]]
        return self._ask("encrypt", entity, *words)

    def _ask(self, verb: str, given: bytes, *words: str | Path) -> bytes:
        self._in.write_bytes(given)
        assert self._java.stdin is not None
        self._java.stdin.write("\t".join(map(str, (verb, self._in, self._out, *words))) + "\n")
        self._java.stdin.flush()
        answer = self._line()
        if answer != "ok":
            raise Refused(answer)
        return self._out.read_bytes()

    def _line(self) -> str:
        assert self._java.stdout is not None
        return self._java.stdout.readline().rstrip("\n")
