"""What programs said of themselves in verified mail, shared by all our processes. To lose some of it costs no mail: a reader of
whom nothing is known gets the default.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import apsw

from gateway.database.thread import Effect, Work
from gateway.mail.address import Address
from gateway.outcome import GatewayError
from gateway.smime.capabilities import Capabilities, read_capabilities
from gateway.state.state import Working

MAX_REMEMBERED: Final = 100_000  # people, of all organisations; whoever was seen last stays
FORGOTTEN_DAYS: Final = 365
_FORGOTTEN: Final = FORGOTTEN_DAYS * 86_400 * 1_000_000
_CACHED: Final = 60 * 1_000_000  # microseconds a process believes what it read; another may have learned something newer
_MAX_CACHED: Final = 20_000

Person = tuple[str, str]


class HeardCapabilities:
    """Remembers, for each organisation and address, what was signed last."""

    def __init__(self, state: Working, now: Callable[[], int]) -> None:
        """``now`` in microseconds UTC."""
        self._state = state
        self._now = now
        self._cached: dict[Person, tuple[int, Capabilities | None]] = {}

    async def capabilities(self, organisation: str, address: Address) -> Capabilities | None:
        """What the program of ``address`` said last to ``organisation``; None where that is not known, or cannot be read now."""
        person, now = (organisation, address.key), self._now()
        until, found = self._cached.get(person, (0, None))
        if now < until:
            return found
        try:
            found = await self._state.run(lambda database: _find(database, person, now - _FORGOTTEN), Effect.READ)
        except GatewayError:
            return None
        if len(self._cached) >= _MAX_CACHED:
            self._cached.pop(next(iter(self._cached)), None)
        self._cached[person] = (now + _CACHED, found)
        return found

    def learn(self, organisation: str, address: Address, value: bytes, signed_at: int) -> None:
        """The program of ``address`` said ``value`` (DER of SMIMECapabilities) in a mail signed at ``signed_at`` (us UTC).

        Counts where nothing newer is known. Nobody waits for it, and a fault of the disk is no fault of the mail.
        """
        person, now = (organisation, address.key), self._now()
        with contextlib.suppress(GatewayError):
            self._state.submit(Work(lambda database: _keep(database, person, value, signed_at, now), _unheard, Effect.CHANGE))
        self._cached.pop(person, None)  # whoever asks from now on is answered behind the change


def _unheard(_: Any, __: BaseException | None) -> None:  # noqa: ANN401 - the form of every finish
    """Nobody waits for it."""


def _find(database: apsw.Connection, person: Person, since: int) -> Capabilities | None:
    query = "SELECT value FROM capabilities WHERE organisation = ? AND address = ? AND seen_at > ?"
    value: Any = database.execute(query, (*person, since)).get
    try:
        return None if value is None else read_capabilities(value)
    except GatewayError:
        return None  # another version of this program wrote it


def _keep(database: apsw.Connection, person: Person, value: bytes, signed_at: int, now: int) -> None:
    """An older signing time never overwrites: a captured mail that comes once more brings nothing back. The time moves on where
    the list is the same, too, or one that was signed between and kept back would count.
    """
    database.execute(
        "UPDATE capabilities SET signed_at = ?, seen_at = ?, value = ? WHERE organisation = ? AND address = ? AND signed_at < ?",
        (signed_at, now, value, *person, signed_at),
    )
    if database.changes():
        return
    database.execute("INSERT OR IGNORE INTO capabilities VALUES (?, ?, ?, ?, ?)", (*person, signed_at, now, value))
    if database.changes():
        _forget(database, now)


def _forget(database: apsw.Connection, now: int) -> None:
    """Who was not seen for long, and beyond the bound who was not seen for longest."""
    database.execute("DELETE FROM capabilities WHERE seen_at <= ?", (now - _FORGOTTEN,))
    remembered: Any = database.execute("SELECT rows FROM counted WHERE kind = 'capabilities'").get
    if remembered > MAX_REMEMBERED:
        database.execute(
            "DELETE FROM capabilities WHERE (organisation, address) IN (SELECT organisation, address FROM capabilities"
            " ORDER BY seen_at LIMIT ?)",
            (remembered - MAX_REMEMBERED,),
        )
