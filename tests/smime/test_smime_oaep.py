"""RSAES-OAEP (RFC 3560, RFC 4055 4.1): what openssl writes, by a key in a file and by raw RSA as on tokens; its parameters."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.edge.keyfile import FileKey
from gateway.edge.rsapadding import open_oaep
from gateway.outcome import GatewayError, Reason
from gateway.smime import der
from gateway.smime.cms import Algorithm
from gateway.smime.keys import Digest, Oaep
from gateway.smime.known import oaep_of
from gateway.smime.reader import CmsReader
from tests.pki import Ca, Issued
from tests.smime.test_smime_reader import CONTENT, encrypt

DIGESTS = ["sha1", "sha224", "sha256", "sha384", "sha512"]


@pytest.fixture(scope="module")
def reader() -> Issued:
    return Ca.root().reader("cardiology@hospital.example")


def by_raw_rsa(key: rsa.RSAPrivateKey, wrapped: Oaep) -> bytes:
    """What a token and the agent before it do (CKM_RSA_X_509)."""
    numbers = key.private_numbers()
    block = pow(int.from_bytes(wrapped.wrapped), numbers.d, numbers.public_numbers.n).to_bytes(256)
    return open_oaep(block, bytes(wrapped.length), wrapped.digest, wrapped.mgf, wrapped.label)


def opened(structure: bytes, issued: Issued) -> tuple[bytes, Oaep]:
    cms = CmsReader({"ours": issued.der})
    out = cms.update(structure)
    assert cms.wants is not None
    assert isinstance(cms.wants.wrapped, Oaep)
    wrapped = cms.wants.wrapped
    key = FileKey(issued.key).unwrap(wrapped)
    assert isinstance(issued.key, rsa.RSAPrivateKey)
    assert by_raw_rsa(issued.key, wrapped) == key
    cms.give(key)
    out += cms.update(b"")
    cms.finalize()
    return out, wrapped


@pytest.mark.parametrize("label", [None, "6c6162656c" * 20])
@pytest.mark.parametrize("mask", DIGESTS)
@pytest.mark.parametrize("digest", DIGESTS)
async def test_every_digest_mask_and_label_of_openssl(
    reader: Issued, tmp_path: Path, digest: str, mask: str, label: str | None
) -> None:
    options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{mask}"]
    options += [] if label is None else [f"rsa_oaep_label:{label}"]
    structure = await asyncio.to_thread(encrypt, tmp_path, reader, "-aes-256-cbc", key_options=tuple(options))
    content, wrapped = opened(structure, reader)
    assert content == CONTENT
    assert (wrapped.digest, wrapped.mgf, wrapped.label) == (digest, mask, bytes.fromhex(label or ""))


def explicit(number: int, *inside: bytes) -> bytes:
    return der.element(0xA0 + number, *inside)


def of(*fields: bytes) -> Algorithm:
    return Algorithm(der.oid("1.2.840.113549.1.1.7"), der.sequence(*fields), b"")


SHA1 = der.sequence(der.oid("1.3.14.3.2.26"), der.NULL)
SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
MD5 = der.sequence(der.oid("1.2.840.113549.2.5"), der.NULL)
MGF1 = der.oid("1.2.840.113549.1.1.8")
P_SPECIFIED = der.oid("1.2.840.113549.1.1.9")


def test_parameters_have_defaults_and_may_say_so() -> None:
    assert oaep_of(of()) == (Digest.SHA1, Digest.SHA1, b"")
    every = (
        explicit(0, SHA1),
        explicit(1, der.sequence(MGF1, SHA1)),
        explicit(2, der.sequence(P_SPECIFIED, der.octet_string(b""))),
    )
    assert oaep_of(of(*every)) == (Digest.SHA1, Digest.SHA1, b"")
    assert oaep_of(of(explicit(0, SHA256))) == (Digest.SHA256, Digest.SHA1, b"")
    assert oaep_of(of(explicit(1, der.sequence(MGF1, SHA256)))) == (Digest.SHA1, Digest.SHA256, b"")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([explicit(0, MD5)], Reason.WEAK_ALGORITHM),
        ([explicit(1, der.sequence(MGF1, MD5))], Reason.WEAK_ALGORITHM),
        ([explicit(1, der.sequence(der.oid("1.2.3.4"), SHA1))], Reason.UNSUPPORTED),
        ([explicit(1, der.sequence(MGF1))], Reason.UNSUPPORTED),
        ([explicit(2, der.sequence(der.oid("1.2.3.4"), der.octet_string(b"")))], Reason.MALFORMED),
        ([explicit(2, der.sequence(P_SPECIFIED))], Reason.MALFORMED),
        ([explicit(2, der.sequence(P_SPECIFIED, der.NULL))], Reason.MALFORMED),
        ([explicit(0, SHA1), explicit(0, SHA256)], Reason.MALFORMED),
        ([explicit(0, SHA1, SHA256)], Reason.MALFORMED),
        ([explicit(0)], Reason.MALFORMED),
        ([explicit(3, SHA1)], Reason.MALFORMED),
        ([SHA1], Reason.MALFORMED),
    ],
)
def test_parameters_that_are_none_are_told_before_a_key_is_used(fields: list[bytes], reason: Reason) -> None:
    with pytest.raises(GatewayError) as caught:
        oaep_of(of(*fields))
    assert caught.value.reason is reason
