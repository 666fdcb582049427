"""Certificates from a real OpenLDAP server, and from servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.model import TlsIdentity
from gateway.edge.clock import now
from gateway.edge.ldap import MAX_CONTEXTS, MAX_ENTRIES, MAX_VALUES, Ldap, LdapSettings, escape
from gateway.flow.circles import Circle, Circles
from gateway.flow.evidence import Evidence
from gateway.mail.address import Address, parse_address
from gateway.operate.live import Silent
from gateway.outcome import GatewayError
from gateway.trust.anchors import Anchors
from gateway.trust.answer import Answer, Failed
from gateway.trust.judgement import Assurance, Need, Revocation
from gateway.trust.ladder import Rung, Way
from gateway.trust.sources import DirectoryError, Found
from tests.pki import Ca, Issued
from tests.system.slapd import ADMIN, BASE, PASSWORD, Slapd

RESULTS = parse_address("results@laboratory.example")


class World:
    """One server for the module, with a few people in it."""

    def __init__(self, home: Path) -> None:
        self.ca = Ca.root()
        certificate, key = self.ca.gateway("localhost", ku=["digital_signature", "key_agreement"]).write(home, "server")
        self.anchors = home / "anchors.pem"
        self.anchors.write_bytes(self.ca.pem)
        self.results: Issued = self.ca.reader("results@laboratory.example")
        self.bundled: Issued = self.ca.reader("office@laboratory.example")
        self.domain: Issued = self.ca.organisation_reader("laboratory.example")
        self.slapd = Slapd(home / "slapd", certificate, key)
        self.ours: TlsIdentity | None = None

    def fill(self) -> None:
        self.slapd.add_person("Results", "results@laboratory.example", [self.results.der, self.ca.der])
        chain = [self.bundled.certificate, self.ca.certificate]
        bundle = pkcs7.serialize_certificates(chain, Encoding.DER)
        self.slapd.add_person("Office", "office@laboratory.example", bundles=[bundle])
        self.slapd.add_person("Domain", "domain-confidentiality-authority@laboratory.example", [self.domain.der])
        self.slapd.add_person("Nobody", "nobody@laboratory.example")

    @property
    def secure(self) -> LdapSettings:
        return LdapSettings(self.slapd.secure_uri, BASE, anchors=self.anchors)

    @property
    def starttls(self) -> LdapSettings:
        return LdapSettings(self.slapd.uri, BASE, starttls=True, anchors=self.anchors)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("ldap"))
    with world.slapd:
        world.fill()
        yield world


async def _find(chosen: LdapSettings, address: Address = RESULTS) -> Found:
    ldap = Ldap("directory", chosen)
    try:
        return await ldap.find(address)
    finally:
        await ldap.close()


async def test_ldaps_and_starttls(world: World) -> None:
    """The same certificates over LDAPS, over StartTLS, in clear, and bound with a password: the person's and the domain's."""
    expected = ({world.results.der, world.domain.der}, (world.ca.der,))
    bound = replace(world.secure, bind_dn=ADMIN, password=PASSWORD)
    for chosen in (world.secure, world.starttls, bound, LdapSettings(world.slapd.uri, BASE)):
        found = await _find(chosen)
        assert (set(found.certificates), found.others) == expected


async def test_bundle(world: World) -> None:
    """A userSMIMECertificate is opened: its leaf is a candidate, its authority an intermediate."""
    found = await _find(world.secure, parse_address("office@laboratory.example"))
    assert set(found.certificates) == {world.bundled.der, world.domain.der}
    assert found.others == (world.ca.der,)


async def test_nothing_there(world: World) -> None:
    """An unknown domain is no error."""
    assert await _find(world.secure, parse_address("x@elsewhere.example")) == Found(way=Way.GUARDED)


@pytest.mark.parametrize("base", ["dc=nowhere", ""])
async def test_a_base_that_is_not_there_or_not_to_be_seen(world: World, base: str) -> None:
    """A directory that is being restored, or whose rules keep us out (RFC 4511 A.2): nothing was looked through."""
    with pytest.raises(DirectoryError, match="base"):
        await _find(replace(world.secure, base=base))


async def test_a_server_that_says_what_it_holds(world: World) -> None:
    """Without a base it is asked below each of its namingContexts (RFC 4512 5.1)."""
    found = await _find(replace(world.secure, base=None))
    assert set(found.certificates) == {world.results.der, world.domain.der}


async def test_contexts_have_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many as a server likes to name, MAX_CONTEXTS are asked."""
    asked: list[str] = []

    def entries(_: Ldap, __: object, base: str, *___: object) -> list[dict[str, object]]:
        asked.append(base)
        names = [f"dc={number}".encode() for number in range(MAX_CONTEXTS + 1)]
        return [] if base else [{"raw_attributes": {"namingContexts": names}}]

    monkeypatch.setattr(Ldap, "_entries", entries)
    assert await _find(replace(world.secure, base=None)) == Found(way=Way.GUARDED)
    assert asked == ["", *(f"dc={number}" for number in range(MAX_CONTEXTS))]


async def test_connection_is_kept_and_replaced(world: World) -> None:
    """Questions share a connection; after the server went away and came back the next question opens a new one."""
    ldap = Ldap("directory", world.secure)
    assert await ldap.find(RESULTS) == await ldap.find(RESULTS)
    kept = ldap._idle[0]
    kept.socket.shutdown(socket.SHUT_RDWR)
    assert (await ldap.find(RESULTS)).certificates
    assert ldap._idle[0] is not kept
    await ldap.close()


async def test_foreign_server(world: World, tmp_path: Path) -> None:
    """A server whose certificate leads to other anchors gets no question, over LDAPS or StartTLS."""
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(Ca.root("CN=Other").pem)
    for chosen in (replace(world.secure, anchors=anchors), replace(world.starttls, anchors=anchors)):
        with pytest.raises(DirectoryError):
            await _find(chosen)


async def test_wrong_host_name(world: World) -> None:
    """A server whose certificate names another host gets no question."""
    for uri in (f"ldaps://127.0.0.1:{world.slapd.secure_port}", f"ldap://127.0.0.1:{world.slapd.port}"):
        with pytest.raises(DirectoryError):
            await _find(LdapSettings(uri, BASE, starttls=uri.startswith("ldap:"), anchors=world.anchors))


async def test_wrong_password(world: World) -> None:
    """A refused bind is an error without the password in it."""
    with pytest.raises(DirectoryError, match="bind refused") as caught:
        await _find(replace(world.secure, bind_dn=ADMIN, password="wrong-secret"))
    assert "wrong-secret" not in str(caught.value)
    assert "wrong-secret" not in repr(replace(world.secure, password="wrong-secret"))


def test_wrong_settings(world: World, tmp_path: Path) -> None:
    """A password in clear, a URI without host, anchors that are none: refused before anything is sent."""
    for chosen in (
        LdapSettings(world.slapd.uri, BASE, bind_dn=ADMIN, password=PASSWORD),
        LdapSettings("ldap:///dc=example", BASE),
        LdapSettings("http://localhost/", BASE),
    ):
        with pytest.raises(ValueError, match="ldap"):
            Ldap("directory", chosen)
    with pytest.raises(GatewayError):
        Ldap("directory", LdapSettings("ldaps://localhost", BASE, anchors=tmp_path / "missing.pem"))


async def test_silent_server() -> None:
    """A server that accepts and never answers costs one deadline; then the breaker answers at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        port = silent.getsockname()[1]
        for uri in (f"ldap://127.0.0.1:{port}", f"ldaps://127.0.0.1:{port}"):
            ldap = Ldap("silent", LdapSettings(uri, BASE, deadline_seconds=0.5))
            began = time.monotonic()
            answers = await asyncio.gather(*(ldap.find(RESULTS) for _ in range(12)), return_exceptions=True)
            assert all(isinstance(answer, DirectoryError) and not answer.resting for answer in answers)
            assert time.monotonic() - began < 1.5
            began = time.monotonic()
            with pytest.raises(DirectoryError) as caught:
                await ldap.find(RESULTS)
            assert caught.value.resting
            assert time.monotonic() - began < 0.4  # it does not wait out another deadline
            await ldap.close()


async def test_close_ends_nobodys_question(world: World) -> None:
    """Closed by a reload while mails wait for it: each gets its answer, none is cancelled; who comes later has to come again."""
    ldap = Ldap("directory", world.secure)
    questions = [asyncio.create_task(ldap.find(RESULTS)) for _ in range(12)]  # more than there are threads
    await asyncio.sleep(0)  # each has begun
    await ldap.close()
    assert [len(found.certificates) for found in await asyncio.gather(*questions)] == [2] * 12
    with pytest.raises(DirectoryError) as caught:
        await ldap.find(RESULTS)
    assert caught.value.resting


async def test_close_beside_a_silent_server() -> None:
    """Questions nobody answers end by their own deadline, and closing with them."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        ldap = Ldap("silent", LdapSettings(f"ldap://127.0.0.1:{silent.getsockname()[1]}", BASE, deadline_seconds=0.5))
        questions = [asyncio.create_task(ldap.find(RESULTS)) for _ in range(12)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await ldap.close()
        answers = await asyncio.gather(*questions, return_exceptions=True)
        assert [type(answer) for answer in answers] == [DirectoryError] * 12
        assert time.monotonic() - began < 5


async def test_nobody_listens() -> None:
    """A refused connection is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(DirectoryError):
        await _find(LdapSettings(f"ldap://127.0.0.1:{port}", BASE))


HOSTILE = st.text(
    st.one_of(st.sampled_from('*()\\\0|&=!<>~/" #,+'), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(local=HOSTILE)
def test_hostile_local_parts(world: World, local: str) -> None:
    """Whatever the local part, it is a value: the server finds the domain's certificate, never another person's."""

    async def ask() -> Found:
        return await _find(LdapSettings(world.slapd.uri, BASE), Address(local, "laboratory.example"))

    found = asyncio.run(ask())
    assert set(found.certificates) <= {world.domain.der}


@given(st.text())
def test_escaped_says_only_itself(text: str) -> None:
    """An escaped value holds no character a filter knows (RFC 4515 3), and unescapes to the octets that went in."""
    value = escape(text.replace("\ud800", ""))
    assert not set(value) & set("*()\0")
    octets = bytearray()
    rest = value
    while rest:
        if rest[0] == "\\":
            octets.append(int(rest[1:3], 16))
            rest = rest[3:]
        else:
            octets.append(ord(rest[0]))
            rest = rest[1:]
    assert octets.decode("utf-8", "surrogatepass") == text.replace("\ud800", "")


def test_certificates_are_what_went_in(world: World) -> None:
    """The reader's certificate in the directory is the one that was issued: no re-encoding on the way."""
    found = asyncio.run(_find(world.secure))
    loaded = [x509.load_der_x509_certificate(der) for der in found.certificates]
    assert world.results.certificate in loaded


@pytest.mark.parametrize("more", [0, 1])
async def test_certificates_beyond_the_limits_are_left_out(world: World, more: int) -> None:
    """Of many entries with one address, and of one entry."""
    entries, values = f"entries{more}@clinic.example", f"values{more}@clinic.example"
    for number in range(MAX_ENTRIES + more):
        world.slapd.add_person(f"Entry {more} {number}", entries, [world.ca.reader(entries, "p256").der])
    world.slapd.add_person(f"Values {more}", values, [world.ca.reader(values, "p256").der for _ in range(MAX_VALUES + more)])
    for address, most in ((entries, MAX_ENTRIES), (values, MAX_VALUES)):
        found = await _find(world.secure, parse_address(address))
        assert len(set(found.certificates)) == most


async def test_what_leads_nowhere_stands_higher_over_tls(world: World) -> None:
    """The same entry of the same server: over TLS nobody but the administrator of the directory put it there."""
    stranger = Ca.root("CN=Stranger").reader("stranger@laboratory.example")
    world.slapd.add_person("Stranger", "stranger@laboratory.example", [stranger.der])
    for chosen, expected in (
        (world.secure, Rung.DISCOVERED),
        (world.starttls, Rung.DISCOVERED),
        (LdapSettings(world.slapd.uri, BASE), Rung.UNVERIFIED),
    ):
        ldap = Ldap("directory", chosen)
        circle = Circle(Anchors([world.ca.der]), Assurance.ZONE, Revocation.SOFT, "health", (ldap,))
        evidence = Evidence(Circles({"health": circle}, {}), Nothing(), Silent(), now)
        try:
            told = await evidence.inquire("hospital", "health", parse_address("stranger@laboratory.example"), now())
        finally:
            await ldap.close()
        assert [each.rung for each in told.looked[0].candidates if each.certificate == stranger.der] == [expected]


class Nothing:
    """Publishes nothing."""

    def known(self, need: Need, _: int) -> Answer:
        return Failed(f"{need.source}: closed")

    async def fetch(self, need: Need, at: int) -> Answer:
        return self.known(need, at)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that shows nothing to whoever has not bound with a certificate, gives two entries at most, and refers elsewhere."""
    home = tmp_path_factory.mktemp("guarded")
    world = World(home)
    certificate, key = world.ca.gateway("gateway.hospital.example").write(home, "ours")
    world.ours = TlsIdentity(certificate=certificate, key=key)
    world.slapd.settings = (
        f"TLSCACertificateFile {world.anchors}\nTLSVerifyClient allow\nsizelimit size.soft=2 size.hard=2\n"
        'access to * by dn.regex="^cn=gateway.hospital.example$" read by anonymous auth by * none\n'
        "referral ldap://elsewhere.example\n"
    )
    with world.slapd:
        world.fill()
        for number in range(3):
            world.slapd.add_person(f"Many{number}", "many@laboratory.example", [world.ca.reader("many@laboratory.example").der])
        world.slapd.add(
            f"dn: cn=Far,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\ncn: Far\nref: ldap://elsewhere.example/cn=Far\n"
        )
        yield world


async def test_external(guarded: World) -> None:
    """Bound by our certificate alone, over LDAPS and over StartTLS; without it the same server says nothing."""
    for chosen in (guarded.secure, guarded.starttls):
        found = await _find(replace(chosen, identity=guarded.ours))
        assert set(found.certificates) == {guarded.results.der, guarded.domain.der}
        with pytest.raises(DirectoryError, match="insufficientAccessRights"):
            await _find(chosen)
    with pytest.raises(ValueError, match="needs starttls"):
        Ldap("directory", replace(LdapSettings(guarded.slapd.uri, BASE), identity=guarded.ours))


async def test_referrals_and_limits_are_told_and_not_followed(guarded: World) -> None:
    secure = replace(guarded.secure, identity=guarded.ours)
    referral = "a referral, which is not followed (1)"
    assert (await _find(secure)).passed_over == (referral,)
    many = await _find(secure, parse_address("many@laboratory.example"))
    assert len(many.certificates) == 2
    assert "an answer cut short by a limit (1)" in many.passed_over
    assert many.unread == ("an answer cut short by a limit",)
    with pytest.raises(DirectoryError, match="refers to another server"):
        await _find(replace(secure, base="dc=elsewhere"))


async def test_what_is_no_certificate_is_counted(world: World) -> None:
    world.slapd.add_person("Odd", "odd@laboratory.example", bundles=[b"0\x03\x02\x01\x01", b"junk"])
    found = await _find(world.secure, parse_address("odd@laboratory.example"))
    assert found.certificates == (world.domain.der,)
    assert found.passed_over == ("what is no certificate (2)",)
