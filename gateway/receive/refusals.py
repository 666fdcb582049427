"""What one session refuses, each time with one line in the audit: a command, a mail, a peer. Mistakes are counted.

A client cannot flood the audit through one session: it ends after ``[limits] errors`` mistakes and ``messages`` messages; only
the refused recipients of servers that we know are not counted. How many sessions a client may begin is bounded at once, by
``connections_per_address``, and not in time: that is for a firewall.
"""

from __future__ import annotations

from gateway.events import CommandRefused, MailRefused, PeerRejected
from gateway.mail.address import Address
from gateway.outcome import Defer, Reason, Refuse
from gateway.receive import replies
from gateway.receive.transaction import World
from gateway.smtp.command import MailFrom, verb_of
from gateway.smtp.reply import Reply, reply_to


class Refusals:
    """Tells ``world.observer`` of every refusal in a session on ``listener``."""

    def __init__(self, world: World, listener: str) -> None:
        self.address = ""
        """The other side's, as text."""
        self._world = world
        self._listener = listener
        self._mistakes = 0

    def count(self, reply: Reply) -> Reply:
        """``reply`` to a mistake of the client, or the end after too many of them."""
        self._mistakes += 1
        return replies.ERRORS if self._mistakes >= self._world.config().limits.errors else reply

    def mistake(self, line: bytes, reply: Reply) -> Reply:
        """The command ``line`` is refused with ``reply`` and counted: what is to be said."""
        return self.command(line, self.count(reply))

    def command(self, line: bytes, reply: Reply) -> Reply:
        """The command ``line`` (empty where there is none) is refused with ``reply``, which is to be said."""
        self._world.observer.see(
            CommandRefused(listener=self._listener, address=self.address, verb=verb_of(line), reply=str(reply))
        )
        return reply

    def mail(self, ending: Refuse | Defer, mail: MailFrom, recipient: Address | None = None) -> Reply:
        """``mail``, or one recipient of it, is refused or put off: what is to be said."""
        self._world.observer.see(
            MailRefused(
                listener=self._listener,
                address=self.address,
                reason=ending.reason,
                sender=str(mail.sender or ""),
                recipients=(str(recipient),) if recipient else (),
                detail=ending.detail,
            )
        )
        return reply_to(ending)

    def peer(self, reason: Reason, detail: str) -> None:
        """Who is at the other end is not believed."""
        self._world.observer.see(PeerRejected(listener=self._listener, address=self.address, reason=reason, detail=detail))
