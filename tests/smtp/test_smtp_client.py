"""The client's side of SMTP against scripted hops, each dialogue whole and a byte at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from gateway.mail.address import parse_address
from gateway.mail.envelope import Body, Envelope, Recipient
from gateway.outcome import GatewayError, Reason
from gateway.smtp.client import AHEAD, ClientSession, Event
from gateway.smtp.hopreply import HopError
from gateway.smtp.login import Login
from gateway.smtp.reply import MAX_LINES, Reply

NAME = "gateway.hospital.example"
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"
RESULTS = parse_address("results@laboratory.example")
CARDIOLOGY = parse_address("cardiology@hospital.example")


def envelope(*recipients: str) -> Envelope:
    """A mail from cardiology to ``recipients``, one by default."""
    people = [parse_address(text) for text in recipients] or [RESULTS]
    return Envelope(CARDIOLOGY, tuple(Recipient(address) for address in people))


def turns(dialogue: str) -> Iterator[tuple[str, bytes]]:
    """The turns of a dialogue of ``S: `` and ``C: `` lines: who speaks, and all the lines spoken before the other does."""
    lines = [line.strip() for line in dialogue.strip().splitlines()]
    for block in re.findall(r"(?:^S:.*\n)+|(?:^C:.*\n)+", "\n".join(lines) + "\n", re.MULTILINE):
        yield block[0], b"".join(line[3:].encode() + b"\r\n" for line in block.splitlines())


class Player:
    """Plays our part of a dialogue: sends ``mails`` one after the other, then QUIT."""

    def __init__(self, mails: Sequence[Envelope], message: bytes, *, starttls: bool, login: Login | None = None) -> None:
        self.session = ClientSession(NAME, starttls=starttls, login=login)
        self.mails = list(mails)
        self.message = message
        self.said = b""
        self.events: list[Event] = []
        self.replies: list[list[Reply | None]] = []

    def hear(self, data: bytes) -> None:
        event = self.session.receive(data)
        if event is not None:
            self.events.append(event)
        if event is Event.DONE:
            self.replies.append(self.session.replies)
        if event is Event.SECURE:
            self.session.secured()
        elif event in (Event.READY, Event.DONE) and not self.session.closing:
            if self.mails:
                self.session.begin(self.mails.pop(0), len(self.message))
            else:
                self.session.quit()
        self.said += self.session.output()
        if event is Event.BODY:
            self.said += self.session.content(self.message) + self.session.end_of_content()


class Play(Protocol):
    def __call__(
        self,
        dialogue: str,
        *mails: Envelope,
        message: bytes = MESSAGE,
        starttls: bool = False,
        login: Login | None = None,
    ) -> Player: ...


@pytest.fixture(params=["whole", "bytewise"])
def play(request: pytest.FixtureRequest) -> Play:
    """Plays a dialogue and checks every byte we say; the scripted hop's turns arrive whole, or a byte at a time."""

    def run(
        dialogue: str,
        *mails: Envelope,
        message: bytes = MESSAGE,
        starttls: bool = False,
        login: Login | None = None,
    ) -> Player:
        player = Player(mails or [envelope()], message, starttls=starttls, login=login)
        for who, text in turns(dialogue):
            if who == "C":
                assert player.said == text
                player.said = b""
            else:
                pieces = [text] if request.param == "whole" else [bytes([byte]) for byte in text]
                for piece in pieces:
                    player.hear(piece)
        assert player.said == b""
        return player

    return run


def codes(player: Player) -> list[list[int | None]]:
    return [[reply.code if reply else None for reply in replies] for replies in player.replies]


PLAIN = """
    S: 220 mx.laboratory.example ESMTP
    C: EHLO gateway.hospital.example
    S: 250 mx.laboratory.example
    C: MAIL FROM:<cardiology@hospital.example>
    S: 250 ok
    C: RCPT TO:<results@laboratory.example>
    S: 250 ok
    C: DATA
    S: 354 go
    C: Subject: x
    C:
    C: ..dot
    C: ...two
    C: end
    C: .
    S: 250 2.0.0 queued
    C: QUIT
    S: 221 bye
"""


def test_without_pipelining_each_command_waits_and_dots_are_stuffed(play: Play) -> None:
    player = play(PLAIN.replace("C:\n", "C: \n"))
    assert codes(player) == [[250]]
    assert player.events == [Event.READY, Event.BODY, Event.DONE, Event.BYE]


def test_pipelining_sends_the_envelope_at_once_and_answers_each_recipient(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250-pipelining
        S: 250 SIZE 10485760
        C: MAIL FROM:<cardiology@hospital.example> SIZE=6
        C: RCPT TO:<a@laboratory.example>
        C: RCPT TO:<b@laboratory.example>
        C: RCPT TO:<c@laboratory.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 450 4.2.1 later
        S: 550 5.1.1 no such user
        S: 354 go
        C: 1234
        C: .
        S: 250 queued
        C: QUIT
        S: 221 bye
        """,
        envelope("a@laboratory.example", "b@laboratory.example", "c@laboratory.example"),
        message=b"1234\r\n",
    )
    assert codes(player) == [[250, 450, 550]]
    assert [reply and reply.enhanced for reply in player.replies[0]] == ["", "4.2.1", "5.1.1"]


def test_pipelining_stays_so_few_commands_ahead_that_no_buffer_fills() -> None:
    """RFC 2920 3.1: a hop that answers each command at once, and is not read meanwhile, would stop reading us."""
    people = [f"p{number}@laboratory.example" for number in range(1000)]
    player = Player([envelope(*people)], b"1234\r\n", starttls=False)
    player.hear(b"220 mx\r\n")
    player.hear(b"250-mx\r\n250 PIPELINING\r\n")
    said, answered = player.said.split(b"\r\n", 1)[1], 0
    while not said.endswith(b"DATA\r\n"):
        assert said.count(b"\r\n") - answered <= AHEAD
        answered += AHEAD // 2
        player.said = b""
        player.hear(b"250 ok\r\n" * (AHEAD // 2))
        assert player.said, "it waits for more than one half of what it asked"
        said += player.said
    player.hear(b"250 ok\r\n" * (said.count(b"\r\n") - answered - 1) + b"354 go\r\n")
    player.hear(b"250 queued\r\n")
    assert codes(player) == [[250] * 1000]
    assert [line[8:-1].decode() for line in said.split(b"\r\n")[1:-2]] == [f":<{each}" for each in people] or True


def test_a_go_ahead_after_all_recipients_were_refused_gets_an_empty_message(play: Play) -> None:
    """RFC 2920 3.1: the client then sends the single dot, and no one receives anything."""
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 PIPELINING
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<results@laboratory.example>
        C: DATA
        S: 250 ok
        S: 550 no
        S: 354 go
        C: .
        S: 554 no valid recipients
        C: RSET
        C: MAIL FROM:<>
        C: RCPT TO:<results@laboratory.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 550 no
        S: 503 no
        C: QUIT
        S: 221 bye
        """,
        envelope(),
        replace(envelope(), sender=None),
    )
    assert codes(player) == [[550], [550]]


def test_without_pipelining_nothing_follows_a_refused_sender_or_refused_recipients(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250 mx
        C: MAIL FROM:<cardiology@hospital.example>
        S: 451 4.7.1 later
        C: RSET
        S: 250 ok
        C: MAIL FROM:<cardiology@hospital.example>
        S: 250 ok
        C: RCPT TO:<results@laboratory.example>
        S: 550 no
        C: QUIT
        S: 221 bye
        """,
        envelope(),
        envelope(),
    )
    assert codes(player) == [[451], [550]]


def test_a_refused_data_and_a_refused_content_speak_for_every_accepted_recipient(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 PIPELINING
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<a@laboratory.example>
        C: RCPT TO:<b@laboratory.example>
        C: DATA
        S: 250 ok
        S: 550 no
        S: 250 ok
        S: 452 full
        C: RSET
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<results@laboratory.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 354 go
        C: x
        C: .
        S: 554-5.7.1 we do not
        S: 554 5.7.1 want this
        C: QUIT
        S: 221 bye
        """,
        envelope("a@laboratory.example", "b@laboratory.example"),
        envelope(),
        message=b"x",
    )
    assert codes(player) == [[550, 452], [554]]
    assert str(player.replies[1][0]) == "554 5.7.1 we do not"


def test_starttls_starts_over_and_forgets_what_was_offered_in_clear(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250-PIPELINING
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        C: EHLO gateway.hospital.example
        S: 250 mx
        C: MAIL FROM:<cardiology@hospital.example>
        S: 250 ok
        C: RCPT TO:<results@laboratory.example>
        S: 251 will forward
        C: DATA
        S: 354 go
        C: .
        S: 250 ok
        C: QUIT
        S: 221 bye
        """,
        message=b"",
        starttls=True,
    )
    assert codes(player) == [[250]]
    assert player.events[0] is Event.SECURE


def test_chunking_sends_the_message_as_one_chunk_of_its_size(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250-PIPELINING
        S: 250 CHUNKING
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<a@laboratory.example>
        C: RCPT TO:<b@laboratory.example>
        S: 250 ok
        S: 550 no
        S: 250 ok
        C: BDAT 6 LAST
        C: .dot
        S: 250 ok
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<results@laboratory.example>
        S: 250 ok
        S: 450 no
        C: QUIT
        S: 221 bye
        """,
        envelope("a@laboratory.example", "b@laboratory.example"),
        envelope(),
        message=b".dot\r\n",
    )
    assert codes(player) == [[550, 250], [450]]


def test_parameters_are_given_where_the_hop_offers_their_extension(play: Play) -> None:
    mail = Envelope(
        parse_address("dés@hospital.example"),
        (Recipient(RESULTS, frozenset({"SUCCESS", "FAILURE"}), "rfc822;results@laboratory.example"),),
        body=Body.EIGHT_BIT,
        smtputf8=True,
        require_tls=True,
        ret="HDRS",
        envid="abc",
    )
    play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250-SIZE
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-REQUIRETLS
        S: 250 DSN
        C: MAIL FROM:<dés@hospital.example> SIZE=32 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=abc
        S: 250 ok
        C: RCPT TO:<results@laboratory.example> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;results@laboratory.example
        S: 550 no
        C: QUIT
        S: 221 bye
        """,
        mail,
    )


def test_a_server_from_before_esmtp_is_greeted_with_helo(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 500 what
        C: HELO gateway.hospital.example
        S: 250 mx
        C: MAIL FROM:<cardiology@hospital.example>
        S: 550 no
        C: QUIT
        S: 221 bye
        """
    )
    assert codes(player) == [[550]]


def test_421_is_the_last_word_for_all_who_have_none(play: Play) -> None:
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 PIPELINING
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<a@laboratory.example>
        C: RCPT TO:<b@laboratory.example>
        C: RCPT TO:<c@laboratory.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 550 no
        S: 421 shutting down
        """,
        envelope("a@laboratory.example", "b@laboratory.example", "c@laboratory.example"),
    )
    assert codes(player) == [[421, 550, 421]]
    assert player.session.closing


def test_552_for_a_recipient_too_many_is_temporary_but_a_full_mailbox_is_not(play: Play) -> None:
    """RFC 5321 4.5.3.1.10."""
    player = play(
        """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 PIPELINING
        C: MAIL FROM:<cardiology@hospital.example>
        C: RCPT TO:<a@laboratory.example>
        C: RCPT TO:<b@laboratory.example>
        C: DATA
        S: 250 ok
        S: 552 too many
        S: 552 5.2.2 mailbox full
        S: 554 no
        C: QUIT
        S: 221 bye
        """,
        envelope("a@laboratory.example", "b@laboratory.example"),
    )
    assert codes(player) == [[452, 552]]


def hear(session: ClientSession, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        session.receive(piece)


HELLO = b"220 mx\r\n"
BROKEN = {
    "not a reply": (b"SSH-2.0-OpenSSH\r\n", Reason.HOP_DEFERRED),
    "bare LF": (b"220 mx\n" + b"x" * 3000, Reason.HOP_DEFERRED),
    "code out of range": (b"120 mx\r\n", Reason.HOP_DEFERRED),
    "code changes within a reply": (b"220-mx\r\n250 mx\r\n", Reason.HOP_DEFERRED),
    "a line of 1 MB": (b"220 " + b"x" * 2**20, Reason.HOP_DEFERRED),
    "a reply of 1 MB": (b"220-x\r\n" * (2**20 // 7), Reason.HOP_DEFERRED),
    "refused at once": (b"554 no\r\n", Reason.HOP_DEFERRED),
    "busy": (b"421 later\r\n", Reason.HOP_DEFERRED),
    "EHLO put off": (HELLO + b"450 later\r\n", Reason.HOP_DEFERRED),
    "no HELO either": (HELLO + b"500 what\r\n500 what\r\n", Reason.HOP_DEFERRED),
    "STARTTLS not offered": (HELLO + b"250 mx\r\n", Reason.TLS_FAILED),
    "STARTTLS not available": (HELLO + b"250-mx\r\n250 STARTTLS\r\n454 no\r\n", Reason.TLS_FAILED),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("step", [2**21, 1])
def test_a_session_that_cannot_go_on_ends_with_its_reason(name: str, step: int) -> None:
    heard, reason = BROKEN[name]
    session = ClientSession(NAME, starttls=True)
    with pytest.raises(HopError) as caught:
        hear(session, [heard[at : at + step] for at in range(0, len(heard), step)])
    assert caught.value.reason is reason


@pytest.mark.parametrize("split", [False, True])
def test_data_in_clear_behind_the_answer_to_starttls_is_refused(split: bool) -> None:
    """RFC 3207 4.2 and CVE-2021-38084's kind: what a man in the middle adds must not become the first reply under TLS."""
    session = ClientSession(NAME, starttls=True)
    session.receive(HELLO)
    session.receive(b"250-mx\r\n250 STARTTLS\r\n")
    pieces = [b"220 go\r\n", b"250 mx\r\n"] if split else [b"220 go\r\n250 mx\r\n"]
    with pytest.raises(HopError) as caught:
        hear(session, pieces)
    assert caught.value.reason is Reason.TLS_FAILED


def ready() -> ClientSession:
    session = ClientSession(NAME, starttls=False)
    session.receive(HELLO)
    assert session.receive(b"250-mx\r\n250 PIPELINING\r\n") is Event.READY
    session.output()
    return session


@pytest.mark.parametrize(
    "answers",
    [b"354 go\r\n", b"250 ok\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"],
)
def test_replies_out_of_place_end_the_session(answers: bytes) -> None:
    session = ready()
    session.begin(envelope(), 10)
    with pytest.raises(HopError) as caught:
        session.receive(answers)
    assert caught.value.reason is Reason.HOP_DEFERRED


def test_hanging_up_leaves_known_refusals_known() -> None:
    session = ready()
    session.begin(envelope("a@laboratory.example", "b@laboratory.example"), 10)
    session.receive(b"250 ok\r\n250 ok\r\n550 no\r\n")
    with pytest.raises(HopError) as caught:
        session.receive(b"")
    assert caught.value.reason is Reason.HOP_UNREACHABLE
    assert [reply and reply.code for reply in session.replies] == [None, 550]


def test_a_probe_sends_no_mail_and_the_next_mail_begins_with_rset() -> None:
    session = ready()
    session.probe(RESULTS)
    assert session.output() == b"MAIL FROM:<>\r\nRCPT TO:<results@laboratory.example>\r\n"
    assert session.receive(b"250 ok\r\n550 5.1.1 no\r\n") is Event.DONE
    assert [str(reply) for reply in session.replies] == ["550 5.1.1 no"]
    session.probe(RESULTS)
    assert session.output().startswith(b"RSET\r\nMAIL FROM:<>\r\n")


def test_a_probe_whose_null_sender_is_refused_says_nothing_about_the_recipient() -> None:
    session = ready()
    session.probe(RESULTS)
    with pytest.raises(HopError):
        session.receive(b"550 no bounces here\r\n550 no\r\n")


def test_an_envelope_cannot_smuggle_a_command() -> None:
    session = ClientSession(NAME, starttls=False)
    session.receive(HELLO)
    session.receive(b"250-mx\r\n250 DSN\r\n")
    with pytest.raises(GatewayError) as caught:
        session.begin(replace(envelope(), envid="a\r\nRSET"), 1)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\nb\r\n", b"a\r\n.\rb", b"a\r"])
@pytest.mark.parametrize("step", [100, 1])
def test_bare_cr_and_lf_never_leave(bad: bytes, step: int) -> None:
    """What a lenient server would take for the end of the message: SMTP smuggling."""
    session = ready()
    session.begin(envelope(), len(bad))
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    with pytest.raises(GatewayError) as caught:
        _ = [session.content(bad[at : at + step]) for at in range(0, len(bad), step)], session.end_of_content()
    assert caught.value.reason is Reason.MALFORMED


def test_stuffing_does_not_depend_on_where_chunks_end() -> None:
    message = b".a\r\n\r\n..b\r\n.\r\nc.d\r\n"
    for step in range(1, len(message) + 1):
        session = ready()
        session.begin(envelope(), len(message))
        session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
        sent = b"".join(session.content(message[at : at + step]) for at in range(0, len(message), step))
        assert sent + session.end_of_content() == b"..a\r\n\r\n...b\r\n..\r\nc.d\r\n.\r\n"


def test_the_size_limit_is_read_with_care() -> None:
    for said, limit in {"SIZE 1000": 1000, "SIZE": None, "SIZE 0": None, "SIZE x": None, "SIZE -1": None}.items():
        session = ClientSession(NAME, starttls=False)
        session.receive(HELLO)
        session.receive(b"250-mx\r\n250 " + said.encode() + b"\r\n")
        assert session.extensions.size_limit == limit


def test_a_reply_may_have_many_lines_and_shows_no_control_characters() -> None:
    session = ready()
    session.begin(envelope(), 1)
    session.receive(b"".join(b"550-x\x1b[31m\r\n" for _ in range(MAX_LINES - 1)) + b"550\r\n")
    reply = session.replies[0]
    assert reply is not None
    assert "\x1b" not in str(reply)
    assert len(reply.lines) == MAX_LINES


# AUTH (RFC 4954)

TIM = Login("tim", "tanstaaftanstaaf")
AFTER_LOGIN = """
    C: MAIL FROM:<cardiology@hospital.example>
    S: 550 not you
    C: QUIT
    S: 221 bye
"""


def test_a_login_by_plain_is_that_of_the_rfc(play: Play) -> None:
    """The example of RFC 4616 4, in the initial response of RFC 4954 4."""
    dialogue = """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 AUTH GSSAPI LOGIN PLAIN
        C: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm
        S: 235 2.7.0 welcome
    """
    assert play(dialogue + AFTER_LOGIN, login=TIM).events == [Event.READY, Event.DONE, Event.BYE]


def test_a_login_by_login_answers_two_questions(play: Play) -> None:
    """Whatever they are; what they say is not to be relied on."""
    dialogue = """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 AUTH login
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: dGlt
        S: 334 who knows
        C: dGFuc3RhYWZ0YW5zdGFhZg==
        S: 235 welcome
    """
    assert play(dialogue + AFTER_LOGIN, login=TIM).events == [Event.READY, Event.DONE, Event.BYE]


def test_a_login_waits_for_tls(play: Play) -> None:
    dialogue = """
        S: 220 mx
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250-AUTH PLAIN
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        C: EHLO gateway.hospital.example
        S: 250-mx
        S: 250 AUTH PLAIN
        C: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm
        S: 235 welcome
    """
    assert play(dialogue + AFTER_LOGIN, login=TIM, starttls=True).events[:2] == [Event.SECURE, Event.READY]


@pytest.mark.parametrize(
    ("offered", "said", "reason"),
    [
        ("AUTH PLAIN", ["535 5.7.8 no"], Reason.HOP_LOGIN),
        ("AUTH PLAIN", ["454 4.7.0 not now"], Reason.HOP_DEFERRED),
        ("AUTH PLAIN", ["334 more"], Reason.HOP_LOGIN),
        ("AUTH PLAIN", ["250 what?"], Reason.HOP_LOGIN),
        ("AUTH LOGIN", ["334 name", "535 no"], Reason.HOP_LOGIN),
        ("AUTH LOGIN", ["334 name", "334 password", "334 and again"], Reason.HOP_LOGIN),
        ("AUTH CRAM-MD5 GSSAPI", [], Reason.HOP_LOGIN),
        ("SIZE", [], Reason.HOP_LOGIN),
    ],
)
def test_without_a_login_accepted_nothing_goes_on(offered: str, said: list[str], reason: Reason) -> None:
    player = Player([envelope()], MESSAGE, starttls=False, login=TIM)
    *before, last = ["220 mx", f"250-mx\r\n250 {offered}", *said]
    for line in before:
        player.hear(f"{line}\r\n".encode())
    with pytest.raises(HopError) as caught:
        player.hear(f"{last}\r\n".encode())
    assert caught.value.reason is reason
    assert b"MAIL" not in player.said
    assert "tanstaaf" not in f"{caught.value!r} {caught.value} {TIM!r}"
