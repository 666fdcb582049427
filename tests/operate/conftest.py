"""A hospital's configuration on disk, all its keys in files: what the commands are given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.operate.cli import main
from tests.pki import Ca, new_key

TOML = """
hostname = "gateway.hospital.example"
state = "state"
run = "run"
spool_key = "spool"

[organisation.hospital]
domains = ["hospital.example"]
mail_server = "mailserver"
outbound = "smarthost"

[key.sign]
purpose = "sign"
organisation = "hospital"
store = "file"
file = "keys/sign.key"
certificate = "keys/sign.pem"

[key.decrypt]
purpose = "decrypt"
organisation = "hospital"
store = "file"
file = "keys/decrypt.key"
certificate = "keys/decrypt.pem"

[key.spool]
purpose = "spool"
store = "file"
file = "keys/spool.key"
public_key = "keys/spool.pub"

[tls.gateway]
certificate = "keys/gateway.pem"
key = "keys/gateway.key"

[listener.inside]
address = "127.0.0.1"
port = 2525
role = "inside"

[listener.zone]
address = "127.0.0.1"
port = 4650
role = "zone"
tls = "implicit"
identity = "gateway"
zone = "health"

[client.mailserver]
networks = ["127.0.0.0/8"]
organisation = "hospital"
may_send_for = ["hospital.example"]

[route.mailserver]
host = "127.0.0.1"

[route.smarthost]
host = "127.0.0.1"
port = 2

[directory.folder]
kind = "folder"
path = "certificates"

[[rule]]
name = "fax-unprotected"
when = { recipient = ["@fax.example"] }
protect = "unprotected"

[[rule]]
name = "held"
when = { subject = "[held]" }
protect = "both"
missing = "hold"
"""

ZONE = """
anchors = "../anchors.pem"
identity = "gateway"
revocation = "unsafe_off"
directories = ["folder"]

[[peer]]
name = "laboratory"
domains = ["laboratory.example"]
host = "127.0.0.1"
port = 1
names = ["gateway.laboratory.example"]

[[peer]]
name = "radiology"
domains = ["radiology.example", "imaging.example"]
host = "gateway.radiology.example"
tls = "starttls"
port = 25
dn = "CN=gateway,O=Radiology,C=FR"
"""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the site, made once."""
    folder = tmp_path_factory.mktemp("world")
    root = Ca.root()
    root.signer("cardiology@hospital.example").write(folder, "sign")
    root.reader("cardiology@hospital.example").write(folder, "decrypt")
    root.gateway("gateway.hospital.example").write(folder, "gateway")
    spool = new_key("rsa2048")
    files = {f"keys/{file.name}": file.read_bytes() for file in folder.iterdir()}
    return files | {
        "gateway.toml": TOML.encode(),
        "zones/health.toml": ZONE.encode(),
        "anchors.pem": root.pem,
        "keys/spool.key": b"opened by key agents alone",
        "keys/spool.pub": spool.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "certificates/results.pem": root.reader("results@laboratory.example").pem,
    }


@pytest.fixture
def site(tmp_path: Path, world: dict[str, bytes]) -> Path:
    """The directory that holds gateway.toml and all it names."""
    for name, data in world.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def run(site: Path) -> Callable[..., Result]:
    """Runs a command with the site's configuration."""

    def run_command(*arguments: str, answer: str | None = None) -> Result:
        result = CliRunner().invoke(main, ["--config", str(site / "gateway.toml"), *arguments], input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_command


@pytest.fixture
def ask(run: Callable[..., Result]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with --json: the exit status and what was answered."""

    def ask_command(*arguments: str) -> tuple[int, Any]:
        result = run(*arguments, "--json")
        return result.exit_code, json.loads(result.stdout)

    return ask_command
