"""TLS as a client: contexts for zone peers and for routes. TLS 1.2 at least; a certificate is always demanded."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from gateway.config.model import TlsIdentity
from gateway.outcome import GatewayError, Reason

_DER: Final = 2  # _ssl.ENCODING_DER


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


def describe(connection: ssl.SSLObject) -> str:
    """Protocol and cipher of an established connection, for audit and people: never ""."""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0] if cipher else 'unknown'}"


def peer_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates the server showed, DER, leaf first."""
    if hasattr(connection, "get_unverified_chain"):  # from Python 3.13 on
        return tuple(connection.get_unverified_chain())
    inner: Any = connection._sslobj  # type: ignore[attr-defined]
    return tuple(certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ())
