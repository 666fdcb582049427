"""Who is at the other end of one session: by the connection's address, by the certificate shown, by a login."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.model import Config
from gateway.edge.password import Passwords
from gateway.edge.tls import ServerContext, explain_failure
from gateway.events import PeerAllowed
from gateway.outcome import Defer, Refuse
from gateway.policy import Speaker, identify, users_at
from gateway.receive import replies
from gateway.receive.connection import Connection, Gone
from gateway.receive.peers import Client
from gateway.receive.refusals import Refusals
from gateway.receive.transaction import World
from gateway.smtp.reply import Reply
from gateway.smtp.sasl import MECHANISMS, Credentials


class Correspondent:
    """The other end of a session on ``listener``; ``refusals`` are that session's."""

    def __init__(self, world: World, listener: str, contexts: Mapping[str, ServerContext], refusals: Refusals) -> None:
        self._world = world
        self._listener = listener
        self._contexts = contexts
        self._refusals = refusals
        self._user: str | None = None
        self._allowed: Client | None = None
        self._identified: tuple[tuple[Config, str, str | None, str | None], Speaker | Refuse] | None = None

    def may_log_in(self, connection: Connection, config: Config) -> bool:
        """Whether a login can lead anywhere from there, under TLS."""
        return bool(users_at(config, self._listener, connection.address))

    def why_no_login(self, connection: Connection, config: Config, mechanism: str) -> Reply | None:
        """What AUTH is answered where no exchange can begin (RFC 4954 4)."""
        if not self.may_log_in(connection, config):
            return replies.NO_AUTH
        if not connection.tls:
            return replies.IN_CLEAR
        if self._user is not None:
            return replies.KNOWN
        return None if mechanism in MECHANISMS else replies.NO_MECHANISM

    async def log_in(self, connection: Connection, config: Config, passwords: Passwords, given: Credentials) -> bool:
        """Whether ``given`` is believed."""
        users = users_at(config, self._listener, connection.address)
        if not users or not await passwords.right(users, given.user, given.password):
            return False
        self._user = given.user
        return True

    async def handshake(self, connection: Connection) -> None:
        """A fault of the chain ends here, as an alert. A fault of identity goes to the audit now and to the peer at MAIL."""
        context = self._contexts.get(self._listener)
        if context is None:
            raise Gone
        try:
            await connection.start_tls(context)
        except OSError as error:
            reason, detail = explain_failure(error)
            self._refusals.peer(reason, detail)
            raise Gone from error
        if connection.chain:
            peer = await self._peer(connection, self._world.config())
            if isinstance(peer, Refuse | Defer):
                self._refusals.peer(peer.reason, peer.detail)

    async def speaker(self, connection: Connection, config: Config) -> Speaker | Refuse | Defer:
        """Who speaks, as ``config`` has it."""
        peer = await self._peer(connection, config)
        if isinstance(peer, Refuse | Defer):
            return peer
        asked = (config, connection.tls, peer, self._user)
        if self._identified is None or self._identified[0] != asked:
            self._identified = asked, identify(config, self._listener, connection.address, connection.tls, peer, self._user)
        return self._identified[1]

    async def _peer(self, connection: Connection, config: Config) -> str | Refuse | Defer | None:
        place = config.listener.get(self._listener)
        if place is None or place.zone is None or not connection.chain:
            return None
        found = await self._world.peers.client(config, place.zone, connection.chain, self._world.now())
        if not isinstance(found, Client):
            return found
        if found.allowed and found != self._allowed:
            self._allowed = found
            told = PeerAllowed(
                listener=self._listener, address=connection.address, zone=place.zone, peer=found.name, detail=found.allowed
            )
            self._world.observer.see(told)
        return found.name
