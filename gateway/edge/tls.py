"""TLS where others connect to us: a context for each listener, its side of a connection, and why a handshake failed.

On a zone listener a client certificate is required and must lead to one of the zone's anchors: a fault of the chain ends as a
TLS alert. Whether the certificate is *this* zone's peer, and not revoked, is decided above, where it can be answered in SMTP.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.model import Config, Listener, TlsMode
from gateway.config.words import ClientUsage
from gateway.edge.tlsanyusage import AnyUsageContext, AnyUsageTls
from gateway.edge.tlsown import OwnTls
from gateway.outcome import GatewayError, Reason

HANDSHAKE_SECONDS: Final = 30.0

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_VERIFY: Final[Mapping[int, Reason]] = {
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    23: Reason.REVOKED,
    26: Reason.EKU,
    66: Reason.WEAK_ALGORITHM,  # the leaf's key
    67: Reason.WEAK_ALGORITHM,  # an authority's key
    68: Reason.WEAK_ALGORITHM,  # a digest
}


ServerContext = ssl.SSLContext | AnyUsageContext


def server_contexts(config: Config) -> dict[str, ServerContext]:
    """The context of every listener that has TLS, by its name.

    Raises :class:`gateway.outcome.GatewayError` (TLS_FAILED) where a certificate, key or anchor file cannot be used.
    """
    return {
        name: _server_context(config, name, listener)
        for name, listener in config.listener.items()
        if listener.tls is not TlsMode.NONE
    }


def _server_context(config: Config, name: str, listener: Listener) -> ServerContext:
    identity = config.tls[listener.identity or ""]
    zone = None if listener.zone is None else config.zone[listener.zone]
    try:
        if zone is not None and any(peer.client_usage is ClientUsage.SERVER_AUTH_ALLOWED for peer in zone.peer):
            return AnyUsageContext(identity.certificate, identity.key, zone.anchors)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(identity.certificate, identity.key)
        if zone is not None:
            _require_client_certificate(context, zone.anchors)
    except (OSError, ssl.SSLError) as error:
        raise GatewayError(Reason.TLS_FAILED, f"listener {name}: cannot use [tls.{listener.identity}]: {error}") from error
    return context


def _require_client_certificate(context: ssl.SSLContext, anchors: Path) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(anchors)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # an anchor is one even when somebody signed it
    # A resumed session brings no chain with it, and outlives a reload that took the anchor away
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def server_tls(context: ServerContext) -> ServerTls | AnyUsageTls:
    """The server's side of TLS on a new connection."""
    return ServerTls(context) if isinstance(context, ssl.SSLContext) else AnyUsageTls(context)


class ServerTls(OwnTls):
    """The server's side of TLS on one connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context, None)


def explain_failure(error: BaseException) -> tuple[Reason, str]:
    """Why a handshake failed, and the administrator's words for it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, Reason.CHAIN), f"{error.verify_message} (OpenSSL verify code {error.verify_code})"
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Reason.PEER_UNKNOWN, "no client certificate was shown"
    if isinstance(error, ssl.SSLError):
        return Reason.TLS_FAILED, str(error.reason or "TLS error")
    return Reason.TLS_FAILED, str(error) or type(error).__name__
