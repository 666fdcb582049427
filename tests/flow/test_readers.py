"""What a sender encrypted himself leaves as it is only for those it is encrypted to, as far as anybody can know."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.events import MailProtected, MailUnprotected
from gateway.flow.choice import Unusable
from gateway.flow.result import Flowed
from gateway.outcome import Reason
from tests.flow.hospital import MESSAGE, Hospital, bytes_of, names
from tests.mail.pgp import armored, encrypted, entity
from tests.pki import Ca, Issued
from tests.smime.openssl import decrypt, openssl

RESULTS, SECOND, THIRD = "results@laboratory.example", "second@laboratory.example", "third@laboratory.example"
OUTSIDE = "patient@post.example"
OUTER = MESSAGE[: MESSAGE.index(b"MIME-Version")]
TEXT = MESSAGE[MESSAGE.index(b"Content-Type") :]

Encrypt = Callable[..., bytes]


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def readers(root: Ca) -> dict[str, Issued]:
    kinds = {RESULTS: "rsa2048", SECOND: "p256", THIRD: "p384"}
    return {address: root.reader(address, kind) for address, kind in kinds.items()}


@pytest.fixture
def hospital(root: Ca, readers: dict[str, Issued]) -> Hospital:
    made = Hospital(root)
    made.evidence.known.update(readers)
    return made


@pytest.fixture
def encrypt(readers: dict[str, Issued], tmp_path: Path) -> Encrypt:
    """A message that its sender's program, here openssl, encrypted to the certificates of these people."""

    def run(*people: str | Issued, options: tuple[str, ...] = ()) -> bytes:
        issued = [readers[each] if isinstance(each, str) else each for each in people]
        files = [each.write(tmp_path, f"to-{number}")[0] for number, each in enumerate(issued)]
        data = openssl("cms", "-encrypt", "-outform", "DER", "-binary", "-aes-256-cbc", *options, *files, data=TEXT)
        head = b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n"
        return OUTER + head + b"\r\n" + base64.encodebytes(data).replace(b"\n", b"\r\n")

    return run


def pgp(keys: int) -> bytes:
    return OUTER + b"MIME-Version: 1.0\r\n" + entity(armored(encrypted(keys)))


def kept(flowed: Flowed, message: bytes) -> list[str]:
    """Who gets the message as it came, and as one that is protected."""
    copies = [output for output in flowed.outputs if bytes_of(output) == message]
    assert all(output.protected for output in copies)
    return [name for output in copies for name in names(output.envelope.recipients)]


def refused(flowed: Flowed) -> list[tuple[list[str], Reason]]:
    return [(names(each.recipients), each.reason) for each in flowed.refused]


@pytest.mark.parametrize("options", [(), ("-keyid",)])
async def test_it_is_kept_for_those_it_names(hospital: Hospital, encrypt: Encrypt, options: tuple[str, ...]) -> None:
    """Key transport and key agreement, by issuer and serial number or by key identifier."""
    message = encrypt(RESULTS, SECOND, options=options)
    flowed = await hospital.send(message, RESULTS, SECOND)
    assert kept(flowed, message) == [RESULTS, SECOND]
    [event] = hospital.events.seen
    assert isinstance(event, MailProtected)
    assert event.protection == "kept"
    assert hospital.signer.signed == 0


async def test_it_is_encrypted_again_for_one_it_does_not_name(
    hospital: Hospital, encrypt: Encrypt, readers: dict[str, Issued], tmp_path: Path
) -> None:
    """However many readers it has: of one whose certificate we know, that certificate decides."""
    message = encrypt(RESULTS, THIRD, readers[THIRD])
    flowed = await hospital.send(message, RESULTS, SECOND)
    assert kept(flowed, message) == [RESULTS]
    [again] = [output for output in flowed.outputs if bytes_of(output) != message]
    assert names(again.envelope.recipients) == [SECOND]
    assert again.protected
    certificate, key = readers[SECOND].write(tmp_path, "second")
    inside = decrypt(bytes_of(again), certificate, key, "SMIME")
    assert message[message.index(b"Content-Type") :] in inside


async def test_an_older_certificate_that_is_still_good_names_its_owner(hospital: Hospital, root: Ca, encrypt: Encrypt) -> None:
    old = root.reader(RESULTS, "rsa2048")
    message = encrypt(old)
    assert kept(await hospital.send(message, RESULTS), message) == []
    hospital.evidence.older[RESULTS] = old
    assert kept(await hospital.send(message, RESULTS), message) == [RESULTS]


async def test_a_certificate_of_the_domain_names_all_of_it(hospital: Hospital, root: Ca, encrypt: Encrypt) -> None:
    domain = root.organisation_reader("laboratory.example")
    hospital.evidence.known.update({RESULTS: domain, SECOND: domain})
    message = encrypt(domain)
    assert kept(await hospital.send(message, RESULTS, SECOND), message) == [RESULTS, SECOND]


async def test_of_unknown_recipients_each_needs_a_reader_that_is_nobody_elses(
    hospital: Hospital, root: Ca, encrypt: Encrypt
) -> None:
    """Where no certificate is known nothing can be compared: with a reader left over it is believed, without one refused."""
    del hospital.evidence.known[SECOND]
    del hospital.evidence.known[THIRD]
    stranger = root.reader("somebody@else.example")
    enough = encrypt(RESULTS, stranger, root.reader("another@else.example"))
    assert kept(await hospital.send(enough, RESULTS, SECOND, THIRD), enough) == [RESULTS, SECOND, THIRD]
    too_few = encrypt(RESULTS, stranger)
    flowed = await hospital.send(too_few, RESULTS, SECOND, THIRD)
    assert kept(flowed, too_few) == [RESULTS]
    assert refused(flowed) == [([SECOND, THIRD], Reason.NO_CERTIFICATE)]
    alone = encrypt(RESULTS)
    assert refused(await hospital.send(alone, SECOND)) == []  # nobody can tell whose it is: RESULTS is no recipient
    assert refused(await hospital.send(alone, RESULTS, SECOND)) == [([SECOND], Reason.NO_CERTIFICATE)]


async def test_the_same_reader_twice_is_one(hospital: Hospital, root: Ca, encrypt: Encrypt) -> None:
    hospital.evidence.known.clear()
    stranger = root.reader("somebody@else.example")
    flowed = await hospital.send(encrypt(stranger, stranger), RESULTS, SECOND)
    assert refused(flowed) == [([RESULTS, SECOND], Reason.NO_CERTIFICATE)]


async def test_a_named_certificate_that_may_not_be_used_does_not_count(hospital: Hospital, encrypt: Encrypt) -> None:
    """Revoked is no "we know nothing of him"."""

    async def revoked(*_: object) -> Unusable:
        return Unusable(Reason.REVOKED, "folder: revoked")

    message = encrypt(RESULTS, SECOND)
    hospital.evidence.reader = revoked  # type: ignore[method-assign]
    hospital.evidence.known[RESULTS] = Unusable(Reason.REVOKED, "folder: revoked")
    flowed = await hospital.send(message, RESULTS)
    assert refused(flowed) == [([RESULTS], Reason.REVOKED)]


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.REVOKED, Reason.CHAIN, Reason.NO_CERTIFICATE])
async def test_another_reader_than_the_unusable_one_we_know_is_believed(
    hospital: Hospital, root: Ca, encrypt: Encrypt, reason: Reason
) -> None:
    """Where all we have of him is of no use, his correspondent may know better."""
    hospital.evidence.known[RESULTS] = Unusable(reason)
    message = encrypt(root.reader(RESULTS))
    assert kept(await hospital.send(message, RESULTS), message) == [RESULTS]


async def test_one_of_several_that_are_good_must_be_named(hospital: Hospital, root: Ca, encrypt: Encrypt) -> None:
    """Of whom there are certificates of different organisations something is known: whoever adds one must not undo that."""
    hospital.evidence.known[RESULTS] = Unusable(Reason.CERTIFICATE_AMBIGUOUS, "folder: of different organisations")
    message = encrypt(root.reader("somebody@else.example"))
    flowed = await hospital.send(message, RESULTS)
    assert kept(flowed, message) == []
    assert refused(flowed) == [([RESULTS], Reason.CERTIFICATE_AMBIGUOUS)]


@pytest.mark.parametrize("reason", [Reason.DIRECTORY_UNAVAILABLE, Reason.REVOCATION_UNKNOWN])
async def test_what_cannot_be_looked_up_now_waits(hospital: Hospital, encrypt: Encrypt, reason: Reason) -> None:
    """Whether the mail names its recipient is known when the directory is back."""
    hospital.evidence.known[SECOND] = Unusable(reason)
    flowed = await hospital.send(encrypt(RESULTS, SECOND, THIRD), RESULTS, SECOND)
    assert len(flowed.outputs) == 1
    assert [(names(each.recipients), each.reason) for each in flowed.deferred] == [([SECOND], reason)]


async def test_whose_certificate_is_not_valid_yet_is_unknown(hospital: Hospital, encrypt: Encrypt) -> None:
    """Nobody could have encrypted to it: that the mail does not name it says nothing."""
    hospital.evidence.known[SECOND] = Unusable(Reason.NOT_YET_VALID)
    message = encrypt(RESULTS, THIRD)
    assert kept(await hospital.send(message, RESULTS, SECOND), message) == [RESULTS, SECOND]


@pytest.mark.parametrize("protect", ["sign", "unprotected"])
async def test_rules_that_do_not_encrypt_ask_no_directory(hospital: Hospital, encrypt: Encrypt, protect: str) -> None:
    hospital.rules = [{"name": "r", "protect": protect}]
    message = encrypt(RESULTS)
    assert kept(await hospital.send(message, RESULTS), message) == [RESULTS]
    assert hospital.evidence.asked == []
    hospital.events.seen.clear()
    flowed = await hospital.send(message, RESULTS, SECOND)
    [output] = flowed.outputs
    assert not output.protected
    [event] = hospital.events.seen
    if protect == "sign":
        assert isinstance(event, MailProtected)
        assert b"multipart/signed" in bytes_of(output)
    else:
        assert isinstance(event, MailUnprotected)
        assert bytes_of(output) == message


async def test_pgp_mime_is_kept_with_a_key_for_everybody(hospital: Hospital) -> None:
    message = pgp(2)
    assert kept(await hospital.send(message, RESULTS, OUTSIDE), message) == [RESULTS, OUTSIDE]
    assert hospital.evidence.asked == []


async def test_pgp_mime_with_too_few_keys_is_content_like_any_other(
    hospital: Hospital, readers: dict[str, Issued], tmp_path: Path
) -> None:
    message = pgp(1)
    [output] = (await hospital.send(message, RESULTS, SECOND)).outputs
    certificate, key = readers[RESULTS].write(tmp_path, "results")
    assert message[message.index(b"Content-Type") :] in decrypt(bytes_of(output), certificate, key, "SMIME")


async def test_what_only_claims_is_never_left_alone(hospital: Hospital, encrypt: Encrypt) -> None:
    """Under a rule that protects, what leaves as it came is encrypted to the last byte, or refused."""
    good = encrypt(RESULTS)
    content = good[good.index(b"Content-Type") :]
    for claim in (
        OUTER + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + content + b"\r\n--b--\r\n",
        good + b"and so on in clear\r\n",
        good.replace(b"\r\n\r\nMI", b"\r\n\r\nin clear first\r\nMI"),
        OUTER + b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + armored(encrypted()),
        pgp(1).replace(b"--foo--", b"--foo\r\nContent-Type: text/plain\r\n\r\nin clear\r\n--foo--"),
    ):
        flowed = await hospital.send(claim, RESULTS)
        [output] = flowed.outputs
        assert bytes_of(output) != claim
        assert output.protected
        hospital.evidence.known.pop(RESULTS)
        assert refused(await hospital.send(claim, RESULTS)) == [([RESULTS], Reason.NO_CERTIFICATE)]
        hospital.evidence.known[RESULTS] = hospital.evidence.known[SECOND]
