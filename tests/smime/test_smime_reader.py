"""One layer of CMS, made by openssl, read in pieces of any size."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import crl as asn1_crl
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge.keyfile import FileKey, FileKeys
from gateway.outcome import GatewayError, Reason
from gateway.smime.cms import Enveloped, SignedData
from gateway.smime.known import Strength
from gateway.smime.reader import CmsReader, Layer
from gateway.smime.verify import Signature, check, needed
from tests.pki import NOW, Ca, Issued, microseconds, short_rsa
from tests.smime.openssl import openssl

CONTENT = "Content-Type: text/plain; charset=utf-8\r\n\r\nRésultat : œdème\r\n".encode() * 300
CONFORMANCE = Path(os.environ.get("CONFORMANCE_DIR", Path(__file__).parents[3] / "shared" / "conformance"))
NOW_US = microseconds(NOW)
KINDS = ["rsa2048", "p256", "p384", "p521"]


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def readers(ca: Ca) -> dict[str, Issued]:
    return {kind: ca.reader(f"{kind}@laboratory.example", kind) for kind in KINDS}


async def read(
    structure: bytes, issued: Issued | None = None, piece: int = 4096, strength: Strength = Strength.MODERN
) -> tuple[bytes, Layer]:
    reader = CmsReader({"ours": issued.der} if issued else {}, strength)
    keys = FileKeys({"ours": FileKey(issued.key)} if issued else {})
    out = b""
    for start in range(0, len(structure), piece):
        out += reader.update(structure[start : start + piece])
        if reader.wants:
            reader.give(await keys.unwrap(reader.wants.key, reader.wants.wrapped))
            out += reader.update(b"")
    return out, reader.finalize()


def read_now(structure: bytes, piece: int) -> tuple[bytes, Layer]:
    reader = CmsReader({})
    out = b"".join(reader.update(structure[start : start + piece]) for start in range(0, len(structure), piece))
    return out, reader.finalize()


def encrypt(tmp_path: Path, issued: Issued, *options: str, content: bytes = CONTENT, key_options: tuple[str, ...] = ()) -> bytes:
    certificate, _ = issued.write(tmp_path, "reader")
    keyed = [part for option in key_options for part in ("-keyopt", option)]
    return openssl("cms", "-encrypt", "-binary", "-outform", "DER", *options, "-recip", certificate, *keyed, data=content)


def sign(tmp_path: Path, issued: Issued, *options: str, content: bytes = CONTENT) -> bytes:
    certificate, key = issued.write(tmp_path, "signer")
    return openssl("cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key, *options, data=content)


@pytest.mark.parametrize("stream", [(), ("-stream",)], ids=["definite", "indefinite"])
@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_openssl_encrypts_is_opened(
    readers: dict[str, Issued], tmp_path: Path, kind: str, cipher: str, stream: tuple[str, ...]
) -> None:
    structure = encrypt(tmp_path, readers[kind], f"-{cipher}", *stream)
    content, layer = await read(structure, readers[kind])
    assert content == CONTENT
    assert isinstance(layer, Enveloped)


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("label", [(), ("rsa_oaep_label:6c61",)])
async def test_oaep_with_every_digest_is_opened(
    readers: dict[str, Issued], tmp_path: Path, digest: str, label: tuple[str, ...]
) -> None:
    options = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", *label)
    structure = encrypt(tmp_path, readers["rsa2048"], "-aes-256-cbc", key_options=options)
    assert (await read(structure, readers["rsa2048"]))[0] == CONTENT


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cofactor", ["0", "1"])
@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
async def test_key_agreement_with_every_derivation_is_opened(
    readers: dict[str, Issued], tmp_path: Path, kind: str, cofactor: str, digest: str
) -> None:
    options = (f"ecdh_kdf_md:{digest}", f"ecdh_cofactor_mode:{cofactor}")
    structure = encrypt(tmp_path, readers[kind], "-aes-256-cbc", key_options=options)
    assert (await read(structure, readers[kind]))[0] == CONTENT


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reader_named_by_key_identifier_is_found(readers: dict[str, Issued], tmp_path: Path, kind: str) -> None:
    structure = encrypt(tmp_path, readers[kind], "-aes-128-cbc", "-keyid")
    assert (await read(structure, readers[kind]))[0] == CONTENT


@pytest.mark.parametrize("piece", [1, 2, 3, 17, 4096, 10**6])
@pytest.mark.parametrize("stream", [(), ("-stream",)])
async def test_pieces_of_any_size_give_the_same(
    readers: dict[str, Issued], tmp_path: Path, piece: int, stream: tuple[str, ...]
) -> None:
    structure = encrypt(tmp_path, readers["p256"], "-aes-256-gcm", *stream)
    assert (await read(structure, readers["p256"], piece))[0] == CONTENT


async def test_another_key_finds_no_recipient(readers: dict[str, Issued], tmp_path: Path, ca: Ca) -> None:
    structure = encrypt(tmp_path, readers["rsa2048"], "-aes-256-cbc")
    with pytest.raises(GatewayError) as caught:
        await read(structure, ca.reader("other@laboratory.example"))
    assert caught.value.reason is Reason.NO_KEY


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-256-gcm"])
@pytest.mark.parametrize("place", ["wrapped key", "padding or tag"])
async def test_a_changed_byte_is_integrity(readers: dict[str, Issued], tmp_path: Path, cipher: str, place: str) -> None:
    structure = bytearray(encrypt(tmp_path, readers["rsa2048"], f"-{cipher}"))
    if place == "wrapped key":
        structure[structure.index(b"\x04\x82\x01\x00") + 100] ^= 1
    else:
        structure[-17 if cipher.endswith("cbc") else -1] ^= 0x80  # in CBC it falls on the last byte of the padding
    with pytest.raises(GatewayError) as caught:
        await read(bytes(structure), readers["rsa2048"])
    assert caught.value.reason is Reason.INTEGRITY


LEGACY = ("-provider", "legacy", "-provider", "default")  # of openssl, for RC2


@pytest.mark.parametrize("options", [("-des3",), ("-rc2-128", *LEGACY), ("-rc2-64", *LEGACY), ("-rc2-40", *LEGACY)])
async def test_what_is_weak_is_opened_by_allowance_alone(
    readers: dict[str, Issued], tmp_path: Path, options: tuple[str, ...]
) -> None:
    structure = encrypt(tmp_path, readers["rsa2048"], *options)
    with pytest.raises(GatewayError) as caught:
        await read(structure, readers["rsa2048"])
    assert caught.value.reason is Reason.WEAK_ALGORITHM
    for piece in (1, 4096):
        assert (await read(structure, readers["rsa2048"], piece, Strength.LEGACY))[0] == CONTENT


async def test_an_old_key_of_ours_opens_by_allowance_alone(ca: Ca, tmp_path: Path) -> None:
    """RSA of 1024 bits."""
    reader = short_rsa(ca)
    structure = encrypt(tmp_path, reader, "-aes-128-cbc")
    with pytest.raises(GatewayError) as caught:
        await read(structure, reader)
    assert caught.value.reason is Reason.WEAK_ALGORITHM
    assert (await read(structure, reader, strength=Strength.LEGACY))[0] == CONTENT


def checked(content: bytes, signed: Layer, at: int = NOW_US + 365 * 86400 * 10**6) -> list[tuple[Signature, Reason | None]]:
    assert isinstance(signed, SignedData)
    digests = {digest: hashlib.new(digest, content).digest() for digest in needed(signed, Strength.MODERN)}
    return [(found.signature, found.reason) for found in check(signed, digests, content[:1], at)]


GOOD = (Signature.GOOD, None)


@pytest.mark.parametrize("kind", [*KINDS, "rsa3072"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("form", [("-nodetach",), ("-nodetach", "-stream"), ("-nodetach", "-noattr"), ("-nodetach", "-keyid")])
def test_what_openssl_signs_verifies(ca: Ca, tmp_path: Path, kind: str, digest: str, form: tuple[str, ...]) -> None:
    structure = sign(tmp_path, ca.signer("results@laboratory.example", kind), "-md", digest, *form)
    content, signed = read_now(structure, 4096)
    assert content == CONTENT
    assert checked(content, signed) == [GOOD]


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_pss_verifies(ca: Ca, tmp_path: Path, digest: str) -> None:
    issued = ca.signer("results@laboratory.example", "rsa2048")
    structure = sign(tmp_path, issued, "-nodetach", "-md", digest, "-keyopt", "rsa_padding_mode:pss")
    assert checked(*read_now(structure, 4096)) == [GOOD]


def test_what_is_stapled_is_handed_on(ca: Ca, tmp_path: Path) -> None:
    """CRLs stand beside the certificates, as they are (RFC 5652 5.1)."""
    message = asn1_cms.ContentInfo.load(sign(tmp_path, ca.signer("signer@laboratory.example"), "-nodetach"))
    crl = ca.crl()
    message["content"]["crls"] = [asn1_cms.RevocationInfoChoice("crl", asn1_crl.CertificateList.load(crl))]
    _, layer = read_now(message.dump(force=True), 4096)
    assert isinstance(layer, SignedData)
    assert layer.revocations == (crl,)


def test_detached_signs_what_is_beside_it(ca: Ca, tmp_path: Path) -> None:
    content, signed = read_now(sign(tmp_path, ca.signer("results@laboratory.example")), 4096)
    assert isinstance(signed, SignedData)
    assert signed.detached
    assert content == b""
    assert checked(CONTENT, signed) == [GOOD]
    assert checked(CONTENT + b" ", signed) == [(Signature.BAD, Reason.BAD_DIGEST)]


def test_several_signers_each_have_their_answer(ca: Ca, tmp_path: Path) -> None:
    second, key = ca.signer("second@laboratory.example", "rsa2048").write(tmp_path, "second")
    structure = sign(tmp_path, ca.signer("results@laboratory.example"), "-nodetach", "-signer", str(second), "-inkey", str(key))
    assert checked(*read_now(structure, 4096)) == [GOOD, GOOD]


def test_a_changed_signature_is_bad(ca: Ca, tmp_path: Path) -> None:
    structure = bytearray(sign(tmp_path, ca.signer("results@laboratory.example", "rsa2048"), "-nodetach"))
    structure[-1] ^= 1
    assert checked(*read_now(bytes(structure), 4096)) == [(Signature.BAD, Reason.BAD_SIGNATURE)]


def test_sha1_is_weak_and_never_good(ca: Ca, tmp_path: Path) -> None:
    structure = sign(tmp_path, ca.signer("results@laboratory.example", "rsa2048"), "-nodetach", "-md", "sha1")
    assert checked(*read_now(structure, 4096)) == [(Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)]


def test_a_short_rsa_key_is_weak(ca: Ca, tmp_path: Path) -> None:
    structure = sign(tmp_path, short_rsa(ca), "-nodetach")
    assert checked(*read_now(structure, 4096)) == [(Signature.UNSUPPORTED, Reason.WEAK_ALGORITHM)]


def test_a_missing_certificate_has_its_own_reason(ca: Ca, tmp_path: Path) -> None:
    structure = sign(tmp_path, ca.signer("results@laboratory.example"), "-nodetach", "-nocerts")
    assert checked(*read_now(structure, 4096)) == [(Signature.UNSUPPORTED, Reason.NO_SIGNER_CERTIFICATE)]


def test_a_signing_time_that_is_to_come_is_bad(ca: Ca, tmp_path: Path) -> None:
    structure = sign(tmp_path, ca.signer("results@laboratory.example"), "-nodetach")
    long_ago = microseconds(NOW) - 20 * 365 * 86400 * 10**6
    assert checked(*read_now(structure, 4096), long_ago) == [(Signature.BAD, Reason.SIGNING_TIME)]


def test_attributes_shown_as_content_are_no_content(ca: Ca, tmp_path: Path) -> None:
    """Signed attributes of a real signature, presented as content that was signed without attributes."""
    issued = ca.signer("results@laboratory.example", "p256")
    _, signed = read_now(sign(tmp_path, issued, "-nodetach"), 4096)
    assert isinstance(signed, SignedData)
    attributes = signed.signers[0].attributes
    assert attributes is not None
    bare = sign(tmp_path, issued, "-nodetach", "-noattr", content=attributes)
    assert checked(*read_now(bare, 4096)) == [(Signature.BAD, Reason.BAD_SIGNATURE)]


def test_a_large_octet_string_in_small_pieces_is_read_in_proportion() -> None:
    """5 MB in pieces of 16 bytes, which keeps asn1crypto busy for a minute and a half."""
    head = bytes.fromhex("3080 06092a864886f70d010702 a080 3080 020101 3100 3080 06092a864886f70d010701 a080 2480")
    structure = head + (b"\x04\x10" + b"0123456789abcdef") * 327_680 + bytes(6) + b"\x31\x00" + bytes(6)
    before = time.process_time()
    content, signed = read_now(structure, 64 * 1024)
    assert time.process_time() - before < 5
    assert len(content) == 5 * 1024 * 1024
    assert isinstance(signed, SignedData)
    assert signed.signers == ()


def outcome(structure: bytes, piece: int) -> tuple[bytes, Layer] | Reason:
    try:
        return read_now(structure, piece)
    except GatewayError as error:
        return error.reason


HEADS = [
    b"",
    bytes.fromhex("3080 06092a864886f70d010702 a080 3080 020101 3100 3080 06092a864886f70d010701"),
    bytes.fromhex("3080 06092a864886f70d010702 a080 3080 020101 3100 3080 06092a864886f70d010701 a080 2480"),
    bytes.fromhex("3080 06092a864886f70d010703 a080 3080 020100 3180"),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(HEADS),
    st.lists(
        st.sampled_from([b"\0\0", b"\x30\x80", b"\x04\x01a", b"\x24\x80", b"\x31\x00", b"\x30\x03", b"\xa0\x80", b"\x04\x84"])
        | st.binary(max_size=8)
    ),
)
def test_any_bytes_give_a_value_or_our_error_whole_and_byte_by_byte(head: bytes, parts: list[bytes]) -> None:
    structure = head + b"".join(parts)
    assert outcome(structure, 10**6) == outcome(structure, 1)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_gives_a_value_or_our_error(shared_signed: bytes, place: int, flip: int) -> None:
    structure = bytearray(shared_signed)
    structure[place % len(structure)] ^= flip
    whole = outcome(bytes(structure), 10**6)
    assert whole == outcome(bytes(structure), 1)
    if not isinstance(whole, Reason):
        checked(*whole)


@pytest.fixture(scope="module")
def shared_signed(ca: Ca, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return sign(
        tmp_path_factory.mktemp("signed"), ca.signer("results@laboratory.example"), "-nodetach", "-stream", content=b"A: b\r\n\r\n"
    )


FUZZ = CONFORMANCE / "attacks" / "openssl-fuzz-cms"


@pytest.mark.skipif(not FUZZ.is_dir(), reason="the set attacks/openssl-fuzz-cms is not here (CONFORMANCE_DIR)")
def test_hostile_inputs_give_a_value_or_our_error() -> None:
    for path in sorted(FUZZ.iterdir()):
        before = time.process_time()
        found = outcome(path.read_bytes(), 4096)
        if not isinstance(found, Reason):
            checked(*found)
        assert time.process_time() - before < 1, path.name


MALFORMED = CONFORMANCE / "smime" / "openssl-cms" / "80-test_cms_data"


@pytest.mark.skipif(not MALFORMED.is_dir(), reason="the set smime/openssl-cms is not here (CONFORMANCE_DIR)")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_ct_attr.cms", Reason.BAD_SIGNATURE),
        ("no_md_attr.cms", Reason.BAD_SIGNATURE),
        ("ct_multiple_attr.cms", Reason.BAD_SIGNATURE),
        ("bad_signtime_attr.cms", Reason.BAD_SIGNATURE),
    ],
)
def test_attributes_missing_repeated_or_wrong_are_bad(name: str, reason: Reason) -> None:
    assert checked(*read_now((MALFORMED / name).read_bytes(), 4096)) == [(Signature.BAD, reason)]


@pytest.mark.skipif(not MALFORMED.is_dir(), reason="the set smime/openssl-cms is not here (CONFORMANCE_DIR)")
@pytest.mark.parametrize("name", ["rsa-malformed.der", "ecdh-malformed.der", "dh-malformed.der"])
def test_malformed_recipients_give_our_error(name: str) -> None:
    assert isinstance(outcome((MALFORMED / name).read_bytes(), 4096), Reason)
