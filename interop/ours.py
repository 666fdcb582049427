"""Our side of each case, by the functions that ``message open`` and ``message protect`` call, or by these commands."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from demo.site import command
from gateway.edge.clock import now
from gateway.edge.keyfile import FileKeys
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.confidentiality import NOT_PROTECTED, HeaderProtection, Headers
from gateway.mail.memory import MemoryBodies, MemoryBody
from gateway.mail.verdict import Judged
from gateway.operate.given import read_keys, read_trust
from gateway.operate.oneshot import open_given
from gateway.outcome import GatewayError
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.keys import Mechanism
from gateway.smime.known import Strength
from gateway.smime.message import SignedForm
from gateway.smime.recipients import Reader
from gateway.trust.judgement import Revocation
from interop.case import By, Case, Cipher, Encryption, Form, Management, Scheme, Signing, Twist
from interop.peer import NotOffered
from interop.people import People

_CIPHERS: Final = {Cipher.AES256_CBC: ContentCipher.AES256_CBC, Cipher.AES256_GCM: ContentCipher.AES256_GCM}
_HEADERS: Final = {
    Twist.PROTECTED: HeaderProtection(Headers.BASELINE),
    Twist.REPEATED: HeaderProtection(Headers.BASELINE, legacy_display=True),
}
_FORMS: Final = {Form.CLEAR: SignedForm.CLEAR, Form.OPAQUE: SignedForm.OPAQUE}
_SCHEMES: Final = {Scheme.PKCS1: "rsa-pkcs1", Scheme.PSS: "rsa-pss", Scheme.ED25519: "ed25519"}
_MANAGEMENT: Final = {Management.PKCS1: "rsa-pkcs1", Management.OAEP: "rsa-oaep"}


class Wrong(Exception):
    """What we make of a peer's message is not what it is. The text says what."""


class Ours(Protocol):
    """The gateway, with the keys of all readers and signers."""

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """A message with the fields of ``header`` and ``entity`` protected. Raises :class:`NotOffered`."""

    def open(self, case: Case, message: bytes) -> bytes:
        """The message as the mailbox gets it. Raises :class:`Wrong` where it is not judged as ``case`` deserves."""


class ByFunction:
    """By the functions."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._keys = read_keys([reader.key for reader in people.readers.values()], None)
        self._trust = read_trust([people.root], [], Revocation.SOFT)

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """See :class:`Ours`."""
        if case.around is not None:
            raise NotOffered("we put no signature around encryption")
        signing, form = self._signing(case.signing)
        cipher, readers = self._reading(case.encryption)
        body = MemoryBody.of(header + entity)
        protect = protect_message(
            body,
            MemoryBodies(),
            signing=signing,
            readers=readers,
            at=now(),
            random=os.urandom,
            cipher=cipher,
            headers=_HEADERS.get(case.twist, NOT_PROTECTED),
            form=form,
        )
        try:
            protected = asyncio.run(protect)
        except GatewayError as error:
            raise Wrong(f"{error.reason}: {error.detail}") from error
        return b"".join(protected.chunks())

    def _signing(self, signing: Signing | None) -> tuple[tuple[FileKeys, SigningKey] | None, SignedForm]:
        if signing is None:
            return None, SignedForm.CLEAR
        (key,) = read_keys([self._people.signer(signing).key], None)
        mechanism = Mechanism.RSA_PSS_SHA256 if signing.scheme is Scheme.PSS else None
        named = SigningKey(key.name, key.certificates, mechanism=mechanism)
        return (FileKeys({key.name: key.key}), named), _FORMS[signing.form]

    def _reading(self, encryption: Encryption | None) -> tuple[ContentCipher, list[Reader]]:
        if encryption is None:
            return ContentCipher.AES256_CBC, []
        if encryption.cipher not in _CIPHERS:
            raise NotOffered("we write no such content")
        people = zip(encryption.readers, self._people.reading(encryption), strict=True)
        readers = [
            Reader(reader.issued.der, KeyTransport.OAEP_SHA256 if management is Management.OAEP else KeyTransport.PKCS1)
            for management, reader in people
        ]
        return _CIPHERS[encryption.cipher], readers

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`Ours`."""
        strength = Strength.LEGACY if case.encryption and case.encryption.cipher is Cipher.TRIPLE_DES else Strength.MODERN
        opened = asyncio.run(open_given(MemoryBody.of(message), self._keys, self._trust, now(), strength))
        check(case, opened.verdict.to_json())
        return b"".join(opened.body.chunks())


class ByCommand:
    """The same by the commands, each in a process of its own, for what their options can ask for."""

    def __init__(self, folder: Path, people: People) -> None:
        self._people = people
        self._in, self._out = folder / "in.eml", folder / "out.eml"

    def make(self, case: Case, header: bytes, entity: bytes) -> bytes:
        """See :class:`Ours`."""
        if case.encryption is not None and case.encryption.cipher is not Cipher.AES256_CBC:
            raise NotOffered("no option for it")
        words: list[str | Path] = []
        if case.signing is not None:
            words += ["--sign-key", self._people.signer(case.signing).key]
        if case.encryption is not None:
            words += [word for reader in self._people.reading(case.encryption) for word in ("--encrypt-to", reader.pem)]
        self._run("protect", header + entity, *words, "--trust", self._people.root)
        return self._out.read_bytes()

    def open(self, case: Case, message: bytes) -> bytes:
        """See :class:`Ours`."""
        keys = [word for reader in self._people.readers.values() for word in ("--key", reader.key)]
        check(case, self._run("open", message, *keys, "--trust", self._people.root))
        return self._out.read_bytes()

    def _run(self, verb: str, message: bytes, *words: str | Path) -> dict[str, Any]:
        self._in.write_bytes(message)
        self._out.unlink(missing_ok=True)
        done = command("message", verb, self._in, "--json", "--output", self._out, *words)
        if not self._out.exists():
            raise Wrong(done.stdout + done.stderr)
        told: dict[str, Any] = json.loads(done.stdout)
        return told


def check(case: Case, told: Mapping[str, Any]) -> None:
    """Whether ``told``, what ``message open --json`` says, is what ``case`` deserves. Raises :class:`Wrong`."""
    if told["verdict"] != (Judged.VERIFIED if case.signing else Judged.UNSIGNED):
        raise Wrong(f"{told['verdict']} {' '.join(told['reasons'])}")
    found = [{layer["kind"], *", ".join(layer["algorithms"].values()).split(", ")} for layer in told["layers"]]
    if [{word.partition("-sha")[0] for word in layer} for layer in found] != _layers(case):
        raise Wrong(f"found {', '.join(' '.join(sorted(layer)) for layer in found)}")


def _layers(case: Case) -> list[set[str]]:
    """What the verdict on such a message tells of its layers, digests aside."""
    return [_encrypted(layer) if isinstance(layer, Encryption) else _signed(layer) for layer in reversed(case.layers)]


def _signed(layer: Signing) -> set[str]:
    return {"signed", _SCHEMES.get(layer.scheme, "ecdsa")}


def _encrypted(layer: Encryption) -> set[str]:
    kind = "authenveloped" if layer.cipher.authenticated else "enveloped"
    cipher = "des-ede3-cbc" if layer.cipher is Cipher.TRIPLE_DES else layer.cipher.lower().replace("-", "", 1)
    return {kind, cipher, *(_MANAGEMENT.get(each, "ecdh") for each in layer.readers)}


def sides(folder: Path, people: People) -> dict[By, Ours]:
    """Both ways to ask us; ``folder`` is for files of the commands."""
    return {By.FUNCTION: ByFunction(people), By.COMMAND: ByCommand(folder, people)}
