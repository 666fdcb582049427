"""One organisation of the lab: a directory made by ``smime-gateway init --lab``, and its running gateway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.ports import free_port

COMMAND = [sys.executable, "-c", "from gateway.operate.cli import main; main()"]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs ``smime-gateway`` as an administrator would."""
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


@dataclass
class Site:
    """``name`` is the organisation in the configuration; the gateway listens on free loopback ports."""

    folder: Path
    name: str
    domain: str
    inside: int = field(default_factory=free_port)
    zone: int = field(default_factory=free_port)
    mail_server: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def configuration(self) -> Path:
        """Its ``gateway.toml``."""
        return self.folder / "gateway.toml"

    @property
    def hostname(self) -> str:
        """As peers know it."""
        return f"gateway.{self.domain}"

    def create(self, ca: Path, crl_url: str, *options: str) -> None:
        """Make the directory, the token, keys and certificates, and put the ports in."""
        names = ["--organisation", self.name, "--domain", self.domain]
        done = command("init", self.folder, "--lab", *names, "--ca", ca, "--crl-url", crl_url, *options)
        if done.returncode:
            raise RuntimeError(done.stderr)
        ports = {10025: self.inside, 10465: self.zone, 10026: self.mail_server}
        text = self.configuration.read_text()
        for written, ours in ports.items():
            text = text.replace(f"port = {written}\n", f"port = {ours}\n")
        self.configuration.write_text(f"{text}\n[metrics]\nport = {self.metrics}\n")

    def know(self, peer: Site, port: int | None = None) -> None:
        """Add ``peer`` to the zone, and its certificate to the partners."""
        lines = [
            *("", "[[peer]]", f'name = "{peer.name}"', f'domains = ["{peer.domain}"]', 'host = "127.0.0.1"'),
            *(f"port = {port or peer.zone}", f'names = ["{peer.hostname}"]', ""),
        ]
        with (self.folder / "zones" / "lab.toml").open("a") as file:
            file.write("\n".join(lines))
        certificate = peer.folder / "certificates" / f"{peer.name}-decrypt.pem"
        shutil.copy(certificate, self.folder / "partners" / f"{peer.domain}.pem")

    def add(self, section: str) -> None:
        """Append to the configuration."""
        with self.configuration.open("a") as file:
            file.write(section)

    def start(self) -> None:
        """Run the gateway, and return when it says it is ready."""
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run", "--config", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            )
        if self.process.stdout is None or "is ready" not in self.process.stdout.readline():
            raise RuntimeError(f"{self.name}: {(self.folder / 'gateway.log').read_text()[-2000:]}")

    def stop(self) -> int:
        """Drain and end it; gives its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return status

    def ask(self, *arguments: str) -> Any:
        """The JSON answer of a command about this gateway."""
        done = command(*arguments, "--json", "--config", self.configuration)
        return json.loads(done.stdout)

    def audit(self, event: str | None = None) -> list[dict[str, Any]]:
        """The audit lines so far, or those of one kind, by time."""
        segments = (path.read_bytes() for path in (self.folder / "state" / "audit").glob("*.jsonl"))
        whole = (line for segment in segments for line in segment.splitlines(keepends=True) if line.endswith(b"\n"))
        lines = (json.loads(line) for line in whole)
        return sorted((line for line in lines if event in (None, line["event"])), key=lambda line: str(line["at"]))
