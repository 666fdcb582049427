"""Who speaks, and for whom: the listener and the authenticated client decide, never the addresses in the mail."""

from __future__ import annotations

import pytest

from gateway.mail.address import parse_address
from gateway.mail.envelope import Direction, Role
from gateway.outcome import Reason, Refuse
from gateway.policy import Admitted, Speaker, admit, admit_sender, identify
from tests.policy.world import world

CONFIG = world()
INSIDE = Speaker("inside", Role.INSIDE, "10.1.1.1", "", "hospital", "mail")
LAB = Speaker("zone", Role.ZONE, "192.0.2.1", "TLSv1.3", zone="health", peer="lab")
STRANGER = Speaker("mx", Role.STRANGER, "192.0.2.2", "", "hospital")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.1.1.1", "mail"),
        ("::ffff:10.1.1.1", "mail"),
        ("10.9.1.1", "ward"),
        ("fd00::1", "six"),
        ("fd00::1%eth0", "six"),
    ],
)
def test_an_inside_client_is_the_one_with_the_narrowest_network(address: str, client: str) -> None:
    speaker = identify(CONFIG, "inside", address, "", None)
    assert isinstance(speaker, Speaker)
    assert speaker.client == client
    assert speaker.organisation == CONFIG.client[client].organisation


@pytest.mark.parametrize("address", ["192.0.2.1", "fe80::1", "::ffff:192.0.2.1", "", "localhost"])
def test_an_inside_listener_is_closed_to_all_others(address: str) -> None:
    refused = identify(CONFIG, "inside", address, "TLSv1.3", "lab")
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.CLIENT_UNKNOWN


def test_a_zone_listener_needs_a_matched_peer_even_from_our_own_networks() -> None:
    refused = identify(CONFIG, "zone", "10.1.1.1", "TLSv1.3", None)
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.PEER_UNKNOWN


def test_a_zone_listener_needs_tls() -> None:
    refused = identify(CONFIG, "zone", "192.0.2.1", "", "lab")
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.TLS_REQUIRED


def test_a_zone_peer_is_known_by_zone_and_name() -> None:
    speaker = identify(CONFIG, "zone", "192.0.2.1", "TLSv1.3", "lab")
    assert speaker == Speaker("zone", Role.ZONE, "192.0.2.1", "TLSv1.3", zone="health", peer="lab")


def test_a_stranger_has_the_organisation_of_the_listener_and_stays_a_stranger_from_inside_networks() -> None:
    speaker = identify(CONFIG, "mx", "10.1.1.1", "", None)
    assert speaker == Speaker("mx", Role.STRANGER, "10.1.1.1", "", "hospital")


def test_a_listener_that_went_with_a_reload_knows_nobody() -> None:
    assert isinstance(identify(CONFIG, "gone", "10.1.1.1", "", None), Refuse)


@pytest.mark.parametrize(
    ("speaker", "sender", "reason"),
    [
        (INSIDE, "cardiology@hospital.example", None),
        (INSIDE, None, None),
        (INSIDE, "cardiology@ward.example", Reason.SENDER_NOT_ALLOWED),
        (INSIDE, "cardiology@sub.hospital.example", Reason.SENDER_NOT_ALLOWED),
        (INSIDE, "results@laboratory.example", Reason.SENDER_NOT_ALLOWED),
        (LAB, "results@laboratory.example", None),
        (LAB, None, None),
        (LAB, "results@radiology.example", Reason.DOMAIN_NOT_BOUND),
        (LAB, "results@sub.laboratory.example", Reason.DOMAIN_NOT_BOUND),
        (LAB, "results@region.example", Reason.DOMAIN_NOT_BOUND),
        (LAB, "cardiology@hospital.example", Reason.DOMAIN_NOT_BOUND),
        (STRANGER, "patient@post.example", None),
        (STRANGER, None, None),
        (STRANGER, "cardiology@hospital.example", Reason.SENDER_NOT_ALLOWED),
        (STRANGER, "desk@clinic.example", Reason.SENDER_NOT_ALLOWED),
    ],
)
def test_each_speaker_sends_for_its_own_domains(speaker: Speaker, sender: str | None, reason: Reason | None) -> None:
    refused = admit_sender(CONFIG, speaker, None if sender is None else parse_address(sender))
    assert (refused.reason if refused else None) is reason


def test_a_client_with_require_tls_may_send_nothing_in_clear() -> None:
    ward = Speaker("inside", Role.INSIDE, "10.9.1.1", "", "hospital", "ward")
    refused = admit_sender(CONFIG, ward, parse_address("nurse@ward.example"))
    assert refused is not None
    assert refused.reason is Reason.TLS_REQUIRED


def test_a_client_or_peer_that_went_with_a_reload_may_send_nothing() -> None:
    client = Speaker("inside", Role.INSIDE, "10.1.1.1", "", "hospital", "gone")
    peer = Speaker("zone", Role.ZONE, "192.0.2.1", "TLSv1.3", zone="gone", peer="lab")
    for speaker in (client, peer):
        assert isinstance(admit_sender(CONFIG, speaker, parse_address("a@laboratory.example")), Refuse)


@pytest.mark.parametrize("recipient", ["patient@post.example", "results@laboratory.example", "desk@clinic.example"])
def test_from_inside_every_recipient_is_outbound_for_the_organisation_of_the_client(recipient: str) -> None:
    answer = admit(CONFIG, INSIDE, parse_address("cardiology@hospital.example"), parse_address(recipient))
    assert answer == Admitted("hospital", Direction.OUTBOUND)


@pytest.mark.parametrize(("recipient", "owner"), [("desk@clinic.example", "clinic"), ("a@ward.example", "hospital")])
def test_from_a_zone_the_recipient_decides_whose_mail_it_is(recipient: str, owner: str) -> None:
    assert admit(CONFIG, LAB, None, parse_address(recipient)) == Admitted(owner, Direction.INBOUND)


@pytest.mark.parametrize(
    ("speaker", "recipient"),
    [
        (LAB, "patient@post.example"),
        (LAB, "results@radiology.example"),
        (LAB, "a@sub.hospital.example"),
        (STRANGER, "patient@post.example"),
        (STRANGER, "desk@clinic.example"),
    ],
)
def test_nobody_relays_through_us(speaker: Speaker, recipient: str) -> None:
    answer = admit(CONFIG, speaker, None, parse_address(recipient))
    assert isinstance(answer, Refuse)
    assert answer.reason is Reason.RELAY_DENIED


def test_a_sender_that_is_not_allowed_has_no_recipient_either() -> None:
    answer = admit(CONFIG, STRANGER, parse_address("desk@clinic.example"), parse_address("a@hospital.example"))
    assert isinstance(answer, Refuse)
    assert answer.reason is Reason.SENDER_NOT_ALLOWED
