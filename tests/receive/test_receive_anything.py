"""Whatever a client sends, in whatever pieces: the same replies, each refusal one event, and nothing kept that was not promised."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.events import CommandRefused, MailAccepted, MailRefused
from tests.receive.gatehouse import Client, House, Pki, house
from tests.smtp.test_smuggling import TRICKS

GOOD = [
    "EHLO a.example",
    "HELO a",
    "MAIL FROM:<cardiology@hospital.example>",
    "MAIL FROM:<>",
    "RCPT TO:<a@b.example>",
    "RSET",
    "NOOP",
]
BAD = [
    "",
    "FOO",
    "MAIL",
    "RCPT TO:<>",
    "RCPT TO:<a@b.example> NOTIFY=NO",
    "EXPN a",
    "VRFY",
    "NOOP \0",
    "NOOP a\rb",
    "DATA x",
    "QUIT x",
]
MESSAGES = st.lists(
    st.sampled_from([b"a: b\r\n", b"\r\n", b"..\r\n", b"a" * 999, *(trick for trick, _ in TRICKS.values())]), max_size=4
)
TURNS = st.one_of(
    st.sampled_from([line.encode() + b"\r\n" for line in GOOD + GOOD + BAD]),
    MESSAGES.map(lambda parts: b"DATA\r\n" + b"".join(parts) + b"\r\n.\r\n"),
    MESSAGES.map(b"".join).map(lambda chunk: b"BDAT %d\r\n%s" % (len(chunk), chunk)),
    MESSAGES.map(b"".join).map(lambda chunk: b"BDAT %d LAST\r\n%s" % (len(chunk), chunk)),
    st.just(b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n"),
    st.sampled_from([b"NOOP\n", b"BDAT x\r\n", b"a" * 3000 + b"\r\n", b"a" * 20_000 + b"\r\n"]),
    st.binary(max_size=30),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(TURNS, max_size=12).map(b"".join), st.integers(1, 500))
def test_the_pieces_do_not_matter_and_every_refusal_is_told(wire: bytes, step: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder), b"EHLO a.example\r\n" + wire + b"\r\nQUIT\r\n", step))


async def compare(folder: Path, wire: bytes, step: int) -> None:
    async with house(folder, PKI, {"errors": 50}) as gatehouse:
        whole = await heard(gatehouse, [wire])
        pieces = await heard(gatehouse, [wire[at : at + step] for at in range(0, len(wire), step)])
        assert whole == pieces
        accepted = sum("Accepted as" in reply for reply in whole + pieces)
        assert accepted == len(gatehouse.spool.accepted) == len(gatehouse.spool.bodies.kept) == len(gatehouse.seen(MailAccepted))


async def heard(gatehouse: House, pieces: list[bytes]) -> list[str]:
    """Every reply to ``pieces``, of which each refusal has its event, without what differs from mail to mail or piece to piece."""
    gatehouse.events.seen[:] = [event for event in gatehouse.events.seen if isinstance(event, MailAccepted)]
    async with gatehouse.client(greeted=False) as client:
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0)
        client.writer.write_eof()
        replies = await all_of(client)
    refused = [reply for reply in replies if reply[0] in "45"]
    events = gatehouse.seen(CommandRefused) + gatehouse.seen(MailRefused)
    assert len(events) == len(refused)
    assert {event.reply for event in gatehouse.seen(CommandRefused)} <= set(refused)
    # Of two faults in one message, which one is named depends on the pieces they come in
    return [re.sub(r"(?<=Accepted as ).*|(?<=^554 5\.6\.0 ).*", "", reply) for reply in replies]


async def all_of(client: Client) -> list[str]:
    replies = []
    while reply := await client.reply():
        replies.append(reply)
    return replies


PKI = Pki()
