"""Rows as JSON: what goes in comes out, and nothing else is believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import Address
from gateway.mail.envelope import Arrival, Body, Direction, Envelope, NextHop, Recipient, Role
from gateway.mail.identifier import MailId, make_mail_id
from gateway.outcome import Reason
from gateway.spool.codec import CodecError, read_content, read_sealings, write_content, write_sealings
from gateway.spool.epoch import Sealing

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
MAYBE = st.none() | TEXT
ADDRESS = st.builds(Address, TEXT, TEXT)
MAIL_ID = st.builds(make_mail_id, st.integers(0, 2**57), st.binary(min_size=10, max_size=10))
ARRIVAL = st.builds(
    Arrival,
    mail=MAIL_ID,
    at=st.integers(0, 2**62),
    organisation=TEXT,
    direction=st.sampled_from(Direction),
    role=st.sampled_from(Role),
    listener=TEXT,
    address=TEXT,
    helo=TEXT,
    tls=TEXT,
    client=MAYBE,
    zone=MAYBE,
    peer=MAYBE,
    parent=st.none() | MAIL_ID,
    trace=st.lists(TEXT, max_size=3).map(tuple),
)
ENVELOPE = st.builds(
    Envelope,
    sender=st.none() | ADDRESS,
    recipients=st.lists(st.builds(Recipient, ADDRESS, st.frozensets(TEXT, max_size=3), MAYBE), max_size=3).map(tuple),
    body=st.sampled_from(Body),
    smtputf8=st.booleans(),
    require_tls=st.booleans(),
    ret=MAYBE,
    envid=MAYBE,
)
HOP = st.none() | st.builds(NextHop, TEXT, MAYBE)
PLAIN = write_content(
    Arrival(MailId("0" * 26), 1, "hospital", Direction.OUTBOUND, Role.INSIDE, "inside"),
    Envelope(None, (Recipient(Address("cardiology", "hospital.example")),)),
    NextHop("smarthost"),
)


@given(ARRIVAL, ENVELOPE, HOP)
def test_what_is_written_is_read(arrival: Arrival, envelope: Envelope, hop: NextHop | None) -> None:
    """Any arrival, envelope and hop."""
    content = read_content(write_content(arrival, envelope, hop))
    assert (content.arrival, content.envelope, content.hop) == (arrival, envelope, hop)


def _set(path: str, value: object) -> str:
    tree: Any = json.loads(PLAIN)
    item = tree
    *steps, last = path.split(".")
    for step in steps:
        item = item[step]
    item[last] = value
    return json.dumps(tree)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"v":1}',
        "[" * 100_000,
        _set("v", 2),
        _set("v", "1"),
        _set("extra", 1),
        _set("arrival.extra", 1),
        _set("arrival.at", "1"),
        _set("arrival.at", True),
        _set("arrival.mail", "../../etc/passwd"),
        _set("arrival.direction", "sideways"),
        _set("arrival.trace", "ab"),
        _set("envelope.sender", ["one"]),
        _set("envelope.sender", "a@b"),
        _set("envelope.recipients", [["a", "b", [], None, 1]]),
        _set("envelope.recipients", [["a", "b", [1], None]]),
        _set("envelope.smtputf8", 0),
        _set("hop", "smarthost"),
        _set("hop", [None, None]),
    ],
)
def test_what_is_not_exactly_of_the_form_is_refused(text: str) -> None:
    """Other versions, keys, types, lengths; and the error quotes nothing of the row."""
    with pytest.raises(CodecError) as caught:
        read_content(text)
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE
    assert "hospital" not in str(caught.value)


def test_sealings_are_read_as_written() -> None:
    """Two sealings, in order."""
    sealings = (Sealing("spool", b"\x00\xff" * 128), Sealing("recovery", b"x"))
    assert read_sealings(write_sealings(sealings)) == sealings


@pytest.mark.parametrize("text", ["", "{}", '["spool"]', '[["spool"]]', '[["spool","*"]]', '[[1,"eA=="]]'])
def test_sealings_of_another_form_are_refused(text: str) -> None:
    """Not a list of pairs of name and base64."""
    with pytest.raises(CodecError):
        read_sealings(text)
