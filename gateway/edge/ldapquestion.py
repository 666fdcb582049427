"""One question to an LDAP server: it can be given up, and its answer has a bound. ldap3 knows neither."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from ldap3.core.exceptions import LDAPException

PIECE: Final = 256 * 1024  # bytes; ldap3 asks for 4 KiB at a time, and copies all it has for each of them

Connection = Any  # ldap3 has no types


class TooLarge(OSError):
    """The answer is larger than its bound."""


class Question:
    """``limit`` in bytes, for all that comes back."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._connection: Connection = None
        self.aborted = False
        self.too_large = False

    def waits_on(self, connection: Connection) -> None:
        """Giving up closes ``connection`` from now on, whatever state it is in; None once it is somebody else's."""
        self._connection = connection

    def pays_on(self, connection: Connection) -> None:
        """What comes over ``connection``, which is open, is paid for from now on."""
        connection.socket = _Metered(plain_socket(connection), self)

    def abort(self) -> None:
        """Wakes the thread that waits for the answer, which then finds its socket closed."""
        self.aborted = True
        waiting = getattr(self._connection, "socket", None)
        if waiting is not None:
            with contextlib.suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def spend(self, size: int) -> None:
        """``size`` more bytes have come. Raises :class:`TooLarge`."""
        self._left -= size
        if self._left < 0:
            self.too_large = True
            raise TooLarge("larger than its bound")


class _Metered:
    """A socket whose reader pays for every byte."""

    def __init__(self, inner: socket.socket, question: Question) -> None:
        self.inner = inner
        self._question = question

    def recv(self, size: int) -> bytes:
        data = self.inner.recv(max(size, PIECE))
        if not data:  # ldap3 would wait for the rest of an answer that broke off
            raise ConnectionResetError("closed by the server")
        self._question.spend(len(data))
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def plain_socket(connection: Connection) -> socket.socket:
    """The socket itself, whoever pays."""
    found: socket.socket = getattr(connection.socket, "inner", connection.socket)
    return found


def bind(connection: Connection) -> None:
    """With the identity the connection was made for. Raises LDAPException."""
    if not connection.bind(read_server_info=False):
        raise LDAPException(f"bind refused: {connection.result['description']}")


def end(connection: Connection) -> None:
    """Closes it, whatever state it is in."""
    with contextlib.suppress(Exception):  # it is on its way out
        connection.strategy.close()
    if connection.socket is not None:  # one that never opened is left behind by ldap3
        connection.socket.close()
