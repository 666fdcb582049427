from __future__ import annotations

import time

import pytest

from gateway.config.model import Missing, Protection
from gateway.flow.choice import Usable
from gateway.flow.copies import Decision, Make, copies_of
from gateway.mail.address import parse_address
from gateway.mail.envelope import NextHop, Recipient
from gateway.mail.message import read_header
from gateway.policy import Chosen, Plan
from gateway.policy.algorithms import Why
from gateway.smime.algorithms import ContentCipher, KeyTransport
from gateway.smime.recipients import Reader

CBC, GCM = ContentCipher.AES256_CBC, ContentCipher.AES256_GCM
ENCRYPTED = Make("key", CBC, protected=True)
CHOSEN = Chosen(CBC, Why.DEFAULT, KeyTransport.PKCS1, Why.DEFAULT)


def decision(address: str, make: Make = ENCRYPTED, hop: str = "lab", zone: str | None = "health", rule: str = "r") -> Decision:
    planned = Plan(rule, Protection.BOTH, Missing.REFUSE, NextHop(hop, zone), zone, make.sign_key)
    return Decision(
        Recipient(parse_address(address)), planned, make, Usable(b"certificate of " + address.encode(), "folder", None), CHOSEN
    )


def grouped(header: bytes, *decisions: Decision) -> list[list[str]]:
    copies = copies_of(decisions, read_header(header + b"\r\n"))
    return [[str(recipient.address) for recipient in copy.recipients] for copy in copies]


A, B = "a@laboratory.example", "b@laboratory.example"


@pytest.mark.parametrize(
    "header",
    [
        b"To: a@laboratory.example, b@laboratory.example\r\n",
        b'To: A@Laboratory.Example\r\nCC : "B, of the lab" <b@laboratory.example>\r\n',
        b"To: team: a@laboratory.example,\r\n b@laboratory.example;\r\n",
        b"To: x@hospital.example\r\nResent-To: a@laboratory.example\r\nResent-Cc: <b@laboratory.example>\r\n",
    ],
)
def test_named_recipients_share_a_copy(header: bytes) -> None:
    assert grouped(header, decision(A), decision(B)) == [[A, B]]


@pytest.mark.parametrize(
    "header", [b"", b"To: undisclosed-recipients:;\r\n", b"Bcc: a@laboratory.example, b@laboratory.example\r\n"]
)
def test_unnamed_recipients_are_alone_where_it_is_encrypted(header: bytes) -> None:
    assert grouped(header, decision(A), decision(B)) == [[A], [B]]
    signed = Make("key")
    assert grouped(header, decision(A, signed), decision(B, signed)) == [[A, B]]


def test_copies_differ_in_protection_key_cipher_hop_and_zone_but_not_in_rule() -> None:
    header = b"To: a@laboratory.example, b@laboratory.example\r\n"
    others = (
        decision(B, Make("key")),
        decision(B, Make("other", CBC, protected=True)),
        decision(B, Make("key", GCM, protected=True)),
        decision(B, hop="else"),
        decision(B, zone=None),
    )
    for other in others:
        assert grouped(header, decision(A), other) == [[A], [B]]
    assert grouped(header, decision(A), decision(B, rule="other")) == [[A, B]]


def test_certificate_shared_by_two_recipients_is_one_reader() -> None:
    one = decision(A)
    two = Decision(Recipient(parse_address(B)), one.plan, one.make, one.found, CHOSEN)
    [copy] = copies_of([one, two], read_header(b"To: a@laboratory.example, b@laboratory.example\r\n\r\n"))
    assert copy.readers == (Reader(one.certificate or b"", KeyTransport.PKCS1),)


@pytest.mark.parametrize("unit", [b"a", b"@", b"a@", b"a.", b'"', b"<", b" a@b", "é@é.é,".encode()])
def test_hostile_to_costs_no_more_than_its_length(unit: bytes) -> None:
    header = b"To: " + (unit * 200_000)[:200_000] + b"\r\n"
    began = time.process_time()
    grouped(header, decision(A))
    assert time.process_time() - began < 2
