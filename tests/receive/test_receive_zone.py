"""TLS and the peers of a zone: who they are is known from their certificate alone.

Each test twice: where a certificate must be a client's, and where the peer may show a server's, which another library then handles.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.config.words import ClientUsage
from gateway.events import MailAccepted, MailRefused, PeerAllowed, PeerRejected
from gateway.outcome import Defer, GatewayError, Reason, Refuse
from tests.pki import NOW, Ca, Issued
from tests.receive.gatehouse import House, Pki, house


@pytest.fixture(params=ClientUsage)
async def gatehouse(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> AsyncIterator[House]:
    async with house(tmp_path, pki, peer={"client_usage": request.param}) as built:
        yield built


def lenient(gatehouse: House) -> bool:
    """Whether the peer may show a server's certificate."""
    return gatehouse.config.zone["lab"].peer[0].client_usage is ClientUsage.SERVER_AUTH_ALLOWED


async def accepted(house: House, listener: str = "zone") -> None:
    """One mail by the laboratory."""
    async with house.client(listener, tls=house.client_tls(house.pki.laboratory)) as client:
        assert (await client.mail("results@laboratory.example", "cardiology@hospital.example")).startswith("250 ")
        assert (await client.data(b"Subject: result\r\n\r\n.\r\n")).startswith("250 ")


async def test_a_peer_of_the_zone(gatehouse: House) -> None:
    await accepted(gatehouse)
    arrival = gatehouse.spool.accepted[0].arrival
    assert (arrival.zone, arrival.peer, arrival.client) == ("lab", "laboratory", None)
    assert arrival.tls.startswith("TLSv1.3 TLS_")
    (event,) = gatehouse.seen(MailAccepted)
    assert event.peer == "laboratory"
    assert f"with ESMTPS id {arrival.mail}".encode() in b"".join(gatehouse.spool.accepted[0].body.chunks())


async def test_a_peer_by_starttls(gatehouse: House) -> None:
    async with gatehouse.client("zone-starttls") as client:
        await client.ask("STARTTLS")
        context = gatehouse.client_tls(gatehouse.pki.laboratory)
        await client.writer.start_tls(context, server_hostname="gateway.hospital.example")
        await client.ask("EHLO gateway.laboratory.example")
        assert (await client.mail("results@laboratory.example", "cardiology@hospital.example")).startswith("250 ")


@pytest.mark.parametrize(
    ("sender", "recipient", "said"),
    [
        ("someone@elsewhere.example", "cardiology@hospital.example", "Sender domain not bound to this peer"),
        ("cardiology@hospital.example", "ward@clinic.example", "Sender domain not bound to this peer"),
        ("results@laboratory.example", "someone@elsewhere.example", "Relaying denied"),
    ],
)
async def test_a_peer_sends_from_its_domains_to_ours(gatehouse: House, sender: str, recipient: str, said: str) -> None:
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
        replies = [await client.ask(f"MAIL FROM:<{sender}>"), await client.ask(f"RCPT TO:<{recipient}>")]
    assert f"550 5.7.1 {said}" in replies


async def test_one_organisation_for_each_mail(gatehouse: House) -> None:
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
        await client.mail("results@laboratory.example", "cardiology@hospital.example")
        assert await client.ask("RCPT TO:<ward@clinic.example>") == "452 4.5.3 Too many"
        await client.data(b".\r\n")
        assert await client.mail("results@laboratory.example", "ward@clinic.example") == "250 2.1.5 Recipient OK"
        await client.data(b".\r\n")
    assert [mail.arrival.organisation for mail in gatehouse.spool.accepted] == ["hospital", "clinic"]


async def test_a_good_certificate_of_no_peer(gatehouse: House) -> None:
    """A fault of identity: greeted, known to the audit at once, refused at MAIL."""
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.outsider)) as client:
        (event,) = gatehouse.seen(PeerRejected)
        assert (event.listener, event.reason, event.detail) == ("zone", Reason.PEER_UNKNOWN, "gateway.outsider.example in no list")
        assert await client.ask("MAIL FROM:<results@laboratory.example>") == "550 5.7.1 Peer not in the trust zone"
    assert [event.reason for event in gatehouse.seen(MailRefused)] == [Reason.PEER_UNKNOWN]


async def test_unknown_revocation_is_for_later(gatehouse: House) -> None:
    gatehouse.peers.answer = Defer(Reason.REVOCATION_UNKNOWN, "no CRL")
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
        reply = await client.ask("MAIL FROM:<results@laboratory.example>")
        assert reply == "451 4.7.5 Certificate revocation cannot be checked now"
        gatehouse.peers.answer = None
        assert (await client.ask("MAIL FROM:<results@laboratory.example>")).startswith("250 ")


def foreign(pki: Pki) -> Issued:
    return Ca.root("CN=Another Root,O=Zone,C=FR").gateway("gateway.laboratory.example")


def expired(pki: Pki) -> Issued:
    return pki.issuing.gateway("gateway.laboratory.example", not_after=NOW)


def nothing(pki: Pki) -> None:
    return None


@pytest.mark.parametrize("listener", ["zone", "zone-starttls"])
@pytest.mark.parametrize(
    ("shown", "reason", "alert"),
    [
        (foreign, Reason.CHAIN, "UNKNOWN_CA"),
        (expired, Reason.EXPIRED, "CERTIFICATE_EXPIRED"),
        (nothing, Reason.PEER_UNKNOWN, "CERTIFICATE_REQUIRED"),
    ],
)
async def test_a_fault_of_the_chain_is_a_tls_alert(
    gatehouse: House, listener: str, shown: Callable[[Pki], Issued | None], reason: Reason, alert: str
) -> None:
    """The alert tells the peer (RFC 8446 6.2), the event tells the administrator."""
    context = gatehouse.client_tls(shown(gatehouse.pki))
    told = await asyncio.to_thread(alert_of, gatehouse.ports[listener], context, "starttls" in listener)
    assert alert in told
    (event,) = gatehouse.seen(PeerRejected)
    assert (event.reason, event.address) == (reason, "127.0.0.1")
    assert event.detail


@pytest.mark.parametrize("usage", ["server", "email"])
async def test_a_certificate_that_is_no_clients(gatehouse: House, usage: str) -> None:
    """An alert; where the peer may show a server's, who it is and whether this one is, is asked in the session."""
    shown = gatehouse.client_tls(gatehouse.pki.issuing.gateway("gateway.laboratory.example", eku=[usage]))
    if not lenient(gatehouse):
        assert "UNSUPPORTED_CERTIFICATE" in await asyncio.to_thread(alert_of, gatehouse.ports["zone"], shown, False)
        assert [event.reason for event in gatehouse.seen(PeerRejected)] == [Reason.EKU]
        return
    gatehouse.peers.answer = Refuse(Reason.EKU, "meant for something else") if usage == "email" else None
    gatehouse.peers.allowed = "meant for servers"
    async with gatehouse.client("zone", tls=shown) as client:
        replies = [await client.mail("results@laboratory.example", "cardiology@hospital.example") for _ in range(2)]
    if usage == "email":
        assert not any(reply.startswith("250 ") for reply in replies)
        assert [event.reason for event in gatehouse.seen(PeerRejected)] == [Reason.EKU]
        assert not gatehouse.seen(PeerAllowed)
        return
    assert replies[0].startswith("250 ")
    (event,) = gatehouse.seen(PeerAllowed)
    assert (event.listener, event.address, event.zone, event.peer) == ("zone", "127.0.0.1", "lab", "laboratory")
    assert event.detail == "meant for servers"


async def test_an_authority_that_is_no_clients(gatehouse: House) -> None:
    """Public authorities are limited to servers themselves: that is passed over too, and judged above."""
    servers = gatehouse.pki.root.intermediate("CN=Servers,O=Zone,C=FR", eku=["server"])
    shown = gatehouse.client_tls(servers.gateway("gateway.laboratory.example", eku=None))
    if not lenient(gatehouse):
        assert "UNSUPPORTED_CERTIFICATE" in await asyncio.to_thread(alert_of, gatehouse.ports["zone"], shown, False)
        return
    async with gatehouse.client("zone", tls=shown) as client:
        assert (await client.mail("results@laboratory.example", "cardiology@hospital.example")).startswith("250 ")


def alert_of(port: int, context: ssl.SSLContext, starttls: bool) -> str:
    """What a client of the standard library hears; it learns of a refused certificate only with its next read."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        if starttls:
            with plain.makefile("rb") as lines:
                lines.readline()
                for command in (b"HELO gateway.laboratory.example\r\n", b"STARTTLS\r\n"):
                    plain.sendall(command)
                    lines.readline()
        secured = context.wrap_socket(plain, server_hostname="gateway.hospital.example", do_handshake_on_connect=False)
        with secured, pytest.raises(ssl.SSLError) as caught:
            secured.read()
        return str(caught.value.reason)


async def test_what_is_pipelined_behind_starttls_is_refused(gatehouse: House) -> None:
    """RFC 3207 4.2 and CVE-2011-0411: a command in clear must not be answered under TLS."""
    async with gatehouse.client("secure") as client:
        await client.send(b"STARTTLS\r\nMAIL FROM:<cardiology@hospital.example>\r\n")
        assert await client.reply() == "521 5.5.1 Nothing may follow STARTTLS"
        assert await client.reply() == ""


async def test_old_tls_is_refused(gatehouse: House) -> None:
    context = gatehouse.client_tls(gatehouse.pki.laboratory)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with gatehouse.client("zone", tls=context):
            pass
    (event,) = gatehouse.seen(PeerRejected)
    assert event.reason is Reason.TLS_FAILED


async def test_no_session_is_resumed_on_a_zone_listener(gatehouse: House) -> None:
    """A resumed session would bring no chain, and outlive an anchor that was taken away."""
    context = gatehouse.client_tls(gatehouse.pki.laboratory)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with gatehouse.client("zone", tls=context) as client:
        session = client.writer.get_extra_info("ssl_object").session
        assert not session.has_ticket
        await client.ask("QUIT")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_that_is_offered_again(gatehouse: House, version: ssl.TLSVersion) -> None:
    """By identifier (RFC 5246 F.1.4) or by ticket (RFC 8446 2.2): whoever it is taken up with, is judged anew, and by name."""
    context = gatehouse.client_tls(gatehouse.pki.laboratory)
    context.minimum_version = context.maximum_version = version
    assert await asyncio.to_thread(said_twice, gatehouse.ports["zone"], context) == [b"250", b"250"]
    gatehouse.peers.answer = Refuse(Reason.REVOKED, "since a minute ago")
    assert await asyncio.to_thread(said_twice, gatehouse.ports["zone"], context) == [b"550", b"550"]


def said_twice(port: int, context: ssl.SSLContext) -> list[bytes]:
    """What a peer is told at MAIL, on a first connection and on one that offers the session of the first again."""
    session, said = None, []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="gateway.hospital.example", session=session) as secured,
        ):
            assert secured.read().startswith(b"220 ")
            for command in (b"HELO gateway.laboratory.example\r\n", b"MAIL FROM:<results@laboratory.example>\r\n"):
                secured.sendall(command)
                answer = secured.read()
            said.append(answer[:3])
            session = secured.session
    return said


async def test_reload_changes_anchors_and_peers_and_drops_no_connection(gatehouse: House) -> None:
    async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
        other = Pki()
        (gatehouse.folder / "anchors.pem").write_bytes(other.root.pem)
        gatehouse.receiver.reload()
        assert (await client.ask("MAIL FROM:<results@laboratory.example>")).startswith("250 ")
        await client.ask("RSET")
        gatehouse.peers.names.clear()
        assert (await client.ask("MAIL FROM:<results@laboratory.example>")).startswith("550 5.7.1 ")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with gatehouse.client("zone", tls=gatehouse.client_tls(gatehouse.pki.laboratory)) as client:
            await client.ask("NOOP")
    gatehouse.peers.names["gateway.laboratory.example"] = "laboratory"
    (gatehouse.folder / "anchors.pem").write_bytes(gatehouse.pki.root.pem)
    gatehouse.receiver.reload()
    await accepted(gatehouse)


async def test_a_reload_that_fails_changes_nothing(gatehouse: House) -> None:
    (gatehouse.folder / "own.key").write_bytes(b"no key")
    with pytest.raises(GatewayError, match=r"listener .* \[tls.own\]"):
        gatehouse.receiver.reload()
    await accepted(gatehouse)


async def test_a_stalled_handshake_holds_up_nobody(gatehouse: House) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gatehouse.ports["zone"])
    await accepted(gatehouse)
    writer.close()
    await writer.wait_closed()
