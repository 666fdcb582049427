"""Each directory of ``bad/`` is a broken configuration and, in ``expected``, all that must be said of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.mistake import ConfigError

CASES = sorted((Path(__file__).parent / "bad").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_mistake_is_told(case: Path, site: Path) -> None:
    shutil.copytree(case, site, dirs_exist_ok=True)
    with pytest.raises(ConfigError) as caught:
        load(site / "gateway.toml")
    assert str(caught.value).replace(f"{site}/", "") == (case / "expected").read_text().rstrip("\n")
