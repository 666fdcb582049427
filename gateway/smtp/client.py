"""The client's side of an SMTP session, sans-io (RFC 5321; RFC 2920 PIPELINING, RFC 3207 STARTTLS, RFC 3030 CHUNKING).

Bytes of the hop go into ``receive``; it answers with the :class:`Event` they bring about, if any. What is to be sent waits in
``output``. The caller's turn is told by the event::

    SECURE  do the TLS handshake, then call ``secured``
    READY   ``begin`` a transaction, ``probe`` a recipient, or ``quit``
    BODY    send ``content(chunk)`` for each chunk of the message, then ``end_of_content()``
    DONE    the transaction has ended: one reply per recipient stands in ``replies``; then as READY
    BYE     close the connection

A hop that breaks the protocol, or hangs up where it must not, ends the session with a :class:`HopError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

from gateway.mail.address import Address
from gateway.mail.envelope import Envelope
from gateway.outcome import GatewayError, Reason
from gateway.smtp.content import ChunkedContent, DotStuffedContent
from gateway.smtp.extensions import Extensions
from gateway.smtp.hopreply import HopError, ReplyReader, final, must_succeed
from gateway.smtp.login import Login, login_lines
from gateway.smtp.reply import Reply


class Event(Enum):
    """What the caller does next."""

    SECURE = auto()
    READY = auto()
    BODY = auto()
    DONE = auto()
    BYE = auto()


Answer = Callable[[Reply], Event | None]


@dataclass(frozen=True, slots=True)
class _Command:
    line: bytes
    answer: Answer


AHEAD: Final = 100  # commands sent before their replies, at most: fewer than fill the buffers between us (RFC 2920 3.1)


class ClientSession:
    """One session. ``name`` is the host name we say in EHLO; ``starttls``: no mail before STARTTLS has succeeded; ``login``: nor
    before the hop has accepted it. Without ``starttls``, a session with a ``login`` must be under TLS from its beginning.
    """

    def __init__(self, name: str, *, starttls: bool, login: Login | None = None) -> None:
        self._name = name
        self._starttls = starttls
        self._login = login
        self._reader = ReplyReader()
        self._output = bytearray()
        self._unsent: deque[_Command] = deque()
        self._expected: deque[Answer] = deque([self._on_greeting])
        self._handshake = self._transaction = self._unfinished = False
        self._accepted: list[int] = []
        self._size = 0
        self._content = ChunkedContent()
        self.extensions = Extensions()
        """What the hop offers; nothing heard before TLS counts after it."""
        self.replies: list[Reply | None] = []
        """One per recipient of the transaction, in its order; None where the hop has not said its last word."""
        self.answered = 0
        """How many whole replies have come in; a deadline watches it grow."""
        self.closing = False
        """Whether the hop has said that it hangs up (421)."""

    # Bytes

    def output(self) -> bytes:
        """What is to be sent now; it is forgotten here."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def receive(self, data: bytes) -> Event | None:
        """Take in what the hop sent, ``b""`` when it has hung up. Raises :class:`HopError`."""
        if not data:
            raise HopError(Reason.HOP_UNREACHABLE, "the next hop hung up")
        if self._handshake:
            raise HopError(Reason.TLS_FAILED, "data in clear after the answer to STARTTLS")
        self._reader.feed(data)
        event: Event | None = None
        while (reply := self._reader.take()) is not None:
            if event is not None:
                raise HopError(Reason.HOP_DEFERRED, f"a reply nobody asked for: {reply}")
            event = self._on_reply(reply)
        return event

    def _on_reply(self, reply: Reply) -> Event | None:
        self.answered += 1
        if reply.code == 421:
            return self._on_closing(reply)
        if not self._expected:
            raise HopError(Reason.HOP_DEFERRED, f"a reply nobody asked for: {reply}")
        event = self._expected.popleft()(reply)
        self._pump()
        return event or self._progress()

    def _on_closing(self, reply: Reply) -> Event:
        self.closing = True
        if not self._transaction:
            raise HopError(Reason.HOP_DEFERRED, str(reply))
        self._settle(reply)
        self._transaction = False
        return Event.DONE

    def _send(self, line: str, answer: Answer) -> None:
        """Queue one command. Raises :class:`GatewayError` (MALFORMED) where a parameter would end the line early."""
        if not line.isprintable():
            raise GatewayError(Reason.MALFORMED, "a control character in the envelope")
        self._unsent.append(_Command(line.encode() + b"\r\n", answer))

    def _pump(self) -> None:
        """Send what may be sent: ``AHEAD`` of the replies with PIPELINING (RFC 2920 3.1), else one command for each reply."""
        while self._unsent and len(self._expected) < (AHEAD if self.extensions.offers("PIPELINING") else 1):
            command = self._unsent.popleft()
            if command.line == b"DATA\r\n" and not self._expected and not self._accepted:
                return  # every recipient was refused: there is nobody to send data for
            self._output += command.line
            self._expected.append(command.answer)

    # Greeting, EHLO, STARTTLS

    def _on_greeting(self, reply: Reply) -> None:
        if reply.code != 220:
            raise HopError(Reason.HOP_DEFERRED, str(reply))
        self._say_hello()

    def _say_hello(self) -> None:
        self.extensions = Extensions()
        self._send(f"EHLO {self._name}", self._on_hello)

    def _on_hello(self, reply: Reply) -> Event | None:
        if reply.permanent:  # a server from before ESMTP (RFC 5321 3.2)
            self._send(f"HELO {self._name}", self._on_old_hello)
            return None
        must_succeed(reply)
        self.extensions = Extensions(reply.lines[1:])
        return self._on_introduced()

    def _on_old_hello(self, reply: Reply) -> Event | None:
        must_succeed(reply)
        return self._on_introduced()

    def _on_introduced(self) -> Event | None:
        if not self._starttls:
            return self._log_in()
        if not self.extensions.offers("STARTTLS"):
            raise HopError(Reason.TLS_FAILED, "the next hop does not offer STARTTLS")
        self.extensions = Extensions()  # nothing heard in clear counts (RFC 3207 4.2)
        self._send("STARTTLS", self._on_starttls)
        return None

    def _on_starttls(self, reply: Reply) -> Event:
        if reply.code != 220:
            raise HopError(Reason.TLS_FAILED, str(reply))
        if self._reader.unread:
            raise HopError(Reason.TLS_FAILED, "data in clear after the answer to STARTTLS")
        self._handshake = True
        return Event.SECURE

    def secured(self) -> None:
        """The TLS handshake after ``SECURE`` has succeeded: the session starts over (RFC 3207 4.2)."""
        self._handshake = self._starttls = False
        self._say_hello()
        self._pump()

    def _log_in(self) -> Event | None:
        if self._login is None:
            return Event.READY
        lines = login_lines(self.extensions.parameter("AUTH"), self._login)
        if not lines:
            raise HopError(Reason.HOP_LOGIN, "the next hop offers neither AUTH PLAIN nor AUTH LOGIN")
        self._send(lines[0], partial(self._on_login, lines[1:]))
        return None

    def _on_login(self, rest: tuple[str, ...], reply: Reply) -> Event | None:
        if reply.code == 334 and rest:
            self._send(rest[0], partial(self._on_login, rest[1:]))
            return None
        if reply.code == 235:
            return Event.READY
        raise HopError(Reason.HOP_DEFERRED if reply.transient else Reason.HOP_LOGIN, str(reply))

    # Transactions

    def begin(self, envelope: Envelope, size: int) -> None:
        """Start a mail of ``size`` bytes. Raises :class:`GatewayError` (MALFORMED) for an envelope no command line can carry.

        Whether the hop can carry the mail (``fit``) is the caller's to ask; parameters whose extension is not offered are left out.
        """
        self._open(len(envelope.recipients), size)
        self._send(self.extensions.mail(envelope, size), self._on_mail)
        for index, recipient in enumerate(envelope.recipients):
            self._send(self.extensions.rcpt(recipient), partial(self._on_rcpt, index))
        if not self.extensions.offers("CHUNKING"):
            self._send("DATA", self._on_data)
        self._pump()

    def probe(self, recipient: Address) -> None:
        """Ask whether the hop takes mail for ``recipient``, and send none: RCPT after a null reverse-path."""
        self._open(1, 0)
        utf8 = " SMTPUTF8" if recipient.needs_smtputf8 else ""
        self._send(f"MAIL FROM:<>{utf8}", must_succeed)
        self._send(f"RCPT TO:<{recipient}>", self._on_probe)
        self._pump()

    def _open(self, recipients: int, size: int) -> None:
        self.replies = [None] * recipients
        self._accepted = []
        self._size = size
        self._transaction = True
        if self._unfinished:
            self._send("RSET", must_succeed)
        self._unfinished = True

    def _on_mail(self, reply: Reply) -> None:
        if not final(reply).done:
            self._settle(reply)
            self._unsent.clear()

    def _on_rcpt(self, index: int, reply: Reply) -> None:
        if self.replies[index] is not None:  # MAIL was refused, and this is only the echo of that
            return
        if final(reply).done:
            self._accepted.append(index)
        elif reply.code == 552 and reply.enhanced in ("", "5.5.3"):
            self.replies[index] = Reply(452, "", reply.lines)  # "too many recipients" of RFC 821 (RFC 5321 4.5.3.1.10)
        else:
            self.replies[index] = reply

    def _on_probe(self, reply: Reply) -> None:
        self.replies[0] = final(reply)

    def _on_data(self, reply: Reply) -> Event | None:
        if reply.code == 354:
            return self._on_go_ahead()
        if reply.code // 100 not in (4, 5):
            raise HopError(Reason.HOP_DEFERRED, f"not an answer to DATA: {reply}")
        self._settle(reply)
        return None

    def _on_go_ahead(self) -> Event | None:
        if not self._accepted:  # DATA was sent along before the refusals were known (RFC 2920 3.1)
            self._output += b".\r\n"
            self._expected.append(lambda _: None)
            return None
        self._content = DotStuffedContent()
        return Event.BODY

    def content(self, chunk: bytes) -> bytes:
        """What to send for ``chunk``, after ``BODY``. Raises :class:`GatewayError` (MALFORMED) for bare CR or LF."""
        return self._content.update(chunk)

    def end_of_content(self) -> bytes:
        """What to send after the last chunk. From here on the hop may have taken responsibility, said or unsaid."""
        self._expected.append(self._on_content)
        return self._content.finalize()

    def _on_content(self, reply: Reply) -> None:
        self._settle(final(reply))
        self._unfinished = not reply.done

    def _settle(self, reply: Reply) -> None:
        """``reply`` is the last word for every recipient that has none."""
        self.replies = [known or reply for known in self.replies]
        self._accepted = []

    def _progress(self) -> Event | None:
        """Where no command is open, the transaction has come to its next stage."""
        if self._expected or not self._transaction:
            return None
        if self._accepted and self.extensions.offers("CHUNKING"):
            # One chunk, the whole message: its size is known, and it streams all the same.
            self._output += b"BDAT %d LAST\r\n" % self._size
            self._content = ChunkedContent()
            return Event.BODY
        self._unsent.clear()
        self._transaction = False
        return Event.DONE

    def quit(self) -> None:
        """Say QUIT; ``BYE`` follows."""
        self._send("QUIT", lambda _: Event.BYE)
        self._pump()
