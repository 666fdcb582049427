"""A peer whose authority's CRL cannot be had is delivered to because of the OCSP answer it staples, and not without."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from OpenSSL import SSL

from demo.ports import free_port
from demo.site import Site
from tests.pki import Ca, Issued
from tests.system.lab import HOSPITAL, LABORATORY, PATIENCE, Lab, events, letter, message_id, reload, send, until

pytestmark = pytest.mark.timeout(300)


class Stapler(socketserver.ThreadingTCPServer):
    """A mail server behind pyOpenSSL, which staples ``answer`` where there is one. It keeps the messages it is given."""

    daemon_threads = True

    def __init__(self, folder: Path, identity: Issued, clients: Ca) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.answer = b""
        self.answers = 0
        self.messages: list[bytes] = []
        certificate, key = identity.write(folder, "stapler")
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_chain_file(str(certificate))
        self.context.use_privatekey_file(str(key))
        (folder / "clients.pem").write_bytes(clients.pem)
        self.context.load_verify_locations(str(folder / "clients.pem"))
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self.context.set_ocsp_server_callback(self._staple)

    def _staple(self, _: SSL.Connection, __: object) -> bytes:
        self.answers += 1
        return self.answer


class Session(socketserver.BaseRequestHandler):
    """As much of SMTP as a delivery needs."""

    server: Stapler
    request: socket.socket

    def handle(self) -> None:
        """Until the client hangs up."""
        self.request.settimeout(None)
        tls = SSL.Connection(self.server.context, self.request)
        tls.set_accept_state()
        with contextlib.suppress(SSL.Error, OSError):
            tls.do_handshake()
            self._talk(tls)

    def _talk(self, tls: SSL.Connection) -> None:
        got = b""
        tls.sendall(b"220 mx\r\n")
        while True:
            while b"\r\n" not in got:
                got += tls.recv(65536)
            line, got = got.split(b"\r\n", 1)
            verb = line[:4].upper()
            if verb == b"DATA":
                tls.sendall(b"354 go on\r\n")
                while b"\r\n.\r\n" not in got:
                    got += tls.recv(65536)
                message, got = got.split(b"\r\n.\r\n", 1)
                self.server.messages.append(message)
            tls.sendall({b"EHLO": b"250-mx\r\n250 8BITMIME\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n"))


@pytest.fixture
def stapler(tmp_path: Path) -> Iterator[tuple[Lab, Site, Stapler, Issued]]:
    with Lab(tmp_path) as lab:
        hospital, laboratory = lab.site("hospital", HOSPITAL), lab.site("laboratory", LABORATORY)
        identity = lab.ca.gateway(laboratory.hostname, crl_urls=[f"http://127.0.0.1:{free_port()}/dead.crl"])
        with Stapler(tmp_path, identity, lab.ca) as server:
            hospital.know(laboratory, server.server_address[1])
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                hospital.start()
                yield lab, hospital, server, identity
            finally:
                server.shutdown()
                thread.join(PATIENCE)


def test_delivered_because_of_the_answer(stapler: tuple[Lab, Site, Stapler, Issued]) -> None:
    """Unasked; asked and without an answer; with one that is over; with a current one."""
    lab, hospital, server, identity = stapler
    now = datetime.now(UTC)
    good, old = lab.ca.ocsp(identity, at=now), lab.ca.ocsp(identity, at=now - timedelta(days=9))

    def deferrals() -> int:
        return len([line for line in events(hospital, "mail_deferred") if "REVOCATION_UNKNOWN" in str(line)])

    def deferred_again() -> None:
        before, offered = deferrals(), server.answers
        until(lambda: deferrals() > before + 1 and (not asked or server.answers > offered + 1), "it is tried, and deferred")
        assert server.messages == []

    asked = False
    server.answer = good
    send(hospital.inside, letter("stapled"))
    deferred_again()
    assert server.answers == 0

    zone = hospital.folder / "zones" / "lab.toml"
    zone.write_text('stapling = "asked"\n' + zone.read_text())
    server.answer = b""
    reload(hospital)
    asked = True
    deferred_again()
    server.answer = old
    deferred_again()

    server.answer = good
    (message,) = until(lambda: server.messages, "it is delivered")
    assert message_id("stapled").encode() in message
