"""TLS where clients may show a certificate that is meant for servers alone (``client_usage`` of a peer).

OpenSSL refuses such a certificate within the handshake, before anybody can ask whose it is, and the standard library has no way to
tell it not to. pyOpenSSL has: its callback may pass over a fault (``SSL_CTX_set_verify``). This one is passed over, any other ends
the handshake as ever; whether *this* peer may show such a certificate is decided above.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from gateway.edge.tlscalled import CalledTls, called_context

_INVALID_PURPOSE: Final = 26  # X509_V_ERR_INVALID_PURPOSE of OpenSSL's x509_vfy.h


class AnyUsageContext:
    """As the context of another zone listener: a client certificate is required, and must lead to ``anchors`` (PEM)."""

    def __init__(self, certificate: Path, key: Path, anchors: Path) -> None:
        """``certificate`` (leaf first) and ``key`` are ours, PEM. Raises OSError, of which ``ssl.SSLError`` is one."""
        passed_over = frozenset({_INVALID_PURPOSE})
        self.inner = called_context(SSL.TLS_SERVER_METHOD, ssl.PROTOCOL_TLS_SERVER, certificate, key, anchors, passed_over)
        # A resumed session brings no chain with it, and outlives a reload that took the anchor away
        self.inner.set_options(SSL.OP_NO_TICKET)


class AnyUsageTls(CalledTls):
    """The server's side of TLS on one connection."""

    def __init__(self, context: AnyUsageContext) -> None:
        super().__init__(context.inner)
        self._connection.set_accept_state()
