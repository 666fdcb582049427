"""The grammar of commands: what is understood, and with which reply the rest is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import Address
from gateway.mail.envelope import Body, Recipient
from gateway.smtp.command import (
    Bdat,
    Command,
    Data,
    Hello,
    MailFrom,
    Nothing,
    Quit,
    RcptTo,
    Reset,
    StartTls,
    Verify,
    parse_command,
)
from gateway.smtp.reply import Reply

OFFERED = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "REQUIRETLS"})
CARDIOLOGY = Address("cardiology", "hospital.example")
RESULTS = Address("results", "laboratory.example")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"EHLO mail.hospital.example", Hello("mail.hospital.example", extended=True)),
        (b"ehlo [IPv6:2001:db8::1]  ", Hello("[IPv6:2001:db8::1]", extended=True)),
        (b"HELO ward_7", Hello("ward_7", extended=False)),
        (b"MAIL FROM:<>", MailFrom(None)),
        (b"mail from: <cardiology@Hospital.Example>", MailFrom(CARDIOLOGY)),
        (b"MAIL FROM:<@relay.example,@other.example:cardiology@hospital.example>", MailFrom(CARDIOLOGY)),
        (b"MAIL FROM:<cardiology@hospital.example> SIZE=0", MailFrom(CARDIOLOGY, size=0)),
        (
            b"MAIL FROM:<cardiology@hospital.example> size=1000 body=8bitmime SMTPUTF8 REQUIRETLS RET=hdrs ENVID=QQ+2B314",
            MailFrom(CARDIOLOGY, 1000, Body.EIGHT_BIT, smtputf8=True, require_tls=True, ret="HDRS", envid="QQ+2B314"),
        ),
        (
            "MAIL FROM:<h\u00e9matologie@hospital.example> SMTPUTF8".encode(),
            MailFrom(Address("h\u00e9matologie", "hospital.example"), smtputf8=True),
        ),
        (b'MAIL FROM:<"a > b"@hospital.example>', MailFrom(Address('"a > b"', "hospital.example"))),
        (b"RCPT TO:<results@laboratory.example>", RcptTo(Recipient(RESULTS))),
        (
            b"RCPT TO:<results@laboratory.example> NOTIFY=success,DELAY ORCPT=rfc822;results+2Bx@laboratory.example",
            RcptTo(Recipient(RESULTS, frozenset({"SUCCESS", "DELAY"}), "rfc822;results+2Bx@laboratory.example")),
        ),
        (b"RCPT TO:<results@laboratory.example> NOTIFY=NEVER", RcptTo(Recipient(RESULTS, frozenset({"NEVER"})))),
        (b"DATA", Data()),
        (b"data ", Data()),
        (b"BDAT 0 LAST", Bdat(0, last=True)),
        (b"bdat 86000", Bdat(86000, last=False)),
        (b"RSET", Reset()),
        (b"NOOP anything", Nothing()),
        (b"VRFY results", Verify()),
        (b"QUIT", Quit()),
        (b"STARTTLS", StartTls()),
    ],
)
def test_understood(line: bytes, command: Command) -> None:
    assert parse_command(line, OFFERED) == command


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (b"", "500 5.5.1"),
        (b"GET / HTTP/1.1", "500 5.5.1"),
        (b"DATA\0", "500 5.5.2"),
        (b"NOOP a\nRCPT TO:<results@laboratory.example>", "500 5.5.2"),
        (b"NOOP a\rQUIT", "500 5.5.2"),
        (b"NOOP \xff", "500 5.5.2"),
        (b"NOOP " + b"a" * 2044, "500 5.5.2"),
        (b"EHLO", "501 5.5.4"),
        (b"EHLO a b", "501 5.5.4"),
        (b"EHLO <script>", "501 5.5.4"),
        (b"RSET now", "501 5.5.4"),
        (b"AUTH", "501 5.5.4"),
        (b"HELP", "502 5.5.1"),
        (b"MAIL", "501 5.5.4"),
        (b"MAIL FROM:cardiology@hospital.example", "501 5.5.4"),
        (b"MAIL FROM:<cardiology@hospital.example", "501 5.5.4"),
        (b"MAIL FROM:<cardiology@hospital.example>SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<cardiology@hospital.example>>", "501 5.5.4"),
        (b"MAIL TO:<cardiology@hospital.example>", "501 5.5.4"),
        (b"MAIL FROM:<cardiology>", "553 5.1.3"),
        (b"MAIL FROM:<cardiology@[192.0.2.1]>", "553 5.1.3"),
        ("MAIL FROM:<h\u00e9matologie@hospital.example>".encode(), "553 5.6.7"),
        (b"MAIL FROM:<> SIZE", "501 5.5.4"),
        (b"MAIL FROM:<> SIZE=-1", "501 5.5.4"),
        (b"MAIL FROM:<> SIZE=1 SIZE=2", "501 5.5.4"),
        (b"MAIL FROM:<> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<> SMTPUTF8=yes", "501 5.5.4"),
        (b"MAIL FROM:<> RET=SOME", "501 5.5.4"),
        (b"MAIL FROM:<> ENVID=a+zz", "501 5.5.4"),
        (b"MAIL FROM:<> ENVID=" + b"a" * 101, "501 5.5.4"),
        (b"MAIL FROM:<> AUTH=<>", "555 5.5.4"),
        (b"MAIL FROM:<> =", "555 5.5.4"),
        (b"MAIL FROM:<> NOTIFY=NEVER", "555 5.5.4"),
        (b"RCPT TO:<>", "553 5.1.3"),
        (b"RCPT TO:<results@laboratory.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        (b"RCPT TO:<results@laboratory.example> NOTIFY=", "501 5.5.4"),
        (b"RCPT TO:<results@laboratory.example> NOTIFY=DELAY,DELAY", "501 5.5.4"),
        (b"RCPT TO:<results@laboratory.example> ORCPT=rfc822", "501 5.5.4"),
        (b"RCPT TO:<results@laboratory.example> ORCPT=rfc822;a=b", "555 5.5.4"),
        (b"RCPT TO:<results@laboratory.example> ORCPT=rfc822;" + b"a" * 500, "501 5.5.4"),
        ("RCPT TO:<results@laboratory.example> ORCPT=utf-8;\u00e9".encode(), "501 5.5.4"),
        (b"BDAT", "521 5.5.4"),
        (b"BDAT x", "521 5.5.4"),
        (b"BDAT 10 LST", "521 5.5.4"),
        (b"BDAT 999999999999999999999", "521 5.5.4"),
    ],
)
def test_refused(line: bytes, codes: str) -> None:
    reply = parse_command(line, OFFERED)
    assert isinstance(reply, Reply)
    assert str(reply).startswith(codes + " ")


def test_the_postmaster_needs_no_domain() -> None:
    """RFC 5321 4.5.1, and nobody else: 2.3.5."""
    command = parse_command(b"RCPT TO:<PostMaster>", OFFERED, home="hospital.example")
    assert command == RcptTo(Recipient(Address("PostMaster", "hospital.example")))
    for line, home in ((b"RCPT TO:<PostMaster>", ""), (b"RCPT TO:<abuse>", "hospital.example")):
        refused = parse_command(line, OFFERED, home=home)
        assert isinstance(refused, Reply)
        assert refused.code == 553


@pytest.mark.parametrize("parameter", [b"SIZE=1", b"BODY=8BITMIME", b"SMTPUTF8", b"REQUIRETLS", b"RET=FULL", b"ENVID=a"])
def test_what_was_not_offered_is_refused(parameter: bytes) -> None:
    """RFC 5321 4.1.1.11: 555 for parameters that are not recognized."""
    reply = parse_command(b"MAIL FROM:<> " + parameter, frozenset())
    assert isinstance(reply, Reply)
    assert reply.code == 555


def test_utf8_recipients_belong_to_mail_begun_with_smtputf8() -> None:
    line = "RCPT TO:<h\u00e9matologie@hospital.example> ORCPT=utf-8;h\u00e9matologie@hospital.example".encode()
    command = parse_command(line, OFFERED, smtputf8=True)
    assert isinstance(command, RcptTo)
    assert command.recipient.orcpt == "utf-8;h\u00e9matologie@hospital.example"


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: b"MAIL FROM:<" + text.encode("utf-8", "replace")))
def test_any_bytes_give_a_command_or_a_reply(line: bytes) -> None:
    answer = parse_command(line, OFFERED)
    assert not isinstance(answer, Reply) or answer.permanent
