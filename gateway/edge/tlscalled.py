"""TLS by pyOpenSSL, for what the standard library has no callback for: what both sides of it share, sans-io."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, X509StoreFlags, dump_certificate

_RECORDS: Final = 256 * 1024


def called_context(
    method: int, defaults: int, certificate: Path, key: Path, anchors: Path, pass_over: frozenset[int] = frozenset()
) -> SSL.Context:
    """A context for ``method`` (pyOpenSSL's), with the ciphers the standard library has for ``defaults`` (``ssl.PROTOCOL_*``).

    ``certificate`` (leaf first) and ``key`` are ours, PEM. The other side must show a certificate that leads to ``anchors`` (PEM);
    the faults ``pass_over`` (X509_V_ERR_*) do not end the handshake. Raises OSError, of which ``ssl.SSLError`` is one.
    """
    for path in (certificate, key, anchors):
        path.open("rb").close()  # OpenSSL would not say which of them is not there
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    ciphers = ssl.SSLContext(defaults).get_ciphers()
    context.set_cipher_list(":".join(cipher["name"] for cipher in ciphers).encode())
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.check_privatekey()
        context.load_verify_locations(str(anchors))
    except SSL.Error as error:
        raise ssl.SSLError(_words(error)) from error
    store = context.get_cert_store()
    if store is not None:
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)  # an anchor is one even when somebody signed it

    def may_go_on(connection: SSL.Connection, _: X509, fault: int, __: int, good: int) -> bool:
        if good or fault in pass_over:
            return True
        connection.get_app_data().faults.append(fault)
        return False

    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, may_go_on)
    return context


@dataclass(slots=True)
class Heard:
    """What the callbacks of a connection were told: why certificates of the other side were refused (X509_V_ERR_*), and the
    OCSPResponse it sent along (DER, not read yet), empty where it sent none.
    """

    faults: list[int] = field(default_factory=list)
    stapled: bytes = b""


class CalledTls:
    """One side of TLS on one connection, sans-io; see :class:`gateway.edge.tlsown.OwnTls`, whose methods these are."""

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context, None)
        self._heard = Heard()  # and not ourselves, which would be a circle
        self._connection.set_app_data(self._heard)
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
            raise _as_ssl_error(error, self._heard.faults) from error
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
        leaf = self._connection.get_peer_certificate()
        chain = self._connection.get_peer_cert_chain() or []  # in which a server misses the leaf, and a client does not
        return () if leaf is None else tuple(dict.fromkeys(dump_certificate(FILETYPE_ASN1, each) for each in (leaf, *chain)))


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
