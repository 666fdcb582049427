"""``check`` says what others would find wrong with our own certificates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509

from gateway.config.load import load
from gateway.operate.owncertificates import expiries
from tests import pki
from tests.pki import Ca, Issued

Run = Callable[..., Result]

OURS = "cardiology@hospital.example"
GATEWAY = "gateway.hospital.example"


def soon() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=20, hours=1)


@pytest.mark.parametrize(
    ("name", "make", "note"),
    [
        ("sign", pki.expired, "key sign: EXPIRED: "),
        ("sign", lambda ca: ca.signer(OURS, not_after=soon()), "key sign: its certificate expires in 20 days"),
        ("sign", lambda ca: ca.signer(OURS, ku=("key_encipherment",)), "key sign: KEY_USAGE: "),
        ("decrypt", lambda ca: ca.reader(OURS, not_after=soon()), "key decrypt: its certificate expires in 20 days"),
        ("decrypt", lambda ca: ca.signer(OURS), "key decrypt: KEY_USAGE: "),
        ("gateway", lambda ca: ca.gateway(GATEWAY, not_after=soon()), "tls gateway: its certificate expires in 20 days"),
        ("gateway", lambda ca: ca.gateway(GATEWAY, eku=("server",)), "tls gateway: EKU: "),
    ],
)
def test_a_certificate_of_ours_that_others_refuse(run: Run, site: Path, name: str, make: Callable[[Ca], Issued], note: str) -> None:
    """Mail goes on meanwhile, and nobody believes it: no other command tells."""
    assert f"note: {note}" not in run("check").stdout
    make(Ca.root()).write(site / "keys", name)
    done = run("check")
    assert done.exit_code == 0
    assert f"note: {note}" in done.stdout


def test_a_retired_key_may_have_expired(run: Run, site: Path) -> None:
    pki.expired(Ca.root()).write(site / "keys", "sign")
    text = (site / "gateway.toml").read_text().replace("[key.sign]", "[key.sign]\nretired = true")
    (site / "gateway.toml").write_text(text)
    assert "EXPIRED" not in run("check").stdout


def test_an_identity_that_no_peer_is_shown_is_looked_at_for_its_time_alone(run: Run, site: Path) -> None:
    ca = Ca.root()
    ca.gateway(GATEWAY).write(site / "keys", "gateway")
    ca.gateway(GATEWAY, eku=("server",)).write(site / "keys", "inside")
    text = (site / "gateway.toml").read_text()
    more = '\n[tls.inside]\ncertificate = "keys/inside.pem"\nkey = "keys/inside.key"\n'
    (site / "gateway.toml").write_text(text + more)
    assert "note: tls inside" not in run("check").stdout
    ca.gateway(GATEWAY, not_after=soon()).write(site / "keys", "inside")
    assert "note: tls inside: its certificate expires in 20 days" in run("check").stdout


def test_when_each_expires(site: Path) -> None:
    """Of those in use, as far as they can be read: one that a reload took may be gone by now."""
    pki.expired(Ca.root()).write(site / "keys", "sign")
    config = load(site / "gateway.toml")
    signs, decrypts = (
        x509.load_pem_x509_certificate((site / f"keys/{name}.pem").read_bytes()).not_valid_after_utc for name in ("sign", "decrypt")
    )
    found = expiries(config)
    assert found.keys() == {"key.sign", "key.decrypt", "tls.gateway"}
    assert [found[f"key.{name}"] for name in ("sign", "decrypt")] == [pki.microseconds(signs), pki.microseconds(decrypts)]
    (site / "keys/sign.pem").unlink()
    retired = config.key | {"decrypt": config.key["decrypt"].model_copy(update={"retired": True})}
    assert expiries(config.model_copy(update={"key": retired})).keys() == {"tls.gateway"}
