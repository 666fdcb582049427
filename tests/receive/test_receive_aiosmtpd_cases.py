"""What aiosmtpd's own tests (1.4.6, Apache-2.0, ``aiosmtpd/tests``) ask of a server, asked of ours; its names, our cases.

aiosmtpd is the server we did not take (``docs/decisions/0003-smtp-in.md``), and years of reports are in its tests. Each name of
its tests of the protocol stands here: as a case with the answer that is right by the RFC (``why`` says where ours is another
than aiosmtpd's), or in ``NOT_OURS`` with the reason why it says nothing about us. A test holds both against the package.

Whole files that do not apply: ``test_handlers`` and ``test_server`` (its Python classes), ``test_main`` (its command line),
``test_lmtp`` (we have no LMTP), ``test_misc`` (a helper of its tests). ``test_proxyprotocol`` and the
five classes about AUTH are not here case by case yet: ``test_receive_proxy`` and ``test_receive_login`` have our own cases of both.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from gateway.outcome import GatewayError, Reason
from tests.receive.gatehouse import House, Pki, house

HELO: Final = ("HELO example.com", "250 gateway.hospital.example")
EHLO: Final = ("EHLO example.com", "250 ")
MAIL: Final = ("MAIL FROM:<cardiology@hospital.example>", "250 2.1.0")
RCPT: Final = ("RCPT TO:<results@laboratory.example>", "250 2.1.5")
DATA: Final = ("DATA", "354")
LINE: Final = "z" * 76 + "\r\n"


@dataclass(frozen=True)
class Case:
    """``steps`` are lines and how the last line of each answer begins; several answers to one line are several strings."""

    name: str
    steps: tuple[tuple[str | bytes, str], ...]
    listener: str = "inside"
    why: str = ""


def mail_from(address: str, said: str, why: str = "", name: str = "TestSMTP.test_mail_valid_address") -> Case:
    return Case(name, (EHLO, (f"MAIL FROM:{address}", said)), "stranger", why)


def rcpt_to(address: str, said: str, why: str = "", name: str = "TestSMTP.test_rcpt_valid_address") -> Case:
    return Case(name, (EHLO, MAIL, (f"RCPT TO:{address}", said)), "inside", why)


NO_HELP: Final = "HELP is not there: it helps whoever looks for a server of a kind (RFC 5321 7.4), and 502 is allowed"
BRACKETS: Final = "RFC 5321 4.1.2: a path stands in angle brackets"
COMMENT: Final = "comments belong to headers (RFC 5322), not to paths (RFC 5321 4.1.2)"
OBSOLETE: Final = "a local part is a Dot-string or one Quoted-string (RFC 5321 4.1.2); the obsolete form of RFC 5322 is none"
LITERAL: Final = "docs/standards.md: no policy and no certificate speaks of an address literal"
LONG: Final = "RFC 5321 4.5.3.1.1 and .3: 64 octets, and 254"
NAMELESS: Final = "RFC 5321 2.3.5: an address has a domain, but for the postmaster's"
BEFORE_TLS: Final = "refused where a mail would begin; what says nothing and does nothing in clear is answered as always"

ADDRESSES: Final = (
    ("<anne@example.com>", "250", ""),
    ("anne@example.com", "501 5.5.4", BRACKETS),
    (" <anne@example.com>", "250", ""),
    ("  <anne@example.com>", "250", ""),
    (" anne@example.com", "501 5.5.4", BRACKETS),
    ("<anne.arthur@example.com>", "250", ""),
    ("<anne+promo@example.com>", "250", ""),
    ("<anne-arthur@example.com>", "250", ""),
    ("<anne_arthur@example.com>", "250", ""),
    ("<_@example.com>", "250", ""),
    ("<anne@127.0.0.1>", "250", ""),
    ("<anne@[127.0.0.1]>", "553 5.1.3", LITERAL),
    ("<anne@[IPv6:2001:db8::1]>", "553 5.1.3", LITERAL),
    ("<anne(comment)@example.com>", "553 5.1.3", COMMENT),
    ("<(comment)anne@example.com>", "553 5.1.3", COMMENT),
    ("<anne@example.com(comment)>", "553 5.1.3", COMMENT),
    ("<@example.org:anne@example.com>", "250", ""),
    ("<@example.net,@example.org:anne@example.com>", "250", ""),
    ("<anne@mail>", "250", ""),
    ('<""@example.com>', "250", ""),
    ('<" "@example.com>', "250", ""),
    ('<"anne..arthur"@example.com>', "250", ""),
    ("<mailhost!anne@example.com>", "250", ""),
    ("<anne%example.org@example.com>", "250", ""),
    ('<much."more\\ unusual"@example.com>', "553 5.1.3", OBSOLETE),
    ("<Fred\\ Bloggs@example.com>", "501 5.5.4", OBSOLETE),
    ('<"Abc@def"@example.com>', "250", ""),
    ('<"Fred Bloggs"@example.com>', "250", ""),
    ("<customer/department=shipping@example.com>", "250", ""),
    ("<$A12345@example.com>", "250", ""),
    ("<!def!xyz%abc@example.com>", "250", ""),
    (f"<{'a' * 65}@example.com>", "553 5.1.3", LONG),
    (f"<{'b' * 488}@example.com>", "553 5.1.3", LONG),
    (f"<{'c' * 500}>", "553 5.1.3", NAMELESS),
)

CASES: Final = (
    *(mail_from(address, said, why) for address, said, why in ADDRESSES),
    *(rcpt_to(address, said, why) for address, said, why in ADDRESSES),
    Case("TestSMTP.test_rcpt_valid_address", (EHLO, ("MAIL FROM:<>", "250"), ("RCPT TO:<Postmaster>", "250")), "stranger"),
    Case(
        "TestProtocol.test_honors_mail_delimiters",
        (HELO, MAIL, RCPT, DATA, (b"test\r\nmail\rdelimiters\nsaved\r\n.\r\n", "554 5.6.0 Bare LF")),
        why="RFC 5321 2.3.8: CR and LF only as CRLF; what is kept as it came, the next server may read as an end",
    ),
    Case("TestProtocol.test_empty_email", (HELO, MAIL, RCPT, DATA, (".", "250 2.0.0"), ("QUIT", "221"))),
    Case("TestSMTP.test_binary", ((b"\x80FAIL\r\n", "500 5.5.2"), (b"\x80 FAIL\r\n", "500 5.5.2"))),
    Case("TestSMTP.test_helo", (HELO,)),
    Case("TestSMTP.test_close_then_continue", ((MAIL[0], "503 5.5.1 Say EHLO first"),)),
    Case("TestSMTP.test_helo_no_hostname", (("HELO", "501 5.5.4"), ("HELO ", "501 5.5.4"))),
    Case("TestSMTP.test_helo_duplicate", (HELO, ("HELO example.org", "250"))),
    Case("TestSMTP.test_ehlo", ((EHLO[0], "250 CHUNKING"),)),
    Case("TestSMTP.test_ehlo_duplicate", (EHLO, ("EHLO example.org", "250"))),
    Case("TestSMTP.test_ehlo_no_hostname", (("EHLO", "501 5.5.4"), ("EHLO ", "501 5.5.4"))),
    Case("TestSMTP.test_helo_then_ehlo", (HELO, EHLO)),
    Case("TestSMTP.test_ehlo_then_helo", (EHLO, HELO)),
    Case("TestSMTP.test_noop", (("NOOP", "250 2.0.0"),)),
    Case("TestSMTP.test_noop_with_arg", (("NOOP ok", "250 2.0.0"),)),
    Case("TestSMTP.test_quit", (("QUIT", "221 2.0.0"),)),
    Case("TestSMTP.test_quit_with_args", (("QUIT oops", "501 5.5.4"), ("NOOP", "250"))),
    Case("TestSMTP.test_help", (("HELP", "502 5.5.1"),), why=NO_HELP),
    Case("TestSMTP.test_help_", (("HELP MAIL", "502 5.5.1"),), why=NO_HELP),
    Case("TestSMTP.test_help_esmtp", (EHLO, ("HELP RCPT", "502 5.5.1")), why=NO_HELP),
    Case("TestSMTP.test_help_bad_arg", (("HELP me!", "502 5.5.1"),), why=NO_HELP),
    Case("TestSMTP.test_expn", (("EXPN anne@example.com", "502 5.5.1"),)),
    Case("TestSMTP.test_no_helo", ((MAIL[0], "503 5.5.1"), (RCPT[0], "503 5.5.1"), (DATA[0], "503 5.5.1"))),
    Case("TestSMTP.test_mail_smtp_errsyntax", (HELO, ("MAIL", "501 5.5.4"), ("MAIL <anne@example.com>", "501 5.5.4"))),
    Case("TestSMTP.test_mail_smtp_errsyntax", (HELO, ("MAIL FROM:", "501 5.5.4"), ("MAIL FROM: A <a@b.example>", "501 5.5.4"))),
    Case(
        "TestSMTP.test_mail_smtp_errsyntax",
        (HELO, (MAIL[0] + " SIZE=10000", "555 5.5.4")),
        why="RFC 5321 4.1.1.11: 555 is for a parameter that is not known here, and after HELO none is",
    ),
    Case("TestSMTP.test_mail_params_esmtp", (EHLO, (MAIL[0] + " SIZE=10000", "250"))),
    Case("TestSMTP.test_mail_params_esmtp", (EHLO, (MAIL[0] + "  SIZE=10000", "250"))),
    Case("TestSMTP.test_mail_params_esmtp", (EHLO, (MAIL[0] + " SIZE=10000 ", "250"))),
    Case("TestSMTP.test_mail_from_twice", (HELO, MAIL, (MAIL[0], "503 5.5.1"))),
    Case("TestSMTP.test_mail_esmtp_errsyntax", (EHLO, (MAIL[0] + " SIZE 10000", "501 5.5.4"), (MAIL[0] + " SIZE", "501 5.5.4"))),
    Case("TestSMTP.test_mail_esmtp_errsyntax", (EHLO, (MAIL[0] + " SIZE = 10000", "501 5.5.4"), MAIL)),
    Case(
        "TestSMTP.test_mail_esmtp_errsyntax",
        (EHLO, (MAIL[0] + " #$%=!@#", "555 5.5.4")),
        why="what is no keyword is no parameter of ours either",
    ),
    Case("TestSMTP.test_mail_esmtp_params_unrecognized", (EHLO, (MAIL[0] + " FOO=BAR", "555 5.5.4"))),
    Case("TestSMTP.test_bpo27931fix_smtp", (HELO, ('MAIL FROM:<""@hospital.example>', "250"), ('RCPT TO:<""@b.example>', "250"))),
    Case(
        "TestSMTP.test_bpo27931fix_esmtp",
        (EHLO, ('MAIL FROM: <""@hospital.example> SIZE=28113', "250"), ('RCPT TO: <""@b.example>', "250")),
    ),
    mail_from("<@example.com>", "553 5.1.3", name="TestSMTP.test_mail_invalid_address"),
    mail_from("<johnathon@>", "553 5.1.3", name="TestSMTP.test_mail_invalid_address"),
    mail_from("<@example.com> SIZE=28113", "553 5.1.3", name="TestSMTP.test_mail_esmtp_invalid_address"),
    mail_from("<johnathon@> SIZE=28113", "553 5.1.3", name="TestSMTP.test_mail_esmtp_invalid_address"),
    rcpt_to("<@example.com>", "553 5.1.3", name="TestSMTP.test_rcpt_invalid_address"),
    rcpt_to("<johnathon@>", "553 5.1.3", name="TestSMTP.test_rcpt_invalid_address"),
    Case("TestSMTP.test_rcpt_no_mail", (HELO, (RCPT[0], "503 5.5.1 Say MAIL first"))),
    Case("TestSMTP.test_rcpt_smtp_errsyntax", (HELO, MAIL, ("RCPT", "501 5.5.4"), ("RCPT <anne@b.example>", "501 5.5.4"))),
    Case(
        "TestSMTP.test_rcpt_smtp_errsyntax", (HELO, MAIL, ("RCPT TO:", "501 5.5.4"), ("RCPT TO: bart <b@b.example>", "501 5.5.4"))
    ),
    Case("TestSMTP.test_rcpt_smtp_errsyntax", (HELO, MAIL, (RCPT[0] + " SIZE=1000", "555 5.5.4")), why="as for MAIL"),
    Case("TestSMTP.test_rcpt_esmtp_errsyntax", (EHLO, MAIL, ("RCPT", "501 5.5.4"), ("RCPT TO:", "501 5.5.4"))),
    Case("TestSMTP.test_rcpt_esmtp_errsyntax", (EHLO, MAIL, (RCPT[0] + " #$%=!@#", "555 5.5.4"), RCPT), why="as for MAIL"),
    Case("TestSMTP.test_rcpt_unknown_params", (EHLO, MAIL, (RCPT[0] + " FOOBAR", "555 5.5.4"))),
    Case("TestSMTP.test_rset", (("RSET", "250 2.0.0"),)),
    Case("TestSMTP.test_rset_with_arg", (("RSET FOO", "501 5.5.4"),)),
    Case("TestSMTP.test_vrfy", (("VRFY <anne@example.com>", "252 2.5.0"),)),
    Case("TestSMTP.test_vrfy_no_arg", (("VRFY", "501 5.5.4"),)),
    Case("TestSMTP.test_vrfy_not_address", (("VRFY @@", "252 2.5.0"),), why="the same to all: it tells nothing of anybody"),
    Case("TestSMTP.test_data_no_rcpt", (HELO, (DATA[0], "503 5.5.1"), MAIL, (DATA[0], "554 5.5.1 No valid recipients"))),
    Case("TestSMTP.test_data_354", (HELO, MAIL, RCPT, ("DATA", "354 End the message with <CRLF>.<CRLF>"))),
    Case("TestSMTP.test_data_invalid_params", (HELO, MAIL, RCPT, ("DATA FOOBAR", "501 5.5.4"), DATA)),
    Case("TestSMTP.test_empty_command", (("", "500 5.5.1"),)),
    Case("TestSMTP.test_too_long_command", (("a" * 2049, "500 5.5.2 Line too long"), ("NOOP", "250"))),
    Case(
        "TestSMTP.test_way_too_long_command",
        (("a" * 1_000_000, "521 5.5.2 Line too long"),),
        why="beyond 16 KiB it is no command of anybody's, and what comes behind is not listened to",
    ),
    Case("TestSMTP.test_unknown_command", (("FOOBAR", "500 5.5.1"),)),
    Case("TestSMTPNonDecoding.test_mail_invalid_body_param", (EHLO, (MAIL[0] + " BODY=FOOBAR", "501 5.5.4"))),
    Case("TestCustomization.test_mail_invalid_body_param", (EHLO, (MAIL[0] + " BODY=FOOBAR", "501 5.5.4"))),
    Case("TestCustomization.test_custom_hostname", (HELO,)),
    Case("TestCustomization.test_limitlocalpart", (EHLO, (f"MAIL FROM:<{'a' * 64}@hospital.example>", "250"))),
    Case("TestCustomization.test_limitlocalpart", (EHLO, MAIL, (f"RCPT TO:<{'b' * 65}@b.example>", "553 5.1.3"))),
    Case("TestSMTPWithController.test_mail_with_size_too_large", (EHLO, (MAIL[0] + " SIZE=1048577", "552 5.3.4"))),
    Case("TestSMTPWithController.test_mail_with_unrequited_smtputf8", (EHLO, MAIL)),
    Case("TestSMTPWithController.test_mail_with_incompatible_smtputf8", (EHLO, (MAIL[0] + " SMTPUTF8=YES", "501 5.5.4"))),
    Case("TestSMTPWithController.test_mail_invalid_body", (EHLO, (MAIL[0] + " BODY 9BIT", "501 5.5.4"))),
    Case(
        "TestSMTPWithController.test_esmtp_no_size_limit",
        (("EHLO example.com", "250 CHUNKING"), (MAIL[0] + " SIZE=99999999999", "552 5.3.4")),
        why="there always is a limit, and it is announced",
    ),
    Case(
        "TestSMTPWithController.test_bad_encodings",
        (EHLO, (b"MAIL FROM:<anne\xff@hospital.example>\r\n", "500 5.5.2 Line is not UTF-8"), MAIL),
        why="RFC 6531 3.3: an address beyond ASCII is UTF-8, and announced by SMTPUTF8",
    ),
    Case(
        "TestSMTPWithController.test_data_line_too_long",
        (HELO, MAIL, RCPT, DATA, ("a" * 5555 + "\r\n" + "a" * 5555 + "\r\n.", "554 5.6.0 Line over 998"), ("NOOP", "250")),
    ),
    Case(
        "TestSMTPWithController.test_long_line_double_count",
        (HELO, MAIL, RCPT, DATA, ("z" * 1_040_000 + "\r\n.", "554 5.6.0 Line over 998"), ("NOOP", "250")),
    ),
    Case(
        "TestSMTPWithController.test_too_long_message_body", (HELO, MAIL, RCPT, DATA, ("\r\n" + LINE * 14_000 + ".", "552 5.3.4"))
    ),
    Case(
        "TestSMTPWithController.test_too_long_body_then_too_long_lines",
        (HELO, MAIL, RCPT, DATA, ("\r\n" + LINE * 22_000 + "a" * 1100 + "\r\n.", "552 5.3.4")),
    ),
    Case(
        "TestSMTPWithController.test_too_long_lines_then_too_long_body",
        (HELO, MAIL, RCPT, DATA, ("\r\n" + "a" * 1100 + "\r\n" + LINE * 14_000 + ".", "554 5.6.0 Line over 998")),
    ),
    Case("TestStrictASCII.test_bad_encoded_param", (EHLO, (b"MAIL FROM: <anne\xff@example.com>\r\n", "500 5.5.2"))),
    Case(
        "TestStrictASCII.test_mail_param",
        (HELO, (MAIL[0] + " SMTPUTF8", "555 5.5.4")),
        why="SMTPUTF8 is always offered, but for HELO, where it is a parameter like any other",
    ),
    Case(
        "TestStrictASCII.test_data",
        (EHLO, MAIL, RCPT, DATA, (b"a: b\r\n\r\n\xff\r\n.\r\n", "250 2.0.0")),
        why="8BITMIME is offered, and old servers send 8 bits without saying so; every byte is kept",
    ),
    Case(
        "TestLimits.test_limit_bogus",
        (*((f"BOGUS{number}", "500 5.5.1") for number in range(4)), ("LASTBOGUS", "421 4.7.0 Too many errors"), (b"", "")),
    ),
    Case(
        "TestLimits.test_all_limit_15",
        (*(("NOOP", "250 2.0.0"),) * 40, ("QUIT", "221")),
        why="only mistakes are counted: pools keep connections with NOOP, and a connection has its share of a worker alone",
    ),
    # test_starttls.py
    Case(
        "TestNoTLS.test_disabled_tls",
        (EHLO, ("STARTTLS", "502 5.5.1")),
        why="RFC 3207 4: 454 is for TLS that was offered and fails for now; this is a command that is not there (RFC 5321 4.2.4)",
    ),
    Case("TestStartTLS.test_help_starttls", (("HELP STARTTLS", "502 5.5.1"),), "secure", NO_HELP),
    Case("TestStartTLS.test_help_after_starttls", (("STARTTLS", "tls"), ("HELP", "502 5.5.1")), "secure", NO_HELP),
    Case("TestStartTLS.test_starttls_arg", (("STARTTLS arg", "501 5.5.4"),), "secure"),
    Case("TestStartTLS.test_tls_bad_syntax", (EHLO, ("STARTTLS TRUE", "501 5.5.4"), ("STARTTLS", "tls")), "secure"),
    Case("TestStartTLS.test_starttls", (EHLO, ("STARTTLS", "tls"), EHLO, MAIL, RCPT, DATA, ("hi\r\n.", "250 2.0.0")), "secure"),
    Case("TestStartTLS.test_starttls_quit", (EHLO, ("STARTTLS", "tls"), ("QUIT", "221"), (b"", "")), "secure"),
    Case("TestStartTLS.test_helo_starttls", (HELO, ("STARTTLS", "tls")), "secure"),
    Case("TestTLSForgetsSessionData.test_forget_ehlo", (EHLO, ("STARTTLS", "tls"), (MAIL[0], "503 5.5.1")), "secure"),
    Case("TestTLSForgetsSessionData.test_forget_mail", (EHLO, MAIL, ("STARTTLS", "tls"), EHLO, (RCPT[0], "503 5.5.1")), "secure"),
    Case(
        "TestTLSForgetsSessionData.test_forget_rcpt",
        (EHLO, MAIL, RCPT, ("STARTTLS", "tls"), EHLO, MAIL, (DATA[0], "554 5.5.1")),
        "secure",
    ),
    Case("TestRequireTLS.test_helo_fails", (HELO, ("MAIL FROM:<a@laboratory.example>", "530 5.7.0")), "zone-starttls", BEFORE_TLS),
    Case("TestRequireTLS.test_help_fails", (("HELP HELO", "502 5.5.1"),), "zone-starttls", NO_HELP),
    Case("TestRequireTLS.test_ehlo", ((EHLO[0], "250 STARTTLS"),), "zone-starttls"),
    Case("TestRequireTLS.test_mail_fails", (EHLO, ("MAIL FROM:<a@laboratory.example>", "530 5.7.0")), "zone-starttls"),
    Case("TestRequireTLS.test_rcpt_fails", (EHLO, ("RCPT TO:<a@hospital.example>", "503 5.5.1")), "zone-starttls", BEFORE_TLS),
    Case("TestRequireTLS.test_vrfy_fails", (EHLO, ("VRFY a", "252 2.5.0")), "zone-starttls", BEFORE_TLS),
    Case("TestRequireTLS.test_data_fails", (EHLO, ("DATA", "503 5.5.1")), "zone-starttls", BEFORE_TLS),
    Case("TestRequireTLS.test_noop_okay", (EHLO, ("NOOP", "250 2.0.0")), "zone-starttls"),
    Case("TestRequireTLS.test_quit_okay", (EHLO, ("QUIT", "221 2.0.0")), "zone-starttls"),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.name}" for number, case in enumerate(CASES)])
async def test_case(tmp_path: Path, pki: Pki, case: Case) -> None:
    async with house(tmp_path, pki) as gatehouse, gatehouse.client(case.listener, greeted=False) as client:
        assert await client.reply() == "220 gateway.hospital.example ESMTP"
        for line, said in case.steps:
            await client.send(line if isinstance(line, bytes) else line.encode() + b"\r\n")
            heard = (await client.reply()).split("\n")[-1]
            if said == "tls":
                assert heard == "220 2.0.0 Ready for TLS"
                await client.writer.start_tls(
                    gatehouse.client_tls(gatehouse.pki.laboratory), server_hostname="gateway.hospital.example"
                )
            else:
                assert heard.startswith(said), (line[:80], heard)
                assert said or not heard


# What a table of lines cannot say

Story = Callable[[House], Awaitable[None]]
STORIES: Final[dict[str, Story]] = {}


def story(*names: str) -> Callable[[Story], Story]:
    def keep(told: Story) -> Story:
        STORIES.update((name, told) for name in names)
        return told

    return keep


@story("TestResetCommands.test_helo", "TestResetCommands.test_ehlo", "TestResetCommands.test_rset")
async def _what_was_said_before_a_reset_is_forgotten(gatehouse: House) -> None:
    for reset in ("HELO example.com", "EHLO example.com", "RSET"):
        async with gatehouse.client() as client:
            await client.mail(recipient="bart@b.example")
            await client.ask("RCPT TO:<cate@b.example>")
            assert (await client.ask(reset)).startswith("250")
            await client.mail("dave@hospital.example", "elle@b.example")
            await client.data(b".\r\n")
        envelope = gatehouse.spool.accepted[-1].envelope
        assert (str(envelope.sender), [str(each.address) for each in envelope.recipients]) == (
            "dave@hospital.example",
            ["elle@b.example"],
        )


@story("TestSMTPWithController.test_mail_with_compatible_smtputf8")
async def _addresses_beyond_ascii_are_kept(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.mail("anne\u00cb@hospital.example", "bart\u00cb@b.example", " SMTPUTF8")
        assert (await client.data(b".\r\n")).startswith("250 ")
    envelope = gatehouse.spool.accepted[0].envelope
    assert (str(envelope.sender), str(envelope.recipients[0].address)) == ("anne\u00cb@hospital.example", "bart\u00cb@b.example")


@story("TestSMTPWithController.test_dots_escaped")
async def _a_dot_is_taken_from_the_start_of_a_line(gatehouse: House) -> None:
    async with gatehouse.client() as client:
        await client.mail()
        await client.data(b"Test\r\n..\r\nmail\r\n.\r\n")
    assert gatehouse.spool.bodies.kept[0].endswith(b"\r\nTest\r\n.\r\nmail\r\n")


@story("TestSMTPWithController.test_process_message_error")
async def _a_message_that_cannot_be_kept_is_put_off(gatehouse: House) -> None:
    gatehouse.spool.failure = GatewayError(Reason.SPOOL_UNAVAILABLE, "why is private")
    async with gatehouse.client() as client:
        await client.mail()
        assert await client.data(b".\r\n") == "451 4.3.0 Cannot store mail now"
        assert (await client.ask("NOOP")).startswith("250 ")


@story(
    "TestSMTPWithController.test_unexpected_errors",
    "TestSMTPWithController.test_unexpected_errors_unhandled",
    "TestSMTPWithController.test_unexpected_errors_custom_response",
    "TestSMTPWithController.test_exception_handler_exception",
    "TestSMTPWithController.test_exception_handler_undescribable",
    "TestSMTPWithController.test_exception_handler_multiple_connections_lost",
)
async def _a_fault_of_ours_is_later_and_says_nothing_and_ends_no_other_session(gatehouse: House) -> None:
    """Theirs is a 500 with the text of the exception: that would bounce the mail, and may quote it."""
    async with gatehouse.client("stranger") as other, gatehouse.client("stranger") as client:
        await client.mail("anne@b.example", "cardiology@hospital.example")
        assert await client.ask("RCPT TO:<broken@hospital.example>") == "451 4.3.0 Internal error, try again later"
        assert await client.reply() == ""
        assert (await other.mail("alice@b.example", "cardiology@hospital.example")).startswith("250 ")


@story("TestSMTPWithController.test_too_long_body_delay_error", "TestSMTPWithController.test_too_long_line_delay_error")
async def _a_message_is_refused_at_its_end_and_not_before(gatehouse: House) -> None:
    for content, said in (("\r\n" + LINE * 14_000, "552 5.3.4"), ("a" * 1001, "554 5.6.0")):
        async with gatehouse.client() as client:
            await client.mail()
            await client.ask("DATA")
            await client.send(content.encode())
            answer = asyncio.ensure_future(client.reply())
            assert not (await asyncio.wait([answer], timeout=0.05))[0]
            await client.send(b"\r\n.\r\n")
            assert (await answer).startswith(said)


@story("TestCustomization.test_default_greeting")
async def _the_greeting_names_the_host_and_no_software(gatehouse: House) -> None:
    async with gatehouse.client(greeted=False) as client:
        assert await client.reply() == "220 gateway.hospital.example ESMTP"


HANGING_UP: Final = {
    "TestClientCrash.test_connection_reset_during_DATA": ("DATA", b"From: <anne@example.com>", True),
    "TestClientCrash.test_connection_reset_during_command": ("NOOP", b"MAIL FROM: <anne", True),
    "TestClientCrash.test_connection_reset_in_long_command": ("NOOP", b"F" + b"O" * 5555, True),
    "TestClientCrash.test_close_in_command": ("NOOP", b"FOO", False),
    "TestClientCrash.test_close_in_command_2": ("RSET", b"FOO", False),
    "TestClientCrash.test_close_in_long_command": ("NOOP", b"F" + b"O" * 5555, False),
    "TestClientCrash.test_close_in_data": ("DATA", b"FOO", False),
}


@story(*HANGING_UP)
async def _a_client_that_hangs_up_leaves_nothing_and_harms_nobody(gatehouse: House) -> None:
    for last, unfinished, reset in HANGING_UP.values():
        async with gatehouse.client() as client:
            await client.mail()
            await client.ask(last)
            await client.send(unfinished)
            if reset:
                raw: socket.socket = client.writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
    async with gatehouse.client() as client:
        assert (await client.ask("NOOP")).startswith("250 ")
    await gatehouse.stop()
    assert not gatehouse.spool.accepted
    assert not gatehouse.spool.bodies.kept


@story("TestClientCrash.test_sockclose_after_helo", "TestSleepingHandler.test_close_after_helo")
async def _a_client_that_will_say_no_more_hears_the_rest(gatehouse: House) -> None:
    """Theirs closes at once; a half-closed connection still has a reader (RFC 9293 3.6)."""
    async with gatehouse.client(greeted=False) as client:
        await client.send(b"HELO example.com\r\n")
        client.writer.write_eof()
        assert [line[:3] for line in (await client.reader.read()).split(b"\r\n")] == [b"220", b"250", b""]


@story("TestStrictASCII.test_ehlo", "TestCustomization.test_custom_greeting")
async def _what_is_offered_does_not_depend_on_settings(gatehouse: House) -> None:
    """There is no switch for SMTPUTF8 and none for the greeting."""
    async with gatehouse.client() as client:
        assert "250-SMTPUTF8" in (await client.ask("EHLO example.com")).split("\n")


@story("TestTimeout.test_timeout")
async def _silence_ends_with_a_word(gatehouse: House) -> None:
    limits = gatehouse.config.limits.model_copy(update={"command_seconds": 0.05})
    gatehouse.config = gatehouse.config.model_copy(update={"limits": limits})
    async with gatehouse.client() as client:
        assert await client.reply() == "421 4.4.2 Too slow"
        assert await client.reply() == ""


@story("TestStartTLS.test_failed_handshake", "TestTLSEnding.test_tls_handshake_failing", "TestTLSEnding.test_eof_received")
async def _a_handshake_that_fails_ends_the_connection(gatehouse: House) -> None:
    """Theirs may go on in clear with 554; nothing that is said after a failed handshake can be believed (RFC 3207 4)."""
    for sent in (b"SOMEFAILINGHANDSHAKE\r\n", b""):
        async with gatehouse.client("secure") as client:
            assert (await client.ask("STARTTLS")).startswith("220 ")
            await client.send(sent)
            client.writer.write_eof()
            assert (await client.reader.read())[:1] in (b"", b"\x15")


@story("TestStartTLS.test_tls_handshake_stopcontroller")
async def _stopping_does_not_wait_for_a_handshake(gatehouse: House) -> None:
    async with gatehouse.client("secure") as client:
        assert (await client.ask("STARTTLS")).startswith("220 ")
        stopping = asyncio.create_task(gatehouse.stop())
        client.writer.write_eof()
        assert b"250" not in await client.reader.read()
        await stopping


@story("TestSMTPS.test_smtps")
async def _a_mail_under_implicit_tls(gatehouse: House) -> None:
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
        await client.mail("results@laboratory.example", "cardiology@hospital.example")
        assert (await client.data(b"hi\r\n.\r\n")).startswith("250 ")
    assert str(gatehouse.spool.accepted[0].envelope.sender) == "results@laboratory.example"


@story("TestSmuggling.test_smtp_smuggling")
async def _a_false_end_is_refused(gatehouse: House) -> None:
    """Theirs keeps it as content; one of fifteen in tests/smtp/test_smuggling.py."""
    async with gatehouse.client() as client:
        await client.mail()
        assert await client.data(b"a: b\r\n\r\nTesting\n.\r\nNO SMUGGLING\r\n.\r\n") == "554 5.6.0 Bare LF in the message"
    assert not gatehouse.spool.accepted


@pytest.mark.parametrize("name", STORIES)
async def test_story(gatehouse: House, name: str) -> None:
    await STORIES[name](gatehouse)


NO_AUTH: Final = "AUTH has cases of its own (test_receive_login, test_smtp_sasl); these ask for a server where anybody may log in"

# Names, or whole classes, of its tests that say nothing about us
NOT_OURS: Final = {
    "TestSMTPWithController.test_long_line_leak": "replaces a variable inside aiosmtpd",
    "TestLimits.test_limit_wrong_type": "types of a Python constructor; ours are checked by gateway.config",
    "TestLimits.test_limit_wrong_value_type": "the same",
    "TestLimits.test_different_limits": "budgets by verb; see test_all_limit_15",
    "TestLimits.test_different_limits_custom_default": "the same",
    "TestSMTPAuth": NO_AUTH,
    "TestAuthMechanisms": NO_AUTH,
    "TestAuthenticator": NO_AUTH,
    "TestRequiredAuthentication": NO_AUTH,
    "TestRequireTLSAUTH": NO_AUTH,
    "TestAuthArgs": "warnings and logs of a Python constructor",
    "TestSanitize": "the repr of Python classes that hold passwords; we have none",
    "TestTLSContext": "warnings about a Python TLS context; ours is made by gateway.edge.tls",
}
FILES: Final = ("test_smtp", "test_starttls", "test_smtps", "test_smtpsmuggling")


def asked() -> set[str]:
    """``Class.test`` of each of its tests in ``FILES``."""
    found = importlib.util.find_spec("aiosmtpd.tests")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    return {
        f"{node.name}.{test.name}"
        for file in FILES
        for node in ast.parse((folder / f"{file}.py").read_text()).body
        if isinstance(node, ast.ClassDef)
        for test in node.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    }


def test_each_of_its_tests_is_answered_or_said_not_to_apply() -> None:
    names = asked()
    answered = {case.name for case in CASES} | set(STORIES)
    apart = {name for name in names for ours in NOT_OURS if name == ours or name.startswith(f"{ours}.")}
    assert len(names) > 180
    assert answered <= names
    assert not answered & apart
    assert names - answered - apart == set()
    assert all(any(name == ours or name.startswith(f"{ours}.") for name in names) for ours in NOT_OURS)
