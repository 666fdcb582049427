"""TLS as a client: contexts for zone peers and for routes. TLS 1.2 at least; a certificate is always demanded."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.config.model import TlsIdentity
from gateway.edge.tlsown import OwnTls
from gateway.outcome import GatewayError, Reason


def peer_context(anchors: Path, identity: TlsIdentity) -> ssl.SSLContext:
    """For the peers of a zone: OpenSSL checks the chain to ``anchors``, and *which* peer it is the caller finds out afterwards.

    The names of a zone are in its peer list, not in DNS, so OpenSSL compares no host name. Raises :class:`GatewayError`
    (TLS_FAILED) where a file cannot be used.
    """
    context = _context(anchors, identity)
    context.check_hostname = False
    return context


def route_context(anchors: Path | None, identity: TlsIdentity | None) -> ssl.SSLContext:
    """For a route: the chain must lead to ``anchors``, or to the system's own list, and the certificate must name the host.

    Raises :class:`GatewayError` (TLS_FAILED) where a file cannot be used.
    """
    return _context(anchors, identity)


def _context(anchors: Path | None, identity: TlsIdentity | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if anchors is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            # An anchor is what the administrator named, whether or not it signed itself.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(anchors)
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(path) for path in (anchors, *((identity.certificate, identity.key) if identity else ())) if path)
        raise GatewayError(Reason.TLS_FAILED, f"{files}: {error.strerror or type(error).__name__}") from error
    return context


class ClientTls(OwnTls):
    """The client's side of TLS on one connection."""

    stapled = b""
    """The OCSPResponse the server sent along: it was not asked for one."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        """``host`` is the name to ask for (SNI, RFC 6066 3), and to find in the certificate where ``context`` says so."""
        super().__init__(context, host)
