"""open(protect(m)) == m: every algorithm, every shape of message, whatever pieces the bytes come in."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.flow.opening import open_message
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.confidentiality import HeaderProtection, Headers
from gateway.mail.verdict import Judged
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.keys import Mechanism
from gateway.smime.mechanisms import mechanisms_of
from gateway.smime.message import SignedForm
from gateway.smime.recipients import Reader
from tests.doubles import MemoryBodies, SoftwareSigner
from tests.flow.mimetrees import ENTITIES, leaves
from tests.flow.opened import HOSTNAME, READER, SENDER, believing
from tests.pki import NOW, Ca, Issued, microseconds

AT = microseconds(NOW)
FIELDS = (
    f"From: Results <{SENDER}>\r\nTo: {READER}\r\nSubject: =?utf-8?q?R=C3=A9sultat?=\r\nMessage-ID: <1@lab.example>\r\n".encode()
)
RICH = (
    'Content-Type: multipart/mixed; boundary="a"\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n'
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nRésultat : œdème\r\n.\r\n"
    "--b\r\n\r\n\r\n--b--\r\n--a\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + "QUJD" * 19
    + "\r\n--a--\r\n"
).encode()
MARKS = re.compile(rb"(?:Authentication-Results|X-Gateway-Security|MIME-Version): [^\r]*\r\n(?:[ \t][^\r]*\r\n)*")

ROOT = Ca.root()
SIGNERS = {kind: ROOT.signer(SENDER, kind) for kind in ("rsa2048", "p256", "p384", "p521", "ed25519")}
READERS = {kind: ROOT.reader(READER, kind) for kind in ("rsa2048", "p256", "p384", "p521", "x25519")}
SIGNATURES: list[tuple[str, Mechanism]] = [(kind, each) for kind, issued in SIGNERS.items() for each in mechanisms_of(issued.der)]
TRANSPORTS: list[tuple[str, KeyTransport]] = [(kind, KeyTransport.PKCS1) for kind in READERS]
TRANSPORTS.append(("rsa2048", KeyTransport.OAEP_SHA256))


@dataclass(frozen=True)
class Pieces:
    """A body that comes in pieces of these sizes, over and over."""

    data: bytes
    sizes: Sequence[int]

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        at = 0
        for size in cycle(self.sizes):
            if at >= len(self.data):
                return
            yield self.data[at : at + size]
            at += size


@dataclass(frozen=True)
class Protection:
    """How a message is protected, and the pieces in which it comes to be protected and to be opened."""

    signature: tuple[str, Mechanism] | None
    form: SignedForm = SignedForm.CLEAR
    readers: tuple[tuple[str, KeyTransport], ...] = ()
    cipher: ContentCipher = ContentCipher.AES256_CBC
    headers: Headers = Headers.OFF
    sizes: tuple[Sequence[int], Sequence[int]] = field(default=((65536,), (65536,)))

    def protect(self, message: bytes) -> bytes:
        signing = None
        if self.signature is not None:
            kind, mechanism = self.signature
            own = SIGNERS[kind]
            signing = SoftwareSigner({"key": own.key}), SigningKey("key", (own.der,), READERS["rsa2048"].der, mechanism)
        body = protect_message(
            Pieces(message, self.sizes[0]),
            MemoryBodies(),
            signing=signing,
            readers=[Reader(READERS[kind].der, transport) for kind, transport in self.readers],
            at=AT,
            random=os.urandom,
            cipher=self.cipher,
            form=self.form,
            headers=HeaderProtection(self.headers),
        )
        return b"".join(asyncio.run(body).chunks())

    def check(self, entity: bytes) -> None:
        """Each reader opens what was protected: the same message, and verified where it was signed."""
        typed = self.headers is Headers.OFF or entity.startswith(b"Content-Type")
        message = FIELDS + (b"" if typed else b"Content-Type: text/plain\r\n") + entity  # which is what bears hp (RFC 9788 2.1.1)
        written = self.protect(FIELDS + b"MIME-Version: 1.0\r\n" + entity)
        assert written.isascii()
        relayed = not self.readers and self.form is SignedForm.CLEAR  # then it is made 7-bit first (RFC 8551 3.1.3)
        for kind in dict.fromkeys(kind for kind, _ in self.readers) or [None]:
            shown = self._opened(written, None if kind is None else READERS[kind])
            if relayed and not is_seven_bit(entity):
                assert leaves(shown) == leaves(message)
            else:
                assert shown == message

    def _opened(self, written: bytes, reader: Issued | None) -> bytes:
        opening = open_message(
            Pieces(written, self.sizes[1]),
            MemoryBodies(),
            unwrapper=FileKeys({} if reader is None else {"key": FileKey(reader.key)}),
            keys={} if reader is None else {"key": reader.der},
            judge=believing(ROOT),
            at=AT,
            hostname=HOSTNAME,
        )
        result = asyncio.run(opening)
        assert result.verdict.judged is (Judged.UNSIGNED if self.signature is None else Judged.VERIFIED), result.verdict.reasons
        assert result.verdict.encrypted is (reader is not None)
        head, end, body = b"".join(result.body.chunks()).partition(b"\r\n\r\n")
        return MARKS.sub(b"", head + b"\r\n") + end[2:] + body


@pytest.mark.parametrize("form", SignedForm)
@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: f"{signature[0]}-{signature[1]}")
def test_every_algorithm(signature: tuple[str, Mechanism], form: SignedForm) -> None:
    """By each mechanism, in each form, to each kind of reader, by each cipher."""
    Protection(signature, form).check(RICH)
    for transport in TRANSPORTS:
        for cipher in ContentCipher:
            Protection(signature, form, (transport,), cipher).check(RICH)


@pytest.mark.parametrize("cipher", ContentCipher)
def test_encrypted_alone_and_to_all_at_once(cipher: ContentCipher) -> None:
    for transport in TRANSPORTS:
        Protection(None, readers=(transport,), cipher=cipher).check(RICH)
    everybody = tuple({kind: (kind, transport) for kind, transport in TRANSPORTS}.values())
    Protection(None, readers=everybody, cipher=cipher).check(RICH)
    Protection(("ed25519", Mechanism.ED25519), SignedForm.OPAQUE, everybody, cipher).check(RICH)


def is_seven_bit(entity: bytes) -> bool:
    return entity.isascii() and b"8bit" not in entity and max(map(len, entity.split(b"\r\n"))) <= 998


SIZES = st.one_of(st.just((65536,)), st.just((1,)), st.lists(st.integers(1, 200), min_size=1, max_size=10).map(tuple))
PROTECTIONS = st.builds(
    Protection,
    st.sampled_from(SIGNATURES),
    st.sampled_from(SignedForm),
    st.lists(st.sampled_from(TRANSPORTS), max_size=3, unique_by=lambda transport: transport[0]).map(tuple),
    st.sampled_from(ContentCipher),
    st.sampled_from(Headers),
    st.tuples(SIZES, SIZES),
) | st.builds(
    Protection,
    st.none(),
    readers=st.lists(st.sampled_from(TRANSPORTS), min_size=1, max_size=3, unique_by=lambda transport: transport[0]).map(tuple),
    cipher=st.sampled_from(ContentCipher),
    headers=st.sampled_from(Headers),
    sizes=st.tuples(SIZES, SIZES),
)


@settings(max_examples=150, deadline=None)
@given(ENTITIES, PROTECTIONS)
def test_every_message(entity: bytes, protection: Protection) -> None:
    protection.check(entity)
