"""One hop over real sockets: outcomes for each recipient, TLS that never falls back, connections kept."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import (
    Config,
    Key,
    KeyPurpose,
    Listener,
    Organisation,
    Route,
    RouteKind,
    Secret,
    TlsIdentity,
    TlsMode,
    Zone,
    ZonePeer,
)
from gateway.config.words import Stapling
from gateway.deliver import Deliverer, HopResult, Reached
from gateway.deliver.nexthop import MAX_TARGETS, NextHops
from gateway.edge.smtpclient import Deadlines
from gateway.mail.address import parse_address
from gateway.mail.body import Body
from gateway.mail.envelope import Arrival, Direction, Envelope, Mail, NextHop, Recipient, Role, Stage
from gateway.mail.envelope import Body as BodyType
from gateway.mail.identifier import make_mail_id
from gateway.outcome import Defer, Deliver, GatewayError, Reason, Refuse
from gateway.receive.peers import ZonePeers
from gateway.smtp.reply import Reply
from gateway.trust.judgement import Distrusted, Purpose, Trusted
from tests.doubles import MemoryBody
from tests.hops import Hop, Script, aiosmtpd_hop, lines, scripted_hop, server_context
from tests.pki import NOW, Ca, Issued

MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"
ROUTE = NextHop("inside")
PEER = NextHop("laboratory", "health")
IMPATIENT = Deadlines(connect=5, handshake=5, reply=0.2, block=0.2, content=5, acceptance=0.2, goodbye=1)


class Believing:
    """Believes every chain that OpenSSL believed; which peer it is stays to be found."""

    async def peer(
        self, _zone: str, chain: Sequence[bytes], _purpose: Purpose, _at: int, _stapled: bytes = b"", /
    ) -> Trusted | Distrusted:
        return Trusted(tuple(reversed(chain)))


@dataclass
class Zones:
    """A resolver from a table: domain to exchanges, host to addresses."""

    exchanges_of: dict[str, tuple[str, ...] | Refuse | Defer] = field(default_factory=dict)

    async def exchanges(self, domain: str, own_name: str, /) -> tuple[str, ...] | Refuse | Defer:  # noqa: ARG002
        return self.exchanges_of[domain]

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        if host == "bare.test":
            raise GatewayError(Reason.HOP_UNREACHABLE, "no address")
        return ("127.0.0.2", "127.0.0.1") if host == "two.test" else ("127.0.0.1",)


def config(route: Route | None = None, zone: Zone | None = None, tls: dict[str, TlsIdentity] | None = None) -> Config:
    return Config(
        hostname="gateway.hospital.example",
        state=Path("/nowhere"),
        run=Path("/nowhere"),
        spool_key="spool",
        organisation={"hospital": Organisation(domains=("hospital.example",), mail_server="inside")},
        key={"spool": Key(purpose=KeyPurpose.SPOOL, public_key=Path("/nowhere"))},
        listener={"inside": Listener(address="127.0.0.1", port=0, role=Role.INSIDE)},
        route={"inside": route} if route else {"other": Route(host="127.0.0.1")},
        zone={"health": zone} if zone else {},
        tls=tls or {},
    )


def mail(*recipients: str, hop: NextHop | None = ROUTE, body: Body | None = None, **more: Any) -> Mail:  # noqa: ANN401 - fields of the envelope
    people = tuple(Recipient(parse_address(text)) for text in recipients or ["results@laboratory.example"])
    return Mail(
        Arrival(make_mail_id(0, bytes(10)), 0, "hospital", Direction.OUTBOUND, Role.INSIDE, "inside"),
        Envelope(parse_address("cardiology@hospital.example"), people, **more),
        body or MemoryBody(MESSAGE),
        Stage.DELIVERY,
        hop,
    )


Open = Callable[..., Deliverer]


@pytest.fixture
async def deliverer() -> AsyncIterator[Open]:
    """Makes deliverers for a configuration (or a list of one, to be changed) and closes them at the end."""
    async with AsyncExitStack() as stack:

        def make(given: Config | list[Config], resolver: Zones | None = None, deadlines: Deadlines | None = None) -> Deliverer:
            now = given if isinstance(given, list) else [given]
            made = Deliverer(
                config=lambda: now[0],
                resolver=resolver or Zones(),
                peers=ZonePeers(Believing()),
                now=lambda: 0,
                deadlines=deadlines or Deadlines(connect=5, handshake=5, reply=5, goodbye=1),
            )
            stack.push_async_callback(made.close)
            return made

        yield make


def plain(port: int) -> Config:
    return config(Route(host="127.0.0.1", port=port))


def endings(results: Sequence[HopResult]) -> dict[str, tuple[type, Reason | None]]:
    """By recipient: the kind of ending and its reason."""
    return {str(result.recipient.address): (type(result.outcome), getattr(result.outcome, "reason", None)) for result in results}


@pytest.mark.parametrize(
    ("field", "quoted"),
    [
        ("Blutbild Herr Muster", "Blutbild Herr Muster"),
        ("=?utf-8?q?Befund_M=C3=BCller?=", "Befund Müller"),
        ("=?utf-8?q?Befund_M=C3=BCller?=", "=?utf-8?q?Befund_M=C3=BCller?="),
    ],
)
@pytest.mark.parametrize("code", ["550 5.7.1", "451 4.7.1"])
async def test_a_hop_that_quotes_the_subject_puts_it_nowhere(deliverer: Open, code: str, field: str, quoted: str) -> None:
    """What it says goes into the audit, and there no subject stands. The rest of its words answers "why"."""
    body = MemoryBody(b"Subject: " + field.encode() + b"\r\n\r\nx\r\n")
    async with aiosmtpd_hop(replies={"DATA": f"{code} rejected: subject '{quoted}', it is spam"}) as hop:
        result = only(await deliverer(plain(hop.port)).deliver(mail(body=body)))
    assert not isinstance(result.outcome, Deliver)
    assert result.reply == result.outcome.detail == f"{code} rejected: subject '[subject]', it is spam"


async def test_what_a_hop_says_is_left_as_it_is_where_it_quotes_nothing(deliverer: Open) -> None:
    """A short word that stands in the Subject too, or a part of a word, is no quotation; without a Subject there is none."""
    for head in (b"Subject: us\r\n", b"Subject: no\r\n", b"Subject:\r\n", b"To: x@y.example\r\n", b"Subject: nown\r\n"):
        async with aiosmtpd_hop(replies={"DATA": "550 5.1.1 user unknown"}) as hop:
            result = only(await deliverer(plain(hop.port)).deliver(mail(body=MemoryBody(head + b"\r\nx\r\n"))))
        assert result.reply == "550 5.1.1 user unknown"


def only(results: Sequence[HopResult]) -> HopResult:
    assert len(results) == 1
    return results[0]


# In clear


async def test_a_mail_arrives_byte_for_byte(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        result = only(await deliverer(plain(hop.port)).deliver(mail()))
        assert result.outcome == Deliver()
        assert (result.host, result.tls, result.reply) == (f"127.0.0.1:{hop.port}", "", "250 2.0.0 queued")
        received = hop.mails[0]
        assert (received.sender, received.recipients) == ("cardiology@hospital.example", ["results@laboratory.example"])
        assert received.content == MESSAGE


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
async def test_each_recipient_has_its_own_outcome(deliverer: Open, extensions: Sequence[str]) -> None:
    replies = {"b@laboratory.example": "450 4.2.1 later", "c@laboratory.example": "550 5.1.1 no such user"}
    async with aiosmtpd_hop(extensions=extensions, replies=replies) as hop:
        sent = mail("a@laboratory.example", "b@laboratory.example", "c@laboratory.example")
        results = await deliverer(plain(hop.port)).deliver(sent)
    assert endings(results) == {
        "a@laboratory.example": (Deliver, None),
        "b@laboratory.example": (Defer, Reason.HOP_DEFERRED),
        "c@laboratory.example": (Refuse, Reason.HOP_REFUSED),
    }
    assert [getattr(result.outcome, "detail", "") for result in results] == ["", "450 4.2.1 later", "550 5.1.1 no such user"]


@pytest.mark.parametrize(("reply", "kind"), [("452 4.3.1 full", Defer), ("554 5.7.1 not wanted", Refuse)])
async def test_what_the_hop_says_of_the_message_is_for_all(deliverer: Open, reply: str, kind: type) -> None:
    async with aiosmtpd_hop(extensions=["PIPELINING"], replies={"DATA": reply}) as hop:
        results = await deliverer(plain(hop.port)).deliver(mail("a@laboratory.example", "b@laboratory.example"))
    assert [type(result.outcome) for result in results] == [kind, kind]


async def test_nobody_listening_defers(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        port = hop.port
    result = only(await deliverer(plain(port)).deliver(mail()))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.HOP_UNREACHABLE
    assert str(port) in result.outcome.detail


EHLO = b"250-mx\r\n250 8BITMIME\r\n"
CUT = {
    "before the greeting": (),
    "after the greeting": (b"220 mx\r\n",),
    "after EHLO": (b"220 mx\r\n", EHLO),
    "after MAIL": (b"220 mx\r\n", EHLO, b"250 ok\r\n"),
    "after RCPT": (b"220 mx\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n"),
    "after the go-ahead": (b"220 mx\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"),
    "within a reply": (b"220 mx\r\n", EHLO, b"250 ok\r\n", b"25"),
    "after the message": (b"220 mx\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", *[None] * 6),
}


@pytest.mark.parametrize("when", CUT)
async def test_a_hop_that_hangs_up_defers(deliverer: Open, when: str) -> None:
    """Also after the message: a second copy is better than none."""
    async with scripted_hop(lines(*CUT[when])) as port:
        result = only(await deliverer(plain(port)).deliver(mail()))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.HOP_UNREACHABLE


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, and never a whole reply."""
    while True:
        writer.write(b"2")
        await writer.drain()
        await asyncio.sleep(0.02)


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the envelope and then reads no more."""
    writer.transport.set_write_buffer_limits(0)
    await lines(b"220 mx\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")(reader, writer)
    await asyncio.Event().wait()


@pytest.mark.parametrize("script", [silence, drip, deaf])
async def test_a_hop_that_is_too_slow_defers(deliverer: Open, script: Script) -> None:
    async with scripted_hop(script) as port:
        sent = mail(body=MemoryBody(b"x" * 998 + b"\r\n", 1000) if script is not deaf else Endless(20_000_000))
        result = only(await deliverer(plain(port), deadlines=IMPATIENT).deliver(sent))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.HOP_UNREACHABLE


async def test_a_reply_of_a_megabyte_defers(deliverer: Open) -> None:
    async with scripted_hop(lines(b"220-x\r\n" * 150_000)) as port:
        result = only(await deliverer(plain(port)).deliver(mail()))
    assert isinstance(result.outcome, Defer)


@dataclass(frozen=True)
class Endless:
    """A body of ``size`` bytes that is nowhere."""

    size: int

    def chunks(self) -> Iterator[bytes]:
        chunk = (b"." + b"x" * 61 + b"\r\n") * 1024
        left = self.size
        while left:
            piece = chunk[-left:] if left < len(chunk) else chunk
            left -= len(piece)
            yield piece


@pytest.mark.parametrize("extension", ["PIPELINING", "CHUNKING"])
async def test_25_mb_pass_through_little_memory(deliverer: Open, extension: str) -> None:
    got = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await lines(b"220 mx\r\n", b"250-mx\r\n250 " + extension.encode() + b"\r\n", b"250 ok\r\n", b"250 ok\r\n")(reader, writer)
        if extension == "CHUNKING":
            want = int((await reader.readuntil(b"\r\n")).split()[1])
        else:
            await reader.readuntil(b"DATA\r\n")
            writer.write(b"354 go\r\n")
            want = size + size // 64 + 3  # a dot for each line, and the final one
        while got < want:
            got += len(await reader.read(65536))
        writer.write(b"250 ok\r\n")
        await lines(b"", b"221 bye\r\n")(reader, writer)

    size = 25 * 1024 * 1024
    async with scripted_hop(swallow) as port:
        given = deliverer(plain(port))
        tracemalloc.start()
        try:
            result = only(await given.deliver(mail(body=Endless(size))))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert result.outcome == Deliver()
    assert got >= size
    assert peak < 4 * 1024 * 1024


async def test_a_message_that_could_end_early_is_never_sent_whole(deliverer: Open) -> None:
    """SMTP smuggling: a bare LF before a dot. Refused, and the hop gets no end of data."""
    async with aiosmtpd_hop() as hop:
        result = only(await deliverer(plain(hop.port)).deliver(mail(body=MemoryBody(b"a\r\n\n.\r\nMAIL FROM:<x@y.example>\r\n"))))
        assert hop.mails == []
    assert isinstance(result.outcome, Refuse)
    assert result.outcome.reason is Reason.MALFORMED


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - a listener on every address of the machine
async def test_our_own_listener_is_never_a_next_hop(deliverer: Open, address: str) -> None:
    """Whatever name or address leads there. The mail waits until the route is mended; the hop sees no transaction."""
    async with aiosmtpd_hop() as hop:
        ours = {"zone-in": Listener(address=address, port=hop.port, role=Role.INSIDE)}
        opened = deliverer(plain(hop.port).model_copy(update={"listener": ours}))
        result = only(await opened.deliver(mail()))
        assert isinstance(result.outcome, Defer)
        assert (result.outcome.reason, "listener zone-in" in result.outcome.detail) == (Reason.LOOP, True)
        assert await opened.reach(ROUTE) == result.outcome
        assert (hop.mails, hop.recipients_asked) == ([], [])


@pytest.mark.parametrize("extensions", [b"", b"250-CHUNKING\r\n"])
async def test_a_hop_that_hangs_up_amid_a_large_message_makes_it_wait(deliverer: Open, extensions: bytes) -> None:
    """At any of the writes that follow: it is the hop's fault, not ours, and the mail is not put aside for it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        for reply in (b"250-mx\r\n" + extensions + b"250 SIZE\r\n", b"250 ok\r\n", b"250 ok\r\n"):
            await reader.readuntil(b"\r\n")
            writer.write(reply)
        if not extensions:
            await reader.readuntil(b"\r\n")
            writer.write(b"354 go\r\n")
        await reader.readexactly(100_000)
        writer.transport.abort()

    async with scripted_hop(script) as port:
        large = replace(mail(), body=MemoryBody(b"Subject: x\r\n\r\n" + (b"z" * 70 + b"\r\n") * 300_000))
        result = only(await deliverer(plain(port)).deliver(large))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.HOP_UNREACHABLE


# From where, and to which of several addresses


async def test_a_route_connects_from_its_source(deliverer: Open) -> None:
    """And a zone likewise: a peer's firewall may know us by one address."""
    seen: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(b"421 4.3.2 later\r\n")

    async with scripted_hop(script) as port:
        route = Route(host="127.0.0.1", port=port, source=("127.0.0.7", "::1"))
        await deliverer(config(route)).deliver(mail())
    assert seen == ["127.0.0.7"]


async def test_a_family_without_a_source_is_not_used(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        result = only(await deliverer(config(Route(host="127.0.0.1", port=hop.port, source=("::1",)))).deliver(mail()))
        assert isinstance(result.outcome, Defer)
        assert result.outcome.reason is Reason.HOP_UNREACHABLE
        assert "source address" in result.outcome.detail
        assert hop.connections == 0


async def test_an_address_that_turns_us_away_is_left_for_the_next(deliverer: Open) -> None:
    """RFC 5321 5.1: every address of a host is tried, also where one connects and then takes no mail."""
    async with aiosmtpd_hop() as hop, AsyncExitStack() as stack:
        refusing = await asyncio.start_server(turn_away, "127.0.0.2", hop.port)
        stack.push_async_callback(refusing.wait_closed)
        stack.callback(refusing.close)
        resolver = Zones({"laboratory.example": ("two.test",)})
        result = only(await deliverer(config(Route(kind=RouteKind.MX, port=hop.port)), resolver).deliver(mail()))
        assert result.outcome == Deliver()
        assert len(hop.mails) == 1


async def turn_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"554 5.3.2 no mail here\r\n")
    writer.close()


# What the hop lacks


@pytest.mark.parametrize(
    ("said", "sent", "reason"),
    [
        (b"250 mx\r\n", mail(body=MemoryBody("é\r\n".encode())), Reason.HOP_LACKS),
        (b"250-mx\r\n250 SIZE 10\r\n", mail(), Reason.TOO_LARGE),
        (b"250-mx\r\n250 8BITMIME\r\n", mail("dépôt@laboratory.example", smtputf8=True), Reason.HOP_LACKS),
        (
            b"250-mx\r\n250 8BITMIME\r\n",
            mail(body=MemoryBody("Subject: é\r\n\r\n".encode()), smtputf8=True),
            Reason.HOP_LACKS,
        ),
        (b"250-mx\r\n250 REQUIRETLS\r\n", mail(require_tls=True), Reason.HOP_LACKS_REQUIRETLS),
    ],
    ids=["8BITMIME", "SIZE", "SMTPUTF8 for an address", "SMTPUTF8 for the header", "TLS for REQUIRETLS"],
)
async def test_a_mail_the_hop_cannot_carry_is_refused_and_not_begun(
    deliverer: Open, said: bytes, sent: Mail, reason: Reason
) -> None:
    async with scripted_hop(lines(b"220 mx\r\n", said, b"500 nothing should come but QUIT\r\n")) as port:
        result = only(await deliverer(plain(port)).deliver(sent))
    assert isinstance(result.outcome, Refuse)
    assert result.outcome.reason is reason


async def test_without_smtputf8_only_the_recipient_who_needs_it_is_left_out(deliverer: Open) -> None:
    async with aiosmtpd_hop(smtputf8=False) as hop:
        sent = mail("dépôt@laboratory.example", "results@laboratory.example", smtputf8=True)
        results = await deliverer(plain(hop.port)).deliver(sent)
        assert hop.mails[0].recipients == ["results@laboratory.example"]
        assert "SMTPUTF8" not in hop.mails[0].options
    assert endings(results) == {
        "dépôt@laboratory.example": (Refuse, Reason.HOP_LACKS),
        "results@laboratory.example": (Deliver, None),
    }


async def test_an_8bit_mail_and_an_address_beyond_ascii_pass_where_offered(deliverer: Open) -> None:
    content = "Subject: é\r\n\r\né\r\n".encode()
    async with aiosmtpd_hop() as hop:
        sent = mail("dépôt@laboratory.example", body=MemoryBody(content), smtputf8=True)
        await deliverer(plain(hop.port)).deliver(
            Mail(
                sent.arrival,
                Envelope(None, sent.envelope.recipients, BodyType.EIGHT_BIT, smtputf8=True),
                sent.body,
                sent.stage,
                ROUTE,
            )
        )
        assert hop.mails[0].content == content
        assert hop.mails[0].recipients == ["dépôt@laboratory.example"]
        assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(hop.mails[0].options)


# Connections kept


async def test_the_second_mail_takes_the_connection_of_the_first(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        given = deliverer(plain(hop.port))
        for _ in range(3):
            assert only(await given.deliver(mail())).outcome == Deliver()
        assert (hop.connections, hop.greeted, len(hop.mails)) == (1, 1, 3)


async def test_a_refused_mail_leaves_the_connection_in_step(deliverer: Open) -> None:
    async with aiosmtpd_hop(extensions=["PIPELINING"], replies={"no@laboratory.example": "550 no"}) as hop:
        given = deliverer(plain(hop.port))
        assert isinstance(only(await given.deliver(mail("no@laboratory.example"))).outcome, Refuse)
        assert only(await given.deliver(mail())).outcome == Deliver()
        assert hop.connections == 1


@pytest.mark.parametrize("leave", [b"", b"421 idle too long\r\n"])
async def test_a_kept_connection_that_has_ended_is_replaced(deliverer: Open, leave: bytes) -> None:
    """The hop takes leave in answer to the next MAIL: nobody notices but the hop."""
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        ok = b"250 ok\r\n"
        await lines(b"220 mx\r\n", EHLO, ok, ok, b"354 go\r\n", *[None] * 6, ok)(reader, writer)
        await reader.readuntil(b"\r\n")
        writer.write(leave)

    async with scripted_hop(once) as port:
        given = deliverer(plain(port))
        assert only(await given.deliver(mail(body=MemoryBody(b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n")))).outcome == Deliver()
        assert only(await given.deliver(mail(body=MemoryBody(b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n")))).outcome == Deliver()
    assert served == 2


async def test_many_at_once_share_a_bounded_number_of_connections(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        given = deliverer(plain(hop.port))
        await asyncio.gather(*(given.deliver(mail()) for _ in range(40)))
        assert len(hop.mails) == 40
        assert hop.connections <= 10


# TLS


@pytest.fixture(scope="module")
def root() -> Ca:
    return Ca.root()


@dataclass
class Site:
    """Our side of the zone ``health``: its anchor and our certificate, on disk."""

    folder: Path
    root: Ca
    stapling: Stapling

    def zone(self, port: int, tls: TlsMode = TlsMode.IMPLICIT) -> Config:
        anchors = self.folder / "anchors.pem"
        anchors.write_bytes(self.root.pem)
        certificate, key = self.root.gateway("gateway.hospital.example").write(self.folder, "us")
        peers = (
            ZonePeer(
                name="laboratory",
                domains=("laboratory.example",),
                host="127.0.0.1",
                port=port,
                tls=tls,
                names=("gateway.laboratory.example",),
            ),
            ZonePeer(name="clinic", domains=("clinic.example",), host="127.0.0.1", names=("gateway.clinic.example",)),
        )
        zone = Zone(anchors=anchors, identity="us", peer=peers, stapling=self.stapling)
        return config(zone=zone, tls={"us": TlsIdentity(certificate=certificate, key=key)})

    def laboratory(self, name: str = "gateway.laboratory.example", ca: Ca | None = None, **more: Any) -> ssl.SSLContext:  # noqa: ANN401 - what the certificate is to have
        identity: Issued = (ca or self.root).gateway(name, **more)
        return server_context(identity, self.folder, clients=self.root)


@pytest.fixture(params=Stapling)
def site(request: pytest.FixtureRequest, tmp_path: Path, root: Ca) -> Site:
    """With either library: whether answers are asked for decides which."""
    return Site(tmp_path, root, request.param)


@asynccontextmanager
async def tls_hop(mode: TlsMode, context: ssl.SSLContext) -> AsyncIterator[Hop]:
    implicit, starttls = (context, None) if mode is TlsMode.IMPLICIT else (None, context)
    async with aiosmtpd_hop(implicit=implicit, starttls=starttls) as hop:
        yield hop


MODES = pytest.mark.parametrize("mode", [TlsMode.IMPLICIT, TlsMode.STARTTLS])


@MODES
async def test_a_zone_peer_that_shows_its_certificate_gets_the_mail(deliverer: Open, site: Site, mode: TlsMode) -> None:
    """And it sees ours: the server demands a client certificate."""
    async with tls_hop(mode, site.laboratory()) as hop:
        given = deliverer(site.zone(hop.port, mode))
        for _ in range(2):
            result = only(await given.deliver(mail(hop=PEER)))
            assert result.outcome == Deliver()
            assert result.tls.startswith("TLSv1.3 ")
        assert [received.content for received in hop.mails] == [MESSAGE, MESSAGE]
        assert isinstance(await given.reach(PEER), Reached)


def _wrong(site: Site) -> dict[str, ssl.SSLContext]:
    return {
        "another peer": site.laboratory("gateway.clinic.example"),
        "no peer": site.laboratory("gateway.stranger.example"),
        "expired": site.laboratory(not_after=NOW - datetime.timedelta(days=400)),
        "foreign": site.laboratory(ca=Ca.root()),
        "no server": site.laboratory(eku=["client"]),
    }


@MODES
@pytest.mark.parametrize("what", ["another peer", "no peer", "expired", "foreign", "no server"])
async def test_a_wrong_certificate_defers_and_nothing_is_sent(deliverer: Open, site: Site, mode: TlsMode, what: str) -> None:
    async with tls_hop(mode, _wrong(site)[what]) as hop:
        given = deliverer(site.zone(hop.port, mode))
        result = only(await given.deliver(mail(hop=PEER)))
        assert isinstance(result.outcome, Defer)
        assert result.outcome.reason is Reason.TLS_FAILED
        assert "certificate" in result.outcome.detail
        assert hop.mails == []
        assert hop.recipients_asked == []
        assert await given.reach(PEER) == result.outcome


@MODES
async def test_a_peer_that_speaks_only_in_clear_gets_nothing(deliverer: Open, site: Site, mode: TlsMode) -> None:
    async with aiosmtpd_hop() as hop:
        result = only(await deliverer(site.zone(hop.port, mode)).deliver(mail(hop=PEER)))
        assert isinstance(result.outcome, Defer)
        assert result.outcome.reason is Reason.TLS_FAILED
        assert hop.mails == []
        assert hop.connections == 1


async def test_what_is_said_in_clear_behind_starttls_ends_the_session(deliverer: Open, site: Site) -> None:
    said = lines(b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n", None)
    async with scripted_hop(said) as port:
        result = only(await deliverer(site.zone(port, TlsMode.STARTTLS)).deliver(mail(hop=PEER)))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.TLS_FAILED


async def test_a_peer_that_is_silent_in_the_handshake_defers(deliverer: Open, site: Site) -> None:
    """It has so long for it and no longer."""
    silence = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await silence.wait()

    async with scripted_hop(say_nothing) as port:
        given = deliverer(site.zone(port), deadlines=Deadlines(connect=5, handshake=0.2, reply=60, goodbye=1))
        async with asyncio.timeout(20):
            result = only(await given.deliver(mail(hop=PEER)))
        silence.set()
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.TLS_FAILED


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("how", [hang_up, reset])
async def test_a_peer_that_hangs_up_in_the_handshake_defers(deliverer: Open, site: Site, how: Script) -> None:
    """Without a word, and without an alert."""
    async with scripted_hop(how) as port, asyncio.timeout(20):
        result = only(await deliverer(site.zone(port)).deliver(mail(hop=PEER)))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason in {Reason.TLS_FAILED, Reason.HOP_UNREACHABLE}


async def test_a_large_mail_to_a_zone_peer(deliverer: Open, site: Site) -> None:
    """As it is, in pieces."""
    large = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 4 * 100_000
    large = b"\r\n".join(large[at : at + 70] for at in range(0, len(large), 70)).replace(b"\r\n.", b"\r\n-") + b"\r\n"
    async with tls_hop(TlsMode.IMPLICIT, site.laboratory()) as hop:
        result = only(await deliverer(site.zone(hop.port)).deliver(mail(hop=PEER, body=MemoryBody(large))))
        assert result.outcome == Deliver()
        assert [received.content for received in hop.mails] == [large]


@MODES
async def test_a_peer_that_refuses_our_certificate_defers(deliverer: Open, site: Site, mode: TlsMode) -> None:
    """In TLS 1.3 the refusal comes only after our side of the handshake is done."""
    context = server_context(site.root.gateway("gateway.laboratory.example"), site.folder, clients=Ca.root("CN=Other"))
    async with tls_hop(mode, context) as hop:
        result = only(await deliverer(site.zone(hop.port, mode)).deliver(mail(hop=PEER)))
        assert isinstance(result.outcome, Defer)
        assert result.outcome.reason is Reason.TLS_FAILED
        assert hop.mails == []


@pytest.mark.parametrize(("name", "fine"), [("localhost", True), ("other.example", False)])
@MODES
async def test_a_route_with_tls_goes_to_the_host_it_names(
    deliverer: Open, site: Site, mode: TlsMode, name: str, fine: bool
) -> None:
    anchors = site.folder / "route.pem"
    anchors.write_bytes(site.root.pem)
    context = server_context(site.root.gateway(name), site.folder)
    async with tls_hop(mode, context) as hop:
        route = Route(host="localhost", port=hop.port, tls=mode, anchors=anchors)
        result = only(await deliverer(config(route)).deliver(mail()))
        assert len(hop.mails) == fine
    if fine:
        assert result.outcome == Deliver()
    else:
        assert isinstance(result.outcome, Defer)
        assert result.outcome.reason is Reason.TLS_FAILED


@pytest.mark.parametrize("password", ["in the house", "wrong"])
async def test_a_smarthost_gets_the_mail_of_who_logs_in(
    deliverer: Open, site: Site, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By the password in a file; a wrong one defers and is nowhere to be read."""
    anchors, secret = site.folder / "route.pem", site.folder / "password"
    anchors.write_bytes(site.root.pem)
    secret.write_text(f"{password}\n")
    context = server_context(site.root.gateway("localhost"), site.folder)
    async with aiosmtpd_hop(starttls=context, login=(b"gateway", b"in the house")) as hop:
        route = Route(
            host="localhost", port=hop.port, tls=TlsMode.STARTTLS, anchors=anchors, user="gateway", password=Secret(file=secret)
        )
        opened = deliverer(config(route))
        result = only(await opened.deliver(mail()))
        assert hop.logins == [(b"gateway", password.encode())]
        if password == "wrong":
            assert isinstance(result.outcome, Defer)
            assert result.outcome.reason is Reason.HOP_LOGIN
            assert await opened.reach(ROUTE) == result.outcome
            assert password not in caplog.text + repr(result)
            assert hop.mails == []
        else:
            assert result.outcome == Deliver()


async def test_a_password_that_cannot_be_read_defers(deliverer: Open, site: Site) -> None:
    """And the next try reads it anew."""
    secret = Secret(file=site.folder / "nothing-there")
    route = Route(host="localhost", port=1, tls=TlsMode.IMPLICIT, user="gateway", password=secret)
    outcome = only(await deliverer(config(route)).deliver(mail())).outcome
    assert isinstance(outcome, Defer)
    assert outcome.reason is Reason.KEY_UNAVAILABLE


async def test_without_anchors_a_route_asks_for_a_certificate_the_system_trusts(deliverer: Open, site: Site) -> None:
    context = server_context(site.root.gateway("localhost"), site.folder)
    async with tls_hop(TlsMode.IMPLICIT, context) as hop:
        result = only(await deliverer(config(Route(host="localhost", port=hop.port, tls=TlsMode.IMPLICIT))).deliver(mail()))
    assert isinstance(result.outcome, Defer)
    assert result.outcome.reason is Reason.TLS_FAILED


# Where to


async def test_a_corrected_route_helps_the_mail_that_waits(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        now = [config()]
        given = deliverer(now)
        first = only(await given.deliver(mail()))
        assert isinstance(first.outcome, Defer)
        assert first.outcome.reason is Reason.NO_ROUTE
        now[0] = plain(hop.port)
        assert only(await given.deliver(mail())).outcome == Deliver()


async def test_a_missing_anchor_file_defers(deliverer: Open, site: Site) -> None:
    given = site.zone(1)
    given.zone["health"].anchors.unlink()
    result = only(await deliverer(given).deliver(mail(hop=PEER)))
    assert isinstance(result.outcome, Defer)
    assert "anchors.pem" in result.outcome.detail


async def test_by_mx_each_domain_takes_its_own_way(deliverer: Open) -> None:
    async with aiosmtpd_hop() as hop:
        resolver = Zones(
            {
                "laboratory.example": ("two.test",),
                "clinic.example": ("one.test",),
                "nomail.example": Refuse(Reason.NO_ROUTE, "null MX"),
                "silent.example": Defer(Reason.HOP_UNREACHABLE, "DNS"),
            }
        )
        given = deliverer(config(Route(kind=RouteKind.MX, port=hop.port)), resolver)
        sent = mail("a@laboratory.example", "b@laboratory.example", "c@clinic.example", "d@nomail.example", "e@silent.example")
        results = await given.deliver(sent)
        assert sorted(received.recipients for received in hop.mails) == [
            ["a@laboratory.example", "b@laboratory.example"],
            ["c@clinic.example"],
        ]
    assert endings(results) == {
        "a@laboratory.example": (Deliver, None),
        "b@laboratory.example": (Deliver, None),
        "c@clinic.example": (Deliver, None),
        "d@nomail.example": (Refuse, Reason.NO_ROUTE),
        "e@silent.example": (Defer, Reason.HOP_UNREACHABLE),
    }


async def test_a_probe_asks_and_sends_nothing(deliverer: Open) -> None:
    async with aiosmtpd_hop(replies={"no@hospital.example": "550 5.1.1 no"}) as hop:
        given = deliverer(plain(hop.port))
        yes = await given.probe(ROUTE, parse_address("cardiology@hospital.example"))
        no = await given.probe(ROUTE, parse_address("no@hospital.example"))
        assert isinstance(yes, Reply)
        assert isinstance(no, Reply)
        assert (yes.code, no.code) == (250, 550)
        assert only(await given.deliver(mail())).outcome == Deliver()
        assert (hop.connections, len(hop.mails)) == (1, 1)
    assert isinstance(await given.probe(ROUTE, parse_address("cardiology@hospital.example")), Defer)


@pytest.mark.parametrize("count", [MAX_TARGETS, MAX_TARGETS + 1])
async def test_mail_exchanges_beyond_the_limit_are_not_tried(count: int) -> None:
    """Those without an address are not counted: they cost no connection."""
    zones = Zones({"laboratory.example": ("bare.test", *(f"mx{number}.test" for number in range(count)))})
    hops = NextHops(lambda: config(Route(kind=RouteKind.MX, port=25, tls=TlsMode.NONE)), zones)
    targets = await hops.of_domain(ROUTE, "laboratory.example")
    assert isinstance(targets, tuple)
    assert [target.host for target in targets] == [f"mx{number}.test" for number in range(MAX_TARGETS)]


def test_a_next_hop_is_made_once_for_each_configuration() -> None:
    """Its lane in the pool is found by it, for each mail; and a corrected host helps the mail that waits."""
    in_force = config(Route(host="192.0.2.1", port=25, tls=TlsMode.NONE))
    hops = NextHops(lambda: in_force, Zones({}))
    found = hops.fixed(ROUTE)
    assert hops.fixed(ROUTE) is found
    in_force = config(Route(host="192.0.2.2", port=25, tls=TlsMode.NONE))
    assert hops.fixed(ROUTE).host == "192.0.2.2"
    in_force = config()
    with pytest.raises(GatewayError) as refused:
        hops.fixed(ROUTE)
    assert refused.value.reason is Reason.NO_ROUTE
