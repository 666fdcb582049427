"""Readers of one mail with different programs and keys, read by openssl; and who opens too little gets nothing."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from asn1crypto import cms

from gateway.events import MailProtected, MailUnprotected
from gateway.mail.envelope import Mail
from gateway.outcome import Reason
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.capabilities import Capabilities
from tests.flow.hospital import MESSAGE, SECRET, Hospital, bytes_of, names
from tests.pki import Ca, Issued
from tests.smime.openssl import decrypt

OLD, OAEP, CURVE, MODERN = (f"{name}@laboratory.example" for name in ("old", "oaep", "curve", "modern"))
EVERYBODY = (OLD, OAEP, CURVE, MODERN)
LETTER = MESSAGE.replace(b"To: ", b"To: " + b"".join(f"{each}, ".encode() for each in EVERYBODY))
BOTH_CIPHERS = frozenset(ContentCipher)


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def readers(root: Ca) -> dict[str, Issued]:
    kinds = {OLD: "rsa2048", OAEP: "rsa2048", CURVE: "p256", MODERN: "rsa2048"}
    return {address: root.reader(address, kind) for address, kind in kinds.items()}


@pytest.fixture
def hospital(root: Ca, readers: dict[str, Issued]) -> Hospital:
    made = Hospital(root)
    made.evidence.known.update(readers)
    made.known.said = {
        OAEP: Capabilities(frozenset({ContentCipher.AES256_CBC}), frozenset({KeyTransport.OAEP_SHA256})),
        MODERN: Capabilities(BOTH_CIPHERS, frozenset({KeyTransport.OAEP_SHA256})),
    }
    return made


def structure(mail: Mail) -> cms.ContentInfo:
    """The CMS of a whole message, as another library reads it."""
    return cms.ContentInfo.load(base64.b64decode(bytes_of(mail).split(b"\r\n\r\n", 1)[1]))


def told(hospital: Hospital) -> dict[str, tuple[str, str]]:
    """What the audit says of each recipient."""
    events = [event for event in hospital.events.seen if isinstance(event, MailProtected)]
    return {
        person: (event.content_cipher, algorithms)
        for event in events
        for person, algorithms in zip(event.recipients, event.algorithms, strict=True)
    }


async def test_pkcs1_oaep_and_ecdh_side_by_side_are_opened_by_openssl(
    hospital: Hospital, readers: dict[str, Issued], tmp_path: Path
) -> None:
    """Three ways of the key in one copy; who opens GCM gets one of his own, which makes nothing worse for him."""
    common, modern = (await hospital.send(LETTER, *EVERYBODY)).outputs
    assert (names(common.envelope.recipients), names(modern.envelope.recipients)) == ([OLD, OAEP, CURVE], [MODERN])
    for address in (OLD, OAEP, CURVE):
        certificate, key = readers[address].write(tmp_path, "reader")
        assert SECRET in decrypt(bytes_of(common), certificate, key, "SMIME")
    infos = structure(common)["content"]["recipient_infos"]
    ways = sorted(info.chosen["key_encryption_algorithm"]["algorithm"].native for info in infos)
    assert ways == ["1.3.132.1.11.1", "rsaes_oaep", "rsaes_pkcs1v15"]
    assert structure(modern)["content_type"].native == "authenticated_enveloped_data"
    assert told(hospital) == {
        OLD: ("aes256-cbc", "aes256-cbc (default), rsa-pkcs1 (default)"),
        OAEP: ("aes256-cbc", "aes256-cbc (advertised), rsa-oaep-sha256 (advertised)"),
        CURVE: ("aes256-cbc", "aes256-cbc (default), ecdh (key)"),
        MODERN: ("aes256-gcm", "aes256-gcm (advertised), rsa-oaep-sha256 (advertised)"),
    }
    assert hospital.signer.signed == 1


async def test_gcm_for_oaep_and_ecdh_is_opened_by_openssl(hospital: Hospital, readers: dict[str, Issued], tmp_path: Path) -> None:
    hospital.known.said[CURVE] = Capabilities(BOTH_CIPHERS)
    [output] = (await hospital.send(LETTER, MODERN, CURVE)).outputs
    assert b"smime-type=authEnveloped-data" in bytes_of(output)
    for address in (MODERN, CURVE):
        certificate, key = readers[address].write(tmp_path, "reader")
        assert SECRET in decrypt(bytes_of(output), certificate, key, "SMIME")


@pytest.mark.parametrize(("missing", "where"), [("refuse", "refused"), ("hold", "held"), ("defer", "deferred")])
async def test_who_opens_less_than_the_floor_has_no_usable_certificate(hospital: Hospital, missing: str, where: str) -> None:
    """Of whom nothing is known gets the floor; who said that he opens less ends as the rule says, which is named."""
    hospital.organisation = {"floor": {"cipher": "aes256-gcm"}}
    hospital.rules = [{"name": "strict", "protect": "both", "missing": missing}]
    flowed = await hospital.send(LETTER, *EVERYBODY)
    [output] = flowed.outputs
    assert names(output.envelope.recipients) == [OLD, CURVE, MODERN]
    assert {cipher for cipher, _ in told(hospital).values()} == {"aes256-gcm"}
    [ending] = getattr(flowed, where)
    assert (names(ending.recipients), ending.reason) == ([OAEP], Reason.WEAK_ALGORITHM)
    assert ending.detail == "rule strict: opens no better than aes256-cbc (advertised), and the floor is aes256-gcm"


async def test_clear_text_for_a_weak_reader_needs_the_rule_that_says_so(hospital: Hospital) -> None:
    hospital.organisation = {"floor": {"transport": "rsa-oaep-sha256"}}
    hospital.known.said[OLD] = Capabilities(None, frozenset({KeyTransport.PKCS1}))
    assert not (await hospital.send(LETTER, OLD)).outputs
    hospital.rules = [{"name": "r", "protect": "both", "missing": "unprotected"}]
    assert (await hospital.send(LETTER, OLD)).outputs
    [event] = hospital.events.seen
    assert isinstance(event, MailUnprotected)
    assert event.reason is Reason.WEAK_ALGORITHM


async def test_a_hidden_recipient_stays_alone_whatever_he_opens(hospital: Hospital) -> None:
    flowed = await hospital.send(MESSAGE, "results@laboratory.example", *EVERYBODY)
    assert sorted(tuple(names(each.envelope.recipients)) for each in flowed.outputs) == sorted((each,) for each in EVERYBODY)
