"""Messages made by openssl, and the inbound heart set up to open them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.flow.evidence import Signed
from gateway.flow.opening import Opened, open_message
from gateway.outcome import Reason
from gateway.smime.known import Strength
from gateway.trust.along import Along
from gateway.trust.judgement import Assurance, Distrusted, Trusted
from tests.doubles import MemoryBodies, MemoryBody
from tests.pki import Ca, Issued
from tests.smime.openssl import openssl

HOSTNAME = "gateway.hospital.example"
SENDER = "results@laboratory.example"
READER = "cardiology@hospital.example"
HEADER = (
    b"Received: from mail.laboratory.example\r\nFrom: Results <results@laboratory.example>\r\n"
    b"To: cardiology@hospital.example\r\nSubject: =?utf-8?q?R=C3=A9sultat?=\r\nMessage-ID: <1@laboratory.example>\r\n"
)
ENTITY = (
    'Content-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\nContent-Type: text/plain; charset=utf-8\r\n'
    "Content-Transfer-Encoding: 8bit\r\n\r\nRésultat : œdème\r\n.\r\n--in--\r\n"
).encode()
# 7-bit, for what leaves signed and in clear
PLAIN = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nResult: all well.\r\n.\r\n"


def sign(folder: Path, entity: bytes, *signers: Issued, options: Sequence[str] = (), form: str = "SMIME") -> bytes:
    """A signed entity: multipart/signed, or application/pkcs7-mime with ``-nodetach`` among the options."""
    named: list[str | Path] = []
    for number, issued in enumerate(signers):
        certificate, key = issued.write(folder, f"signer{number}")
        named += ["-signer", certificate, "-inkey", key]
    return _crlf(openssl("cms", "-sign", "-binary", "-outform", form, *named, *options, data=entity))


def encrypt(folder: Path, entity: bytes, *readers: Issued, options: Sequence[str] = ("-aes-256-cbc",)) -> bytes:
    """An application/pkcs7-mime entity."""
    named: list[str | Path] = []
    for number, issued in enumerate(readers):
        certificate, _ = issued.write(folder, f"reader{number}")
        named += ["-recip", certificate]
    return _crlf(openssl("cms", "-encrypt", "-binary", "-outform", "SMIME", *options, *named, data=entity))


def _crlf(message: bytes) -> bytes:
    return message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def as_message(entity: bytes, header: bytes = HEADER) -> bytes:
    return header + entity


def believing(*anchors: Ca, domains: Sequence[str] = ("laboratory.example",)) -> Evidence:
    return Evidence(anchors, frozenset(domains))


class Evidence:
    """Believes what one of its authorities issued, unless told another reason for that certificate."""

    def __init__(self, anchors: Sequence[Ca], domains: frozenset[str], told: Mapping[bytes, Reason] | None = None) -> None:
        self.anchors = anchors
        self.domains = domains
        self.told = dict(told or {})

    async def __call__(self, certificate: bytes, along: Along, at: int, /) -> Signed:  # noqa: ARG002
        if certificate in self.told:
            return Signed(Distrusted(self.told[certificate]))
        for anchor in self.anchors:
            try:
                x509.load_der_x509_certificate(certificate).verify_directly_issued_by(anchor.certificate)
            except (InvalidSignature, ValueError):
                continue
            return Signed(Trusted((anchor.der, certificate)), Assurance.ZONE, "test", self.domains)
        return Signed(Distrusted(Reason.CHAIN))

    async def shown(
        self, _organisation: str, _zone: str | None, certificate: bytes, along: Along, at: int, /
    ) -> Trusted | Distrusted:
        return (await self(certificate, along, at)).judgement

    async def signer(self, organisation: str, certificate: bytes, along: Along, at: int, /) -> Signed:  # noqa: ARG002
        return await self(certificate, along, at)


async def opened(
    message: bytes,
    keys: Mapping[str, Issued],
    judge: Evidence,
    at: int,
    *,
    keep_signature: bool = False,
    bodies: MemoryBodies | None = None,
    piece: int = 64 * 1024,
    strength: Strength = Strength.MODERN,
) -> Opened:
    return await open_message(
        MemoryBody(message, piece),
        bodies or MemoryBodies(),
        unwrapper=FileKeys({name: FileKey(issued.key) for name, issued in keys.items()}),
        keys={name: issued.der for name, issued in keys.items()},
        judge=judge,
        at=at,
        hostname=HOSTNAME,
        keep_signature=keep_signature,
        strength=strength,
    )


def bytes_of(result: Opened) -> bytes:
    return b"".join(result.body.chunks())
