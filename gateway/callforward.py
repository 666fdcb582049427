"""Whether a mailbox of ours exists, asked before 250: of the mail server behind us, or of a list (``[organisation] recipients``).

The mail server is asked by RCPT after a null reverse-path, once for each address and for everybody who waits for the same
answer; answers are remembered, "yes" longer than "no". Where it does not answer, an old "yes" still counts and all else waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.model import Config
from gateway.edge.addresslist import AddressList
from gateway.mail.address import Address
from gateway.mail.envelope import NextHop
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.smtp.reply import Reply

SECOND: Final = 1_000_000
KNOWN_AGE: Final = 3600 * SECOND
UNKNOWN_AGE: Final = 300 * SECOND  # short: a mailbox made a moment ago
LAST_RESORT_AGE: Final = 7 * 24 * 3600 * SECOND  # a "yes" this old still counts while the mail server is silent
MAX_ANSWERS: Final = 20_000

Presence = Deliver | Refuse | Defer
Probe = Callable[[NextHop, Address], Awaitable[Reply | Defer]]


@dataclass(frozen=True, slots=True)
class _Answer:
    presence: Deliver | Refuse
    at: int


class CallForward:
    """Knows recipients. ``probe`` asks a next hop (``Deliverer.probe``), at most ``patience`` seconds; ``now`` in microseconds."""

    def __init__(self, *, config: Callable[[], Config], probe: Probe, now: Callable[[], int], patience: float = 30.0) -> None:
        self._config = config
        self._probe = probe
        self._now = now
        self._patience = patience
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Future[Presence]] = {}
        self._lists: dict[Path, AddressList] = {}

    async def known(self, organisation: str, address: Address) -> Presence:
        """``Deliver``: it exists. ``Refuse`` (RECIPIENT_UNKNOWN): it does not. ``Defer`` (RECIPIENT_UNCHECKED): ask again later."""
        section = self._config().organisation[organisation]
        if section.recipients.file is not None:
            return await self._listed(section.recipients.file, address)
        hop, key = NextHop(section.mail_server), (section.mail_server, address.key)
        remembered = self._answers.get(key)
        if remembered is not None and self._fresh(remembered):
            self._answers.move_to_end(key)
            return remembered.presence
        presence = await self._ask_once(key, hop, address)
        if isinstance(presence, Defer) and self._good_enough(remembered):
            return Deliver()
        return presence

    async def _listed(self, path: Path, address: Address) -> Presence:
        try:
            if await self._lists.setdefault(path, AddressList(path)).holds(address):
                return Deliver()
        except GatewayError as error:
            return Defer(error.reason, error.detail)
        return Refuse(Reason.RECIPIENT_UNKNOWN, f"not in {path}")

    def _fresh(self, answer: _Answer) -> bool:
        age = KNOWN_AGE if isinstance(answer.presence, Deliver) else UNKNOWN_AGE
        return abs(self._now() - answer.at) < age

    def _good_enough(self, answer: _Answer | None) -> bool:
        return answer is not None and isinstance(answer.presence, Deliver) and self._now() - answer.at < LAST_RESORT_AGE

    async def _ask_once(self, key: tuple[str, str], hop: NextHop, address: Address) -> Presence:
        """Who asks first asks for all; where that one is interrupted, the others are told to come again."""
        if key in self._asking:
            return await asyncio.shield(self._asking[key])
        waiting: asyncio.Future[Presence] = asyncio.get_running_loop().create_future()
        self._asking[key] = waiting
        presence: Presence = Defer(Reason.RECIPIENT_UNCHECKED, "interrupted")
        try:
            presence = await self._ask(hop, address)
        finally:
            del self._asking[key]
            waiting.set_result(presence)
        if not isinstance(presence, Defer):
            self._remember(key, presence)
        return presence

    async def _ask(self, hop: NextHop, address: Address) -> Presence:
        try:
            async with asyncio.timeout(self._patience):
                said = await self._probe(hop, address)
        except TimeoutError:
            return Defer(Reason.RECIPIENT_UNCHECKED, f"{hop}: no answer in {self._patience:g} s")
        if isinstance(said, Defer):
            return Defer(Reason.RECIPIENT_UNCHECKED, said.detail)
        if said.done:
            return Deliver()
        return Refuse(Reason.RECIPIENT_UNKNOWN, str(said)) if said.permanent else Defer(Reason.RECIPIENT_UNCHECKED, str(said))

    def _remember(self, key: tuple[str, str], presence: Deliver | Refuse) -> None:
        self._answers[key] = _Answer(presence, self._now())
        self._answers.move_to_end(key)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
