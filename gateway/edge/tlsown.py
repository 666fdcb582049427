"""TLS by the standard library: what both sides of it share, sans-io."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

_DER: Final = 2  # _ssl.ENCODING_DER
_RECORDS: Final = 256 * 1024
_MUCH: Final = 64 * 1024


def kept_busy(came: int, said: int) -> bool:
    """Whether of the octets that ``came`` so many were for TLS alone that it is somebody else's turn.

    It works longer for each KeyUpdate (RFC 8446 4.6.3) than it takes to read it, and uvloop would go on reading a socket that is
    always full, and nobody else's.
    """
    return came > _MUCH and said < came // 2


class OwnTls:
    """One side of TLS on one connection, sans-io.

    Of our own, because asyncio and uvloop close a connection whose handshake failed without sending the alert that says why.
    """

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        """``host`` is whom a client asks for; None on the server's side."""
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._connection = context.wrap_bio(self._from_peer, self._to_peer, host is None, host)
        self.established = False
        """The handshake is done."""
        self.ended = False
        """The peer has said that nothing more will come (close_notify)."""

    def receive(self, data: bytes) -> bytes:
        """Takes what the network brought, gives what the peer said. Raises ``ssl.SSLError``; ``output`` then holds the alert."""
        self._from_peer.write(data)
        said = []
        try:
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            while piece := self._connection.read(_RECORDS):
                said.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(said)

    def send(self, data: bytes) -> None:
        """Says ``data`` to the peer, if it can still hear: fetch it from ``output``."""
        with contextlib.suppress(ssl.SSLError):
            self._connection.write(data)

    def close(self) -> None:
        """Says that nothing more will come (close_notify)."""
        with contextlib.suppress(ssl.SSLError):
            self._connection.unwrap()

    def output(self) -> bytes:
        """What is to be sent over the network now."""
        return self._to_peer.read()

    def describe(self) -> str:
        """Protocol and cipher, for trace lines, audit and policy: never ""."""
        cipher = self._connection.cipher()
        return f"{self._connection.version()} {cipher[0] if cipher else 'unknown'}"

    def peer_chain(self) -> tuple[bytes, ...]:
        """The certificates the peer showed, DER, leaf first; empty where it showed none."""
        if hasattr(self._connection, "get_unverified_chain"):  # from Python 3.13 on
            return tuple(self._connection.get_unverified_chain())
        inner: Any = self._connection._sslobj  # type: ignore[attr-defined]
        return tuple(certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ())
