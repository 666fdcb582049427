"""Directories on bad days: a mail to somebody whose certificate is in one of them, before which stands a proxy of faults.

Real servers: slapd, and nsd behind unbound. Each case has a directory and a recipient of its own, and prints how long that took.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import dns.flags
import dns.message
import dns.rcode
import pytest

from demo.site import Site
from tests.faultproxy import (
    LOOPBACK,
    Behaviour,
    Datagram,
    Door,
    FaultProxy,
    Threaded,
    UdpFaultProxy,
    datagrams_through,
    dripping,
    lost,
    saying,
    silent,
    through,
    truncated,
)
from tests.pki import Issued
from tests.system.lab import HOSPITAL, Lab, environment, events, letter, send, until
from tests.system.nameservers import RESOLVER, NameServers, record
from tests.system.sink import Sink
from tests.system.slapd import BASE, Slapd

pytestmark = pytest.mark.timeout(300)

DEADLINE: Final = 2.0
HUGE: Final = 500 << 20
LDAP_HUGE: Final = b"\x30\x84" + HUGE.to_bytes(4)
DNS_HUGE: Final = b"\xff\xff"  # the length of what follows over TCP (RFC 1035 4.2.2), which no message can be longer than

SETTINGS = """
[route.outside]
host = "127.0.0.1"
port = {port}

[processes]
workers = 1

[[rule]]
name = "everybody"
protect = "both"
missing = "defer"
"""
APART = """
[directory.{name}]
{place}
deadline_seconds = {deadline}

[[organisation.hospital.correspondents]]
recipient = ["{address}"]
directories = ["{name}"]
"""


@dataclass(frozen=True)
class Case:
    """``good`` where the mail is delivered all the same; ``tls`` where the proxy ends TLS, and what is behind comes in clear."""

    server: str
    fault: str
    good: bool = False
    door: Door = Door.OPEN
    tls: bool = False

    @property
    def name(self) -> str:
        return f"{self.server}-{self.fault}"

    @property
    def address(self) -> str:
        return f"{self.name}@{'dns' if self.server == 'dns' else 'elsewhere'}.example"


CASES: Final = (
    *(Case(server, "none", good=True) for server in ("ldap", "starttls", "ldaps", "dns")),
    *(Case(server, "refused", door=Door.SHUT) for server in ("ldap", "starttls", "ldaps", "dns")),
    *(Case(server, "black-hole", door=Door.BLACK_HOLE) for server in ("ldap", "starttls", "ldaps", "dns")),
    *(Case(server, "silent") for server in ("ldap", "starttls", "ldaps")),  # in place of a handshake, where there is one
    *(Case(server, "truncated") for server in ("ldap", "starttls", "ldaps", "dns")),
    *(Case(server, "dripping") for server in ("ldap", "starttls", "ldaps")),
    Case("ldap", "huge"),
    Case("ldaps", "huge", tls=True),
    Case("ldaps", "silent-behind-tls", tls=True),
    Case("ldaps", "wrong-certificate", tls=True),
    Case("dns", "servfail"),
    Case("dns", "none-over-tcp", good=True),
    Case("dns", "silent-over-tcp"),
    Case("dns", "dripping-over-tcp"),
    Case("dns", "truncated-over-tcp"),
    Case("dns", "huge-over-tcp"),
)


def _behaviour(case: Case, port: int) -> Behaviour:
    """What the proxy before the server at ``port`` does over TCP."""
    host = RESOLVER if case.server == "dns" else LOOPBACK
    fault = case.fault.removesuffix("-over-tcp")
    return {
        "none": through(port, host),
        "wrong-certificate": through(port),
        "truncated": truncated(port, 20, host),
        "dripping": dripping(port, host=host),
        "huge": saying(DNS_HUGE if case.server == "dns" else LDAP_HUGE, HUGE),
    }.get(fault, silent)


def _datagram(case: Case, port: int) -> Datagram:
    """What the proxy before the resolver at ``port`` does over UDP."""
    pass_on = datagrams_through(port, RESOLVER)

    async def cut(question: bytes) -> bytes | None:
        return (await pass_on(question) or b"")[:20]

    async def fails(question: bytes) -> bytes | None:
        answer = dns.message.make_response(dns.message.from_wire(question))
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer.to_wire()

    async def asks_for_tcp(question: bytes) -> bytes | None:
        answer = dns.message.make_response(dns.message.from_wire(question))
        answer.flags |= dns.flags.TC
        return answer.to_wire()

    if case.fault.endswith("over-tcp"):
        return asks_for_tcp
    return {"none": pass_on, "truncated": cut, "servfail": fails}.get(case.fault, lost)


@dataclass
class World:
    """A hospital that writes to people outside, one for each case."""

    lab: Lab
    hospital: Site
    outside: Sink
    met: dict[str, FaultProxy] = field(default_factory=dict)

    def outcome(self, address: str, subject: str) -> tuple[str, float]:
        """How a mail to ``address`` first ended, and after how many seconds."""
        send(self.hospital.inside, letter(subject, recipients=[address]), [address])
        accepted = until(lambda: events(self.hospital, "mail_accepted", recipients=[address]), "it is accepted")[-1]

        def ended() -> list[dict[str, Any]]:
            found = self.hospital.audit("mail_deferred") + self.hospital.audit("mail_protected")
            return [line for line in found if line["recipients"] == [address] and line["mail"] == accepted["mail"]]

        first = min(until(ended, f"an end of {subject}"), key=lambda line: str(line["at"]))
        seconds = (datetime.fromisoformat(first["at"]) - datetime.fromisoformat(accepted["at"])).total_seconds()
        return str(first.get("reason", "delivered")), seconds

    def logged(self, name: str) -> list[dict[str, Any]]:
        """What operations see of it."""
        lines = (self.hospital.folder / "gateway.log").read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and "fetch_failed" in line]
        return [line for line in told if line["source"] == name]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("directories")
    with Lab(folder) as lab:
        outside, faults = lab.enter(Sink(folder)), lab.enter(Threaded())
        named = lab.ca.gateway("localhost", ku=["digital_signature", "key_agreement"]).write(folder, "named")
        other = lab.ca.gateway("gateway.other.example").write(folder, "other")
        slapd = lab.enter(Slapd(folder / "slapd", *named))
        people = {case.name: lab.ca.reader(case.address) for case in CASES}
        for case in CASES:
            if case.server != "dns":
                slapd.add_person(case.name, case.address, [people[case.name].der])
        servers = lab.enter(NameServers(folder / "dns", {"dns.example": _records(people)}))
        hospital = lab.site("hospital", HOSPITAL)
        world = World(lab, hospital, outside)
        sections = [SETTINGS.format(port=outside.port)]
        for case in CASES:
            tls = _server_side(*(other if case.fault == "wrong-certificate" else named)) if case.tls else None
            behind = slapd.secure_port if case.server == "ldaps" and not case.tls else slapd.port
            port = servers.port if case.server == "dns" else behind
            proxy = world.met[case.name] = faults.started(FaultProxy(_behaviour(case, port), case.door, tls))
            if case.server == "dns" and case.door is not Door.SHUT:
                datagrams = UdpFaultProxy(_datagram(case, port))
                datagrams.port = proxy.port
                faults.started(datagrams)
            place = _PLACES[case.server].format(port=proxy.port, anchors=lab.anchors)
            sections.append(APART.format(name=case.name, place=place, deadline=DEADLINE, address=case.address))
        text = hospital.configuration.read_text()
        text = text.replace('directories = ["partners"]', 'directories = ["partners"]\noutbound = "outside"', 1)
        hospital.configuration.write_text(text)
        hospital.add("".join(sections))
        with environment(SSL_CERT_FILE=str(lab.anchors)):
            hospital.start()
        yield world


def _records(people: dict[str, Issued]) -> list[str]:
    return [record(name, "CERT", issued.der) for name, issued in people.items() if name.startswith("dns-")]


_PLACES: Final = {
    "ldap": f'kind = "ldap"\nuri = "ldap://127.0.0.1:{{port}}"\nbase = "{BASE}"',
    "starttls": f'kind = "ldap"\nuri = "ldap://localhost:{{port}}"\nbase = "{BASE}"\nstarttls = true\nanchors = "{{anchors}}"',
    "ldaps": f'kind = "ldap"\nuri = "ldaps://localhost:{{port}}"\nbase = "{BASE}"\nanchors = "{{anchors}}"',
    "dns": f'kind = "cert"\nresolvers = ["{LOOPBACK}"]\nresolver_port = {{port}}',
}


def _server_side(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault(world: World, case: Case) -> None:
    """The first mail waits for one deadline at most, and then by itself; the second is not held up by the same thing again."""
    subject = f"first {case.name}"
    end, seconds = world.outcome(case.address, subject)
    _, again = world.outcome(case.address, f"second {case.name}")
    failures = [line["detail"] for line in events(world.hospital, "fetch_failed", source=case.name)]
    print(f"| {case.server} | {case.fault} | {end} | {seconds:.2f} | {again:.2f} | {'; '.join(failures)} |")
    if case.good:
        assert end == "delivered"
        assert world.outside.got(subject.encode())
        assert not failures
        return
    assert end == "DIRECTORY_UNAVAILABLE"
    assert seconds < DEADLINE + 1
    assert again < DEADLINE / 2
    assert len(failures) == 1  # the second mail asked nobody
    assert [(line["kind"], "detail" in line) for line in world.logged(case.name)] == [("directory", False)]
