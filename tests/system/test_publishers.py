"""Publishers on bad days: a mail whose certificate names one of them, before which stands a proxy of faults.

Real servers: an HTTP publisher, ``openssl ocsp``, slapd. Revocation is hard, so that the mail waits wherever nothing can be said,
and goes by itself once something can. Each row says what was counted; each test prints how long its mail took.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import pytest

from demo.ports import free_port
from demo.site import Site
from gateway.edge.clock import now
from gateway.edge.shelf import Note, Shelf
from gateway.trust.judgement import Need, NeedKind
from gateway.trust.moment import SECOND
from tests.faultproxy import Behaviour, Door, FaultProxy, Threaded, dripping, redirecting, saying, silent, through, truncated
from tests.pki import Issued
from tests.system.lab import HOSPITAL, Lab, environment, events, letter, send, status, until
from tests.system.sink import Sink
from tests.system.slapd import BASE, Slapd

pytestmark = pytest.mark.timeout(300)

DEADLINE: Final = 2.0
HUGE: Final = 500 << 20
HTTP_HUGE: Final = f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n".encode()
LDAP_HUGE: Final = b"\x30\x84" + HUGE.to_bytes(4)
INWARDS: Final = "http://169.254.169.254/latest/meta-data"

SETTINGS = """
[route.outside]
host = "127.0.0.1"
port = {port}

[[rule]]
name = "everybody"
protect = "both"
missing = "defer"
"""


@dataclass(frozen=True)
class Case:
    """``result`` is what is counted, "" for a mail that is delivered; ``late`` where it costs the deadline, and no more."""

    server: str
    fault: str
    result: str
    door: Door = Door.OPEN
    tls: bool = False

    @property
    def name(self) -> str:
        return f"{self.server}-{self.fault}"

    @property
    def address(self) -> str:
        return f"{self.name}@elsewhere.example"

    @property
    def kind(self) -> str:
        return "ocsp" if self.server == "ocsp" else "crl"


CASES: Final = (
    *(Case(server, "none", "") for server in ("http", "ocsp", "ldap")),
    *(Case(server, "refused", "unreachable", Door.SHUT) for server in ("http", "ocsp", "ldap")),
    *(Case(server, "black-hole", "late", Door.BLACK_HOLE) for server in ("http", "ocsp", "ldap")),
    *(Case(server, "silent", "late") for server in ("http", "ocsp", "ldap")),
    *(Case(server, "truncated", "broken") for server in ("http", "ocsp", "ldap")),
    *(Case(server, "dripping", "late") for server in ("http", "ocsp", "ldap")),
    *(Case(server, "huge", "too-large") for server in ("http", "ocsp", "ldap")),
    *(Case(server, "inwards", result) for server, result in (("http", "forbidden"), ("ocsp", "refused"))),
    Case("https", "none", "", tls=True),
    Case("https", "silent", "late", tls=True),
    Case("https", "wrong-certificate", "tls", tls=True),
    Case("ldaps", "none", ""),
    Case("ldaps", "refused", "unreachable", Door.SHUT),
    Case("ldaps", "black-hole", "late", Door.BLACK_HOLE),
    Case("ldaps", "no-handshake", "late"),
    Case("ldaps", "cut-handshake", "tls"),
    Case("ldaps", "dripping-handshake", "late"),
    Case("ldaps", "silent", "late", tls=True),
    Case("ldaps", "wrong-certificate", "tls", tls=True),
    Case("ldaps", "truncated", "broken", tls=True),
    Case("ldaps", "dripping", "late", tls=True),
    Case("ldaps", "huge", "too-large", tls=True),
)


def _behaviour(case: Case, port: int) -> Behaviour:
    """What the proxy before the server of ``case``, at ``port``, does."""
    return {
        "none": through(port),
        "wrong-certificate": through(port),
        "truncated": truncated(port, 20 if "ldap" in case.server else 300),  # amid the second answer; amid the content
        "cut-handshake": truncated(port, 100),
        "dripping": dripping(port),
        "dripping-handshake": dripping(port),
        "huge": saying(LDAP_HUGE if "ldap" in case.server else HTTP_HUGE, HUGE),
        "inwards": redirecting(INWARDS),
    }.get(case.fault, silent)


class Responder:
    """``openssl ocsp`` for the lab's authority, on a port of its own. A context manager; stopped by its own process id."""

    def __init__(self, lab: Lab) -> None:
        self.port = free_port()
        self.known: list[Issued] = []
        self.revoked: list[Issued] = []
        self._folder = lab.folder / "ca"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        lines = [_line(each, "V", "") for each in self.known] + [_line(each, "R", "260101000000Z") for each in self.revoked]
        (self._folder / "index.txt").write_text("".join(lines))
        ca, log = self._folder / "ca.pem", self._folder / "ocsp.log"
        command: list[str | Path] = [
            "openssl",
            "ocsp",
            "-port",
            str(self.port),
            "-index",
            self._folder / "index.txt",
            "-CA",
            ca,
            "-nmin",
            "60",
        ]
        with log.open("wb") as output:
            command += ["-rsigner", ca, "-rkey", self._folder / "ca.key"]
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until(lambda: b"ACCEPT" in log.read_bytes(), "the responder is ready", 10)
        except AssertionError:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)


def _line(issued: Issued, status: str, since: str) -> str:
    """One of the responder's index, as ``openssl ca`` writes it."""
    serial = f"{issued.certificate.serial_number:X}"
    return f"{status}\t351231235959Z\t{since}\t{serial.zfill(len(serial) + len(serial) % 2)}\tunknown\t/CN={serial}\n"


@dataclass
class World:
    """A hospital that writes to people outside, one for each case."""

    lab: Lab
    faults: Threaded
    hospital: Site
    outside: Sink
    proxies: dict[str, FaultProxy] = field(default_factory=dict)
    waiting: dict[str, FaultProxy] = field(default_factory=dict)

    def believed(self, address: str, *crl_urls: str, ocsp_url: str | None = None) -> Issued:
        """A new person among the partners, whose certificate names these places."""
        person = self.lab.ca.reader(address, crl_urls=crl_urls, ocsp_url=ocsp_url)
        (self.hospital.folder / "partners" / f"{address}.pem").write_bytes(person.pem)
        return person

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

    def failures(self, case: Case) -> list[dict[str, Any]]:
        """What was recorded of it."""
        port = f":{self.proxies[case.name].port}/"
        return [line for line in events(self.hospital, "fetch_failed") if port in line["source"]]

    def logged(self, case: Case) -> list[dict[str, Any]]:
        """What operations see of it."""
        lines = (self.hospital.folder / "gateway.log").read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and "fetch_failed" in line]
        return [line for line in told if f":{self.proxies[case.name].port}/" in line["source"]]

    def counted(self, case: Case) -> float:
        """The metric of its kind and result."""
        labels = {"org": "", "kind": case.kind, "result": case.result}
        found = [
            each["value"]
            for each in status(self.hospital)["counters"]
            if each["name"] == "fetch_failed" and each["labels"] == labels
        ]
        return float(sum(found))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("publishers")
    with Lab(folder) as lab:
        outside, faults, responder = lab.enter(Sink(folder)), lab.enter(Threaded()), Responder(lab)
        named = lab.ca.gateway("localhost", ku=["digital_signature", "key_agreement"]).write(folder, "named")
        other = lab.ca.gateway("gateway.other.example").write(folder, "other")
        slapd = lab.enter(Slapd(folder / "slapd", *named))
        crl = base64.b64encode((folder / "ca" / "ca.crl").read_bytes()).decode()
        slapd.add(f"dn: cn=crl,{BASE}\nobjectClass: cRLDistributionPoint\ncn: crl\ncertificateRevocationList;binary:: {crl}\n")
        http = urlsplit(lab.crl_url).port or 0
        ports = {"http": http, "https": http, "ldap": slapd.port, "ldaps": slapd.secure_port, "ocsp": responder.port}
        hospital = lab.site("hospital", HOSPITAL)
        world = World(lab, faults, hospital, outside)
        for case in CASES:
            tls = server_side(*(other if case.fault == "wrong-certificate" else named)) if case.tls else None
            port = slapd.port if case.server == "ldaps" and case.tls else ports[case.server]  # TLS ends at the proxy, or behind it
            proxy = faults.started(FaultProxy(_behaviour(case, port), case.door, tls))
            world.proxies[case.name] = proxy
            place = _PLACES[case.server].format(port=proxy.port)
            crls, ocsp = ((), place) if case.server == "ocsp" else ((place,), None)
            responder.known.append(world.believed(case.address, *crls, ocsp_url=ocsp))
        for number in range(6):
            proxy = world.waiting[f"waits{number}@elsewhere.example"] = faults.started(FaultProxy())
            world.believed(f"waits{number}@elsewhere.example", f"http://127.0.0.1:{proxy.port}/ca.crl")
        world.believed("goes@elsewhere.example", lab.crl_url + "?goes")
        responder.revoked.append(world.believed("revoked@elsewhere.example", ocsp_url=f"http://127.0.0.1:{responder.port}/"))
        lab.enter(responder)
        text = hospital.configuration.read_text().replace('directories = ["partners"]', _OUTSIDE, 1)
        limits = f'allow_private = ["127.0.0.0/8"]\ndeadline_seconds = {DEADLINE}\nmegabytes = 1'
        hospital.configuration.write_text(text.replace('allow_private = ["127.0.0.0/8"]', limits))
        hospital.add(SETTINGS.format(port=outside.port))
        with environment(SSL_CERT_FILE=str(lab.anchors)):
            hospital.start()
        yield world


_OUTSIDE: Final = 'directories = ["partners"]\noutbound = "outside"\nrevocation = "hard"'
_PLACES: Final = {
    "http": "http://127.0.0.1:{port}/ca.crl",
    "https": "https://localhost:{port}/ca.crl",
    "ocsp": "http://127.0.0.1:{port}/",
    "ldaps": f"ldaps://localhost:{{port}}/cn=crl,{BASE}?certificateRevocationList",
    "ldap": f"ldap://127.0.0.1:{{port}}/cn=crl,{BASE}?certificateRevocationList",
}


def server_side(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a server that shows ``certificate`` (PEM)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault(world: World, case: Case) -> None:
    """The first mail waits for one deadline at most, and then by itself; the second does not wait for the same thing again."""
    subject = f"first {case.name}"
    end, seconds = world.outcome(case.address, subject)
    _, again = world.outcome(case.address, f"second {case.name}")
    print(f"{case.name:24} {end:20} {seconds:5.2f} s, then {again:5.2f} s  {case.result}")
    if not case.result:
        assert end == "delivered"
        assert world.outside.got(subject.encode())
        assert not world.failures(case)
        return
    assert end == "REVOCATION_UNKNOWN"
    assert seconds < DEADLINE + 1
    assert again < DEADLINE / 2
    assert {line["result"] for line in world.failures(case)} == {case.result}
    assert until(lambda: world.counted(case), "it is counted")
    assert {(line["kind"], line["result"]) for line in world.logged(case)} == {(case.kind, case.result)}
    assert not any("detail" in line for line in world.logged(case))


def test_revoked(world: World) -> None:
    """What a responder that answers says is what counts."""
    end, _ = world.outcome("revoked@elsewhere.example", "revoked")
    assert end == "REVOKED"


def test_nobody_else_waits(world: World) -> None:
    """While mails wait for servers that are silent, one that needs none of them is under way at once."""
    for address, proxy in world.waiting.items():
        send(world.hospital.inside, letter("waits", recipients=[address]), [address])
        until(lambda proxy=proxy: proxy.met, "it waits")  # type: ignore[misc] # mypy knows no default of a lambda
    end, seconds = world.outcome("goes@elsewhere.example", "goes")
    print(f"beside {len(world.waiting)} that wait: {end}, {seconds:.2f} s")
    assert end == "delivered"
    assert seconds < DEADLINE / 2


def test_refreshed_by_the_control_process(world: World) -> None:
    """What was fetched an hour ago is fetched again though no mail asks for it, and lies there for all, for its owner alone."""
    shelf = Shelf(world.hospital.folder / "state" / "evidence")
    need = Need(NeedKind.CRL, world.lab.crl_url + "?refreshed", world.lab.ca.der)
    crl = (world.lab.folder / "ca" / "ca.crl").read_bytes()
    began = now()
    shelf.write(Note(need, began - 3600 * SECOND, began + 3600 * SECOND), (crl,), began, "")

    def fresh() -> bool:
        note = shelf.peek(need)
        return note is not None and note.checked > began

    until(fresh, "it is fetched again")
    assert all(path.stat().st_mode & 0o077 == 0 for path in (world.hospital.folder / "state" / "evidence").iterdir())
