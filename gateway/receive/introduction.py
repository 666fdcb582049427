"""The PROXY header before a connection's first word: whose connection a load balancer of ours hands on."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.receive.connection import Connection, Gone
from gateway.smtp.proxy import NoProxyHeader, read_proxy_header

PROXY_SECONDS: Final = 5.0


class NotIntroducedError(Exception):
    """No proper header came in time; its text says what was wrong."""


async def introduced(connection: Connection) -> str | None:
    """Takes the header. The address it names, or None where it names none and the connection keeps its own.

    Raises :class:`NotIntroducedError`, and :class:`Gone` where not one octet came: so ports are looked at for signs of life.
    """
    until = asyncio.get_running_loop().time() + PROXY_SECONDS
    while True:
        came = connection.take()
        header = read_proxy_header(came)
        if isinstance(header, NoProxyHeader):
            raise NotIntroducedError(header.why)
        if header is not None:
            connection.put_back(came[header.length :])
            return header.address or None
        connection.put_back(came)
        try:
            await connection.more(until)
        except TimeoutError as error:
            raise NotIntroducedError("no PROXY header in time") from error
        except Gone as error:
            if came:
                raise NotIntroducedError("hung up within the PROXY header") from error
            raise
