from __future__ import annotations

import base64
import quopri
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.model import Config
from gateway.events import MailProtected, MailUnprotected
from gateway.flow.choice import Unusable
from gateway.mail.ending import Deferred, Held, Refused
from gateway.mail.envelope import Body as Transfer
from gateway.mail.envelope import Mail, Stage
from gateway.outcome import GatewayError, Reason
from gateway.smime.content import KEPT
from tests.doubles import MemoryBodies, MemoryWriter
from tests.flow.hospital import AT, MESSAGE, SECRET, Hospital, bytes_of, mail_of, names
from tests.pki import Ca, Issued, expired, short_rsa
from tests.policy.world import WORLD
from tests.smime.openssl import decrypt, openssl, verify_message

# What of MESSAGE is signed and encrypted by default: RFC 9788 5.2.1 with hcp_baseline.
FIELDS = MESSAGE[MESSAGE.index(b"From") : MESSAGE.index(b"MIME-Version")]
OUTSIDE_FIELDS = FIELDS.replace(b"discharge letter", b"[...]")
TOLD = b"".join(b"HP-Outer: " + line for line in OUTSIDE_FIELDS.splitlines(keepends=True))
CONTENT = MESSAGE[MESSAGE.index(b"\r\n\r\n") :]
TYPE = b'Content-Type: text/plain; charset=utf-8;\r\n hp="%b"\r\nContent-Transfer-Encoding: 8bit'
ENTITY = FIELDS + TOLD + TYPE % b"cipher" + CONTENT
RESULTS, SECOND, HIDDEN = "results@laboratory.example", "second@laboratory.example", "hidden@laboratory.example"
OUTSIDE = "patient@post.example"


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def readers(root: Ca) -> dict[str, Issued]:
    kinds = {RESULTS: "rsa2048", SECOND: "p256", HIDDEN: "p384", OUTSIDE: "p521"}
    return {address: root.reader(address, kind) for address, kind in kinds.items()}


@pytest.fixture
def hospital(root: Ca, readers: dict[str, Issued]) -> Hospital:
    made = Hospital(root)
    made.evidence.known.update(readers)
    return made


def opened(mail: Mail, reader: Issued, folder: Path) -> bytes:
    """What openssl decrypts from a whole message."""
    certificate, key = reader.write(folder, "reader")
    return decrypt(bytes_of(mail), certificate, key, "SMIME")


def verified(message: bytes, root: Ca, folder: Path) -> bytes:
    """What openssl verified in a whole message."""
    (folder / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    return verify_message(message, folder / "root.pem")


def readers_in(mail: Mail) -> set[int]:
    """The serial numbers in the RecipientInfos, as another library reads them; none is there twice."""
    body = bytes_of(mail).split(b"\r\n\r\n", 1)[1]
    infos = cms.ContentInfo.load(base64.b64decode(body))["content"]["recipient_infos"]
    found: list[int] = []
    for info in infos:
        people = [info.chosen["rid"]] if info.name == "ktri" else [key["rid"] for key in info.chosen["recipient_encrypted_keys"]]
        found += [person.chosen["serial_number"].native for person in people]
    assert len(set(found)) == len(found)
    return set(found)


async def test_openssl_opens_and_verifies_what_leaves(
    hospital: Hospital, root: Ca, readers: dict[str, Issued], tmp_path: Path
) -> None:
    """Signed, then encrypted for both named readers in one copy; the entity that comes out is the one that went in."""
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    [output] = flowed.outputs
    assert names(output.envelope.recipients) == [RESULTS, SECOND]
    for address in (RESULTS, SECOND):
        assert verified(opened(output, readers[address], tmp_path), root, tmp_path) == ENTITY
    assert readers_in(output) == {readers[address].certificate.serial_number for address in (RESULTS, SECOND)}


async def test_output_is_a_new_mail_of_its_own(hospital: Hospital) -> None:
    mail = mail_of(MESSAGE, RESULTS)
    [output] = (await hospital.flow().run(mail)).outputs
    assert output.arrival.parent == mail.arrival.mail != output.arrival.mail
    assert output.arrival.at == AT
    assert (output.stage, output.protected, str(output.hop)) == (Stage.DELIVERY, True, "peer:health/lab")
    assert output.envelope.body is Transfer.SEVEN_BIT
    assert output.envelope.sender == mail.envelope.sender
    [event] = hospital.events.seen
    assert isinstance(event, MailProtected)
    assert (event.mail, event.copy) == (mail.arrival.mail, output.arrival.mail)
    assert (event.rule, event.protection, event.sign_key, event.headers) == ("default-zone", "both", "hospital", "baseline")


async def test_header_keeps_its_fields_and_names_what_it_is(hospital: Hospital) -> None:
    [output] = (await hospital.send(MESSAGE.replace(b"To:", b"Bcc: hidden@laboratory.example\r\nTo:"))).outputs
    header = bytes_of(output).split(b"\r\n\r\n")[0]
    kept = MESSAGE[: MESSAGE.index(b"From")] + OUTSIDE_FIELDS
    assert header.startswith(kept + b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data;")
    assert header.count(b"MIME-Version") == 1
    assert b"hidden" not in bytes_of(output)
    assert b'name="smime.p7m"\r\nContent-Transfer-Encoding: base64\r\n' in header


async def test_hidden_recipients_each_get_a_copy_alone(hospital: Hospital, readers: dict[str, Issued]) -> None:
    """RecipientInfos name their readers: nobody learns of a Bcc from them."""
    other = "other@laboratory.example"
    hospital.evidence.known[other] = readers[HIDDEN]
    flowed = await hospital.send(MESSAGE, RESULTS, HIDDEN, SECOND, other)
    copies = {tuple(names(output.envelope.recipients)): readers_in(output) for output in flowed.outputs}
    serial = {address: readers[address].certificate.serial_number for address in readers}
    assert copies == {
        (RESULTS, SECOND): {serial[RESULTS], serial[SECOND]},
        (HIDDEN,): {serial[HIDDEN]},
        (other,): {serial[HIDDEN]},
    }
    assert hospital.signer.signed == 1
    assert len({bytes_of(output) for output in flowed.outputs}) == 3


@pytest.mark.parametrize("author", ["billing@hospital.example", "Billing <Billing@hospital.example>"])
async def test_mailbox_key_signs_for_its_mailbox(hospital: Hospital, author: str) -> None:
    await hospital.send(MESSAGE.replace(b"Cardiology <cardiology@hospital.example>", author.encode()))
    [event] = hospital.events.seen
    assert isinstance(event, MailProtected)
    assert event.sign_key == "billing"


async def test_whom_to_encrypt_an_answer_to_is_said(hospital: Hospital, root: Ca) -> None:
    """RFC 8551 2.5.3: the certificate of the organisation's decryption key, which travels along, unless it is not to be used."""
    hospital.rules = [{"name": "r", "protect": "sign"}]
    reader = root.organisation_reader("hospital.example")
    for certificates, wanted in (((reader.der,), reader.der), ((expired(root).der,), None), ((), None)):
        hospital.certificates["opens"] = certificates
        [output] = (await hospital.send(MESSAGE, RESULTS)).outputs
        signature = bytes_of(output).rpartition(b"Content-Disposition")[2].partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
        data = cms.ContentInfo.load(base64.b64decode(signature))["content"]
        named = [each for each in data["signer_infos"][0]["signed_attrs"] if each["type"].dotted == "1.2.840.113549.1.9.16.2.11"]
        assert len(named) == (wanted is not None)
        signer = hospital.keys["hospital"].der
        assert {each.dump() for each in data["certificates"]} == ({signer} if wanted is None else {signer, wanted})


async def test_signed_only_is_made_7bit_first(hospital: Hospital, root: Ca, tmp_path: Path) -> None:
    """A relay that re-encodes 8bit would break the signature."""
    hospital.rules = [{"name": "r", "protect": "sign"}]
    [output] = (await hospital.send(MESSAGE, RESULTS, HIDDEN)).outputs
    whole = bytes_of(output)
    assert whole.isascii()
    entity = verified(whole, root, tmp_path)
    head, _, body = entity.partition(b"\r\n\r\n")
    assert b"Content-Transfer-Encoding: quoted-printable" in head
    assert head.startswith(FIELDS)
    assert b'\r\nContent-Type: text/plain; charset=utf-8;\r\n hp="clear"\r\n' in head
    assert whole.startswith(MESSAGE[: MESSAGE.index(b"MIME-Version")])
    assert quopri.decodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n") == ENTITY.partition(b"\r\n\r\n")[2]
    assert not output.protected
    assert b"micalg=sha-256" in whole
    assert hospital.evidence.asked == []


async def test_rules_of_one_mail_each_get_their_own(hospital: Hospital, readers: dict[str, Issued], tmp_path: Path) -> None:
    """Encrypted alone for one, signed for another, in clear by name for a third."""
    hospital.rules = [
        {"name": "lab", "protect": "encrypt", "when": {"recipient": [RESULTS]}},
        {"name": "sign", "protect": "sign", "when": {"recipient": [SECOND]}},
        {"name": "open", "protect": "unprotected"},
    ]
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND, OUTSIDE)
    by_name = {names(output.envelope.recipients)[0]: output for output in flowed.outputs}
    assert opened(by_name[RESULTS], readers[RESULTS], tmp_path) == ENTITY
    assert b"multipart/signed" in bytes_of(by_name[SECOND])
    assert bytes_of(by_name[OUTSIDE]) == MESSAGE
    assert str(by_name[OUTSIDE].hop) == "route:smarthost"
    [unprotected] = [event for event in hospital.events.seen if isinstance(event, MailUnprotected)]
    assert (unprotected.rule, unprotected.recipients) == ("open", (OUTSIDE,))


@pytest.mark.parametrize(("missing", "where"), [("refuse", "refused"), ("hold", "held"), ("defer", "deferred")])
@pytest.mark.parametrize("reason", [Reason.NO_CERTIFICATE, Reason.EXPIRED, Reason.REVOKED, Reason.CHAIN])
async def test_missing_certificate_ends_as_the_rule_says(hospital: Hospital, missing: str, where: str, reason: Reason) -> None:
    """And the other recipient gets its copy all the same."""
    hospital.rules = [{"name": "r", "protect": "both", "missing": missing}]
    hospital.evidence.known[SECOND] = Unusable(reason, "why")
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    [output] = flowed.outputs
    assert names(output.envelope.recipients) == [RESULTS]
    [ending] = getattr(flowed, where)
    assert (names(ending.recipients), ending.reason) == ([SECOND], reason)
    assert ending.detail == "rule r: why"
    assert sum(len(group) for group in (flowed.held, flowed.deferred, flowed.refused)) == 1


@pytest.mark.parametrize("missing", ["refuse", "hold", "defer", "unprotected"])
@pytest.mark.parametrize("reason", [Reason.APPROVAL_PENDING, Reason.CERTIFICATE_AMBIGUOUS])
async def test_what_a_person_is_to_choose_is_not_missing(hospital: Hospital, missing: str, reason: Reason) -> None:
    """There are certificates, and one command says which. Whoever made them waver gets no clear text by it."""
    hospital.rules = [{"name": "r", "protect": "both", "missing": missing}]
    hospital.evidence.known[RESULTS] = Unusable(reason)
    flowed = await hospital.send(MESSAGE, RESULTS)
    [ending] = getattr(flowed, {"refuse": "refused", "hold": "held", "defer": "deferred", "unprotected": "held"}[missing])
    assert flowed.outputs == ()
    assert (names(ending.recipients), ending.reason) == ([RESULTS], reason)


async def test_opportunistic_rule_lets_out_and_says_so(hospital: Hospital) -> None:
    hospital.rules = [{"name": "r", "protect": "both", "missing": "unprotected"}]
    hospital.evidence.known[SECOND] = Unusable(Reason.NO_CERTIFICATE)
    flowed = await hospital.send(MESSAGE, SECOND)
    [output] = flowed.outputs
    assert bytes_of(output) == MESSAGE
    assert not output.protected
    [event] = hospital.events.seen
    assert isinstance(event, MailUnprotected)
    assert (event.rule, event.reason, event.recipients) == ("r", Reason.NO_CERTIFICATE, (SECOND,))


@pytest.mark.parametrize("missing", ["refuse", "hold", "defer", "unprotected"])
@pytest.mark.parametrize("reason", [Reason.DIRECTORY_UNAVAILABLE, Reason.REVOCATION_UNKNOWN, Reason.NOT_YET_VALID])
async def test_what_passes_by_itself_is_waited_for(hospital: Hospital, missing: str, reason: Reason) -> None:
    """A directory that is down never turns a mail into clear text, not even where a missing certificate would."""
    hospital.rules = [{"name": "r", "protect": "both", "missing": missing}]
    hospital.evidence.known[RESULTS] = Unusable(reason)
    flowed = await hospital.send()
    assert [(names(each.recipients), each.reason) for each in flowed.deferred] == [([RESULTS], reason)]
    assert (flowed.outputs, flowed.held, flowed.refused, hospital.bodies.kept) == ((), (), (), [])


async def test_key_too_weak_to_encrypt_to_is_a_missing_certificate(hospital: Hospital, root: Ca) -> None:
    hospital.evidence.known[RESULTS] = short_rsa(root)
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    assert [each.reason for each in flowed.refused] == [Reason.WEAK_ALGORITHM]
    assert names(flowed.outputs[0].envelope.recipients) == [SECOND]


async def test_mail_in_clear_outside_is_the_default_and_named(hospital: Hospital) -> None:
    [output] = (await hospital.send(MESSAGE, OUTSIDE)).outputs
    assert output.body is not None
    assert bytes_of(output) == MESSAGE
    [event] = hospital.events.seen
    assert isinstance(event, MailUnprotected)
    assert event.rule == "default-outside-unprotected"


# What the sender did himself


async def encrypted_by_sender(hospital: Hospital) -> bytes:
    [output] = (await hospital.send()).outputs
    hospital.events.seen.clear()
    return bytes_of(output)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"application/pkcs7-mime", b"text/plain"),
        (b"\r\n\r\nMI", b"\r\n\r\nclear text, not base64\r\nMI"),
        (b"\r\n\r\nMI", b"\r\n\r\nclear\r\n\r\nMI"),
        (b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 7bit"),
    ],
)
async def test_a_label_alone_is_not_believed(
    hospital: Hospital, root: Ca, readers: dict[str, Issued], tmp_path: Path, old: bytes, new: bytes
) -> None:
    """Protected is what parses; everything else is protected by us. Its fields only where it does not call itself a layer."""
    message = (await encrypted_by_sender(hospital)).replace(old, new, 1)
    assert new in message
    [output] = (await hospital.send(message)).outputs
    inside = verified(opened(output, readers[RESULTS], tmp_path), root, tmp_path)
    assert inside.endswith(message[message.index(b"\r\n\r\n") :])
    assert (b'hp="cipher"' in inside) is (new == b"text/plain")


async def test_clear_text_behind_an_encrypted_start_is_not_believed(hospital: Hospital) -> None:
    message = await encrypted_by_sender(hospital)
    lines = message.rstrip(b"\r\n").split(b"\r\n")
    cut = b"\r\n".join(lines[:-3]) + b"\r\n"
    for spoiled in (cut, cut + b"and so on in clear\r\n", cut + base64.encodebytes(SECRET * 20).replace(b"\n", b"\r\n")):
        [output] = (await hospital.send(spoiled)).outputs
        assert bytes_of(output) != spoiled


async def test_what_the_sender_signed_is_encrypted_with_his_signature(
    hospital: Hospital, root: Ca, readers: dict[str, Issued], tmp_path: Path
) -> None:
    hospital.rules = [{"name": "r", "protect": "sign"}]
    [output] = (await hospital.send()).outputs
    signed = bytes_of(output)
    [again] = (await hospital.send(signed)).outputs
    assert bytes_of(again) == signed
    hospital.rules = [{"name": "r", "protect": "both"}]
    [both] = (await hospital.send(signed)).outputs
    inside = opened(both, readers[RESULTS], tmp_path)
    assert inside == signed[signed.index(b"Content-Type: multipart/signed") :]
    assert verified(inside, root, tmp_path)
    assert b"\r\nSubject: discharge letter\r\n" in bytes_of(both)  # his program chose what to show
    event = hospital.events.seen[-1]
    assert isinstance(event, MailProtected)
    assert (event.protection, event.headers) == ("both", "off")
    assert hospital.signer.signed == 1


async def test_what_leaves_signed_is_opaque_where_a_rule_asks_for_it(hospital: Hospital, root: Ca, tmp_path: Path) -> None:
    hospital.rules = [{"name": "r", "protect": "sign", "signed_form": "opaque"}]
    [output] = (await hospital.send()).outputs
    assert b"application/pkcs7-mime; smime-type=signed-data" in bytes_of(output)
    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    given = ("-inform", "SMIME", "-CAfile", tmp_path / "root.pem", "-purpose", "smimesign", "-binary")
    assert SECRET in openssl("cms", "-verify", *given, data=bytes_of(output))


async def test_a_key_signs_with_what_its_configuration_says(hospital: Hospital, root: Ca, tmp_path: Path) -> None:
    hospital.rules = [{"name": "r", "protect": "sign"}]
    hospital.key_sections = {"hospital": WORLD["key"]["hospital"] | {"mechanism": "rsa-pss-sha384"}}
    [output] = (await hospital.send()).outputs
    assert b"micalg=sha-384" in bytes_of(output)
    assert verified(bytes_of(output), root, tmp_path)


async def test_what_is_configured_is_asked_once_for_each_mail(hospital: Hospital) -> None:
    """A reload in between, which may take away the organisation, is for the next mail."""
    asked: list[Config] = []

    def config() -> Config:
        asked.append(hospital.config)
        return asked[-1]

    flow = hospital.flow()
    flow._config = config
    assert (await flow.run(mail_of(MESSAGE, RESULTS, SECOND))).outputs
    assert len(asked) == 1


async def test_a_signature_that_does_not_parse_is_none(hospital: Hospital) -> None:
    hospital.rules = [{"name": "r", "protect": "sign"}]
    [output] = (await hospital.send()).outputs
    spoiled = bytes_of(output).replace(b"\r\n\r\nMI", b"\r\n\r\nNN")
    assert spoiled != bytes_of(output)
    [again] = (await hospital.send(spoiled)).outputs
    assert bytes_of(again) != spoiled
    assert hospital.signer.signed == 2


# Failures: nothing may be left that could be sent


def assert_nothing_left(hospital: Hospital) -> None:
    assert hospital.bodies.kept == []
    assert hospital.events.seen == []


async def test_key_that_is_gone_defers(hospital: Hospital) -> None:
    hospital.signer.keys = {}
    flowed = await hospital.send()
    assert [each.reason for each in flowed.deferred] == [Reason.KEY_UNAVAILABLE]
    assert not flowed.outputs
    assert_nothing_left(hospital)


async def test_certificate_of_another_key_holds_the_whole_mail(hospital: Hospital) -> None:
    """Our own work is checked before it leaves: also what went well is not sent."""
    hospital.rules = [
        {"name": "lab", "protect": "encrypt", "when": {"recipient": [SECOND]}},
        {"name": "r", "protect": "both", "when": {"recipient": [RESULTS]}},
    ]
    hospital.certificates["hospital"] = hospital.certificates["billing"]
    hospital.signer.keys = {"hospital": hospital.root.signer("x@hospital.example").key}
    flowed = await hospital.send(MESSAGE, SECOND, RESULTS)
    assert [(names(each.recipients), each.reason) for each in flowed.held] == [([SECOND, RESULTS], Reason.OWN_WORK_WRONG)]
    assert not flowed.outputs
    assert_nothing_left(hospital)


class ChangingBody:
    """A body that is another one from the second pass on."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.read = data, len(data), 0

    def chunks(self) -> Iterator[bytes]:
        self.read += 1
        yield self.data if self.read <= 2 else self.data.replace(b"pulmonaire", b"cardiaque!")


async def test_body_that_changes_after_signing_is_not_sent(hospital: Hospital) -> None:
    """The digest of what entered the encryptor is compared with what was signed, where that is too long to be kept."""
    message = MESSAGE + b"pulmonaire\r\n" * (KEPT // 12)
    body = ChangingBody(message)
    flowed = await hospital.flow().run(replace(mail_of(message, RESULTS), body=body))
    assert body.read == 3
    assert [each.reason for each in flowed.held] == [Reason.OWN_WORK_WRONG]
    assert not flowed.outputs
    assert_nothing_left(hospital)


class FullWriter(MemoryWriter):
    def write(self, data: bytes, /) -> None:
        if len(self.data) + len(data) > 2000:
            raise GatewayError(Reason.SPOOL_FULL, "disk")
        super().write(data)


class FullBodies(MemoryBodies):
    def create(self) -> MemoryWriter:
        if self.writers:
            self.writers.append(FullWriter())
            return self.writers[-1]
        return super().create()


async def test_full_disk_leaves_nothing_and_is_tried_again(hospital: Hospital) -> None:
    """Also the copy that was already written is forgotten."""
    hospital.bodies = FullBodies()
    with pytest.raises(GatewayError) as caught:
        await hospital.send(MESSAGE, RESULTS, HIDDEN)
    assert caught.value.reason is Reason.SPOOL_FULL
    assert len(hospital.bodies.writers) == 2
    assert_nothing_left(hospital)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (MESSAGE.replace(b"From: Cardiology <cardiology@hospital.example>\r\n", b""), Reason.FROM_AMBIGUOUS),
        (MESSAGE.replace(b"cardiology@hospital.example>", b"minister@government.example>"), Reason.SENDER_NOT_ALLOWED),
        (b"Subject: \rbare\r\n\r\n" + SECRET, Reason.MALFORMED),
        (b"X: " + b"x" * 300_000 + b"\r\n\r\n" + SECRET, Reason.LIMIT),
    ],
)
async def test_message_that_cannot_be_signed_is_refused(hospital: Hospital, message: bytes, reason: Reason) -> None:
    flowed = await hospital.send(message)
    assert [each.reason for each in flowed.refused] == [reason]
    assert (flowed.outputs, flowed.held, flowed.deferred) == ((), (), ())
    assert_nothing_left(hospital)


async def test_signed_only_that_cannot_be_7bit_is_refused_with_its_line(hospital: Hospital) -> None:
    hospital.rules = [{"name": "r", "protect": "sign"}]
    flowed = await hospital.send(MESSAGE.replace(b"8bit", b"base64"))
    [refused] = flowed.refused
    assert refused.reason is Reason.MALFORMED
    assert "line 10 of the message" in refused.detail
    assert b"pulmonaire" not in refused.detail.encode()
    assert_nothing_left(hospital)


@pytest.mark.parametrize("rule", [[], [{"name": "r", "protect": "encrypt"}], [{"name": "r", "protect": "both", "missing": "hold"}]])
async def test_no_failure_ends_in_clear_text(hospital: Hospital, rule: list[dict[str, object]]) -> None:
    """Whatever goes wrong for every single step of a protected mail, no output holds its text."""
    hospital.rules = rule
    good = (hospital.signer.keys, hospital.certificates, dict(hospital.evidence.known))
    for step in range(6):
        hospital.signer.keys, hospital.certificates, hospital.evidence.known = good[0], dict(good[1]), dict(good[2])
        match step:
            case 0:
                hospital.signer.keys = {}
            case 1:
                hospital.certificates.clear()
            case 2:
                hospital.certificates["hospital"] = (b"not a certificate",)
            case 3:
                hospital.evidence.known.clear()
            case 4:
                hospital.evidence.known[RESULTS] = Unusable(Reason.LIMIT)
            case 5:
                hospital.evidence.known[RESULTS] = Unusable(Reason.DIRECTORY_UNAVAILABLE)
        flowed = await hospital.send()
        for output in flowed.outputs:
            assert SECRET not in bytes_of(output)
            assert output.protected
        endings: list[Held | Deferred | Refused] = [*flowed.held, *flowed.deferred, *flowed.refused]
        assert sum(len(each.recipients) for each in endings) == 1 - len(flowed.outputs)


async def test_mail_without_recipients_makes_nothing(hospital: Hospital) -> None:
    flowed = await hospital.flow().run(mail_of(MESSAGE))
    assert flowed.outputs == ()


@pytest.mark.parametrize("protect", ["both", "sign"])
async def test_large_mail_is_worked_on_in_a_thread(hospital: Hospital, root: Ca, tmp_path: Path, protect: str) -> None:
    """Over 64 KiB every pass leaves the event loop free; what comes out is the same."""
    hospital.rules = [{"name": "r", "protect": protect}]
    head = MESSAGE.partition(b"\r\n\r\n")[0].replace(b"8bit", b"7bit")
    message = head + b"\r\n\r\n" + b"a line of a long letter\r\n" * 8000
    [output] = (await hospital.send(message)).outputs
    whole = bytes_of(output)
    if protect == "both":
        reader = hospital.evidence.known[RESULTS]
        assert isinstance(reader, Issued)
        whole = opened(output, reader, tmp_path)
    assert verified(whole, root, tmp_path).endswith(message[message.index(b"\r\n\r\n") :])


async def test_smtputf8_mail_keeps_its_header_and_what_it_needs(
    hospital: Hospital, readers: dict[str, Issued], tmp_path: Path
) -> None:
    message = MESSAGE.replace(b"Subject: discharge letter", "Subject: compte rendu hospitalier, été".encode())
    hospital.rules = [{"name": "r", "protect": "encrypt", "headers": "none"}]
    [output] = (await hospital.flow().run(mail_of(message, RESULTS, smtputf8=True))).outputs
    assert "Subject: compte rendu hospitalier, été\r\n".encode() in bytes_of(output)
    assert output.envelope.smtputf8
    assert output.envelope.body is Transfer.EIGHT_BIT
    inside = opened(output, readers[RESULTS], tmp_path)
    assert "\r\nHP-Outer: Subject: compte rendu hospitalier, été\r\n".encode() in inside
    assert inside.endswith(TYPE % b"cipher" + CONTENT)
