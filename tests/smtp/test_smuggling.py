"""Ends of a message that only some servers take for one, in both directions: none comes in, and none goes out.

The sequences are those of the published research and its scanners (SEC Consult, SMTP Smuggling, 2023; the checks of Postfix,
Exim and Sendmail since): what stands for an end of line or for a dot where only CRLF.CRLF is one (RFC 5321 4.1.1.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.words import LineEnds
from gateway.events import MailRefused
from gateway.outcome import GatewayError, Reason
from gateway.smtp.content import ChunkedContent, DotStuffedContent
from gateway.smtp.data import ChunkReader, DataReader, Fault
from tests.flow.opened import HEADER, PLAIN, READER, SENDER, as_message, encrypt, sign
from tests.flow.test_incoming import House as Hospital
from tests.pki import Ca, Issued
from tests.receive.gatehouse import Pki, house

LIMIT = 1_000_000
TRICKS = {
    "LF.LF": (b"\n.\n", Fault.BARE_LF),
    "LF.CR": (b"\n.\r", Fault.BARE_LF),
    "LF.CRLF": (b"\n.\r\n", Fault.BARE_LF),
    "LFLF.CRLF": (b"\n\n.\r\n", Fault.BARE_LF),
    "CR.LF": (b"\r.\n", Fault.BARE_LF),
    "CR.CR": (b"\r.\r", Fault.BARE_CR),
    "CR.CRLF": (b"\r.\r\n", Fault.BARE_CR),
    "CRLF.LF": (b"\r\n.\n", Fault.BARE_LF),
    "CRLF.CR": (b"\r\n.\r", Fault.BARE_CR),
    "CRLF.CRCRLF": (b"\r\n.\r\r\n", Fault.BARE_CR),
    "CRCRLF.CRCRLF": (b"\r\r\n.\r\r\n", Fault.BARE_CR),
    "CRLFNUL.CRLF": (b"\r\n\0.\r\n", Fault.NUL),
    "CRLF.NULCRLF": (b"\r\n.\0\r\n", Fault.NUL),
    "CRLFNUL.CR": (b"\r\n\0.\r", Fault.BARE_CR),
    "CRLFNUL.LF": (b"\r\n\0.\n", Fault.BARE_LF),
}
EVERY = pytest.mark.parametrize("name", TRICKS)
BYTEWISE = pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
HIDDEN = (
    b"MAIL FROM:<director@hospital.example>\r\nRCPT TO:<results@laboratory.example>\r\nDATA\r\n"
    b"From: <director@hospital.example>\r\n\r\nhidden\r\n"
)
NOT_CRLF = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")


def smuggling(name: str) -> bytes:
    """A message with a second one in it."""
    return b"From: <cardiology@hospital.example>\r\n\r\nshown" + TRICKS[name][0] + HIDDEN


def pieces(data: bytes, bytewise: bool) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))] if bytewise else [data]


# In


@BYTEWISE
@EVERY
def test_data_ends_at_its_true_end_and_keeps_nothing(name: str, bytewise: bool) -> None:
    reader, kept = DataReader(LIMIT, 50), b""
    waiting = pieces(smuggling(name) + b".\r\nNOOP\r\n", bytewise)
    while reader.rest is None:
        kept += reader.feed(waiting.pop(0))
    assert reader.rest + b"".join(waiting) == b"NOOP\r\n"
    assert reader.fault is TRICKS[name][1]
    assert b"hidden" not in kept


@BYTEWISE
@EVERY
def test_chunks_with_a_trick_are_refused(name: str, bytewise: bool) -> None:
    reader = ChunkReader(LIMIT, 50)
    kept = b"".join(reader.feed(piece) for piece in pieces(smuggling(name), bytewise)) + reader.finish()
    assert reader.fault is TRICKS[name][1]
    assert b"hidden" not in kept


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
@BYTEWISE
@EVERY
async def test_a_session_refuses_it_by_name_and_obeys_nothing_of_it(
    tmp_path: Path, pki: Pki, name: str, bytewise: bool, chunked: bool
) -> None:
    message = smuggling(name)
    wire = b"BDAT %d LAST\r\n%s" % (len(message), message) if chunked else b"DATA\r\n" + message + b".\r\n"
    async with house(tmp_path, pki) as gatehouse, gatehouse.client() as client:
        await client.mail()
        for piece in pieces(wire + b"NOOP\r\nQUIT\r\n", bytewise):
            await client.send(piece)
        heard = (await client.reader.read()).decode().splitlines()
        if not chunked:
            assert heard.pop(0).startswith("354 ")
        assert heard == [f"554 5.6.0 {TRICKS[name][1]}", "250 2.0.0 OK", "221 2.0.0 Bye"]
        assert not gatehouse.spool.accepted
        assert not gatehouse.spool.bodies.kept
        assert [event.reason for event in gatehouse.seen(MailRefused)] == [Reason.MALFORMED]


@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
@BYTEWISE
@EVERY
async def test_where_line_ends_are_mended_it_is_content_and_leaves_as_one_mail(
    tmp_path: Path, pki: Pki, name: str, bytewise: bool, chunked: bool
) -> None:
    """``line_ends = "normalise"``: what looked like an end has become one in the bytes kept, and is stuffed when they leave."""
    message = smuggling(name)
    wire = b"BDAT %d LAST\r\n%s" % (len(message), message) if chunked else b"DATA\r\n" + message + b".\r\n"
    async with house(tmp_path, pki) as gatehouse:
        own = gatehouse.config.client["mail"].model_copy(update={"line_ends": LineEnds.NORMALISE})
        gatehouse.config = gatehouse.config.model_copy(update={"client": {"mail": own}})
        async with gatehouse.client() as client:
            await client.mail()
            for piece in pieces(wire + b"NOOP\r\nQUIT\r\n", bytewise):
                await client.send(piece)
            heard = (await client.reader.read()).decode().splitlines()
        if not chunked:
            assert heard.pop(0).startswith("354 ")
        assert heard[1:] == ["250 2.0.0 OK", "221 2.0.0 Bye"]
        if "NUL" in name:
            assert heard[0] == "554 5.6.0 NUL in the message"
            assert not gatehouse.spool.bodies.kept
            return
        assert heard[0].startswith("250 2.0.0 Accepted as ")
        (kept,) = gatehouse.spool.bodies.kept
        assert kept.endswith(HIDDEN)
        assert not NOT_CRLF.search(kept)
        reader = DataReader(LIMIT, 50)
        assert reader.feed(sent(DotStuffedContent(), iter([kept]))) == kept
        assert (reader.rest, reader.fault) == (b"", None)


# Out


def sent(content: ChunkedContent, chunks: Iterator[bytes]) -> bytes:
    return b"".join(content.update(chunk) for chunk in chunks) + content.finalize()


@pytest.mark.parametrize("encoder", [DotStuffedContent, ChunkedContent], ids=["DATA", "BDAT"])
@BYTEWISE
@EVERY
def test_no_trick_leaves(encoder: type[ChunkedContent], name: str, bytewise: bool) -> None:
    with pytest.raises(GatewayError) as caught:
        sent(encoder(), iter(pieces(smuggling(name), bytewise)))
    assert caught.value.reason is Reason.MALFORMED


BODIES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\0", *(trick for trick, _ in TRICKS.values())]), max_size=20
).map(b"".join)


@given(BODIES | BODIES.map(lambda body: NOT_CRLF.sub(b"", body)), st.integers(1, 9))
def test_whatever_leaves_by_data_has_one_end(body: bytes, step: int) -> None:
    """And a server that reads by RFC 5321 4.5.2 finds the message that was sent."""
    try:
        wire = sent(DotStuffedContent(), (body[at : at + step] for at in range(0, len(body), step)))
    except GatewayError:
        assert NOT_CRLF.search(body)
        return
    assert not NOT_CRLF.search(body)
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    received = [line.removeprefix(b".") for line in wire.removesuffix(b".\r\n").split(b"\r\n")]
    assert b"\r\n".join(received) == body + (b"" if body.endswith(b"\r\n") or not body else b"\r\n")


@given(BODIES, st.integers(1, 9))
def test_whatever_leaves_by_bdat_has_only_crlf(body: bytes, step: int) -> None:
    try:
        wire = sent(ChunkedContent(), (body[at : at + step] for at in range(0, len(body), step)))
    except GatewayError:
        assert NOT_CRLF.search(body)
    else:
        assert wire == body
        assert not NOT_CRLF.search(body)


# Out of an encrypted or signed mail, whose content no server has looked at on the way


@pytest.fixture(scope="module")
def ca() -> Ca:
    return Ca.root()


@pytest.fixture(scope="module")
def signer(ca: Ca) -> Issued:
    return ca.signer(SENDER)


@pytest.fixture(scope="module")
def keys(ca: Ca) -> dict[str, Issued]:
    return {"opens": ca.organisation_reader("hospital.example"), "own": ca.reader(READER, "p256")}


@pytest.mark.parametrize("unopened", ["hold", "deliver"])
@pytest.mark.parametrize("form", ["encrypted", "signed", "signed-encrypted"])
@EVERY
async def test_no_trick_comes_out_of_an_encrypted_mail(
    tmp_path: Path, ca: Ca, keys: dict[str, Issued], signer: Issued, name: str, form: str, unopened: str
) -> None:
    entity = PLAIN + TRICKS[name][0] + HIDDEN
    if "signed" in form:
        entity = sign(tmp_path, entity, signer, options=["-nodetach"])
    if "encrypted" in form:
        entity = encrypt(tmp_path, entity, keys["opens"])
    hospital = Hospital(ca, keys, {"unopened": unopened})
    flowed = await hospital.receive(as_message(entity))
    assert [held.reason for held in flowed.held] or flowed.outputs
    assert not (flowed.outputs and unopened == "hold")
    for output in flowed.outputs:
        message = b"".join(output.body.chunks())
        assert not NOT_CRLF.search(message)
        assert b"hidden" not in message, "it was opened although its content is malformed"


async def test_lines_of_a_unix_file_are_made_crlf_before_they_leave(tmp_path: Path, ca: Ca, keys: dict[str, Issued]) -> None:
    """Content with LF throughout is read as lines, and its dot leaves stuffed: the next hop sees one mail."""
    entity = (PLAIN + b"one\r\n.\r\n" + HIDDEN).replace(b"\r\n", b"\n")
    hospital = Hospital(ca, keys)
    (output,) = (await hospital.receive(as_message(encrypt(tmp_path, entity, keys["opens"]), HEADER))).outputs
    message = b"".join(output.body.chunks())
    assert not NOT_CRLF.search(message)
    assert message.endswith(HIDDEN)
    reader = DataReader(LIMIT, 50)
    assert reader.feed(sent(DotStuffedContent(), output.body.chunks())) == message
    assert (reader.rest, reader.fault) == (b"", None)
