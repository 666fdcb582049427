from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.library import (
    FileKey,
    Floor,
    GivenTrust,
    InThread,
    Judged,
    Key,
    Revocation,
    SignedForm,
    open_message,
    open_message_async,
    protect_message,
    protect_message_async,
)
from gateway.smime import ContentCipher, GatewayError, KeyTransport, Mechanism, Reason, WrappedKey
from tests import pki
from tests.pki import NOW, Ca, Issued, microseconds
from tests.smime.openssl import openssl, verify_message

AT = microseconds(NOW)
AUTHOR, READER = "results@laboratory.example", "cardiology@hospital.example"
LETTER = f"From: {AUTHOR}\r\nTo: {READER}\r\nSubject: result\r\n\r\nyes, 50 mg\r\n".encode()
LARGE = LETTER + b"0123456789abcdef\r\n" * 8192  # twice over what is worked on at once where an event loop runs


@dataclass(frozen=True)
class World:
    root: Ca
    author: Issued
    reader: Issued
    trust: GivenTrust

    @property
    def signer(self) -> Key[FileKey]:
        return Key(FileKey(self.author.key), [self.author.der])

    @property
    def opener(self) -> Key[FileKey]:
        return Key(FileKey(self.reader.key), [self.reader.der])


@pytest.fixture(scope="module")
def world() -> World:
    root = Ca.root()
    return World(root, root.signer(AUTHOR), root.reader(READER), GivenTrust.of([root.der], (), Revocation.UNSAFE_OFF))


def refusal(work: Callable[[], object]) -> Reason:
    with pytest.raises(GatewayError) as caught:
        work()
    return caught.value.reason


@pytest.mark.parametrize("letter", [LETTER, LARGE], ids=["small", "large"])
def test_what_is_protected_opens_and_is_verified(world: World, letter: bytes) -> None:
    sealed = protect_message(letter, signer=world.signer, readers=[world.reader.der], at=AT)
    assert b"yes, 50 mg" not in sealed
    assert b"Subject: result" not in sealed
    opened = open_message(sealed, keys=[world.opener], trust=world.trust, at=AT)
    assert opened.verdict.judged is Judged.VERIFIED
    assert opened.verdict.encrypted
    assert opened.signer == world.author.der
    assert b"\r\nSubject: result\r\n" in opened.message
    assert opened.message.endswith(letter.split(b"\r\n\r\n", 1)[1])


@pytest.mark.parametrize("letter", [LETTER, LARGE], ids=["small", "large"])
async def test_the_two_of_a_pair_open_what_the_other_made_also_inside_a_loop(world: World, letter: bytes) -> None:
    signer, opener = (Key(InThread(key.private), key.certificates) for key in (world.signer, world.opener))
    readers = [world.reader.der]
    for sealed in (
        protect_message(letter, signer=world.signer, readers=readers, at=AT),
        await protect_message_async(letter, signer=signer, readers=readers, at=AT),
    ):
        blocking = open_message(sealed, keys=[world.opener], trust=world.trust, at=AT)
        awaited = await open_message_async(sealed, keys=[opener], trust=world.trust, at=AT)
        assert blocking == awaited
        assert awaited.verdict.judged is Judged.VERIFIED


def test_openssl_verifies_what_is_signed_and_decrypts_what_is_encrypted(world: World, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(world.root.pem)
    reader, key = world.reader.write(tmp_path, "reader")
    signed = protect_message(LETTER, signer=world.signer, at=AT)
    assert b"yes, 50 mg" in verify_message(signed, tmp_path / "root.pem")
    sealed = protect_message(LETTER, readers=[world.reader.der], at=AT)
    assert b"yes, 50 mg" in openssl("cms", "-decrypt", "-recip", reader, "-inkey", key, data=sealed)


@pytest.mark.parametrize("form", SignedForm)
def test_the_signature_is_made_as_asked_for(world: World, tmp_path: Path, form: SignedForm) -> None:
    (tmp_path / "root.pem").write_bytes(world.root.pem)
    author = world.root.signer(AUTHOR, "rsa2048")
    signer = Key(FileKey(author.key), [author.der])
    signed = protect_message(LETTER, signer=signer, form=form, mechanism=Mechanism.RSA_PSS_SHA384, at=AT)
    assert (b"multipart/signed" in signed) is (form is SignedForm.CLEAR)
    openssl("cms", "-verify", "-CAfile", tmp_path / "root.pem", data=signed)
    (layer,) = open_message(signed, at=AT).verdict.layers
    assert layer.algorithms == {"signature": "rsa-pss-sha384"}


def test_without_trust_a_good_signature_verifies_nothing(world: World) -> None:
    signed = protect_message(LETTER, signer=world.signer, at=AT)
    opened = open_message(signed, at=AT)
    assert opened.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert opened.signer is None
    (layer,) = opened.verdict.layers
    assert [(each.signature, each.trust, each.reasons) for each in layer.signers] == [("good", "distrusted", (Reason.CHAIN,))]


def test_a_signature_by_somebody_else_who_is_believed_verifies_nothing(world: World) -> None:
    other = world.root.signer("billing@laboratory.example")
    signed = protect_message(LETTER, signer=Key(FileKey(other.key), [other.der]), at=AT)
    opened = open_message(signed, trust=world.trust, at=AT)
    assert opened.verdict.judged is Judged.SIGNED_UNVERIFIED
    assert Reason.FROM_MISMATCH in opened.verdict.reasons


def test_what_is_for_another_key_is_said_in_the_verdict(world: World) -> None:
    sealed = protect_message(LETTER, readers=[world.root.reader("someone@else.example").der], at=AT)
    opened = open_message(sealed, keys=[world.opener], at=AT)
    assert opened.verdict.judged is Judged.UNDECRYPTABLE
    assert opened.verdict.reasons == (Reason.NO_KEY,)


def test_several_keys_and_the_one_that_opens_is_found(world: World) -> None:
    other = world.root.reader("someone@else.example", "p256")
    sealed = protect_message(LETTER, readers=[other.der, world.reader.der], at=AT)
    for issued in (other, world.reader):
        keys = [Key(FileKey(each.key), [each.der]) for each in (world.root.reader("third@else.example", "p256"), issued)]
        assert b"yes, 50 mg" in open_message(sealed, keys=keys, at=AT).message


def test_a_certificate_that_may_not_be_used_is_refused(world: World) -> None:
    root = world.root
    for reader, reason in (
        (root.reader(READER, not_after=NOW - dt.timedelta(days=2)), Reason.EXPIRED),
        (pki.not_for_encryption(root, READER), Reason.KEY_USAGE),
        (root.reader(READER, eku=["code"]), Reason.EKU),
        (pki.short_rsa(root, READER), Reason.WEAK_ALGORITHM),
    ):
        assert refusal(lambda reader=reader: protect_message(LETTER, readers=[reader.der], at=AT)) is reason  # type: ignore[misc]
    late = pki.expired(root, AUTHOR)
    assert refusal(lambda: protect_message(LETTER, signer=Key(FileKey(late.key), [late.der]), at=AT)) is Reason.EXPIRED


def test_there_is_no_key_without_its_certificate(world: World) -> None:
    assert refusal(lambda: Key(FileKey(world.author.key), ())) is Reason.KEY_UNAVAILABLE


def test_a_key_that_is_not_that_of_its_certificate_is_found_out(world: World) -> None:
    wrong = Key(FileKey(world.root.signer(AUTHOR).key), [world.author.der])
    assert refusal(lambda: protect_message(LETTER, signer=wrong, at=AT)) is Reason.OWN_WORK_WRONG


def test_nothing_is_protected_with_nothing() -> None:
    with pytest.raises(ValueError, match="protect with what"):
        protect_message(LETTER)


def test_line_ends_that_need_a_guess_are_refused_and_no_others(world: World) -> None:
    mixed = LETTER + b"one\ntwo\r\n"
    assert refusal(lambda: protect_message(mixed, readers=[world.reader.der])) is Reason.MALFORMED
    signed = protect_message(LETTER.replace(b"\r\n", b"\n"), signer=world.signer, at=AT)
    assert b"\n" not in signed.replace(b"\r\n", b"")
    assert open_message(signed.replace(b"\r\n", b"\n"), trust=world.trust, at=AT).verdict.judged is Judged.VERIFIED


def test_the_algorithms_are_those_of_the_floor(world: World) -> None:
    floor = Floor(cipher=ContentCipher.AES256_GCM, transport=KeyTransport.OAEP_SHA256)
    sealed = protect_message(LETTER, readers=[world.reader.der], floor=floor, at=AT)
    assert b"smime-type=authEnveloped-data" in sealed
    (layer,) = open_message(sealed, keys=[world.opener], at=AT).verdict.layers
    assert (layer.kind, layer.algorithms["key"]) == ("authenveloped", "rsa-oaep")


class Broken:
    """A key whose service is gone."""

    def sign(self, _data: bytes, _mechanism: Mechanism, /) -> bytes:
        raise ConnectionError("the service is gone")

    def unwrap(self, _wrapped: WrappedKey, /) -> bytes:
        raise GatewayError(Reason.KEY_UNAVAILABLE, "the service is gone")


class Guessing(Broken):
    """A key that did not unwrap what it was given."""

    def unwrap(self, wrapped: WrappedKey, /) -> bytes:
        return os.urandom(wrapped.length)


def test_what_a_key_did_not_unwrap_has_one_reason(world: World) -> None:
    sealed = protect_message(LETTER, signer=world.signer, readers=[world.reader.der], at=AT)
    opened = open_message(sealed, keys=[Key(Guessing(), [world.reader.der])], trust=world.trust, at=AT)
    assert (opened.verdict.judged, opened.verdict.reasons) == (Judged.UNDECRYPTABLE, (Reason.INTEGRITY,))
    assert b"yes, 50 mg" not in opened.message


@pytest.mark.parametrize("garbage", [bytes(range(256)), b"a: b\r\n" * 60_000], ids=["binary", "endless header"])
def test_what_has_no_header_that_can_be_read_is_an_error(garbage: bytes) -> None:
    assert refusal(lambda: open_message(garbage)) in (Reason.MALFORMED, Reason.LIMIT)


def test_what_a_key_raises_comes_out_as_it_is(world: World) -> None:
    with pytest.raises(ConnectionError):
        protect_message(LETTER, signer=Key(Broken(), [world.author.der]), at=AT)
    sealed = protect_message(LETTER, readers=[world.reader.der], at=AT)
    assert refusal(lambda: open_message(sealed, keys=[Key(Broken(), [world.reader.der])], at=AT)) is Reason.KEY_UNAVAILABLE


def test_keys_and_trust_are_shared_by_threads(world: World) -> None:
    signed = [protect_message(LETTER, signer=world.signer, readers=[world.reader.der], at=AT)] * 64
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda each: open_message(each, keys=[world.opener], trust=world.trust, at=AT), signed))
    assert opened == opened[:1] * 64


@pytest.mark.parametrize("package", ["gateway.smime", "gateway.library"])
def test_the_library_brings_no_server_with_it(package: str) -> None:
    """Neither SMTP, nor LDAP, nor a database, nor a token, nor the web."""
    unwanted = {"aiosmtpd", "smtplib", "ldap3", "apsw", "sqlite3", "pkcs11", "aiohttp", "dns", "prometheus_client", "uvloop"}
    parts = {f"gateway.{name}" for name in ("receive", "deliver", "spool", "state", "operate", "app", "worker", "smtp")}
    program = f"import sys, {package}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert package in said
    assert not (unwanted | parts).intersection(said)
