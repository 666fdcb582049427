"""TLS where others connect to us: a context for each listener, the connection's layer, and why a handshake failed.

On a zone listener a client certificate is required and must lead to one of the zone's anchors: a fault of the chain ends as a
TLS alert. Whether the certificate is *this* zone's peer, and not revoked, is decided above, where it can be answered in SMTP.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config.model import Config, Listener, TlsMode
from gateway.config.words import ClientUsage
from gateway.edge.tlsanyusage import AnyUsageContext, AnyUsageTls
from gateway.outcome import GatewayError, Reason

HANDSHAKE_SECONDS: Final = 30.0

_DER: Final = 2  # _ssl.ENCODING_DER
_RECORDS: Final = 256 * 1024

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


class ServerTls:
    """The server's side of TLS on one connection, sans-io.

    Of our own, because asyncio and uvloop close a connection whose handshake failed without sending the alert that says why.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._connection = context.wrap_bio(self._from_peer, self._to_peer, server_side=True)
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


def explain_failure(error: BaseException) -> tuple[Reason, str]:
    """Why a handshake failed, and the administrator's words for it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, Reason.CHAIN), f"{error.verify_message} (OpenSSL verify code {error.verify_code})"
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return Reason.PEER_UNKNOWN, "no client certificate was shown"
    if isinstance(error, ssl.SSLError):
        return Reason.TLS_FAILED, str(error.reason or "TLS error")
    return Reason.TLS_FAILED, str(error) or type(error).__name__
