"""The words of one login, from AUTH to the last response (RFC 4954 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.receive import replies
from gateway.smtp.command import Auth
from gateway.smtp.reply import Reply
from gateway.smtp.sasl import CANCEL, Credentials, Exchange, SaslError


async def exchanged(command: Auth, ask: Callable[[Reply], Awaitable[bytes | Reply]]) -> Credentials | Reply:
    """Who the client says it is, or the reply that ends the exchange. ``ask`` says a challenge and gives the line that follows."""
    exchange, response = Exchange(command.mechanism), command.initial
    while True:
        if response is None:
            line = await ask(Reply(334, "", (exchange.challenge(),)))
            if isinstance(line, Reply):
                return line
            response = line
        if response == CANCEL:
            return replies.CANCELLED
        try:
            given = exchange.give(response)
        except SaslError:
            return replies.NO_RESPONSE
        if given is not None:
            return given
        response = None
