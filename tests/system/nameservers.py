"""A private authoritative name server (NSD) with signed zones and a validating resolver (Unbound), both on loopback.

Zones are signed by ldns-signzone. Each daemon is stopped by its own process id.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.message
import dns.query
import dns.rcode

from demo.ports import free_port

# Not 127.0.0.1: there free_port holds the UDP port of each number it gave out.
AUTHORITY: Final = "127.0.0.2"
RESOLVER: Final = "127.0.0.3"

# Of a gateway's configuration, with the port of the resolver
DIRECTORIES: Final = f"""
[directory.smimea]
kind = "smimea"
resolvers = ["{RESOLVER}"]
resolver_port = {{dns}}

[directory.cert]
kind = "cert"
resolvers = ["{RESOLVER}"]
resolver_port = {{dns}}
"""

HEAD: Final = """\
$ORIGIN {zone}.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.2
"""
NSD: Final = """\
server:
  ip-address: {address}
  port: {port}
  username: ""
  zonesdir: "{home}"
  database: ""
  pidfile: "{home}/nsd.pid"
  xfrdfile: "{home}/xfrd.state"
  zonelistfile: "{home}/zone.list"
  xfrdir: "{home}"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"""
UNBOUND: Final = """\
server:
  interface: {address}
  port: {port}
  username: ""
  chroot: ""
  directory: "{home}"
  pidfile: "{home}/unbound.pid"
  use-syslog: no
  do-ip6: no
  do-not-query-localhost: no
  num-threads: 1
  module-config: "validator iterator"
remote-control:
  control-enable: no
"""
_CERTIFIED: Final = {"CERT": "PKIX 0 0", "SMIMEA": "3 0 0"}


def installed() -> bool:
    """Whether all three packages are there."""
    return all(map(_program, ("nsd", "unbound", "ldns-keygen", "ldns-signzone")))


def record(name: str, kind: str, certificate: bytes) -> str:
    """A CERT or SMIMEA record that holds ``certificate`` (DER), without more conditions."""
    data = base64.b64encode(certificate).decode() if kind == "CERT" else certificate.hex()
    return f"{name} {kind} {_CERTIFIED[kind]} {data}"


@dataclass
class NameServers:
    """``signed`` and ``unsigned`` are records by zone, relative to it; the signatures of ``expired`` zones, which are signed ones,
    are long out of date.

    Use as a context manager. ``port`` is the resolver's, at RESOLVER.
    """

    home: Path
    signed: Mapping[str, Sequence[str]]
    unsigned: Mapping[str, Sequence[str]] = field(default_factory=dict)
    expired: Sequence[str] = ()
    port: int = 0
    authority_port: int = 0
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Returns when a question through the resolver is answered."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.port, self.authority_port = free_port(), free_port()
        authority = NSD.format(address=AUTHORITY, port=self.authority_port, home=self.home)
        resolver = UNBOUND.format(address=RESOLVER, port=self.port, home=self.home)
        for zone, records in (*self.signed.items(), *self.unsigned.items()):
            file = self.home / f"{zone}.zone"
            file.write_text(HEAD.format(zone=zone) + "\n".join(records) + "\n")
            if zone in self.signed:
                file, key = self._sign(zone, file)
                resolver = resolver.replace("remote-control:", f'  trust-anchor-file: "{key}"\nremote-control:')
            authority += f'zone:\n  name: "{zone}"\n  zonefile: "{file}"\n'
            resolver += f"stub-zone:\n  name: {zone}\n  stub-addr: {AUTHORITY}@{self.authority_port}\n"
        for program, text in (("nsd", authority), ("unbound", resolver)):
            configuration = self.home / f"{program}.conf"
            configuration.write_text(text)
            with (self.home / f"{program}.log").open("wb") as log:
                # -d keeps it in the foreground: its process id is the one we hold.
                command = [_program(program) or program, "-d", "-c", str(configuration)]
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        self._wait()

    def stop(self) -> None:
        """Ends the processes that were started, and no other."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _sign(self, zone: str, file: Path) -> tuple[Path, Path]:
        """The signed zone's file, and the file of the key that signed it."""
        name = self._run("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", zone).strip()
        times = ("-i", "20200101", "-e", "20200201") if zone in self.expired else ()
        self._run("ldns-signzone", *times, str(file), name)
        return self.home / f"{file.name}.signed", self.home / f"{name}.key"

    def _run(self, program: str, *arguments: str) -> str:
        command = [_program(program) or program, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, cwd=self.home, timeout=30)
        return done.stdout.decode()

    def _wait(self) -> None:
        zone = next(iter(self.signed))
        question = dns.message.make_query(f"{zone}.", "SOA")
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = dns.query.udp(question, RESOLVER, timeout=1, port=self.port)
            except (dns.exception.DNSException, OSError):
                answer = None
            if answer is not None and answer.rcode() == dns.rcode.NOERROR:
                return
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                self.stop()
                logs = (path.read_text(errors="replace") for path in sorted(self.home.glob("*.log")))
                raise RuntimeError("the name servers did not start:\n" + "\n".join(logs))
            time.sleep(0.05)  # daemons of another make have no event to await

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _program(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
