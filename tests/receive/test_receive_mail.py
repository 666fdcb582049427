"""What becomes of a mail on its way in: kept whole and durable before 250, or nothing of it kept and the reason said."""

import asyncio
import re
import smtplib

import pytest

from gateway.config.words import LineEnds
from gateway.events import MailAccepted, MailRefused
from gateway.mail.address import Address
from gateway.mail.envelope import Body, Direction, Role, Stage
from gateway.mail.priority import Priority
from gateway.outcome import GatewayError, Reason
from tests.receive.gatehouse import AT, House

MESSAGE = b"From: <cardiology@hospital.example>\r\nSubject: discharge\r\n\r\n.text \xe9\r\n"


def stored(house: House) -> bytes:
    return b"".join(house.spool.accepted[-1].body.chunks())


async def test_the_trace_line_is_first_and_every_byte_below_it_is_kept(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.mail()
        assert (await client.data(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")).startswith("250 2.0.0 ")
    trace, kept = stored(gatehouse).split(b"\r\nFrom:", 1)
    assert b"From:" + kept == MESSAGE
    mail = gatehouse.spool.accepted[0]
    assert trace.decode() == (
        "Received: from mail.hospital.example ([127.0.0.1])\r\n\tby gateway.hospital.example with ESMTP "
        f"id {mail.arrival.mail}\r\n\tfor <results@laboratory.example>;\r\n\tSun, 01 Mar 2026 12:00:00 +0000"
    )


@pytest.mark.parametrize("begin", [b" ", b"\t"])
async def test_text_without_a_header_does_not_go_on_with_the_trace_line(gatehouse: House, begin: bytes) -> None:
    """It would stay outside with it, in clear (RFC 5322 2.2.3)."""
    text = begin + b"Blood count\r\n" + begin + b"normal\r\n"
    async with gatehouse.client() as client:
        await client.mail()
        assert (await client.data(text + b".\r\n")).startswith("250 2.0.0 ")
    trace, kept = stored(gatehouse).split(b"\r\n\r\n", 1)
    assert trace.startswith(b"Received:")
    assert kept == text


async def test_the_trace_line_names_no_recipient_among_several(gatehouse: House) -> None:
    """RFC 5321 7.2: it would tell each of the others."""
    async with gatehouse.client() as client:
        await client.mail()
        await client.ask("RCPT TO:<hidden@laboratory.example>")
        await client.data(MESSAGE + b".\r\n")
    assert b"@laboratory.example" not in stored(gatehouse)


async def test_envelope_and_arrival(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.ask("MAIL FROM:<cardiology@hospital.example> BODY=8BITMIME RET=FULL ENVID=a")
        await client.ask("RCPT TO:<results@laboratory.example> NOTIFY=NEVER")
        await client.data(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    mail = gatehouse.spool.accepted[0]
    assert mail.stage is Stage.FLOW
    assert mail.envelope.sender == Address("cardiology", "hospital.example")
    assert mail.envelope.recipients[0].notify == {"NEVER"}
    assert (mail.envelope.body, mail.envelope.ret, mail.envelope.envid) == (Body.EIGHT_BIT, "FULL", "a")
    arrival = mail.arrival
    assert (arrival.at, arrival.organisation, arrival.direction) == (AT, "hospital", Direction.OUTBOUND)
    assert (arrival.role, arrival.client, arrival.address, arrival.tls) == (Role.INSIDE, "mail", "127.0.0.1", "")
    (accepted,) = gatehouse.seen(MailAccepted)
    assert (accepted.mail, accepted.size, accepted.org) == (arrival.mail, len(MESSAGE), "hospital")


async def test_a_stranger_reaches_its_organisation(gatehouse: House) -> None:
    async with gatehouse.client("stranger") as client:
        await client.mail("results@laboratory.example", "cardiology@hospital.example")
        await client.data(MESSAGE + b".\r\n")
    assert gatehouse.spool.accepted[0].arrival.direction is Direction.INBOUND
    assert gatehouse.mailboxes.asked == [("hospital", "cardiology@hospital.example")]


async def test_250_waits_for_the_spool(gatehouse: House) -> None:
    gatehouse.spool.gate = asyncio.Event()
    async with gatehouse.client() as client:
        await client.mail()
        await client.ask("DATA")
        await client.send(MESSAGE + b".\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer := asyncio.create_task(client.reply())), 0.05)
        gatehouse.spool.gate.set()
        assert (await answer).startswith("250 ")


async def test_a_commit_goes_on_when_the_client_hangs_up(gatehouse: House) -> None:
    """At least once, never zero times: what is being stored is stored, though nobody hears the 250."""
    gatehouse.spool.gate = asyncio.Event()
    async with gatehouse.client() as client:
        await client.mail()
        await client.ask("DATA")
        await client.send(MESSAGE + b".\r\n")
    gatehouse.spool.gate.set()
    await gatehouse.stop()
    assert len(gatehouse.spool.accepted) == len(gatehouse.spool.bodies.kept) == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (GatewayError(Reason.SPOOL_FULL, "private"), "452 4.3.1 Insufficient storage"),
        (GatewayError(Reason.SPOOL_UNAVAILABLE, "private"), "451 4.3.0 Cannot store mail now"),
    ],
)
async def test_a_spool_that_cannot_is_a_later(gatehouse: House, failure: Exception, said: str) -> None:
    gatehouse.spool.failure = failure
    async with gatehouse.client() as client:
        await client.mail()
        assert await client.data(MESSAGE + b".\r\n") == said
        assert (await client.ask("NOOP")).startswith("250 ")
    assert not gatehouse.spool.bodies.kept
    assert [event.reason for event in gatehouse.seen(MailRefused)] == [failure.reason]  # type: ignore[attr-defined]


async def test_an_exception_is_a_later_that_tells_nothing(gatehouse: House) -> None:
    gatehouse.spool.failure = RuntimeError("the text of an exception")
    async with gatehouse.client() as client:
        await client.mail()
        assert await client.data(MESSAGE + b".\r\n") == "451 4.3.0 Internal error, try again later"
        assert await client.reply() == ""
    async with gatehouse.client("stranger") as client:
        assert await client.mail("", "broken@hospital.example") == "451 4.3.0 Internal error, try again later"


@pytest.mark.parametrize(
    ("trick", "named"),
    [
        (b"\n.\n", "Bare LF"),
        (b"\n.\r\n", "Bare LF"),
        (b"\r\n.\n", "Bare LF"),
        (b"\r.\r", "Bare CR"),
        (b"\r.\r\n", "Bare CR"),
        (b"\r\n.\r", "Bare CR"),
        (b"\r\r\n.\r\r\n", "Bare CR"),
        (b"\r\n\0.\r\n", "NUL"),
        (b"\r\n.\0\r\n", "NUL"),
        (b"a" * 999 + b"\r\n", "Line over 998"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_nothing_is_smuggled(gatehouse: House, trick: bytes, named: str, chunked: bool) -> None:
    """A second mail hidden behind what only some servers take for an end: one refusal, by name, and nothing in the spool."""
    hidden = b"MAIL FROM:<director@hospital.example>\r\nRCPT TO:<ward@clinic.example>\r\nDATA\r\nhidden\r\n"
    wire = MESSAGE + trick + hidden
    async with gatehouse.client() as client:
        await client.mail()
        if chunked:
            await client.send(b"BDAT %d LAST\r\n%s" % (len(wire), wire))
            reply = await client.reply()
        else:
            reply = await client.data(wire + b".\r\n")
        assert re.fullmatch(f"554 5\\.6\\.0 {named}.*", reply)
        assert (await client.ask("NOOP")) == "250 2.0.0 OK"
    assert gatehouse.spool.accepted == []
    assert gatehouse.spool.bodies.kept == []
    (refused,) = gatehouse.seen(MailRefused)
    assert refused.reason is Reason.MALFORMED


@pytest.mark.parametrize("chunked", [False, True])
async def test_over_the_limit_is_refused_in_step(gatehouse: House, chunked: bool) -> None:
    message = b"Subject: large\r\n\r\n" + (b"a" * 76 + b"\r\n") * 16_000
    async with gatehouse.client() as client:
        await client.mail()
        if chunked:
            await client.send(b"BDAT %d\r\n%s" % (len(message), message))
            assert await client.reply() == "552 5.3.4 Message too large"
        else:
            assert await client.data(message + b".\r\n") == "552 5.3.4 Message too large"
        assert await client.mail() == "250 2.1.5 Recipient OK"
        assert (await client.data(MESSAGE + b".\r\n")).startswith("250 ")
    assert len(gatehouse.spool.bodies.kept) == 1


@pytest.mark.parametrize("line", ["BDAT 99999999", "DATA"])
async def test_far_over_the_limit_is_not_read_to_its_end(gatehouse: House, line: str) -> None:
    async with gatehouse.client() as client:
        await client.mail()
        client.writer.write(line.encode() + b"\r\n" + (b"a" * 76 + b"\r\n") * 40_000)
        heard = await client.reply()
        if line == "DATA":
            heard = await client.reply()
        assert heard == "521 5.3.4 Message much too large"
    assert gatehouse.spool.bodies.kept == []


async def test_a_mail_that_goes_round_is_stopped(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.mail()
        assert await client.data(b"Received: from a by b\r\n" * 6 + MESSAGE + b".\r\n") == "554 5.4.6 Mail loop"
        await client.mail()
        assert (await client.data(b"Received: from a by b\r\n" * 5 + MESSAGE + b".\r\n")).startswith("250 ")


async def test_what_no_header_can_change_is_refused_at_rcpt(gatehouse: House) -> None:
    organisation = gatehouse.config.organisation["hospital"].model_copy(update={"outbound": None})
    gatehouse.config = gatehouse.config.model_copy(update={"organisation": {"hospital": organisation}})
    async with gatehouse.client() as client:
        assert await client.mail(recipient="someone@elsewhere.example") == "550 5.4.4 No route to this recipient"
        assert await client.ask("RCPT TO:<results@laboratory.example>") == "250 2.1.5 Recipient OK"


async def test_a_client_that_hangs_up_leaves_nothing(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.mail()
        await client.ask("DATA")
        await client.send(MESSAGE)
    await gatehouse.stop()
    assert gatehouse.spool.accepted == []
    assert gatehouse.spool.bodies.kept == []


async def test_a_client_that_has_said_all_still_hears_all(gatehouse: House) -> None:
    """A half-closed connection, as ``nc`` makes it."""
    async with gatehouse.client(greeted=False) as client:
        commands = b"HELO mail\r\nMAIL FROM:<>\r\nRCPT TO:<results@laboratory.example>\r\nDATA\r\n"
        await client.send(commands + MESSAGE + b".\r\nQUIT\r\n")
        client.writer.write_eof()
        heard = (await client.reader.read()).decode().splitlines()
    assert [line[:3] for line in heard] == ["220", "250", "250", "250", "354", "250", "221"]


async def test_the_client_of_the_standard_library(gatehouse: House) -> None:
    """A client that we did not write: STARTTLS, 8BITMIME, REQUIRETLS, dots, two mails in one session."""
    message = b"Subject: two\r\n\r\n..\r\n.\r\n\xe9t\xe9\r\n"

    context = gatehouse.client_tls()
    context.check_hostname = False  # it would compare with the address

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", gatehouse.ports["secure"], local_hostname="mail.hospital.example", timeout=10) as client:
            client.starttls(context=context)
            for _ in range(2):
                client.sendmail(
                    "cardiology@hospital.example", ["results@laboratory.example"], message, ["BODY=8BITMIME", "REQUIRETLS"]
                )

    await asyncio.to_thread(send)
    assert [body.endswith(b"\r\n" + message) for body in gatehouse.spool.bodies.kept] == [True, True]
    assert all(mail.envelope.require_tls for mail in gatehouse.spool.accepted)


async def test_while_nothing_can_be_recorded_mail_is_put_off_at_mail(gatehouse: House) -> None:
    """Not after the message: a mail that is durable is never refused, or its sender would send it twice."""
    gatehouse.events.failure = GatewayError(Reason.AUDIT_UNAVAILABLE, "the disk")
    async with gatehouse.client() as client:
        assert await client.ask("MAIL FROM:<cardiology@hospital.example>") == "452 4.3.0 Cannot take mail now"
        gatehouse.events.failure = None
        assert (await client.mail()).startswith("250 ")


@pytest.mark.parametrize("chunked", [False, True])
async def test_line_ends_of_our_own_server_may_be_mended(gatehouse: House, chunked: bool) -> None:
    """Where its section says so. A stranger from the same address is refused as ever."""
    client = gatehouse.config.client["mail"].model_copy(update={"line_ends": LineEnds.NORMALISE})
    gatehouse.config = gatehouse.config.model_copy(update={"client": {"mail": client}})
    message = b"Subject: x\n\nfirst\rsecond\n.\nRSET\r\n"
    async with gatehouse.client() as sender:
        await sender.mail()
        if chunked:
            await sender.send(f"BDAT {len(message)} LAST\r\n".encode() + message)
            assert (await sender.reply()).startswith("250 ")
        else:
            assert (await sender.data(message + b".\r\n")).startswith("250 ")
        assert (await sender.ask("NOOP")).startswith("250 ")
    [body] = gatehouse.spool.bodies.kept
    assert body.endswith(b"\r\nSubject: x\r\n\r\nfirst\r\nsecond\r\n.\r\nRSET\r\n")
    async with gatehouse.client("stranger") as sender:
        await sender.mail("patient@post.example", "cardiology@hospital.example")
        assert await sender.data(b"a\nb\r\n.\r\n") == "554 5.6.0 Bare LF in the message"


async def test_a_mail_is_stored_with_its_priority(gatehouse: House) -> None:
    """By its header; and the fifty-first within minutes of one sender is one of a run."""
    async with gatehouse.client() as client:
        for field in ("Importance: high", "Precedence: bulk", *["X-Mailer: x"] * 49):
            await client.mail()
            assert (await client.data(f"{field}\r\n\r\nPriority: urgent\r\n.\r\n".encode())).startswith("250 ")
    urgent, bulk, *others = (mail.priority for mail in gatehouse.spool.accepted)
    assert (urgent, bulk) == (Priority.URGENT, Priority.BULK)
    assert others == [Priority.NORMAL] * 48 + [Priority.BULK]


async def test_without_room_mail_is_put_off_at_mail(gatehouse: House) -> None:
    """Said before the message is sent, by the SIZE it announced; a smaller one may still fit."""
    gatehouse.spool.room, gatehouse.spool.failure = 1000, GatewayError(Reason.SPOOL_FULL, "nearly full")
    async with gatehouse.client() as client:
        assert await client.ask("MAIL FROM:<cardiology@hospital.example> SIZE=1001") == "452 4.3.1 Insufficient storage"
        (refused,) = gatehouse.seen(MailRefused)
        assert (refused.reason, refused.detail, refused.sender) == (Reason.SPOOL_FULL, "nearly full", "cardiology@hospital.example")
        assert (await client.ask("RCPT TO:<results@laboratory.example>")).startswith("503 ")
        gatehouse.spool.failure = None
        assert (await client.mail(parameters=" SIZE=1000")).startswith("250 ")
        assert (await client.data(MESSAGE + b".\r\n")).startswith("250 ")
    assert len(gatehouse.spool.accepted) == 1


async def test_room_is_asked_for_whoever_sends(gatehouse: House) -> None:
    for listener, sender in (("inside", "cardiology@hospital.example"), ("stranger", "somebody@elsewhere.example")):
        async with gatehouse.client(listener) as client:
            assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith("250 ")
    assert gatehouse.spool.roles == [Role.INSIDE, Role.STRANGER]


@pytest.mark.parametrize("more", [b"", b"MAIL FROM:<>\r\n"])
async def test_many_commands_at_once_are_answered_in_order(gatehouse: House, more: bytes) -> None:
    async with gatehouse.client() as client:
        await client.send(b"NOOP\r\n" * 20_000 + more + b"QUIT\r\n")
        heard = (await client.reader.read()).splitlines()
    assert [line[:3] for line in heard] == [b"250"] * (20_001 if more else 20_000) + [b"221"]
