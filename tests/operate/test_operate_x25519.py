"""Keys on X25519 (RFC 8418) and Ed25519 (RFC 8419): in the configuration, and given by hand in the PKCS#12 files of RFC 9216."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519

from gateway.config.load import load
from gateway.edge.keyring import SIGNING, UNWRAPPING, KeyRing
from gateway.edge.keywire import SignRequest, UnwrapRequest
from gateway.flow.opening import open_message
from gateway.flow.protect import SigningKey, protect_message
from gateway.mail.verdict import Judged
from gateway.operate.given import read_keys
from gateway.smime.keys import Mechanism, WrappedKey
from tests.conformance.material import MATERIAL, believing, needs, opened
from tests.doubles import MemoryBodies, MemoryBody
from tests.flow.opened import ENTITY, HEADER, HOSTNAME, READER, SENDER
from tests.flow.opened import believing as signed_by
from tests.pki import NOW, Ca, microseconds
from tests.smime import agreeing

SET = "smime/rfc9216-lamps-samples"


def mail(certificate: x509.Certificate, scheme: str, digest: str) -> bytes:
    structure = agreeing.message(certificate, ENTITY, scheme, digest=digest, wrap=32)
    kind = b'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
    return HEADER + kind + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(structure).replace(b"\n", b"\r\n")


@needs(SET)
@pytest.mark.parametrize(("digest", "scheme"), [*agreeing.X963.items(), *agreeing.HKDF.items()])
@pytest.mark.parametrize("person", ["dana", "carlos"])
def test_the_keys_of_rfc_9216_open(person: str, digest: str, scheme: str) -> None:
    (file,) = (MATERIAL / SET).glob(f"*PKCS-12*{person.title()}.p12")
    (certificate,) = (MATERIAL / SET).glob(f"*{person.title()}-s-Encryption*.pem")
    data = mail(x509.load_pem_x509_certificate(certificate.read_bytes()), scheme, digest)
    result = opened(data, tuple(read_keys([file], person)), believing(), microseconds(NOW))
    assert (result.verdict.judged, result.verdict.encrypted) == (Judged.UNSIGNED, True)


class Ring:
    """An unwrapper whose keys are those of an unwrap agent."""

    def __init__(self, site: Path) -> None:
        self._ring = KeyRing(load(site / "gateway.toml"), UNWRAPPING, lambda: 0)

    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        return self._ring.perform(UnwrapRequest(key, wrapped))


async def test_a_configured_key_opens(site: Path, run: Callable[..., Result]) -> None:
    ca = Ca.root()
    reader = ca.reader(READER, "x25519", key=x25519.X25519PrivateKey.generate())
    reader.write(site / "keys", "decrypt")
    assert run("check").exit_code == 0
    result = await open_message(
        MemoryBody(mail(reader.certificate, agreeing.HKDF["sha384"], "sha384")),
        MemoryBodies(),
        unwrapper=Ring(site),
        keys={"decrypt": reader.der},
        judge=signed_by(ca),
        at=microseconds(NOW),
        hostname=HOSTNAME,
    )
    assert (result.verdict.judged, result.verdict.encrypted) == (Judged.UNSIGNED, True)


class SigningRing:
    """A signer whose keys are those of a sign agent, which reads what it signs."""

    def __init__(self, site: Path) -> None:
        self._ring = KeyRing(load(site / "gateway.toml"), SIGNING, lambda: microseconds(NOW))

    async def sign(self, key: str, to_be_signed: bytes, mechanism: Mechanism, /) -> bytes:
        return self._ring.perform(SignRequest(key, to_be_signed, mechanism))


async def test_a_configured_ed25519_key_signs(site: Path, run: Callable[..., Result]) -> None:
    ca = Ca.root()
    author = ca.signer(SENDER, "ed25519")
    author.write(site / "keys", "sign")
    assert run("check").exit_code == 0
    body = await protect_message(
        MemoryBody(HEADER + ENTITY),
        MemoryBodies(),
        signing=(SigningRing(site), SigningKey("sign", (author.der,))),
        readers=[],
        at=microseconds(NOW),
        random=os.urandom,
    )
    result = await open_message(
        body,
        MemoryBodies(),
        unwrapper=Ring(site),
        keys={},
        judge=signed_by(ca),
        at=microseconds(NOW),
        hostname=HOSTNAME,
    )
    assert result.verdict.judged is Judged.VERIFIED
