"""A configuration is read whole, or refused with every mistake at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.model import KeyStore, TlsMode

SAMPLE = Path(__file__).parents[2] / "config"


@pytest.fixture
def sample(site: Path) -> Path:
    """The sample of config/, with the files it names; the token's module is a file of ours, that of SoftHSM may be absent."""
    shutil.copytree(SAMPLE, site, dirs_exist_ok=True)
    text = (site / "gateway.toml").read_text().replace("/usr/lib/softhsm/libsofthsm2.so", "pin")
    (site / "gateway.toml").write_text(text)
    return site / "gateway.toml"


def test_the_sample_loads(sample: Path) -> None:
    config = load(sample, generation=7)
    assert config.generation == 7
    assert config.organisation["hospital"].domains == ("hospital.example",)
    assert config.key["hospital-sign"].store is KeyStore.TOKEN
    assert config.zone["health"].peer[1].tls is TlsMode.STARTTLS
    assert [rule.name for rule in config.rule] == ["confidential", "newsletter-unprotected"]
