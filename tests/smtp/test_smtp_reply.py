"""A reply is one value, ours or a peer's."""

import pytest

from gateway.outcome import REASONS, Defer, Reason, Refuse
from gateway.smtp.reply import Reply, ReplyError, parse_line, parse_reply, reply_to


@pytest.mark.parametrize(
    ("code", "enhanced", "lines"),
    [
        (450, "5.1.1", ("no",)),
        (550, "4.1.1", ("no",)),
        (354, "3.0.0", ("go on",)),
        (250, "2.0.00", ("ok",)),
        (199, "", ("ok",)),
        (600, "", ("ok",)),
        (250, "2.0.0", ()),
        (250, "2.0.0", ("ok\r\n250 more",)),
    ],
)
def test_what_disagrees_cannot_be_made(code: int, enhanced: str, lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Reply(code, enhanced, lines)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_reply_for_never_and_for_later(reason: Reason) -> None:
    assert reply_to(Refuse(reason, "private detail")).lines == (REASONS[reason].public,)
    assert reply_to(Defer(reason, "private detail")).transient


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (Refuse(Reason.PEER_UNKNOWN), "550 5.7.1 Peer not in the trust zone"),
        (Refuse(Reason.TLS_REQUIRED), "530 5.7.0 Must issue STARTTLS first"),
        (Refuse(Reason.TOO_LARGE), "552 5.3.4 Message too large"),
        (Refuse(Reason.TOO_MANY), "452 4.5.3 Too many"),
        (Defer(Reason.REVOCATION_UNKNOWN), "451 4.7.5 Certificate revocation cannot be checked now"),
        (Defer(Reason.SPOOL_FULL), "452 4.3.1 Insufficient storage"),
    ],
)
def test_endings_on_the_wire(ending: Refuse | Defer, line: str) -> None:
    assert reply_to(ending).encode() == line.encode() + b"\r\n"


def test_many_lines_repeat_both_codes() -> None:
    reply = Reply(250, "2.1.0", ("one", "two"))
    assert reply.encode() == b"250-2.1.0 one\r\n250 2.1.0 two\r\n"
    assert parse_reply(tuple(reply.encode().split(b"\r\n")[:-1])) == reply


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([b"250"], Reply(250, "", ("",))),
        ([b"250 2.0.0"], Reply(250, "2.0.0", ("",))),
        ([b"220 mail.hospital.example ESMTP"], Reply(220, "", ("mail.hospital.example ESMTP",))),
        ([b"450 5.1.1 confused"], Reply(450, "", ("5.1.1 confused",))),
        ([b"550-5.1.1 one", b"550 5.1.2 two"], Reply(550, "", ("5.1.1 one", "5.1.2 two"))),
        ([b"250-mail.example", b"250-SIZE 1000", b"250 DSN"], Reply(250, "", ("mail.example", "SIZE 1000", "DSN"))),
        ([b"550 5.7.1 \x1b[31mno\xff"], Reply(550, "5.7.1", ("?[31mno\ufffd",))),
        ([b"550 5.7.1 " + b"a" * 5000], Reply(550, "5.7.1", ("a" * 994,))),
    ],
)
def test_a_peers_reply(lines: list[bytes], reply: Reply) -> None:
    assert parse_reply(tuple(lines)) == reply


@pytest.mark.parametrize(
    "lines", [[], [b""], [b"25"], [b"2500 x"], [b"150 x"], [b"250-x"], [b"250 x", b"250 y"], [b"250-x", b"251 y"], [b"250_x"]]
)
def test_what_is_no_reply(lines: list[bytes]) -> None:
    with pytest.raises(ReplyError):
        parse_reply(tuple(lines))


def test_one_line_says_whether_more_follow() -> None:
    assert parse_line(b"250-SIZE") == (250, False, "SIZE")
    assert parse_line(b"250 SIZE") == (250, True, "SIZE")


def test_what_closes_the_connection() -> None:
    assert [code for code in (220, 221, 354, 421, 451, 521, 550) if Reply(code, "", ("x",)).closing] == [221, 421, 521]
