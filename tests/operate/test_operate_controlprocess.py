"""The control process as it is started: ready, asked, told to take a configuration anew, and ended."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.ports import free_port
from gateway.config.load import load
from gateway.operate.control import ask
from tests import pki
from tests.pki import Ca
from tests.system.lab import until


@dataclass
class Process:
    """One that says it is ready."""

    site: Path
    metrics: int
    process: subprocess.Popen[bytes]

    @property
    def generation(self) -> int:
        told: dict[str, Any] = ask(self.site / "run" / "control.sock", {"verb": "status"}, 30)
        generation: int = told["generation"]
        return generation

    def shown(self) -> bytes:
        """What ``/metrics`` has."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=30) as page:
            shown: bytes = page.read()
        return shown

    def ends(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def process(site: Path) -> Iterator[Process]:
    port = free_port()
    with (site / "gateway.toml").open("a") as file:
        file.write(f"\n[metrics]\nport = {port}\n")
    for name in ("run", "state"):
        (site / name).mkdir()
    write_tree(site, 1)
    command = [sys.executable, "-m", "gateway.operate.process", "control", "0", str(site / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == b"ready\n"
            yield Process(site, port, running)
        finally:
            running.kill()


def write_tree(site: Path, generation: int) -> None:
    (site / "run" / "config.json").write_text(load(site / "gateway.toml", generation).model_dump_json())


@pytest.mark.parametrize(
    ("kind", "section", "place"),
    [("worker", "listener.inside", "192.0.2.1, port 2525"), ("control", "metrics", "192.0.2.1, port 9464")],
)
def test_an_address_of_another_host_is_named(site: Path, kind: str, section: str, place: str) -> None:
    """The first mistake of whoever takes the sample to his own host; and nobody need read where in the program it showed."""
    text = (site / "gateway.toml").read_text().replace('address = "127.0.0.1"\nport = 2525', 'address = "192.0.2.1"\nport = 2525')
    (site / "gateway.toml").write_text(text + '\n[metrics]\naddress = "192.0.2.1"\n')
    for name in ("run", "state"):
        (site / name).mkdir()
    write_tree(site, 1)
    command = [sys.executable, "-m", "gateway.operate.process", kind, "0", str(site / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        [line] = started.stderr.read().decode().splitlines()
        assert started.wait(60) == 3
    assert f"{section}: cannot listen on {place}: Cannot assign requested address" in line
    assert "cannot_start" in line


def test_it_serves_status_and_metrics_and_ends_when_told(process: Process) -> None:
    assert process.generation == 1
    shown = process.shown()
    assert b'smime_gateway_spool_rows{state="held"} 0.0' in shown
    assert b'smime_gateway_certificates_kept{kept_as="waiting"} 0.0' in shown
    process.process.send_signal(signal.SIGTERM)
    assert process.ends() == 0
    assert not (process.site / "run" / "control.sock").exists()


def test_it_takes_a_new_tree_and_no_broken_one(process: Process) -> None:
    (process.site / "run" / "config.json").write_text("{")
    process.process.send_signal(signal.SIGHUP)
    assert process.generation == 1
    write_tree(process.site, 2)
    process.process.send_signal(signal.SIGHUP)
    until(lambda: process.generation == 2, "the new generation")


def test_it_takes_a_renewed_certificate(process: Process) -> None:
    """By a reload, as all others do."""

    def expires(section: str) -> float:
        line = re.search(rf'smime_gateway_certificate_expires_seconds{{section="{section}"}} (\S+)', process.shown().decode())
        assert line is not None
        return float(line[1])

    before = {section: expires(section) for section in ("key.sign", "key.decrypt", "tls.gateway")}
    pki.expired(Ca.root()).write(process.site / "keys", "sign")
    process.process.send_signal(signal.SIGHUP)
    until(lambda: expires("key.sign") < 0 < before["key.sign"], "the certificate that has expired")
    assert 0 < expires("key.decrypt") <= before["key.decrypt"]
    assert 0 < expires("tls.gateway") <= before["tls.gateway"]


def test_it_ends_with_its_supervisor(process: Process) -> None:
    assert process.process.stdin is not None
    process.process.stdin.close()
    assert process.ends() == 0
