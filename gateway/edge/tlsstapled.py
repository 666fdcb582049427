"""TLS to zone peers that are asked for a stapled OCSP answer (RFC 6066 8), which the standard library cannot ask for."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from OpenSSL import SSL

from gateway.config.model import TlsIdentity
from gateway.edge.tlscalled import CalledTls, called_context
from gateway.outcome import GatewayError, Reason


class StapledContext:
    """As :func:`gateway.edge.tlsclient.peer_context`, and asks for the answer."""

    def __init__(self, anchors: Path, identity: TlsIdentity) -> None:
        """Raises :class:`GatewayError` (TLS_FAILED) where a file cannot be used."""
        try:
            self.inner = called_context(SSL.TLS_CLIENT_METHOD, ssl.PROTOCOL_TLS_CLIENT, identity.certificate, identity.key, anchors)
        except OSError as error:  # ssl.SSLError is one
            files = f"{anchors}, {identity.certificate}, {identity.key}"
            raise GatewayError(Reason.TLS_FAILED, f"{files}: {error.strerror or type(error).__name__}") from error
        self.inner.set_ocsp_client_callback(_keep)


class StapledTls(CalledTls):
    """The client's side of TLS on one connection."""

    def __init__(self, context: StapledContext, host: str) -> None:
        """``host`` is the name to ask for (SNI, RFC 6066 3), none where it is an address."""
        super().__init__(context.inner)
        if not _is_address(host):
            self._connection.set_tlsext_host_name(host.encode("idna"))
        self._connection.request_ocsp()
        self._connection.set_connect_state()

    @property
    def stapled(self) -> bytes:
        """The OCSPResponse the server sent along (DER), not read yet; empty where it sent none."""
        return self._heard.stapled


def _keep(connection: SSL.Connection, answer: bytes, _: object) -> bool:
    """What it is worth is judged above, with everything else: no answer ends a handshake."""
    connection.get_app_data().stapled = answer
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
