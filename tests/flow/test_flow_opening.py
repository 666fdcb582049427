"""What openssl signs and encrypts is opened with the right verdict, and every fault with its own reason."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from gateway.edge.keyfile import FileKeys
from gateway.mail.message import read_header
from gateway.mail.mime import wrap
from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from gateway.smime.keys import WrappedKey
from tests.doubles import MemoryBodies
from tests.flow.opened import (
    ENTITY,
    HEADER,
    PLAIN,
    SENDER,
    as_message,
    believing,
    bytes_of,
    encrypt,
    opened,
    sign,
)
from tests.pki import NOW, Ca, Issued, foreign, microseconds
from tests.smime.test_smime_compress import compressed

# openssl signs with the time of this machine, which may lie years from the certificates' NOW
AT = microseconds(NOW) + 10 * 365 * 86400 * 10**6


def entity_in(message: bytes) -> bytes:
    """The entity a mailbox sees: Content-* fields and what follows the header."""
    header = read_header(message)
    fields = b"".join(field.raw for field in header.fields if field.name.lower().startswith("content-"))
    return fields + b"\r\n" + message[header.size :]


@pytest.mark.parametrize("form", [(), ("-nodetach",), ("-nodetach", "-stream"), ("-keyid",)], ids=str)
@pytest.mark.parametrize("cipher", [("-aes-256-cbc",), ("-aes-256-gcm",), ("-aes-128-cbc", "-stream"), ("-aes-128-gcm", "-stream")])
async def test_signed_then_encrypted_is_verified_and_equal(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, form: tuple[str, ...], cipher: tuple[str, ...]
) -> None:
    """The entity that comes out equals byte for byte the one that went in."""
    message = as_message(encrypt(tmp_path, sign(tmp_path, ENTITY, signer, options=form), reader, options=cipher))
    bodies = MemoryBodies()
    result = await opened(message, {"decrypt": reader}, believing(ca), AT, bodies=bodies)
    assert result.verdict.judged is Judged.VERIFIED
    assert result.verdict.encrypted
    assert result.verdict.assurance == "zone"
    assert result.keys == ("decrypt",)
    assert entity_in(bytes_of(result)) == ENTITY
    assert len(bodies.kept) == 1
    assert [layer.kind for layer in result.verdict.layers][1:] == ["signed"]


@pytest.mark.parametrize("form", [(), ("-nodetach",)], ids=str)
async def test_signed_alone_is_verified_and_its_wrapper_removed(
    ca: Ca, signer: Issued, tmp_path: Path, form: tuple[str, ...]
) -> None:
    result = await opened(as_message(sign(tmp_path, PLAIN, signer, options=form)), {}, believing(ca), AT)
    assert result.verdict.judged is Judged.VERIFIED
    assert not result.verdict.encrypted
    assert entity_in(bytes_of(result)) == PLAIN


@pytest.mark.parametrize("form", [(), ("-nodetach",)], ids=str)
async def test_a_signature_is_kept_where_asked(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, form: tuple[str, ...]
) -> None:
    signed = sign(tmp_path, PLAIN, signer, options=form)
    result = await opened(as_message(encrypt(tmp_path, signed, reader)), {"d": reader}, believing(ca), AT, keep_signature=True)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) in signed


@pytest.mark.parametrize("keep", [True, False])
async def test_a_line_that_is_no_field_does_not_stand_beside_a_verified_mark(
    ca: Ca, signer: Issued, tmp_path: Path, keep: bool
) -> None:
    """A reader that forgives the byte in its name would show the wrapper as something else."""
    line = b"Content-Type\xa0: text/html\r\n"
    result = await opened(as_message(line + sign(tmp_path, PLAIN, signer)), {}, believing(ca), AT, keep_signature=keep)
    assert result.verdict.judged is Judged.VERIFIED
    assert line not in bytes_of(result)
    result = await opened(as_message(line + sign(tmp_path, PLAIN, foreign(SENDER))), {}, believing(ca), AT, keep_signature=keep)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert line in bytes_of(result)


async def test_an_unverified_signature_stays_inside(ca: Ca, reader: Issued, tmp_path: Path) -> None:
    signed = sign(tmp_path, PLAIN, foreign(SENDER))
    result = await opened(as_message(encrypt(tmp_path, signed, reader)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (Reason.CHAIN,)
    assert entity_in(bytes_of(result)) in signed


async def test_a_triple_wrap_is_opened(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    inner = encrypt(tmp_path, sign(tmp_path, ENTITY, signer), reader)
    result = await opened(as_message(sign(tmp_path, inner, signer)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.VERIFIED
    assert [layer.kind for layer in result.verdict.layers] == ["signed", "enveloped", "signed"]
    assert entity_in(bytes_of(result)) == ENTITY


async def test_a_signature_around_encryption_covers_only_ciphertext(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    """Anybody may take a captured ciphertext and sign it as his own."""
    result = await opened(as_message(sign(tmp_path, encrypt(tmp_path, ENTITY, reader), signer)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (Reason.PARTIAL_COVERAGE,)
    assert entity_in(bytes_of(result)) == ENTITY


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-256-gcm"])
async def test_lines_that_end_with_lf_alone_are_made_canonical(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, cipher: str
) -> None:
    """Some programs encrypt a file as it is; the signature inside is over CRLF all the same."""
    signed = sign(tmp_path, PLAIN, signer).replace(b"\r\n", b"\n")
    result = await opened(as_message(encrypt(tmp_path, signed, reader, options=(cipher,))), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) == PLAIN


async def test_lines_that_end_in_two_ways_are_no_mail(ca: Ca, reader: Issued, tmp_path: Path) -> None:
    result = await opened(as_message(encrypt(tmp_path, PLAIN + b"x\ny\r\n", reader)), {"d": reader}, believing(ca), AT)
    assert result.verdict.reasons == (Reason.INTEGRITY,)


async def test_layers_have_an_end(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    entity = PLAIN
    for _ in range(9):
        entity = sign(tmp_path, entity, signer, options=("-nodetach",))
    result = await opened(as_message(entity), {}, believing(ca), AT)
    assert result.verdict.judged is Judged.MALFORMED
    assert result.verdict.reasons == (Reason.LIMIT,)


async def test_private_keys_are_used_four_times_at_most(
    ca: Ca, reader: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    unwrap = FileKeys.unwrap

    async def counted(keys: FileKeys, key: str, wrapped: WrappedKey, /) -> bytes:
        used.append(key)
        return await unwrap(keys, key, wrapped)

    monkeypatch.setattr(FileKeys, "unwrap", counted)
    entity = PLAIN
    for _ in range(5):
        entity = encrypt(tmp_path, entity, reader)
    result = await opened(as_message(entity), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.INTEGRITY,)
    assert used == ["d"] * 4
    assert result.keys == ()


async def test_encrypted_alone_is_unsigned(ca: Ca, reader: Issued, tmp_path: Path) -> None:
    result = await opened(as_message(encrypt(tmp_path, ENTITY, reader)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNSIGNED
    assert result.verdict.encrypted
    assert entity_in(bytes_of(result)) == ENTITY


async def test_a_wrong_reader_has_no_key(ca: Ca, reader: Issued, tmp_path: Path) -> None:
    message = as_message(encrypt(tmp_path, ENTITY, reader))
    result = await opened(message, {"d": ca.reader("other@hospital.example")}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.NO_KEY,)
    assert bytes_of(result).endswith(message)


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-256-gcm"])
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
async def test_a_changed_byte_of_ciphertext_is_integrity(
    ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, cipher: str, place: float
) -> None:
    """In CBC a changed block is noise in a part that says it is base64; in GCM the tag fails."""
    content = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 4000 + b"\r\n"
    message = bytearray(as_message(encrypt(tmp_path, content, reader, options=(cipher,))))
    where = int(len(message) * place)
    where += message[where : where + 2].find(b"\r\n") + 3  # not a line end
    message[where] = ord("B") if message[where] != ord("B") else ord("C")
    result = await opened(bytes(message), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.INTEGRITY,)


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-256-gcm"])
@pytest.mark.parametrize("piece", [100, 64 * 1024])
async def test_nothing_of_a_content_that_is_not_proven_is_left_anywhere(
    ca: Ca, reader: Issued, tmp_path: Path, cipher: str, piece: int
) -> None:
    """RFC 5084 1.1: no plaintext before the tag. What was decrypted on the way is discarded; the mailbox gets what came."""
    text = b"Content-Type: text/plain\r\n\r\n" + b"Blood group 0, rhesus negative.\r\n" * 1000
    message = as_message(encrypt(tmp_path, text, reader, options=(cipher,)))
    lines = message.split(b"\r\n")
    last = max(number for number, line in enumerate(lines) if len(line) == 64)
    lines[last] = lines[last][:40] + (b"B" if lines[last][40:41] != b"B" else b"C") + lines[last][41:]  # the tag, or noise
    bodies = MemoryBodies()
    result = await opened(b"\r\n".join(lines), {"d": reader}, believing(ca), AT, bodies=bodies, piece=piece)
    assert result.verdict.reasons == (Reason.INTEGRITY,)
    (kept,) = bodies.kept
    assert kept == bytes_of(result)
    assert b"rhesus" not in kept
    if piece == 100:
        assert any(b"rhesus" in writer.data for writer in bodies.writers if writer.discarded), "it was decrypted, and discarded"


async def test_changed_text_is_a_bad_digest(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    message = as_message(sign(tmp_path, PLAIN, signer)).replace(b"all well", b"all Well")
    result = await opened(message, {}, believing(ca), AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (Reason.BAD_DIGEST,)
    assert bytes_of(result).endswith(message[len(HEADER) :])


async def test_a_changed_signature_is_bad(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    message = bytearray(as_message(sign(tmp_path, PLAIN, signer)))
    lines = bytes(message).split(b"\r\n")
    last = max(number for number, line in enumerate(lines) if len(line) == 64)  # the signature is the last thing in SignedData
    lines[last] = lines[last][:20] + (b"B" if lines[last][20:21] != b"B" else b"C") + lines[last][21:]
    result = await opened(b"\r\n".join(lines), {}, believing(ca), AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (Reason.BAD_SIGNATURE,)


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.REVOKED, Reason.CHAIN, Reason.EKU, Reason.REVOCATION_UNKNOWN])
async def test_a_signer_not_believed_gives_the_reason(ca: Ca, signer: Issued, tmp_path: Path, reason: Reason) -> None:
    judge = believing(ca)
    judge.told[signer.der] = reason
    result = await opened(as_message(sign(tmp_path, PLAIN, signer)), {}, judge, AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (reason,)
    assert result.verdict.assurance is None


async def test_a_signer_that_is_not_the_from_is_a_mismatch(ca: Ca, tmp_path: Path) -> None:
    result = await opened(as_message(sign(tmp_path, PLAIN, ca.signer("other@laboratory.example"))), {}, believing(ca), AT)
    assert result.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert result.verdict.reasons == (Reason.FROM_MISMATCH,)


@pytest.mark.parametrize(("domains", "judged"), [(["laboratory.example"], Judged.VERIFIED), ([], Judged.SIGNED_UNVERIFIED)])
async def test_an_organisation_speaks_for_a_domain_bound_to_it(ca: Ca, tmp_path: Path, domains: list[str], judged: Judged) -> None:
    message = as_message(sign(tmp_path, PLAIN, ca.organisation_signer("laboratory.example")))
    assert (await opened(message, {}, believing(ca, domains=domains), AT)).verdict.judged is judged


async def test_certificates_alone_are_unsigned_and_left_as_they_are(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    """The form of RFC 8551 3.8, made of a signature by taking its signers away."""
    from gateway.smime import der

    empty = der.sequence(
        der.oid("1.2.840.113549.1.7.2"),
        der.element(
            0xA0,
            der.sequence(
                der.integer(1),
                der.set_of(),
                der.sequence(der.oid("1.2.840.113549.1.7.1")),
                der.element(0xA0, signer.der),
                der.set_of(),
            ),
        ),
    )
    from gateway.mail.mime import wrap

    head = b"Content-Type: application/pkcs7-mime; smime-type=certs-only\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    message = as_message(head + wrap(empty))
    result = await opened(message, {}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNSIGNED
    assert bytes_of(result).endswith(message)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"application/pkcs7-mime", b"application/x-pkcs7-mime"),
        (b"application/pkcs7-mime", b"Application/PKCS7-MIME"),
        (b"smime-type=enveloped-data; ", b""),
        (b"application/pkcs7-mime; smime-type=enveloped-data", b"application/octet-stream"),
    ],
)
async def test_every_way_to_call_it_is_understood(ca: Ca, reader: Issued, tmp_path: Path, old: bytes, new: bytes) -> None:
    message = as_message(encrypt(tmp_path, ENTITY, reader))
    assert old in message
    result = await opened(message.replace(old, new), {"d": reader}, believing(ca), AT)
    assert entity_in(bytes_of(result)) == ENTITY


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_pieces_of_any_size_give_the_same(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path, piece: int) -> None:
    message = as_message(encrypt(tmp_path, sign(tmp_path, ENTITY, signer), reader))
    result = await opened(message, {"d": reader}, believing(ca), AT, piece=piece)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) == ENTITY


async def test_a_large_message_goes_through_bodies(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000
    message = as_message(encrypt(tmp_path, sign(tmp_path, content, signer), reader))
    result = await opened(message, {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) == content


def compressed_entity(stream: bytes) -> bytes:
    """An application/pkcs7-mime entity of CompressedData (RFC 8551 3.6)."""
    kind = b"Content-Type: application/pkcs7-mime; smime-type=compressed-data; name=smime.p7z\r\n"
    return kind + b"Content-Transfer-Encoding: base64\r\n\r\n" + wrap(compressed(stream))


async def test_compression_hides_nothing_and_proves_nothing(ca: Ca, signer: Issued, reader: Issued, tmp_path: Path) -> None:
    """Outside the signature, inside it, and without one."""
    inside = sign(tmp_path, compressed_entity(zlib.compress(PLAIN)), signer)
    outside = compressed_entity(zlib.compress(sign(tmp_path, PLAIN, signer)))
    for entity, judged in (
        (inside, Judged.VERIFIED),
        (outside, Judged.VERIFIED),
        (encrypt(tmp_path, outside, reader), Judged.VERIFIED),
        (compressed_entity(zlib.compress(PLAIN)), Judged.UNSIGNED),
    ):
        result = await opened(as_message(entity), {"decrypt": reader}, believing(ca), AT)
        assert result.verdict.judged is judged
        assert entity_in(bytes_of(result)) == PLAIN
        assert "compressed" in [layer.kind for layer in result.verdict.layers]


async def test_a_signature_over_compression_that_is_cut_verifies_nothing(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    message = as_message(sign(tmp_path, compressed_entity(zlib.compress(PLAIN)[:-1]), signer))
    result = await opened(message, {}, believing(ca), AT)
    assert (result.verdict.judged, result.verdict.reasons) == (Judged.MALFORMED, (Reason.MALFORMED,))


# A verified signature that is kept: nothing of what is left around it may be read as a part by anybody

OTHER = b"\r\n--other\r\nContent-Type: text/plain\r\n\r\nPlease pay to the account below.\r\n--other--\r\n"


def with_other_parts(signed: bytes, place: str) -> bytes:
    """``signed`` and, in one of the places that the signature does not cover, parts for a reader with another boundary."""
    boundary = signed.split(b'boundary="')[1].split(b'"')[0]
    delimiter = b"--" + boundary
    head, first, signature, end = signed.split(delimiter)
    match place:
        case "preamble":
            head += OTHER + b"\r\n"
        case "epilogue":
            end += OTHER
        case "header of the signature":
            signature = signature.replace(b"\r\n\r\n", b"\r\n--other\r\nX-Of: nobody\r\n\r\n", 1)
    return delimiter.join((head, first, signature, end))


@pytest.mark.parametrize("place", ["preamble", "epilogue", "header of the signature"])
async def test_a_signature_is_not_kept_where_others_may_find_more_parts(ca: Ca, signer: Issued, tmp_path: Path, place: str) -> None:
    message = as_message(with_other_parts(sign(tmp_path, PLAIN, signer), place))
    result = await opened(message, {}, believing(ca), AT, keep_signature=True, piece=7)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) == PLAIN


@pytest.mark.parametrize(
    ("written", "other"),
    [
        (b"; boundary=", b"; boundary*=us-ascii''other; boundary="),  # RFC 2231 4: the same parameter, for those who know
        (b"; boundary=", b'; boundary*0="oth"; boundary*1="er"; boundary='),  # RFC 2231 3
        (b"; boundary=", b'; x=y (; boundary="other"; z=); boundary='),  # a comment, for those who know
        (
            b"MIME-Version:",
            b"Content-Transfer-Encoding: base64\r\nMIME-Version:",
        ),  # of which RFC 2045 6.4 says that it is not there
    ],
)
async def test_a_signature_is_not_kept_where_others_may_read_its_header_in_another_way(
    ca: Ca, signer: Issued, tmp_path: Path, written: bytes, other: bytes
) -> None:
    signed = sign(tmp_path, PLAIN, signer)
    result = await opened(as_message(signed.replace(written, other, 1)), {}, believing(ca), AT, keep_signature=True)
    assert result.verdict.judged is Judged.VERIFIED
    assert entity_in(bytes_of(result)) == PLAIN


async def test_a_signature_that_all_read_alike_is_kept_with_the_words_before_it(ca: Ca, signer: Issued, tmp_path: Path) -> None:
    """As openssl and others write them, for readers without MIME."""
    signed = sign(tmp_path, PLAIN, signer)
    assert b"This is an S/MIME signed message" in signed
    result = await opened(as_message(signed), {}, believing(ca), AT, keep_signature=True)
    assert result.verdict.judged is Judged.VERIFIED
    assert bytes_of(result).endswith(signed.partition(b"\r\n\r\n")[2])
