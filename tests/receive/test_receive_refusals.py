"""Each malformed command and each limit alone: the exact reply, the session in step or closed, one event, nothing in the spool.

The event goes through the real audit, so that one event is one line there, and nothing of what was sent but the verb.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from gateway.edge.observe import Audit, Observe
from gateway.events import CommandRefused, MailRefused
from gateway.outcome import Reason
from tests.receive.gatehouse import AT, Client, Pki, house

MAIL: Final = "MAIL FROM:<cardiology@hospital.example>"
RCPT: Final = "RCPT TO:<results@laboratory.example>"
BEGUN: Final = (MAIL, RCPT)
SLOW: Final = "421 4.4.2 Too slow"
LINE: Final = b"a" * 76 + b"\r\n"


@dataclass(frozen=True)
class Case:
    """``before`` is said and answered with 2yz or 354; then ``wire`` is answered with ``said``, and ``then`` comes next: "" is the
    end of the connection. ``verb`` of the event, or ``reason`` where a mail was refused.
    """

    wire: bytes
    said: str
    verb: str = ""
    then: str = "250 2.0.0 OK"
    before: tuple[str, ...] = ()
    reason: Reason | None = None
    listener: str = "inside"
    limits: dict[str, float] = field(default_factory=dict)


CASES: Final = {
    # Commands that cannot be read
    "unknown verb": Case(b"PATIENT Jane Roe\r\n", "500 5.5.1 Command not recognized"),
    "empty line": Case(b"\r\n", "500 5.5.1 Command not recognized"),
    "NUL": Case(b"NOOP \0\r\n", "500 5.5.2 Control character in a command", "NOOP"),
    "bare CR": Case(b"NOOP a\rRSET\r\n", "500 5.5.2 Control character in a command", "NOOP"),
    "escape": Case(b"\x1b[2J\r\n", "500 5.5.2 Control character in a command"),
    "not UTF-8": Case(b"VRFY \xe9\r\n", "500 5.5.2 Line is not UTF-8", "VRFY"),
    "long line": Case(b"NOOP " + b"a" * 2044 + b"\r\n", "500 5.5.2 Line too long", "NOOP"),
    "much too long line": Case(b"a" * 20_000, "521 5.5.2 Line too long", then=""),
    "bare LF": Case(b"RSET\n", "521 5.5.2 Lines end with CRLF", then=""),
    "EHLO without a name": Case(b"EHLO\r\n", "501 5.5.4 Give your host name", "EHLO"),
    "MAIL without brackets": Case(b"mail from:a@b.example\r\n", "501 5.5.4 Say FROM:<address>", "MAIL"),
    "MAIL of no address": Case(b"MAIL FROM:<a>\r\n", "553 5.1.3 Not a mail address", "MAIL"),
    "MAIL beyond ASCII": Case("MAIL FROM:<é@hospital.example>\r\n".encode(), "553 5.6.7 Address needs SMTPUTF8", "MAIL"),
    "MAIL with AUTH": Case(b"MAIL FROM:<> AUTH=<>\r\n", "555 5.5.4 Parameter not recognized", "MAIL"),
    "MAIL with BINARYMIME": Case(b"MAIL FROM:<> BODY=BINARYMIME\r\n", "501 5.5.4 Wrong value of BODY", "MAIL"),
    "RCPT of nobody": Case(b"RCPT TO:<>\r\n", "553 5.1.3 Not a mail address", "RCPT", before=(MAIL,)),
    "RCPT with NOTIFY": Case(RCPT.encode() + b" NOTIFY=NEVER,DELAY\r\n", "501 5.5.4 Wrong value of NOTIFY", "RCPT", before=(MAIL,)),
    "BDAT of no size": Case(b"BDAT all LAST\r\n", "521 5.5.4 BDAT not understood", "BDAT", "", BEGUN),
    "DATA with an argument": Case(b"DATA now\r\n", "501 5.5.4 This command takes no argument", "DATA", before=BEGUN),
    "QUIT with an argument": Case(b"QUIT now\r\n", "501 5.5.4 This command takes no argument", "QUIT"),
    "VRFY of nobody": Case(b"VRFY\r\n", "501 5.5.4 Say VRFY and a mailbox", "VRFY"),
    "EXPN": Case(b"EXPN doctors\r\n", "502 5.5.1 Command not implemented", "EXPN"),
    "HELP": Case(b"HELP\r\n", "502 5.5.1 Command not implemented", "HELP"),
    # Commands out of their place
    "MAIL in a mail": Case(b"MAIL FROM:<>\r\n", "503 5.5.1 One mail at a time", "MAIL", before=BEGUN),
    "RCPT without MAIL": Case(RCPT.encode() + b"\r\n", "503 5.5.1 Say MAIL first", "RCPT"),
    "RCPT in chunks": Case(RCPT.encode() + b"\r\n", "503 5.5.1 Chunks have begun", "RCPT", before=(*BEGUN, "BDAT 0")),
    "DATA without MAIL": Case(b"DATA\r\n", "503 5.5.1 Say MAIL first", "DATA"),
    "DATA without RCPT": Case(b"DATA\r\n", "554 5.5.1 No valid recipients", "DATA", before=(MAIL,)),
    "DATA in chunks": Case(b"DATA\r\n", "503 5.5.1 Chunks have begun", "DATA", before=(*BEGUN, "BDAT 0")),
    "BDAT without MAIL": Case(b"BDAT 6 LAST\r\nQUIT\r\n", "503 5.5.1 Say MAIL first", "BDAT"),
    "BDAT without RCPT": Case(b"BDAT 6 LAST\r\nQUIT\r\n", "554 5.5.1 No valid recipients", "BDAT", before=(MAIL,)),
    "STARTTLS where there is none": Case(b"STARTTLS\r\n", "502 5.5.1 TLS not offered", "STARTTLS"),
    "STARTTLS with more behind": Case(
        b"STARTTLS\r\nRSET\r\n", "521 5.5.1 Nothing may follow STARTTLS", "STARTTLS", "", listener="secure"
    ),
    "the last error": Case(b"FOO\r\n", "421 4.7.0 Too many errors", then="", limits={"errors": 1}),
    # Messages
    "bare LF in DATA": Case(b"a\nb\r\n.\r\n", "554 5.6.0 Bare LF in the message", before=(*BEGUN, "DATA"), reason=Reason.MALFORMED),
    "bare CR in BDAT": Case(b"BDAT 5 LAST\r\na\rb\r\n", "554 5.6.0 Bare CR in the message", before=BEGUN, reason=Reason.MALFORMED),
    "NUL in DATA": Case(b"\0\r\n.\r\n", "554 5.6.0 NUL in the message", before=(*BEGUN, "DATA"), reason=Reason.MALFORMED),
    "long line in DATA": Case(
        b"a" * 999 + b"\r\n.\r\n", "554 5.6.0 Line over 998 octets", before=(*BEGUN, "DATA"), reason=Reason.MALFORMED
    ),
    "long header": Case(
        b"X-Padding: a\r\n" * 20_000 + b"\r\n.\r\n", "554 5.3.4 Header too long", before=(*BEGUN, "DATA"), reason=Reason.LIMIT
    ),
    "trace lines": Case(b"Received: x\r\n" * 6 + b".\r\n", "554 5.4.6 Mail loop", before=(*BEGUN, "DATA"), reason=Reason.LOOP),
    "declared too large": Case(
        MAIL.encode() + b" SIZE=1048577\r\n", "552 5.3.4 Message too large", reason=Reason.TOO_LARGE, then="250 2.0.0 OK"
    ),
    "too large by DATA": Case(
        b"\r\n" + LINE * 16_000 + b".\r\n", "552 5.3.4 Message too large", before=(*BEGUN, "DATA"), reason=Reason.TOO_LARGE
    ),
    "too large by BDAT": Case(
        b"BDAT 1250002\r\n\r\n" + LINE * 16_025 + b"a" * 50, "552 5.3.4 Message too large", before=BEGUN, reason=Reason.TOO_LARGE
    ),
    "endless DATA": Case(b"\r\n" + LINE * 40_000, "521 5.3.4 Message much too large", "DATA", "", (*BEGUN, "DATA")),
    "endless BDAT": Case(b"BDAT 99999999\r\n" + LINE, "521 5.3.4 Message much too large", "BDAT", "", BEGUN),
    "endless BDAT for nobody": Case(b"BDAT 99999999\r\n" + LINE, "521 5.3.4 Message much too large", "BDAT", ""),
    "recipients": Case(
        b"RCPT TO:<d@laboratory.example>\r\n",
        "452 4.5.3 Too many",
        before=(*BEGUN, "RCPT TO:<b@laboratory.example>", "RCPT TO:<c@laboratory.example>"),
        reason=Reason.TOO_MANY,
    ),
    # Time
    "silence": Case(b"", SLOW, then="", limits={"command_seconds": 0.05}),
    "half a command": Case(b"RSE", SLOW, then="", limits={"command_seconds": 0.05}),
    "silence in DATA": Case(b"a: b\r\n", SLOW, "DATA", "", (*BEGUN, "DATA"), limits={"command_seconds": 0.05}),
    "silence in a chunk": Case(b"BDAT 10\r\na", SLOW, "BDAT", "", BEGUN, limits={"command_seconds": 0.05}),
    "a message too slow": Case(b"a: b\r\n", SLOW, "DATA", "", (*BEGUN, "DATA"), limits={"message_seconds": 0.05}),
    "a chunk for nobody too slow": Case(b"BDAT 10\r\na", SLOW, "BDAT", "", limits={"message_seconds": 0.05}),
}


@pytest.mark.parametrize("name", CASES)
async def test_one_refusal(tmp_path: Path, pki: Pki, name: str) -> None:
    case = CASES[name]
    async with house(tmp_path, pki, case.limits) as gatehouse, gatehouse.client(case.listener) as client:
        for line in case.before:
            assert (await client.ask(line))[:1] in ("2", "3")
        client.writer.write(case.wire)
        assert await client.reply() == case.said
        assert (await client.ask("NOOP") if case.then else await client.reply()) == case.then
        assert gatehouse.spool.accepted == []
        await client.ask("RSET")
        assert gatehouse.spool.bodies.kept == []
        (event,) = gatehouse.events.seen
        if case.reason is not None:
            assert isinstance(event, MailRefused)
            assert event.reason is case.reason
        else:
            assert event == CommandRefused(listener=case.listener, address="127.0.0.1", reply=case.said, verb=case.verb)
            observe = Observe(audit := Audit(tmp_path / "audit", "mail", lambda: AT))
            observe.see(event)
            observe.close()
            (line,) = audit.path.read_text().splitlines()
            facts = {"event": "command_refused", "listener": case.listener, "address": "127.0.0.1", "reply": case.said}
            record = json.loads(line)
            assert {key: record[key] for key in record if key not in ("v", "seq", "prev", "at")} == facts | (
                {"verb": case.verb} if case.verb else {}
            )


async def drip(client: Client, octets: bytes) -> None:
    """Sends them again and again, one at a time, until nobody listens."""
    with contextlib.suppress(ConnectionError):
        while True:
            for octet in octets:
                await client.send(bytes([octet]))
                await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("before", "octets", "limits"),
    [
        ((), b"NOOP a", {"command_seconds": 0.1}),
        ((*BEGUN, "DATA"), b"a\r\n", {"message_seconds": 0.1}),
        ((*BEGUN,), b"BDAT 100000\r\n" + b"a" * 5000, {"message_seconds": 0.1}),
        ((), b"BDAT 100000\r\n" + b"a" * 5000, {"message_seconds": 0.1}),
    ],
    ids=["a command", "a message", "a chunk", "a chunk for nobody"],
)
async def test_what_drips_in_has_its_end(
    tmp_path: Path, pki: Pki, before: tuple[str, ...], octets: bytes, limits: dict[str, float]
) -> None:
    """An octet now and then is never silence; the time of the whole is what ends it."""
    async with house(tmp_path, pki, limits) as gatehouse, gatehouse.client() as client:
        for line in before:
            await client.ask(line)
        dripping = asyncio.create_task(drip(client, octets))
        async with asyncio.timeout(10):
            assert await client.reply() == SLOW
            assert await client.reply() == ""
        dripping.cancel()
        await asyncio.wait([dripping])
        assert [event.reply for event in gatehouse.seen(CommandRefused)] == [SLOW]
        assert gatehouse.spool.bodies.kept == []


@pytest.mark.parametrize("errors", [1, 3, 10])
async def test_a_session_leaves_no_more_lines_than_its_errors_allow(tmp_path: Path, pki: Pki, errors: int) -> None:
    """However much is sent at once; and the client hears each answer, though it never stopped to listen."""
    async with house(tmp_path, pki, {"errors": errors}) as gatehouse, gatehouse.client() as client:
        await client.send(b"FOO\r\n" * 10_000)
        heard = (await client.reader.read()).decode().splitlines()
        assert heard == ["500 5.5.1 Command not recognized"] * (errors - 1) + ["421 4.7.0 Too many errors"]
        assert [event.reply for event in gatehouse.seen(CommandRefused)] == heard


async def test_a_good_mail_leaves_no_refusal(tmp_path: Path, pki: Pki) -> None:
    async with house(tmp_path, pki) as gatehouse, gatehouse.client() as client:
        await client.mail()
        assert (await client.data(b"a: b\r\n.\r\n")).startswith("250 ")
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
        assert [type(event).__name__ for event in gatehouse.events.seen] == ["MailAccepted"]


async def test_what_is_injected_behind_the_answer_to_starttls_is_not_obeyed(tmp_path: Path, pki: Pki) -> None:
    """RFC 3207 4.2: sent in clear after the 220, it can only be a TLS handshake that fails."""
    async with house(tmp_path, pki) as gatehouse, gatehouse.client("secure") as client:
        assert (await client.ask("STARTTLS")).startswith("220 ")
        await client.send(b"NOOP\r\nMAIL FROM:<cardiology@hospital.example>\r\n")
        heard = await client.reader.read()
        assert b"250" not in heard
        assert heard[:1] in (b"", b"\x15")  # an alert (RFC 8446 6) or nothing
        assert [type(event).__name__ for event in gatehouse.events.seen] == ["PeerRejected"]
