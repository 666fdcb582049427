"""Ports for servers that are given their port by a configuration file."""

from __future__ import annotations

import atexit
import secrets
import socket
from collections import deque
from typing import Final

# Below what the kernel gives to outgoing connections and to whoever binds port 0 (net.ipv4.ip_local_port_range: 32768 and up):
# such a port could be somebody's by the time our server listens.
_PORTS: Final = range(10_000, 32_768)
_HELD: Final = 256  # long enough: whoever asked for a port has listened before so many more were asked for
_reserved: deque[socket.socket] = deque(maxlen=_HELD)


@atexit.register
def _release() -> None:
    while _reserved:
        _reserved.pop().close()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now, and that nobody else is given by this function in the meantime.

    Other processes that ask learn of a reservation by the UDP port of the same number: the kernel gives it back with us.
    """
    while True:
        port = secrets.choice(_PORTS)  # whatever a test seeded: processes with one seed would ask for the same ones
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        if len(_reserved) == _HELD:
            _reserved.popleft().close()
        _reserved.append(reservation)
        return port
