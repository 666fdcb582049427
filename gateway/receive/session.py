"""One SMTP session as its server (RFC 5321): reads commands, lets ``Transaction`` and ``policy`` decide, answers."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Final

import structlog

from gateway.config.model import Listener, TlsMode
from gateway.edge.password import Passwords
from gateway.edge.tls import ServerContext
from gateway.mail.envelope import Role
from gateway.outcome import Defer, GatewayError, Reason, Refuse
from gateway.policy import Speaker, admit_sender
from gateway.receive import replies
from gateway.receive.authentication import exchanged
from gateway.receive.connection import Connection
from gateway.receive.content import Content, Endless, skip
from gateway.receive.correspondent import Correspondent
from gateway.receive.refusals import Refusals
from gateway.receive.transaction import Transaction, World, message_limit
from gateway.smtp.command import (
    Auth,
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
from gateway.smtp.sasl import MECHANISMS

COMMANDS_IN_A_ROW: Final = 32  # of one pipelining client, before the others have their turn

_EXTENSIONS: Final = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING")
_IN_CLEAR: Final = frozenset((*_EXTENSIONS, "SIZE"))
_UNDER_TLS: Final = _IN_CLEAR | {"REQUIRETLS"}

_log = structlog.get_logger()


class Session:
    """The dialogue on one connection to ``listener``, which ``place`` described when the connection began.

    ``contexts`` holds the TLS context of each listener that has one, ``draining`` is set when no new mail shall begin.
    """

    def __init__(
        self,
        world: World,
        listener: str,
        place: Listener,
        contexts: Mapping[str, ServerContext],
        passwords: Passwords,
        draining: asyncio.Event,
    ) -> None:
        self._world = world
        self._listener = listener
        self._tls = place.tls
        self._contexts = contexts
        self._draining = draining
        self._hello: Hello | None = None
        self._transaction: Transaction | None = None
        self._content: Content | None = None
        self._refusals = Refusals(world, listener)
        self._line = b""  # the command that is being obeyed
        self._messages = 0
        self._logins = False  # as the last EHLO was told
        self._correspondent = Correspondent(world, listener, contexts, self._refusals)
        self._passwords = passwords

    async def talk(self, connection: Connection) -> None:
        """From the greeting to the end. Raises nothing but cancellation."""
        self._refusals.address = connection.address
        try:
            await self._converse(connection)
        except TimeoutError:
            connection.say(self._refusals.command(self._line, replies.SLOW))
        except Endless:
            connection.say(self._refusals.command(self._line, replies.ENDLESS))
        except ConnectionError:
            pass
        except Exception as error:  # whatever it is: the client hears "later", the log where, nobody the mail
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("session failed", error=type(error).__name__, file=place.filename, line=place.lineno)
            connection.say(self._refusals.command(self._line, replies.INTERNAL))
        finally:
            self._reset()

    async def _converse(self, connection: Connection) -> None:
        if self._tls is TlsMode.IMPLICIT:
            await self._correspondent.handshake(connection)
        connection.say(Reply(220, "", (f"{self._world.config().hostname} ESMTP",)))
        for number in count():
            line = await self._next(connection)
            reply = await self._answer(connection, line) if isinstance(line, bytes) else line
            if reply is not None:
                connection.say(reply)
                await connection.heard()
                if reply.closing:
                    return
                if self._messages >= self._world.config().limits.messages:
                    # Here, and not in answer to the next MAIL, which some clients would put off for minutes
                    connection.say(replies.ENOUGH)
                    return
            if number % COMMANDS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    async def _next(self, connection: Connection) -> bytes | Reply:
        """The next command line, or the reply that ends the session in its place."""
        until = None
        while (line := connection.line()) is None:
            self._line = b""
            # A mail whose content has begun comes in; without, an open transaction may be one that a kept connection left behind.
            if self._draining.is_set() and self._content is None:
                return replies.LEAVING
            # For the whole line: octets that drip in would else hold the connection as long as they like
            until = until or connection.after(self._world.config().limits.command_seconds)
            await connection.more(until)
        return line if isinstance(line, bytes) else self._refusals.command(b"", line)

    async def _answer(self, connection: Connection, line: bytes) -> Reply | None:
        self._line = line
        extended = self._hello is not None and self._hello.extended
        offered = (_UNDER_TLS if connection.tls else _IN_CLEAR) if extended else frozenset[str]()
        if extended and self._logins:
            offered |= {"AUTH"}
        begun = self._transaction
        smtputf8, home = (begun.mail.smtputf8, begun.home) if begun is not None else (False, "")
        command = parse_command(line, offered, smtputf8=smtputf8, home=home)
        return self._mistake(command) if isinstance(command, Reply) else await self._obey(connection, command)

    async def _obey(self, connection: Connection, command: Command) -> Reply | None:
        match command:
            case Hello():
                return self._greet(connection, command)
            case MailFrom():
                return await self._mail(connection, command)
            case RcptTo():
                return await self._rcpt(command)
            case Data():
                return await self._data(connection)
            case Bdat():
                return await self._bdat(connection, command)
            case StartTls():
                return await self._start_tls(connection)
            case Auth():
                return await self._auth(connection, command)
            case Reset():
                self._reset()
                return replies.OK
            case Nothing():
                return replies.OK
            case Verify():
                return replies.CANNOT_VERIFY
            case Quit():
                return replies.BYE

    def _greet(self, connection: Connection, hello: Hello) -> Reply:
        self._reset()
        self._hello = hello
        config = self._world.config()
        if not hello.extended:
            return Reply(250, "", (config.hostname,))
        # REQUIRETLS only under TLS (RFC 8689 2)
        secure = ["STARTTLS"] if self._may_start_tls(connection) else ["REQUIRETLS"] if connection.tls else []
        self._logins = bool(connection.tls) and self._correspondent.may_log_in(connection, config)
        if self._logins:
            secure.append(" ".join(("AUTH", *MECHANISMS)))
        return Reply(250, "", (config.hostname, f"SIZE {message_limit(config)}", *_EXTENSIONS, *secure))

    async def _mail(self, connection: Connection, mail: MailFrom) -> Reply:
        if self._hello is None:
            return self._mistake(replies.NO_HELLO)
        if self._transaction is not None:
            return self._mistake(replies.NESTED)
        config = self._world.config()
        speaker = await self._correspondent.speaker(connection, config)
        if isinstance(speaker, Speaker):
            limit = message_limit(config)
            if mail.size is not None and mail.size > limit:
                speaker = Refuse(Reason.TOO_LARGE, f"SIZE={mail.size} over {limit}")
            else:
                speaker = admit_sender(config, speaker, mail.sender) or self._no_room(mail, speaker.role) or speaker
        if isinstance(speaker, Refuse | Defer):
            return self._refusals.count(self._refusals.mail(speaker, mail))
        self._transaction = Transaction(self._world, config, speaker, self._hello, mail)
        return replies.SENDER

    def _no_room(self, mail: MailFrom, role: Role) -> Defer | None:
        """Why the message will not find room, or its record; said now, because its sender can still keep it."""
        try:
            self._world.spool.check_room(mail.size or 0, role)
            self._world.observer.check()
        except GatewayError as error:
            return Defer(error.reason, error.detail)
        return None

    async def _rcpt(self, command: RcptTo) -> Reply:
        transaction = self._transaction
        if transaction is None or self._content is not None:
            return self._mistake(replies.NO_MAIL if transaction is None else replies.MIXED)
        refusal = await transaction.add(command.recipient)
        if refusal is None:
            return replies.RECIPIENT
        reply = self._refusals.mail(refusal, transaction.mail, command.recipient.address)
        # Strangers guess addresses; the servers we know may well have many recipients of one mail refused
        return self._refusals.count(reply) if transaction.role is Role.STRANGER else reply

    async def _data(self, connection: Connection) -> Reply:
        transaction = self._transaction
        if transaction is None or self._content is not None:
            return self._mistake(replies.NO_MAIL if transaction is None else replies.MIXED)
        if not transaction.recipients:
            return self._mistake(replies.NO_RECIPIENTS)
        connection.say(replies.GO_ON)
        content = Content(connection, transaction)
        await content.read_data()
        return await self._finish(transaction, content)

    async def _bdat(self, connection: Connection, command: Bdat) -> Reply:
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            # RFC 3030 2: the octets come all the same, pipelined behind the command
            config = self._world.config()
            await skip(connection, command.size, message_limit(config), config.limits.message_seconds)
            return self._mistake(replies.NO_MAIL if transaction is None else replies.NO_RECIPIENTS)
        content = self._content = self._content or Content(connection, transaction)
        await content.read_chunk(command.size, last=command.last)
        if command.last or content.fault:
            return await self._finish(transaction, content)
        return Reply(250, "2.0.0", (f"{command.size} octets",))

    async def _finish(self, transaction: Transaction, content: Content) -> Reply:
        """The message has come to its end, good or bad: it is durable, or nothing of it is kept."""
        self._transaction = self._content = None
        self._messages += 1
        if content.fault:
            transaction.discard()
            self._refusals.mail(Refuse(content.fault.reason, content.fault), transaction.mail)
            return content.fault.reply
        accepted = await transaction.accept(content.size)
        if isinstance(accepted, Defer):
            return self._refusals.mail(accepted, transaction.mail)
        return Reply(250, "2.0.0", (f"Accepted as {accepted}",))

    async def _start_tls(self, connection: Connection) -> Reply | None:
        if not self._may_start_tls(connection):
            return self._mistake(replies.SECURED if connection.tls else replies.NO_TLS)
        if connection.waiting:
            # Sent in clear, perhaps by somebody in between, to be read as if it had come under TLS
            return self._refusals.command(self._line, replies.INJECTED)
        connection.say(replies.READY)
        await self._correspondent.handshake(connection)
        self._reset()
        self._hello = None  # RFC 3207 4.2: nothing said before counts
        return None

    def _may_start_tls(self, connection: Connection) -> bool:
        return self._tls is TlsMode.STARTTLS and not connection.tls and self._listener in self._contexts

    async def _auth(self, connection: Connection, command: Auth) -> Reply:
        config = self._world.config()
        refusal = self._correspondent.why_no_login(connection, config, command.mechanism)
        if refusal is None and (self._hello is None or not self._hello.extended):
            refusal = replies.NO_HELLO
        if refusal is not None or self._transaction is not None:
            return self._mistake(refusal or replies.NESTED)
        given = await exchanged(command, partial(self._ask, connection))
        if isinstance(given, Reply):
            return given if given.closing else self._mistake(given)
        known = await self._correspondent.log_in(connection, config, self._passwords, given)
        return replies.LOGGED_IN if known else self._mistake(replies.NOT_LOGGED_IN)

    async def _ask(self, connection: Connection, challenge: Reply) -> bytes | Reply:
        connection.say(challenge)
        line = await self._next(connection)
        self._line = b"AUTH"  # what follows is refused as this command, and stands in no record itself
        return line

    def _mistake(self, reply: Reply) -> Reply:
        """The command that is being obeyed is refused with ``reply``: what is to be said."""
        return self._refusals.mistake(self._line, reply)

    def _reset(self) -> None:
        if self._transaction is not None:
            self._transaction.discard()
        self._transaction = self._content = None
