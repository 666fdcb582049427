"""The archive and the sender read every encrypted copy; what they could not read does not leave, and nothing leaves in clear."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gateway.events import MailProtected
from gateway.flow.besides import Besides
from gateway.outcome import Reason
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.capabilities import Capabilities
from gateway.smime.recipients import Reader
from tests.flow.hospital import MESSAGE, SECRET, Hospital, bytes_of, names
from tests.flow.test_outgoing import opened, readers_in
from tests.pki import NOW, Ca, Issued, short_rsa

RESULTS, SECOND, HIDDEN = (f"{name}@laboratory.example" for name in ("results", "second", "hidden"))
AUTHOR = "cardiology@hospital.example"


def archive(name: str, issued: Issued) -> Besides:
    return Besides(f"archive {name}", Reader(issued.der))


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def people(root: Ca) -> dict[str, Issued]:
    made = {address: root.reader(address) for address in (RESULTS, SECOND, HIDDEN)}
    return made | {"archive": root.reader("archive@hospital.example"), "vault": root.reader("vault@hospital.example", "p384")}


@pytest.fixture
def hospital(root: Ca, people: dict[str, Issued]) -> Hospital:
    made = Hospital(root)
    made.evidence.known.update({address: people[address] for address in (RESULTS, SECOND, HIDDEN)})
    made.archives = {
        "hospital": tuple(archive(f"{name}.pem", people[name]) for name in ("archive", "vault")),
        "clinic": (archive("clinic.pem", root.reader("archive@clinic.example")),),
    }
    return made


def serials(people: dict[str, Issued], *chosen: str) -> set[int]:
    return {people[each].certificate.serial_number for each in chosen}


def told(hospital: Hospital) -> set[tuple[str, ...]]:
    return {event.besides for event in hospital.events.seen if isinstance(event, MailProtected)}


async def test_every_encrypted_copy_is_read_by_the_archive_too(
    hospital: Hospital, people: dict[str, Issued], tmp_path: Path
) -> None:
    """That of a hidden recipient too, who is otherwise alone in it; read by openssl, and said in the audit."""
    common, hidden = (await hospital.send(MESSAGE, RESULTS, SECOND, HIDDEN)).outputs
    assert readers_in(common) == serials(people, RESULTS, SECOND, "archive", "vault")
    assert (names(hidden.envelope.recipients), readers_in(hidden)) == ([HIDDEN], serials(people, HIDDEN, "archive", "vault"))
    for output in (common, hidden):
        for reader in ("archive", "vault"):
            assert SECRET in opened(output, people[reader], tmp_path)
    assert told(hospital) == {("archive archive.pem", "archive vault.pem")}


async def test_the_archive_makes_no_cipher_weaker(hospital: Hospital) -> None:
    hospital.known.said[RESULTS] = Capabilities(frozenset(ContentCipher))
    [output] = (await hospital.send()).outputs
    assert b"smime-type=authEnveloped-data" in bytes_of(output)


async def test_a_recipient_who_is_the_archive_is_one_reader(hospital: Hospital, people: dict[str, Issued]) -> None:
    """However else the key would go to him."""
    hospital.evidence.known[RESULTS] = people["archive"]
    hospital.known.said[RESULTS] = Capabilities(None, frozenset({KeyTransport.OAEP_SHA256}))
    [output] = (await hospital.send()).outputs
    assert readers_in(output) == serials(people, "archive", "vault")


async def test_what_is_not_encrypted_has_no_other_reader(hospital: Hospital) -> None:
    hospital.rules = [{"name": "r", "protect": "sign"}]
    await hospital.send()
    assert told(hospital) == {()}


@pytest.mark.parametrize(
    "valid",
    [{"not_after": NOW - dt.timedelta(minutes=6)}, {"not_before": NOW + dt.timedelta(minutes=6)}],
)
@pytest.mark.parametrize("missing", ["refuse", "hold", "unprotected"])
async def test_what_the_archive_could_not_read_waits(hospital: Hospital, root: Ca, valid: dict[str, object], missing: str) -> None:
    """What need not be encrypted leaves meanwhile, and all of it once there is a new certificate."""
    hospital.rules = [
        {"name": "open", "protect": "sign", "when": {"recipient": [SECOND]}},
        {"name": "r", "protect": "both", "missing": missing},
    ]
    old = root.reader("a@b.example", "rsa2048", **valid)
    good, hospital.archives = hospital.archives, {"hospital": (archive("old.pem", old),)}
    flowed = await hospital.send(MESSAGE, RESULTS, SECOND)
    assert [names(each.envelope.recipients) for each in flowed.outputs] == [[SECOND]]
    [deferred] = flowed.deferred
    assert (names(deferred.recipients), deferred.reason) == ([RESULTS], Reason.KEY_UNAVAILABLE)
    assert deferred.detail.startswith("archive old.pem: CN=a@b.example: ")
    assert not flowed.held
    assert not flowed.refused
    hospital.archives = good
    assert len((await hospital.send(MESSAGE, RESULTS, SECOND)).outputs) == 2


async def test_an_archive_that_cannot_be_encrypted_to_lets_nothing_out(hospital: Hospital, root: Ca) -> None:
    hospital.rules = [{"name": "r", "protect": "encrypt", "missing": "unprotected"}]
    hospital.archives = {"hospital": (archive("weak.pem", short_rsa(root)),)}
    flowed = await hospital.send()
    assert [each.reason for each in flowed.deferred] == [Reason.KEY_UNAVAILABLE]
    assert not flowed.outputs
    assert hospital.bodies.kept == []


# To the sender


@pytest.fixture
def to_sender(hospital: Hospital, root: Ca, people: dict[str, Issued]) -> Hospital:
    hospital.archives = {}
    hospital.organisation = {"to_sender": True}
    people |= {"opens": root.organisation_reader("hospital.example"), "own": root.reader(AUTHOR, "p256")}
    people["past"] = root.reader(AUTHOR)
    key = {"purpose": "decrypt", "organisation": "hospital", "certificate": "/c"}
    hospital.key_sections = {"own": key | {"addresses": [AUTHOR]}, "past": key | {"addresses": [AUTHOR], "retired": True}}
    hospital.certificates |= {name: (people[name].der,) for name in ("opens", "own", "past")}
    return hospital


async def test_the_sender_reads_what_he_wrote(to_sender: Hospital, people: dict[str, Issued], tmp_path: Path) -> None:
    """By the key of ours for his mailbox that is in use."""
    [output] = (await to_sender.send()).outputs
    assert readers_in(output) == serials(people, RESULTS, "own")
    assert SECRET in opened(output, people["own"], tmp_path)
    assert told(to_sender) == {("key own",)}


@pytest.mark.parametrize("author", [b"Ward <ward@hospital.example>", b"no address at all"])
async def test_else_the_key_of_the_organisation_reads_it(to_sender: Hospital, people: dict[str, Issued], author: bytes) -> None:
    to_sender.rules = [{"name": "r", "protect": "encrypt"}]
    [output] = (await to_sender.send(MESSAGE.replace(b"Cardiology <cardiology@hospital.example>", author))).outputs
    assert readers_in(output) == serials(people, RESULTS, "opens")
    assert told(to_sender) == {("key opens",)}


async def test_without_such_a_key_it_waits(to_sender: Hospital) -> None:
    to_sender.certificates.pop("own")
    flowed = await to_sender.send()
    assert [each.reason for each in flowed.deferred] == [Reason.KEY_UNAVAILABLE]
    assert not flowed.outputs
