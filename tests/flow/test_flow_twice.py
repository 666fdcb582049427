"""Encrypted to a reader's own key, and around that to ours: the outer layer is opened, the inner one stays closed and is told.

That an inner layer names nobody of ours shows only in what a private key opened, so it may be said only where an opened content of
any other kind would be delivered: one whose tag is right, or which is clean in CBC, and which is a structure to its last byte.
Else whoever sends a captured ciphertext with a few bits changed would learn from the one answer or the other what is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.mail.verdict import Judged
from gateway.outcome import Reason
from tests.flow.opened import ENTITY, PLAIN, as_message, believing, bytes_of, encrypt, opened, sign
from tests.flow.test_flow_opening import entity_in
from tests.flow.test_incoming import AT
from tests.mail import pgp
from tests.pki import Ca, Issued

CBC, GCM = ("-aes-256-cbc",), ("-aes-256-gcm",)
CIPHERS = pytest.mark.parametrize("cipher", [CBC, GCM], ids=["cbc", "gcm"])


@pytest.fixture(scope="module")
def own(ca: Ca) -> Issued:
    """The key of a reader, which he alone has."""
    return ca.reader("nurse@hospital.example")


@CIPHERS
async def test_the_outer_layer_is_opened_and_the_inner_one_left(
    ca: Ca, reader: Issued, own: Issued, tmp_path: Path, cipher: tuple[str]
) -> None:
    inner = encrypt(tmp_path, ENTITY, own)
    result = await opened(as_message(encrypt(tmp_path, inner, reader, options=cipher)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.END_TO_END,)
    assert result.verdict.encrypted
    kinds = ["enveloped" if cipher is CBC else "authenveloped", "enveloped"]
    assert [(layer.kind, bool(layer.recipients)) for layer in result.verdict.layers] == [(kind, True) for kind in kinds]
    assert result.keys == ("d",)
    delivered = bytes_of(result)
    assert entity_in(delivered).split(b"\r\n\r\n", 1)[1] == inner.split(b"\r\n\r\n", 1)[1]
    assert b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data" in delivered
    theirs = await opened(delivered, {"own": own}, believing(ca), AT)
    assert theirs.verdict.judged is Judged.UNSIGNED
    assert entity_in(bytes_of(theirs)) == ENTITY


async def test_a_signature_between_stays_and_verifies_nothing(
    ca: Ca, signer: Issued, reader: Issued, own: Issued, tmp_path: Path
) -> None:
    """It covers ciphertext, which anybody may have signed."""
    signed = sign(tmp_path, encrypt(tmp_path, ENTITY, own), signer)
    result = await opened(as_message(encrypt(tmp_path, signed, reader)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.END_TO_END,)
    assert result.verdict.by is None
    assert entity_in(bytes_of(result)) in signed


async def test_a_signature_around_both_goes_with_the_layer_it_is_around(
    ca: Ca, signer: Issued, reader: Issued, own: Issued, tmp_path: Path
) -> None:
    inner = encrypt(tmp_path, ENTITY, own)
    message = as_message(sign(tmp_path, encrypt(tmp_path, inner, reader), signer))
    result = await opened(message, {"d": reader}, believing(ca), AT)
    assert result.verdict.reasons == (Reason.END_TO_END,)
    assert entity_in(bytes_of(result)).split(b"\r\n\r\n", 1)[1] == inner.split(b"\r\n\r\n", 1)[1]


@CIPHERS
async def test_openpgp_inside_is_for_its_reader_too(ca: Ca, reader: Issued, tmp_path: Path, cipher: tuple[str]) -> None:
    inner = pgp.entity(pgp.armored(pgp.encrypted()))
    result = await opened(as_message(encrypt(tmp_path, inner, reader, options=cipher)), {"d": reader}, believing(ca), AT)
    assert result.verdict.judged is Judged.UNDECRYPTABLE
    assert result.verdict.reasons == (Reason.END_TO_END,)
    assert entity_in(bytes_of(result)) == inner


def cut(inner: bytes) -> bytes:
    """A structure without its end."""
    lines = inner.split(b"\r\n")
    return b"\r\n".join(lines[:-5]) + b"\r\n"


def with_noise(inner: bytes) -> bytes:
    """What a changed block in CBC is: bytes that no header has."""
    return b"X: " + bytes(range(0x80, 0x90)) + b"\r\n" + inner


def beside_text(inner: bytes) -> bytes:
    """One part among others: no layer, and ordinary mail."""
    return b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n--a\r\n\r\nx\r\n--a\r\n' + inner + b"\r\n--a--\r\n"


@pytest.mark.parametrize(
    ("change", "cipher", "reason"),
    [
        (cut, CBC, Reason.INTEGRITY),
        (cut, GCM, Reason.INTEGRITY),
        (with_noise, CBC, Reason.INTEGRITY),
        (beside_text, CBC, Reason.PARTIAL_COVERAGE),
    ],
)
async def test_what_is_not_whole_and_clean_is_integrity_as_ever(
    ca: Ca, reader: Issued, own: Issued, tmp_path: Path, change: Callable[[bytes], bytes], cipher: tuple[str], reason: Reason
) -> None:
    entity = change(encrypt(tmp_path, ENTITY, own))
    message = as_message(encrypt(tmp_path, entity, reader, options=cipher))
    result = await opened(message, {"d": reader}, believing(ca), AT)
    assert result.verdict.reasons == (reason,)
    if reason is Reason.INTEGRITY:
        assert len(result.verdict.layers) == 1
        assert bytes_of(result).endswith(message)


async def test_an_inner_layer_to_ours_that_does_not_open_is_integrity(ca: Ca, reader: Issued, own: Issued, tmp_path: Path) -> None:
    """A third layer, below one that is ours; and an inner one to us in an algorithm that is too weak."""
    other = encrypt(tmp_path, encrypt(tmp_path, PLAIN + b"x\ny\r\n", reader), reader)
    weak = encrypt(tmp_path, encrypt(tmp_path, PLAIN, reader, own, options=("-des3",)), reader)
    for entity in (other, weak):
        result = await opened(as_message(entity), {"d": reader}, believing(ca), AT)
        assert result.verdict.reasons == (Reason.INTEGRITY,)
        assert len(result.verdict.layers) == 1


async def test_a_signature_around_what_is_to_no_key_of_ours_is_no_key(
    ca: Ca, signer: Issued, reader: Issued, own: Issued, tmp_path: Path
) -> None:
    """Nothing was opened: it may be to a key we had once."""
    message = as_message(sign(tmp_path, encrypt(tmp_path, ENTITY, own), signer))
    result = await opened(message, {"d": reader}, believing(ca), AT)
    assert result.verdict.reasons == (Reason.NO_KEY,)
    assert bytes_of(result).endswith(message)
