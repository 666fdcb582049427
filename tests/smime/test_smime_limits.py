"""Every limit of reading CMS at its edge: as much as it says is read, one more is not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.outcome import GatewayError, Reason
from gateway.smime import der, limits
from gateway.smime.cms import SignedData, read_attributes
from gateway.smime.keys import Digest
from gateway.smime.normal import Budget, to_der
from gateway.smime.reader import CmsReader
from gateway.smime.verify import LATE, Signature, check
from tests.pki import NOW, Ca, microseconds
from tests.smime import ber
from tests.smime.openssl import openssl


def read(structure: bytes) -> None:
    reader = CmsReader({})
    reader.update(structure)
    reader.finalize()


def digests(count: int) -> None:
    read(ber.signed(digests=der.element(0x31, ber.SHA256 * count)))


def certificates(count: int) -> None:
    read(ber.signed(certificates=der.element(0xA0, der.sequence() * count)))


def crls(count: int) -> None:
    read(ber.signed(crls=der.element(0xA1, der.sequence() * count)))


def signers(count: int) -> None:
    read(ber.signed(signers=der.element(0x31, ber.signer() * count)))


def recipients(count: int) -> None:
    read_encrypted(der.element(0x31, ber.recipient() * count))


def agreed_recipients(count: int) -> None:
    """Many readers in one KeyAgreeRecipientInfo."""
    originator = der.element(0xA0, der.element(0xA1, der.sequence(), der.element(der.BIT_STRING, bytes(2))))
    each = der.sequence(ber.NAME, der.octet_string(bytes(8)))
    info = der.element(0xA1, der.integer(3), originator, der.sequence(der.oid("1.2.3"), ber.SHA256), der.sequence(each * count))
    read_encrypted(der.element(0x31, info))


def read_encrypted(infos: bytes) -> None:
    """Nobody's key is among them, which is found out behind the limits."""
    with pytest.raises(GatewayError) as caught:
        read(ber.enveloped(infos))
    if caught.value.reason is not Reason.NO_KEY:
        raise caught.value


def attributes(count: int) -> None:
    read_attributes(der.set_of(*(ber.attribute(number) for number in range(count))))


def structure(size: int) -> None:
    """One certificate of so many bytes, definite."""
    read(ber.signed(certificates=der.element(0xA0, der.element(0x30, bytes(size)))))


def indefinite_structure(size: int) -> None:
    """One certificate of so many bytes with all its heads and ends."""
    read(ber.signed(certificates=der.element(0xA0, b"\x30\x80" + sized(size - 4) + ber.END)))


def whole_set(size: int) -> None:
    """So many bytes of certificates, each as large as one may be."""
    largest = der.element(0x30, bytes(limits.MAX_STRUCTURE - 8))
    count, rest = divmod(size, len(largest))
    made = largest * count + sized(rest)
    assert len(made) == size
    read(ber.signed(certificates=der.element(0xA0, made)))


def sized(size: int) -> bytes:
    """An element of exactly so many bytes."""
    for length in range(max(size - 7, 0), size):
        if len(made := der.element(0x30, bytes(length))) == size:
            return made
    return b""


def elements(count: int) -> None:
    """So many elements in one structure, itself among them."""
    to_der(der.sequence(der.NULL * (count - 1)))


def indefinite_elements(count: int) -> None:
    to_der(b"\x30\x80" + der.NULL * (count - 1) + ber.END)


def depth(count: int) -> None:
    """So many elements around one that has none inside."""
    to_der(deep(count))


def deep(count: int) -> bytes:
    made = der.NULL
    for _ in range(count):
        made = der.sequence(made)
    return made


def indefinite_depth(count: int) -> None:
    read(ber.signed(certificates=der.element(0xA0, b"\x30\x80" * count + ber.END * count)))


def octets_depth(count: int) -> None:
    """Octet strings in pieces of pieces: the outermost is one of them."""
    inside = b"\x24\x80" * (count - 1) + b"\x04\x01a" + ber.END * (count - 1)
    read(ber.octets_head() + inside + ber.octets_tail())


def elements_one_by_one(count: int) -> None:
    """Seventeen stand around the content, which is of pieces without pieces."""
    read(ber.octets_head() + b"\x24\x00" * (count - 17) + ber.octets_tail())


def elements_of_all_structures(count: int) -> None:
    """As few structures as may hold them."""
    budget = Budget()
    while count:
        most = min(count, limits.MAX_STRUCTURE_ELEMENTS)
        to_der(der.sequence(der.NULL * (most - 1)), budget)
        count -= most


def pieces(count: int) -> None:
    read(ber.octets_head() + b"\x04\x01a" * count + ber.octets_tail())


EDGES: list[tuple[str, Callable[[int], None]]] = [
    ("MAX_DEPTH", depth),
    ("MAX_DEPTH", indefinite_depth),
    ("MAX_DEPTH", octets_depth),
    ("MAX_STRUCTURE", structure),
    ("MAX_STRUCTURE", indefinite_structure),
    ("MAX_STRUCTURE_ELEMENTS", elements),
    ("MAX_STRUCTURE_ELEMENTS", indefinite_elements),
    ("MAX_ELEMENTS", elements_one_by_one),
    ("MAX_ELEMENTS", elements_of_all_structures),
    ("MAX_PIECES", pieces),
    ("MAX_RECIPIENTS", recipients),
    ("MAX_RECIPIENTS", agreed_recipients),
    ("MAX_SIGNERS", signers),
    ("MAX_DIGESTS", digests),
    ("MAX_CERTIFICATES", certificates),
    ("MAX_CRLS", crls),
    ("MAX_SET", whole_set),
    ("MAX_ATTRIBUTES", attributes),
]
# Of a message and not of a structure: tests/flow/test_flow_limits.py; of checking: below
ELSEWHERE = {"MAX_NAMESAKES", "MAX_NAME", "MAX_LAYERS", "MAX_UNWRAPS", "MAX_SIGNATURE_PART"}
# Of what comes out: tests/smime/test_smime_compress.py
INFLATED = {"MAX_INFLATED", "MAX_RATIO", "MAX_SMALL"}


@pytest.mark.parametrize(("name", "read_so_much"), EDGES, ids=lambda value: getattr(value, "__name__", value))
def test_as_much_as_the_limit_is_read_and_one_more_is_not(name: str, read_so_much: Callable[[int], None]) -> None:
    most: int = getattr(limits, name)
    read_so_much(most)
    with pytest.raises(GatewayError) as caught:
        read_so_much(most + 1)
    assert caught.value.reason is Reason.LIMIT


def test_every_limit_has_its_edge() -> None:
    assert {name for name, _ in EDGES} | ELSEWHERE | INFLATED == {name for name in vars(limits) if name.startswith("MAX_")}


@pytest.mark.parametrize(
    ("count", "signature"), [(limits.MAX_NAMESAKES, Signature.GOOD), (limits.MAX_NAMESAKES + 1, Signature.UNSUPPORTED)]
)
def test_certificates_that_one_signer_may_mean(tmp_path: Path, count: int, signature: Signature) -> None:
    """All but the last are of another key. The same one again and again is one."""
    ca = Ca.root()
    issued = ca.signer("results@laboratory.example")
    certificate, key = issued.write(tmp_path, "signer")
    reader = CmsReader({})
    content = b"Content-Type: text/plain\r\n\r\nx\r\n"
    reader.update(openssl("cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key, data=content))
    signed = reader.finalize()
    assert isinstance(signed, SignedData)
    spki = issued.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    others = [issued.der.replace(spki, _other(spki)) for _ in range(count - 1)]
    assert len({*others, issued.der}) == count
    several = replace(signed, certificates=(*others, *[issued.der] * 10))
    (found,) = check(several, {Digest.SHA256: hashlib.sha256(content).digest()}, content[:1], microseconds(NOW) * 2)
    assert found.signature is signature
    assert found.reason is (None if signature is Signature.GOOD else Reason.LIMIT)


def _other(spki: bytes) -> bytes:
    """Another key of the same kind."""
    other = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert len(other) == len(spki)
    return other


def test_how_far_a_signing_time_may_lie_ahead(tmp_path: Path) -> None:
    certificate, key = Ca.root().signer("results@laboratory.example").write(tmp_path, "signer")
    reader = CmsReader({})
    reader.update(openssl("cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key, data=b"x"))
    signed = reader.finalize()
    assert isinstance(signed, SignedData)
    digests = {Digest.SHA256: hashlib.sha256(b"x").digest()}
    time = check(signed, digests, b"x", microseconds(NOW) * 2)[0].time
    assert time
    assert [each.reason for each in check(signed, digests, b"x", time - LATE)] == [None]
    assert [each.reason for each in check(signed, digests, b"x", time - LATE - 1)] == [Reason.SIGNING_TIME]
