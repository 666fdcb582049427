"""TLS that asks for a stapled OCSP answer: against Python's server, and against OpenSSL's own, which staples."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.ports import free_port
from gateway.config.model import TlsIdentity
from gateway.edge.tls import ServerTls, explain_failure
from gateway.edge.tlsanyusage import AnyUsageContext, AnyUsageTls
from gateway.edge.tlsstapled import StapledContext, StapledTls
from gateway.outcome import GatewayError, Reason
from tests.hops import server_context
from tests.pki import NOW, Ca, Issued

CA = Ca.root()
SERVER = CA.gateway("gateway.laboratory.example")
US = CA.gateway("gateway.hospital.example")


@dataclass
class Ends:
    """Our side and Python's, with nothing between them but bytes."""

    client: StapledTls
    server: ServerTls

    def pass_on(self) -> tuple[bytes, bytes]:
        """All that each side has to say, until both are silent; what the client and what the server heard."""
        heard, said = [self.client.receive(b"")], []
        while data := self.client.output():
            said.append(self.server.receive(data))
            heard.append(self.client.receive(self.server.output()))
        return b"".join(heard), b"".join(said)


def context(folder: Path, anchor: Ca = CA) -> StapledContext:
    """Ours, believing ``anchor``."""
    anchors = folder / "anchors.pem"
    anchors.write_bytes(anchor.pem)
    certificate, key = US.write(folder, "us")
    return StapledContext(anchors, TlsIdentity(certificate=certificate, key=key))


def ends(folder: Path, server: Issued = SERVER, change: Callable[[ssl.SSLContext], object] = lambda _: None) -> Ends:
    """Before the handshake. The server demands a certificate below the anchor."""
    theirs = server_context(server, folder, CA, "them")
    change(theirs)
    return Ends(StapledTls(context(folder), "gateway.laboratory.example"), ServerTls(theirs))


def test_both_ways(tmp_path: Path) -> None:
    """Data, small and large; who is who; the end, said. Python's server has nothing to staple."""
    names: list[str] = []
    both = ends(tmp_path, change=lambda theirs: setattr(theirs, "sni_callback", lambda _, name, __: names.append(name)))
    both.pass_on()
    assert both.client.established
    assert both.client.peer_chain()[0] == SERVER.der
    assert both.server.peer_chain()[0] == US.der
    assert both.client.describe() == both.server.describe()
    assert names == ["gateway.laboratory.example"]
    assert both.client.stapled == b""
    large = bytes(range(256)) * 40_000
    both.client.send(large)
    both.server.send(b"250 ok")
    assert both.server.receive(both.client.output()) == large
    assert both.client.receive(both.server.output()) == b"250 ok"
    both.server.send(large)
    assert both.client.receive(both.server.output()) == large
    both.client.close()
    both.server.receive(both.client.output())
    assert both.server.ended


def test_the_peers_end(tmp_path: Path) -> None:
    """close_notify is heard."""
    both = ends(tmp_path)
    both.pass_on()
    both.server.close()
    assert both.client.receive(both.server.output()) == b""
    assert both.client.ended


@pytest.mark.parametrize(("version", "works"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_versions(tmp_path: Path, version: ssl.TLSVersion, *, works: bool) -> None:
    """TLS 1.2 is the least."""

    def only(theirs: ssl.SSLContext) -> None:
        theirs.minimum_version = theirs.maximum_version = version
        theirs.set_ciphers("DEFAULT@SECLEVEL=0")

    both = ends(tmp_path, change=only)
    if works:
        both.pass_on()
        assert both.client.describe().startswith("TLSv1.2 ")
    else:
        with pytest.raises(ssl.SSLError):
            both.pass_on()


def test_wrong_chain(tmp_path: Path) -> None:
    """A certificate of nobody we believe ends the handshake, and the peer is told."""
    both = ends(tmp_path, Ca.root("CN=Other").gateway("gateway.laboratory.example"))
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        both.pass_on()
    assert explain_failure(refused.value)[0] is Reason.CHAIN
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        both.server.receive(both.client.output())


def test_the_chain_as_it_was_shown(tmp_path: Path) -> None:
    """By both sides, leaf first and each once; OpenSSL asks nothing of what leads nowhere, and what it is worth is judged above."""
    issuing = CA.intermediate()
    shown = issuing.gateway("gateway.laboratory.example")
    odd = Ca.root("CN=Odd").der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)  # X.509 has no version 8
    theirs, key = shown.write(tmp_path, "shown")
    with theirs.open("a") as file:
        file.write(ssl.DER_cert_to_PEM_cert(odd))
    both = ends(tmp_path, change=lambda server: server.load_cert_chain(theirs, key))
    both.pass_on()
    assert both.client.peer_chain() == (shown.der, issuing.der, odd)
    us, our_key = US.write(tmp_path, "us")
    peer = ssl.create_default_context(cadata=CA.pem.decode())
    peer.load_cert_chain(theirs, key)
    from_us, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = peer.wrap_bio(from_us, to_us, server_hostname="gateway.hospital.example")
    server = AnyUsageTls(AnyUsageContext(us, our_key, tmp_path / "anchors.pem"))
    while not server.established:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        server.receive(to_us.read())
        from_us.write(server.output())
    assert server.peer_chain() == (shown.der, issuing.der, odd)


def test_an_anchor_somebody_signed(tmp_path: Path) -> None:
    """What the administrator named is an anchor, whoever signed it."""
    issuing = CA.intermediate()
    both = ends(tmp_path, issuing.gateway("gateway.laboratory.example"))
    both.client = StapledTls(context(tmp_path, issuing), "gateway.laboratory.example")
    both.pass_on()
    assert both.client.established


def test_an_address_is_no_name(tmp_path: Path) -> None:
    """RFC 6066 3: no address in SNI."""
    names: list[str | None] = []
    both = ends(tmp_path, change=lambda theirs: setattr(theirs, "sni_callback", lambda _, name, __: names.append(name)))
    both.client = StapledTls(context(tmp_path), "127.0.0.1")
    both.pass_on()
    assert [name for name in names if name is not None] == []


def test_unusable_files(tmp_path: Path) -> None:
    """They are named."""
    with pytest.raises(GatewayError, match="nowhere") as refused:
        StapledContext(tmp_path / "nowhere", TlsIdentity(certificate=tmp_path / "a", key=tmp_path / "b"))
    assert refused.value.reason is Reason.TLS_FAILED


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_staples(tmp_path: Path, version: str) -> None:
    """``openssl s_server -status_file``: the answer arrives as it is."""
    port = free_port()
    answer = CA.ocsp(SERVER, at=NOW)
    (tmp_path / "answer.der").write_bytes(answer)
    certificate, key = SERVER.write(tmp_path, "them")
    command = ["openssl", "s_server", version, "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-key", str(key)]
    command += ["-status_file", str(tmp_path / "answer.der"), "-naccept", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            assert server.stdout is not None
            while b"ACCEPT" not in (line := server.stdout.readline()):
                assert line
            client = StapledTls(context(tmp_path), "gateway.laboratory.example")
            with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
                client.receive(b"")
                wire.sendall(client.output())
                while not client.established:
                    client.receive(wire.recv(65536))
                    wire.sendall(client.output())
            assert client.stapled == answer
        finally:
            server.kill()
