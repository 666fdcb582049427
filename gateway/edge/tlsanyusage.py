"""TLS where clients may show a certificate that is meant for servers alone (``client_usage`` of a peer).

OpenSSL refuses such a certificate within the handshake, before anybody can ask whose it is, and the standard library has no way to
tell it not to. pyOpenSSL has: its callback may pass over a fault (``SSL_CTX_set_verify``). This one is passed over, any other ends
the handshake as ever; whether *this* peer may show such a certificate is decided above.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

_INVALID_PURPOSE: Final = 26  # X509_V_ERR_INVALID_PURPOSE of OpenSSL's x509_vfy.h
_RECORDS: Final = 256 * 1024


class AnyUsageContext:
    """As the context of another zone listener: a client certificate is required, and must lead to ``anchors`` (PEM)."""

    def __init__(self, certificate: Path, key: Path, anchors: Path) -> None:
        """``certificate`` (leaf first) and ``key`` are ours, PEM. Raises OSError, of which ``ssl.SSLError`` is one."""
        for path in (certificate, key, anchors):
            path.open("rb").close()  # OpenSSL would not say which of them is not there
        self.inner = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.inner.set_min_proto_version(SSL.TLS1_2_VERSION)
        # A resumed session brings no chain with it, and outlives a reload that took the anchor away
        self.inner.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        self.inner.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        ciphers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()
        self.inner.set_cipher_list(":".join(cipher["name"] for cipher in ciphers).encode())
        try:
            self.inner.use_certificate_chain_file(str(certificate))
            self.inner.use_privatekey_file(str(key))
            self.inner.check_privatekey()
            self.inner.load_verify_locations(str(anchors))
        except SSL.Error as error:
            raise ssl.SSLError(_words(error)) from error
        store = self.inner.get_cert_store()
        if store is not None:
            store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # an anchor is one even when somebody signed it
        self.inner.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _may_go_on)


class AnyUsageTls:
    """The server's side of TLS on one connection, sans-io; see :class:`gateway.edge.tls.ServerTls`, whose methods these are."""

    def __init__(self, context: AnyUsageContext) -> None:
        self._connection = SSL.Connection(context.inner, None)
        self._faults: list[int] = []
        self._connection.set_app_data(self._faults)
        self._connection.set_accept_state()
        self.established = False
        """The handshake is done."""
        self.ended = False
        """The peer has said that nothing more will come (close_notify)."""

    def receive(self, data: bytes) -> bytes:
        """Takes what the network brought, gives what the peer said. Raises ``ssl.SSLError``; ``output`` then holds the alert."""
        said = []
        try:
            if data:
                self._connection.bio_write(data)
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            while piece := self._connection.recv(_RECORDS):
                said.append(piece)
            self.ended = True
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as error:
            raise _as_ssl_error(error, self._faults) from error
        return b"".join(said)

    def send(self, data: bytes) -> None:
        """Says ``data`` to the peer, if it can still hear: fetch it from ``output``."""
        with contextlib.suppress(SSL.Error):
            self._connection.sendall(data)

    def close(self) -> None:
        """Says that nothing more will come (close_notify)."""
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()

    def output(self) -> bytes:
        """What is to be sent over the network now."""
        pieces = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                pieces.append(self._connection.bio_read(_RECORDS))
        return b"".join(pieces)

    def describe(self) -> str:
        """Protocol and cipher, for trace lines, audit and policy: never ""."""
        return f"{self._connection.get_protocol_version_name()} {self._connection.get_cipher_name() or 'unknown'}"

    def peer_chain(self) -> tuple[bytes, ...]:
        """The certificates the peer showed, DER, leaf first; empty where it showed none."""
        leaf = self._connection.get_peer_certificate(as_cryptography=True)
        above = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        return () if leaf is None else tuple(map(_der, (leaf, *above)))


def _may_go_on(connection: SSL.Connection, _: X509, fault: int, __: int, good: int) -> bool:
    if good or fault == _INVALID_PURPOSE:
        return True
    connection.get_app_data().append(fault)
    return False


def _as_ssl_error(error: SSL.Error, faults: list[int]) -> ssl.SSLError:
    """In the standard library's words, as :func:`gateway.edge.tls.explain_failure` reads them."""
    if faults:
        refused = ssl.SSLCertVerificationError(_words(error))
        refused.verify_code, refused.verify_message = faults[0], "certificate verify failed"
        return refused
    other = ssl.SSLError(_words(error))
    other.reason = _words(error).upper().replace(" ", "_")
    return other


def _words(error: SSL.Error) -> str:
    """What OpenSSL calls the fault; of a library, a function and a reason, the last."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(queue[0][-1]) if queue else type(error).__name__


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
